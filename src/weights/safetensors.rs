//! Tensors of a checkpoint folder: one safetensors file, or shards with an index. Mapped, never read as a whole.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::{DType, Tensor, TensorData, backend::Backend};
use half::{bf16, f16};
use memmap2::{Mmap, UncheckedAdvice};
use pulp::bytemuck::{Pod, cast_slice_mut};
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};

use crate::bad_input;
use crate::error::OrBadInput;
use crate::files::read_json;

pub const SINGLE_FILE: &str = "model.safetensors";
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// One mapped file with its parsed header.
pub struct SafetensorsFile {
    path: PathBuf,
    map: Mmap,
    tensors: BTreeMap<String, TensorEntry>,
    metadata: HashMap<String, String>,
}

struct TensorEntry {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Byte range in the file.
    start: usize,
    end: usize,
}

/// A tensor's bytes in the map, with type and shape.
#[derive(Clone, Copy)]
pub struct TensorSlice<'a> {
    pub dtype: Dtype,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

impl SafetensorsFile {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).or_bad_input(|| format!("cannot open {}", path.display()))?;
        // SAFETY: the file is only read. Another process that truncates it meanwhile would end this one with SIGBUS;
        // that is the price that every reader of mapped weights pays.
        let map = unsafe { Mmap::map(&file) }.or_bad_input(|| format!("cannot map {}", path.display()))?;
        let damaged = || format!("{} is not a complete safetensors file (truncated or damaged?)", path.display());
        let parsed = SafeTensors::deserialize(&map).or_bad_input(damaged)?;
        let base = map.as_ptr() as usize;
        let tensors = parsed
            .iter()
            .map(|(name, view)| {
                let start = view.data().as_ptr() as usize - base;
                let entry = TensorEntry {
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                    start,
                    end: start + view.data().len(),
                };
                (name.to_string(), entry)
            })
            .collect();
        let (_, header) = SafeTensors::read_metadata(&map).or_bad_input(damaged)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        Ok(Self { path: path.to_path_buf(), map, tensors, metadata })
    }

    /// A value of the file's own metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    pub fn get(&self, name: &str) -> Option<TensorSlice<'_>> {
        self.tensors.get(name).map(|entry| TensorSlice {
            dtype: entry.dtype,
            shape: &entry.shape,
            bytes: &self.map[entry.start..entry.end],
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives back the memory of mapped pages whose values lie elsewhere. They can still be read.
    fn release(&self, start: usize, len: usize) {
        // SAFETY: the map is read-only and backed by the file, so dropped pages come back from it unchanged. That the
        // advice may fail is no matter: it only saves memory.
        let _ = unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, len) };
    }

    /// Copies a tensor as it is, and gives back its pages as it goes.
    fn copy<T: Pod + Send>(&self, entry: &TensorEntry) -> Vec<T> {
        const PART: usize = 8 << 20;
        let mut values = vec![T::zeroed(); (entry.end - entry.start) / size_of::<T>()];
        let parts = cast_slice_mut::<T, u8>(&mut values).par_chunks_mut(PART);
        parts.enumerate().for_each(|(number, part)| {
            let start = entry.start + number * PART;
            part.copy_from_slice(&self.map[start..start + part.len()]);
            self.release(start, part.len());
        });
        values
    }
}

/// All tensors of a model folder, by name.
pub struct Checkpoint {
    files: Vec<SafetensorsFile>,
    /// Tensor name -> place in `files`.
    places: BTreeMap<String, usize>,
}

impl Checkpoint {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
    pub fn open(folder: &Path) -> Result<Self> {
        let (single, index) = (folder.join(SINGLE_FILE), folder.join(INDEX_FILE));
        if single.exists() {
            let file = SafetensorsFile::open(&single)?;
            let places = file.names().map(|name| (name.to_string(), 0)).collect();
            return Ok(Self { files: vec![file], places });
        }
        if !index.exists() {
            bad_input!("{} holds neither {SINGLE_FILE} nor {INDEX_FILE}", folder.display());
        }
        Self::open_shards(folder, &index)
    }

