//! Dropout on the input of LoRA branches, from counters instead of a generator's state.

use burn::tensor::{DType, ElementConversion, Int, Tensor, TensorData, backend::Backend};
use multiversion::multiversion;
use rayon::prelude::*;

/// Which dropout masks a training pass uses. A mask is a function of (seed, step, row, module, position, feature),
/// never of a shared generator: it is the same for any split into micro batches, on any device and after a resume.
#[derive(Debug, Clone)]
pub struct LoraDropout {
    pub seed: u64,
    pub step: u64,
    /// For each row of the batch: its place in the optimizer step, and its length in tokens (padding included).
    pub rows: Vec<(u64, usize)>,
}

impl LoraDropout {
    pub fn mask(&self, module_index: u64, probability: f64) -> DropoutMask {
        let keys = self.rows.iter().flat_map(|&(row, len)| {
            let key = [self.step, row, module_index].iter().fold(mix(self.seed), |key, part| mix(key ^ mix(*part)));
            (0..len as u64).map(move |position| (mix(key.wrapping_add(position)) >> 32) as u32)
        });
        DropoutMask {
            keys: keys.collect(),
            threshold: (probability * 2f64.powi(31)) as u32,
            keep: (1.0 / (1.0 - probability)) as f32,
        }
    }
}

/// One module's factors for a pass, `[tokens, features]`: 0 with the dropout's probability, else 1 / (1 - probability).
#[derive(Debug, Clone)]
pub struct DropoutMask {
    /// One for each token.
    keys: Vec<u32>,
    threshold: u32,
    keep: f32,
}

/// Each step of [`hash`] multiplies by one of these. They are below 2^15 and the other factor at most 2^16, so that no
/// product leaves the positive i32: every backend's integers hold it.
const FACTORS: [u32; 6] = [0x6B43, 0x5D2B, 0x7A1D, 0x4E67, 0x735F, 0x6A95];
const SHIFT: u32 = 9;
const HALF: u32 = 0xFFFF;

/// 31 random bits for a token's key and a feature: a Feistel network (Feistel, 1973) on two halves of 16 bits.
#[inline(always)]
fn hash(key: u32, feature: u32) -> u32 {
    let (mut left, mut right) = (key >> 16, (key & HALF) ^ feature);
    for pair in FACTORS.chunks_exact(2) {
        left ^= (((right + 1) * pair[0]) >> SHIFT) & HALF;
        right ^= (((left + 1) * pair[1]) >> SHIFT) & HALF;
    }
    (left << 15) | (right >> 1)
}

impl DropoutMask {
    /// `x` times the mask, both `[tokens, features]`.
    pub fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut masked = vec![0.0; x.len()];
        self.add(x, &mut masked);
        masked
    }

    /// Adds `x` times the mask to `y`, all `[tokens, features]`.
    pub fn add(&self, x: &[f32], y: &mut [f32]) {
        let features = x.len() / self.keys.len();
        assert!(features <= HALF as usize + 1, "features are told apart by 16 bits");
        let rows = y.par_chunks_exact_mut(features).zip(x.par_chunks_exact(features)).zip(&self.keys);
        rows.with_min_len(16).for_each(|((y, x), key)| add_token(*key, self.threshold, self.keep, x, y));
    }

    /// The mask as a tensor, computed on the device.
    pub fn tensor<B: Backend>(&self, features: usize, device: &B::Device) -> Tensor<B, 2> {
        assert!(features <= HALF as usize + 1, "features are told apart by 16 bits");
        let tokens = self.keys.len();
        let half_keys = |half: fn(u32) -> u32| -> Tensor<B, 2, Int> {
            let values: Vec<i32> = self.keys.iter().map(|key| half(*key) as i32).collect();
            Tensor::from_data(TensorData::new(values, [tokens, 1]), device)
        };
        let feature = Tensor::<B, 1, Int>::arange(0..features as i64, device).unsqueeze::<2>();
        let all = |x: Tensor<B, 2, Int>| x.expand([tokens, features]);
        let (mut left, mut right) =
            (all(half_keys(|key| key >> 16)), all(half_keys(|key| key & HALF)).bitwise_xor(all(feature)));
        let round = |x: Tensor<B, 2, Int>, factor: u32| {
            let product = (x + 1) * factor as i32;
            product.bitwise_right_shift_scalar((SHIFT as i32).elem()).bitwise_and_scalar((HALF as i32).elem())
        };
        for pair in FACTORS.chunks_exact(2) {
            left = left.bitwise_xor(round(right.clone(), pair[0]));
            right = right.bitwise_xor(round(left.clone(), pair[1]));
        }
        let bits = left * (1 << 15) + right.bitwise_right_shift_scalar(1.elem());
        bits.greater_equal_elem(self.threshold as i32).float().cast(DType::F32) * self.keep
    }
}

#[multiversion(targets = "simd")]
fn add_token(key: u32, threshold: u32, keep: f32, x: &[f32], y: &mut [f32]) {
    for (feature, (y, x)) in y.iter_mut().zip(x).enumerate() {
        let factor = if hash(key, feature as u32) < threshold { 0.0 } else { keep };
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

    fn dropout(rows: Vec<(u64, usize)>) -> LoraDropout {
        LoraDropout { seed: 42, step: 7, rows }
    }

    fn factors(dropout: &LoraDropout, module: u64, probability: f64, features: usize) -> Vec<f32> {
        let mask = dropout.mask(module, probability);
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
    fn the_mask_on_the_device_equals_the_one_on_the_host() {
        let dropout = dropout(vec![(4, 10), (9, 6)]);
        let found = dropout.mask(1, 0.15).tensor::<Flex>(300, &Default::default());
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
        assert_ne!(base, factors(&LoraDropout { seed: 43, step: 7, rows: vec![(0, 16)] }, 0, 0.5, 16));
        assert_ne!(base, factors(&LoraDropout { seed: 42, step: 8, rows: vec![(0, 16)] }, 0, 0.5, 16));
    }
}
