//! From the config's `device` to a burn backend: the only file that names one.
//!
//! Everything generic is compiled once for each backend, here.

use anyhow::Result;
use burn::backend::{Autodiff, Flex};
use burn::tensor::DType;
use burn::tensor::backend::AutodiffBackend;

use crate::bad_input;
use crate::config::DeviceChoice;
use crate::training::arguments::{PassDefaults, Precision};

/// Work that is written once for all backends.
pub trait Job {
    type Output;
    /// `dtype` is what weights are held and multiplied in.
    fn run<B: AutodiffBackend>(self, device: B::Device, dtype: DType) -> Result<Self::Output>;
}

/// A device that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    Cpu,
    #[cfg(feature = "cuda")]
    Cuda(cuda::Gpu),
    #[cfg(feature = "vulkan")]
    Vulkan(vulkan::Gpu),
}

/// The device to compute on, and, where it is not the one asked for, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    pub device: Device,
    /// Why the GPU asked for is not used, and what to do about it.
    pub fallback: Option<String>,
}

/// Finds the device that the config asks for, or the CPU.
pub fn select(choice: DeviceChoice) -> Selection {
    match choice {
        DeviceChoice::Cpu => Selection { device: Device::Cpu, fallback: None },
        DeviceChoice::Cuda => or_cpu(cuda_device()),
        DeviceChoice::Vulkan => or_cpu(vulkan_device()),
    }
}

fn or_cpu(gpu: Result<Device, String>) -> Selection {
    match gpu {
        Ok(device) => Selection { device, fallback: None },
        Err(missing) => Selection { device: Device::Cpu, fallback: Some(missing) },
    }
}

#[cfg(feature = "cuda")]
fn cuda_device() -> Result<Device, String> {
    cuda::probe().map(Device::Cuda)
}

#[cfg(not(feature = "cuda"))]
fn cuda_device() -> Result<Device, String> {
    Err("this binary was built without GPU support; build it with `cargo build --release --features cuda`".into())
}

#[cfg(feature = "vulkan")]
fn vulkan_device() -> Result<Device, String> {
    vulkan::probe().map(Device::Vulkan)
}

#[cfg(not(feature = "vulkan"))]
fn vulkan_device() -> Result<Device, String> {
    Err("this binary was built without Vulkan; build it with `cargo build --release --features vulkan`".into())
}

impl Device {
    /// Whether kernels must be compiled for it first, which takes minutes.
    pub fn is_new(&self) -> bool {
        match self {
            Self::Cpu => false,
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => !kernel_folder(&gpu.kind()).exists(),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(gpu) => !kernel_folder(&gpu.name).exists(),
        }
    }

    /// What the device is called in messages.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu => "the CPU".into(),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => gpu.name.clone(),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(gpu) => gpu.name.clone(),
        }
    }

    /// Bytes of memory that a run could have, where that is known.
    pub fn free_memory(&self) -> Option<u64> {
        match self {
            Self::Cpu => free_memory(),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => Some(gpu.memory),
            #[cfg(feature = "vulkan")]
            Self::Vulkan(_) => None,
        }
    }

    /// What it computes well in one pass.
    pub fn pass_defaults(&self) -> PassDefaults {
        match self {
            Self::Cpu => PassDefaults::CPU,
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => PassDefaults::GPU,
            #[cfg(feature = "vulkan")]
            Self::Vulkan(_) => PassDefaults::GPU,
        }
    }

    /// The type that weights are held and multiplied in.
    pub fn dtype(&self, precision: Precision) -> Result<DType> {
        match (self, precision) {
            (Self::Cpu, Precision::Bf16) => bad_input!(
                "training.dtype: \"bf16\" needs a GPU; on the CPU a bf16 product is many times slower than an f32 one. \
                 Set it to \"auto\" or \"f32\""
            ),
            (Self::Cpu, _) => Ok(DType::F32),
            #[cfg(feature = "cuda")]
            (Self::Cuda(gpu), Precision::Auto) => Ok(if gpu.has_bf16() { DType::BF16 } else { DType::F32 }),
            #[cfg(feature = "cuda")]
            (Self::Cuda(gpu), Precision::Bf16) if !gpu.has_bf16() => {
                bad_input!("training.dtype: {} has no bf16 (compute capability below 8.0); use \"f32\"", gpu.name)
            }
            #[cfg(feature = "cuda")]
            (Self::Cuda(_), Precision::Bf16) => Ok(DType::BF16),
            #[cfg(feature = "cuda")]
            (Self::Cuda(_), Precision::F32) => Ok(DType::F32),
            #[cfg(feature = "vulkan")]
            (Self::Vulkan(_), Precision::Bf16) => {
                bad_input!("training.dtype: \"bf16\" needs CUDA; with Vulkan use \"auto\" or \"f32\"")
            }
            #[cfg(feature = "vulkan")]
            (Self::Vulkan(_), _) => Ok(DType::F32),
        }
    }

    /// Runs a job on this device's backend.
    pub fn run<J: Job>(&self, job: J, precision: Precision) -> Result<J::Output> {
        let dtype = self.dtype(precision)?;
        match self {
            Self::Cpu => job.run::<Autodiff<Flex>>(Default::default(), dtype),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => {
                let device = burn::backend::cuda::CudaDevice::new(gpu.index);
                keep_compiled_kernels(&gpu.kind());
                guarded(&gpu.name, || job.run::<Autodiff<burn::backend::Cuda<f32, i32>>>(device, dtype))
            }
            #[cfg(feature = "vulkan")]
            Self::Vulkan(gpu) => {
                keep_compiled_kernels(&gpu.name);
                guarded(&gpu.name, || job.run::<Autodiff<burn::backend::Vulkan>>(Default::default(), dtype))
            }
        }
    }
}