    fn open_shards(folder: &Path, index: &Path) -> Result<Self> {
        let (mut files, mut by_name, mut places) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for (tensor, name) in read_index(index)? {
            let place = match by_name.get(&name) {
                Some(place) => *place,
                None => {
                    files.push(SafetensorsFile::open(&folder.join(&name))?);
                    by_name.insert(name, files.len() - 1);
                    files.len() - 1
                }
            };
            places.insert(tensor, place);
        }
        let mut problems = Vec::new();
        for (tensor, place) in &places {
            if files[*place].get(tensor).is_none() {
                problems.push(format!("{tensor} is not in {}", files[*place].path().display()));
            }
        }
        for (place, file) in files.iter().enumerate() {
            for name in file.names().filter(|name| places.get(*name) != Some(&place)) {
                problems.push(format!("{name} in {} is not in the index", file.path().display()));
            }
        }
        if !problems.is_empty() {
            bad_input!("{} does not match its shards:\n  {}", index.display(), problems.join("\n  "));
        }
        Ok(Self { files, places })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    pub fn get(&self, name: &str) -> Option<TensorSlice<'_>> {
        self.places.get(name).and_then(|place| self.files[*place].get(name))
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.names().filter_map(|name| self.get(name)).map(|tensor| tensor.bytes.len() as u64).sum()
    }

    /// Moves a tensor to a device as `dtype` (f32 or bf16), converting on the way. Its mapped pages are given back, so
    /// that weights never lie in memory twice.
    ///
    /// # Panics
    /// If there is no such tensor, or it has another rank.
    pub fn load<B: Backend, const D: usize>(&self, name: &str, device: &B::Device, dtype: DType) -> Tensor<B, D> {
        let file = &self.files[self.places[name]];
        let (entry, tensor) = (&file.tensors[name], file.get(name).expect("its entry is there"));
        let shape: [usize; D] = tensor.shape.try_into().expect("the rank is checked before");
        let as_it_is = cfg!(target_endian = "little");
        let data = match (dtype, tensor.dtype) {
            (DType::BF16, Dtype::BF16) if as_it_is => TensorData::new(file.copy::<bf16>(entry), shape),
            (DType::F32, Dtype::F32) if as_it_is => TensorData::new(file.copy::<f32>(entry), shape),
            (DType::BF16, _) => {
                TensorData::new(tensor.to_f32().into_iter().map(bf16::from_f32).collect::<Vec<_>>(), shape)
            }
            _ => TensorData::new(tensor.to_f32(), shape),
        };
        file.release(entry.start, entry.end - entry.start);
        Tensor::from_data(data, (device, dtype))
    }
}

/// Which file of its folder holds each tensor.
pub fn read_index(index: &Path) -> Result<BTreeMap<String, String>> {
    let json = read_json(index)?;
    let Some(weight_map) = json["weight_map"].as_object() else {
        bad_input!("{}: \"weight_map\" is missing", index.display());
    };
    let mut files = BTreeMap::new();
    for (tensor, file) in weight_map {
        let name = file.as_str().unwrap_or_default();
        // Only a plain name: an index must not reach out of its folder.
        if name.is_empty() || Path::new(name).file_name().and_then(|n| n.to_str()) != Some(name) {
            bad_input!("{}: {tensor} lies in {file}, which is not a file name in this folder", index.display());
        }
        files.insert(tensor.clone(), name.to_string());
    }
    Ok(files)
}

impl TensorSlice<'_> {
    /// Whether [`to_f32`](Self::to_f32) can read the type.
    pub fn is_supported(&self) -> bool {
        matches!(self.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16)
    }

    /// The values, widened.
    pub fn to_f32(&self) -> Vec<f32> {
        fn widen<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32 + Sync) -> Vec<f32> {
            bytes.par_chunks_exact(N).with_min_len(1 << 14).map(|c| read(c.try_into().expect("N bytes"))).collect()
        }
        match self.dtype {
            Dtype::F32 => widen(self.bytes, f32::from_le_bytes),
            Dtype::BF16 => widen(self.bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F16 => widen(self.bytes, |b| f16::from_le_bytes(b).to_f32()),
            other => unreachable!("{other:?} is refused when the file is checked"),
        }
    }
}

/// Rounds f32 values once to a file's type.
pub fn narrow(values: &[f32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::BF16 => values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        _ => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    }
}
