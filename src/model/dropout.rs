//! Dropout on the input of LoRA branches, from counters instead of a generator's state.

use std::sync::{Arc, OnceLock};

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use multiversion::multiversion;
use rayon::prelude::*;

/// Which dropout masks a training pass uses. A mask is a function of (seed, step, row, module, position, feature),
/// never of a shared generator: it is the same for any split into micro batches, on any device and after a resume.
#[derive(Debug, Clone)]
pub struct LoraDropout<B: Backend> {
    seed: u64,
    /// One for each token of the pass.
    keys: Arc<Vec<u32>>,
    on_device: Arc<OnceLock<DeviceKeys<B>>>,
}

impl<B: Backend> LoraDropout<B> {
    /// For each row of the pass: its place in the optimizer step, and its length in tokens (padding included).
    pub fn new(seed: u64, step: u64, rows: impl IntoIterator<Item = (u64, usize)>) -> Self {
        let keys = rows.into_iter().flat_map(|(row, len)| {
            let key = [step, row].iter().fold(mix(seed), |key, part| mix(key ^ mix(*part)));
            (0..len as u64).map(move |position| (mix(key.wrapping_add(position)) >> 32) as u32)
        });
        Self { seed, keys: Arc::new(keys.collect()), on_device: Arc::default() }
    }

    pub fn mask(&self, module_index: u64, probability: f64) -> DropoutMask<B> {
        DropoutMask {
            host: HostMask {
                keys: self.keys.clone(),
                module: (mix(self.seed ^ mix(!module_index)) >> 32) as u32,
                threshold: (probability * 2f64.powi(2 * HALF_BITS as i32)) as u32,
                keep: (1.0 / (1.0 - probability)) as f32,
            },
            on_device: self.on_device.clone(),
        }
    }
}

/// One module's factors for a pass, `[tokens, features]`: 0 with the dropout's probability, else 1 / (1 - probability).
#[derive(Debug, Clone)]
pub struct DropoutMask<B: Backend> {
    pub host: HostMask,
    /// Shared by the modules.
    on_device: Arc<OnceLock<DeviceKeys<B>>>,
}

impl<B: Backend> DropoutMask<B> {
    /// What computes the mask on the device.
    pub fn on(&self, device: &B::Device) -> DeviceMask<B> {
        let half = |half: fn(u32) -> u32| {
            let values: Vec<i32> = self.host.keys.iter().map(|key| half(*key) as i32).collect();
            Tensor::<B, 2, Int>::from_data(TensorData::new(values, [self.host.keys.len(), 1]), device)
        };
        let keys = self
            .on_device
            .get_or_init(|| DeviceKeys { high: half(|key| (key >> HALF_BITS) & HALF), low: half(|key| key & HALF) });
        let HostMask { module, threshold, keep, .. } = self.host;
        DeviceMask { keys: keys.clone(), module, threshold, keep }
    }
}

/// A mask that is computed on the host.
#[derive(Debug, Clone)]
pub struct HostMask {
    keys: Arc<Vec<u32>>,
    module: u32,
    threshold: u32,
    keep: f32,
}

/// The halves of the tokens' keys, `[tokens, 1]` each.
#[derive(Debug, Clone)]
pub struct DeviceKeys<B: Backend> {
    pub high: Tensor<B, 2, Int>,
    pub low: Tensor<B, 2, Int>,
}

/// A mask that is computed on the device.
#[derive(Debug, Clone)]
pub struct DeviceMask<B: Backend> {
    pub keys: DeviceKeys<B>,
    pub module: u32,
    pub threshold: u32,
    pub keep: f32,
}

/// Each step of [`hash`] multiplies a half with the sum of it and one of these. All are below 2^15, so that no product
/// leaves the positive i32: every backend's integers hold it.
const SUMMANDS: [u32; 6] = [0x6B43, 0x5D2B, 0x7A1D, 0x4E67, 0x735F, 0x6A95];
const SHIFT: u32 = 9;
const HALF_BITS: u32 = 15;
const HALF: u32 = (1 << HALF_BITS) - 1;

/// 30 random bits for a token's and a module's key and a feature: a Feistel network (Feistel, 1973) on two halves, with
/// the middle of a product as its function (von Neumann's middle square), and with sums where it is usual to take
/// exclusive ors: burn fuses additions, multiplications and remainders into one kernel, bitwise operations into none.
#[inline(always)]
fn hash(key: u32, module: u32, feature: u32) -> u32 {
    let high = |key: u32| (key >> HALF_BITS) & HALF;
    let mut left = (high(key) + high(module)) & HALF;
    let mut right = ((key & HALF) + (module & HALF) + feature) & HALF;
    for pair in SUMMANDS.chunks_exact(2) {
        left = (left + ((right * (right + pair[0])) >> SHIFT)) & HALF;
        right = (right + ((left * (left + pair[1])) >> SHIFT)) & HALF;
    }
    (left << HALF_BITS) | right
}

impl HostMask {
    /// `x` times the mask, both `[tokens, features]`.
    pub fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut masked = vec![0.0; x.len()];
        self.add(x, &mut masked);
        masked
    }

    /// Adds `x` times the mask to `y`, all `[tokens, features]`.
    pub fn add(&self, x: &[f32], y: &mut [f32]) {
        let features = x.len() / self.keys.len();
        assert!(features <= HALF as usize + 1, "features are told apart by 15 bits");
        let rows = y.par_chunks_exact_mut(features).zip(x.par_chunks_exact(features)).zip(self.keys.par_iter());
        rows.with_min_len(16).for_each(|((y, x), key)| add_token(*key, self.module, self.threshold, self.keep, x, y));
    }
}