/// What the system has free and this process is allowed.
fn free_memory() -> Option<u64> {
    use nix::sys::resource::{Resource, getrlimit};
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let free = line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024;
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    // A container's share.
    let share = number("/sys/fs/cgroup/memory.max")
        .map(|most| most.saturating_sub(number("/sys/fs/cgroup/memory.current").unwrap_or(0)));
    let limit = getrlimit(Resource::RLIMIT_AS).ok().map(|(soft, _)| soft);
    [Some(free), share, limit].into_iter().flatten().min()
}

/// burn panics when a GPU fails, out of memory for one: a message instead of a backtrace.
#[cfg(any(feature = "cuda", feature = "vulkan"))]
fn guarded<T>(gpu: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(anyhow::anyhow!("{gpu} failed; its message is above")))
}

/// Compiled kernels and autotune's choices are kept in `target` or the user's cache folder, so that only the first run waits
/// for the compiler; one folder per kind of GPU, because CubeCL would load what it compiled for another. A `cubecl.toml`
/// of the user's has the last word.
#[cfg(any(feature = "cuda", feature = "vulkan"))]
fn keep_compiled_kernels(gpu: &str) {
    use cubecl_runtime::config::{CubeClRuntimeConfig, RuntimeConfig, cache::CacheConfig};
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
        let folder = CacheConfig::File(kernel_folder(gpu));
        config.compilation.cache.get_or_insert(folder.clone());
        if matches!(config.autotune.cache, CacheConfig::Target) {
            config.autotune.cache = folder;
        }
        CubeClRuntimeConfig::set(config);
    });
}

#[cfg(any(feature = "cuda", feature = "vulkan"))]
fn kernel_folder(gpu: &str) -> std::path::PathBuf {
    let words = gpu.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
    cubecl_runtime::config::cache::CacheConfig::Target.root().join("kernels").join(name)
}

/// Floating-point operations a second of the CPU in an f32 matrix product of the model's kind, measured in a moment.
pub fn cpu_flops() -> f64 {
    use burn::tensor::{Distribution, Tensor};
    let device = Default::default();
    let (m, n) = (256, 896);
    let a = Tensor::<Flex, 2>::random([m, n], Distribution::Default, &device);
    let b = Tensor::<Flex, 2>::random([n, n], Distribution::Default, &device);
    let measure = || {
        let started = std::time::Instant::now();
        let _ = a.clone().matmul(b.clone()).into_data();
        (2 * m * n * n) as f64 / started.elapsed().as_secs_f64()
    };
    (0..8).map(|_| measure()).fold(0.0, f64::max)
}

/// Asks the driver, not burn: burn-cuda panics where there is no GPU, and reports bf16 on every card.
#[cfg(feature = "cuda")]
mod cuda {
    use std::path::PathBuf;

    use cudarc::driver::{result, sys};

    /// What `.cargo/config.toml` builds the bindings for.
    const OLDEST_CUDA: i32 = 12040;

    /// A usable GPU.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Gpu {
        pub index: usize,
        pub name: String,
        pub compute_capability: (i32, i32),
        /// Bytes, all of them.
        pub memory: u64,
    }

    impl Gpu {
        /// GPUs of one kind share compiled kernels.
        pub fn kind(&self) -> String {
            let (major, minor) = self.compute_capability;
            format!("{} sm {major}{minor}", self.name)
        }

        pub fn has_bf16(&self) -> bool {
            self.compute_capability.0 >= 8
        }
    }

    /// The first GPU, if everything that burn needs at run time is there; else what is missing and how to get it.
    pub fn probe() -> Result<Gpu, String> {
        // SAFETY: only looks whether the library can be loaded.
        if !unsafe { sys::is_culib_present() } {
            return Err("the NVIDIA driver (libcuda.so) is not there; install it, or set \"device\" to \"cpu\"".into());
        }
        let failed = |what: &str, error: result::DriverError| format!("the NVIDIA driver {what}: {error}");
        result::init().map_err(|e| failed("does not start", e))?;
        let mut version = 0;
        // SAFETY: the driver writes one integer.
        let asked = unsafe { sys::cuDriverGetVersion(&mut version) }.result();
        asked.map_err(|e| failed("does not tell its version", e))?;
        if version < OLDEST_CUDA {
            return Err(format!(
                "the NVIDIA driver serves CUDA {}.{} only; install one for CUDA 12.4 or newer",
                version / 1000,
                version % 1000 / 10
            ));
        }
        let count = result::device::get_count().map_err(|e| failed("does not list its GPUs", e))?;
        if count == 0 {
            return Err("the NVIDIA driver finds no GPU".into());
        }
        // SAFETY: as above.
        if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
            return Err(
                "CUDA's runtime compiler (libnvrtc.so) is not there; install the CUDA toolkit 12.4 or newer".into()
            );
        }
        if !has_cuda_headers() {
            return Err("CUDA's headers are not there; install the CUDA toolkit 12.4 or newer, or set CUDA_PATH to \
                        the folder that holds its `include`"
                .into());
        }
        let device = result::device::get(0).map_err(|e| failed("does not open GPU 0", e))?;
        let name = result::device::get_name(device).map_err(|e| failed("does not name GPU 0", e))?;
        let attribute = |attribute| {
            // SAFETY: `device` came from the driver just now.
            unsafe { result::device::get_attribute(device, attribute) }
                .map_err(|e| failed("does not describe GPU 0", e))
        };
        let major = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        // SAFETY: as above.
        let memory = unsafe { result::device::total_mem(device) }.map_err(|e| failed("does not measure GPU 0", e))?;
        Ok(Gpu { index: 0, name, compute_capability: (major, minor), memory: memory as u64 })
    }

    /// Where burn's compiler looks for them: it panics when it finds none.
    fn has_cuda_headers() -> bool {
        let folder = match std::env::var_os("CUDA_PATH") {
            Some(path) => PathBuf::from(path),
            None => ["/usr/local/cuda", "/opt/cuda"]
                .into_iter()
                .map(PathBuf::from)
                .find(|p| p.is_dir())
                .unwrap_or("/usr".into()),
        };
        folder.join("include/cuda_fp16.h").exists()
    }
}

/// Asks Vulkan, not burn: burn-wgpu panics where there is no GPU.
#[cfg(feature = "vulkan")]
mod vulkan {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// A usable GPU: the one that burn takes first.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Gpu {
        pub name: String,
    }

    pub fn probe() -> Result<Gpu, String> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapters = pin!(instance.enumerate_adapters(wgpu::Backends::VULKAN));
        // Not a wait: natively the answer is there at once.
        let Poll::Ready(adapters) = adapters.poll(&mut Context::from_waker(Waker::noop())) else {
            return Err("Vulkan does not list its GPUs".into());
        };
        let kinds = [wgpu::DeviceType::DiscreteGpu, wgpu::DeviceType::IntegratedGpu, wgpu::DeviceType::VirtualGpu];
        let infos: Vec<_> = adapters.iter().map(wgpu::Adapter::get_info).collect();
        let gpu = kinds.iter().find_map(|kind| infos.iter().find(|info| info.device_type == *kind));
        match gpu.or(infos.first()) {
            Some(info) => Ok(Gpu { name: info.name.clone() }),
            None => Err("Vulkan finds no GPU; install your card's Vulkan driver, or set \"device\" to \"cpu\"".into()),
        }
    }
}