impl<B: Backend> DeviceMask<B> {
    /// `x` times the mask, both `[tokens, features]`.
    pub fn apply(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let (features, modulus) = (x.dims()[1], HALF as i32 + 1);
        assert!(features <= HALF as usize + 1, "features are told apart by 15 bits");
        let feature = Tensor::<B, 1, Int>::arange(0..features as i64, &x.device()).unsqueeze::<2>();
        let [high, low] = [(self.module >> HALF_BITS) & HALF, self.module & HALF].map(|half| half as i32);
        let mut left = (self.keys.high.clone() + high) % modulus; // [tokens, 1] at first
        let mut right = (self.keys.low.clone() + low + feature) % modulus;
        for pair in SUMMANDS.chunks_exact(2) {
            left = (left + right.clone() * (right.clone() + pair[0] as i32) / (1 << SHIFT)) % modulus;
            right = (right + left.clone() * (left.clone() + pair[1] as i32) / (1 << SHIFT)) % modulus;
        }
        let is_dropped = (left * modulus + right).lower_elem(self.threshold as i32);
        (x * self.keep).mask_fill(is_dropped, 0.0)
    }
}

#[multiversion(targets = "simd")]
fn add_token(key: u32, module: u32, threshold: u32, keep: f32, x: &[f32], y: &mut [f32]) {
    for (feature, (y, x)) in y.iter_mut().zip(x).enumerate() {
        let factor = if hash(key, module, feature as u32) < threshold { 0.0 } else { keep };
        *y += x * factor;
    }
}

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    fn dropout(rows: Vec<(u64, usize)>) -> LoraDropout<Flex> {
        LoraDropout::new(42, 7, rows)
    }

    fn factors(dropout: &LoraDropout<Flex>, module: u64, probability: f64, features: usize) -> Vec<f32> {
        let mask = dropout.mask(module, probability).host;
        mask.apply(&vec![1.0; mask.keys.len() * features])
    }

    #[test]
    fn a_mask_keeps_its_expected_share_and_scale() {
        let mask = factors(&dropout(vec![(0, 100), (1, 100)]), 3, 0.15, 500);
        let kept = mask.iter().filter(|m| **m != 0.0).count() as f64 / mask.len() as f64;
        assert!((kept - 0.85).abs() < 0.005, "kept {kept}");
        assert!(mask.iter().all(|m| *m == 0.0 || (*m - 1.0 / 0.85).abs() < 1e-6));
    }

    /// Neighbours at any small distance, along features and along tokens, are dropped independently.
    #[test]
    fn dropped_places_are_not_correlated() {
        let (tokens, features) = (400, 500);
        let mask = factors(&dropout(vec![(0, tokens)]), 3, 0.5, features);
        let signs: Vec<f64> = mask.iter().map(|m| if *m == 0.0 { -1.0 } else { 1.0 }).collect();
        for distance in [1, 2, 3, 4, 8, 16, 64, 256, features, 2 * features] {
            let pairs = signs.iter().zip(&signs[distance..]);
            let sum: f64 = pairs.map(|(a, b)| a * b).sum();
            let standard_deviations = sum / (signs.len() as f64).sqrt();
            assert!(standard_deviations.abs() < 5.0, "distance {distance}: {standard_deviations}");
        }
    }

    #[test]
    fn modules_drop_independently() {
        let dropout = dropout(vec![(0, 400)]);
        let signs = |module| factors(&dropout, module, 0.5, 500).into_iter().map(|m| if m == 0.0 { -1.0 } else { 1.0 });
        let first: Vec<f64> = signs(0).collect();
        for module in 1..48 {
            let sum: f64 = first.iter().zip(signs(module)).map(|(a, b)| a * b).sum();
            let standard_deviations = sum / (first.len() as f64).sqrt();
            assert!(standard_deviations.abs() < 5.0, "module {module}: {standard_deviations}");
        }
    }

    #[test]
    fn the_mask_on_the_device_equals_the_one_on_the_host() {
        let dropout = dropout(vec![(4, 10), (9, 6)]);
        let found = dropout.mask(1, 0.15).on(&Default::default()).apply(Tensor::ones([16, 300], &Default::default()));
        let found: Vec<f32> = found.into_data().into_vec().unwrap();
        assert_eq!(found, factors(&dropout, 1, 0.15, 300));
    }

    #[test]
    fn a_rows_mask_does_not_depend_on_its_neighbours_or_its_padding() {
        let together = factors(&dropout(vec![(4, 10), (9, 6)]), 1, 0.5, 8);
        let alone = factors(&dropout(vec![(9, 6)]), 1, 0.5, 8);
        assert_eq!(together[80..], alone);
        let padded = factors(&dropout(vec![(9, 11)]), 1, 0.5, 8);
        assert_eq!(padded[..48], alone);
    }

    #[test]
    fn masks_differ_between_rows_steps_modules_and_seeds() {
        let base = factors(&dropout(vec![(0, 16)]), 0, 0.5, 16);
        assert_ne!(base, factors(&dropout(vec![(1, 16)]), 0, 0.5, 16));
        assert_ne!(base, factors(&dropout(vec![(0, 16)]), 1, 0.5, 16));
        assert_ne!(base, factors(&LoraDropout::new(43, 7, [(0, 16)]), 0, 0.5, 16));
        assert_ne!(base, factors(&LoraDropout::new(42, 8, [(0, 16)]), 0, 0.5, 16));
    }
}
