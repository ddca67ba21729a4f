//! Dropout on the input of LoRA branches, from counters instead of a generator's state.

use rayon::prelude::*;

/// Which dropout masks a training pass uses. A mask is a function of (seed, step, row, module, position), never of a
/// shared generator: it is the same for any split into micro batches and after a resume.
#[derive(Debug, Clone)]
pub struct LoraDropout {
    pub seed: u64,
    pub step: u64,
    /// For each row of the batch: its place in the optimizer step, and its length in tokens (padding included).
    pub rows: Vec<(u64, usize)>,
}

impl LoraDropout {
    /// Factors for `[tokens, features]`: 0 with the given probability, else 1 / (1 - probability).
    pub fn mask(&self, module_index: u64, probability: f64, features: usize) -> Vec<f32> {
        let keep = (1.0 / (1.0 - probability)) as f32;
        let threshold = (probability * 2f64.powi(32)) as u32;
        let tokens = self.rows.iter().map(|(_, len)| len).sum::<usize>();
        let mut mask = vec![0.0; tokens * features];
        let mut rest = mask.as_mut_slice();
        let mut rows = Vec::with_capacity(self.rows.len());
        for (row, len) in &self.rows {
            let (values, after) = rest.split_at_mut(len * features);
            rest = after;
            rows.push((*row, values));
        }
        rows.into_par_iter().for_each(|(row, values)| {
            let key = [self.step, row, module_index].iter().fold(mix(self.seed), |key, part| mix(key ^ mix(*part)));
            for (i, pair) in values.chunks_mut(2).enumerate() {
                let bits = mix(key.wrapping_add((i as u64).wrapping_mul(GOLDEN_GAMMA)));
                for (value, bits) in pair.iter_mut().zip([bits as u32, (bits >> 32) as u32]) {
                    *value = if bits < threshold { 0.0 } else { keep };
                }
            }
        });
        mask
    }
}

const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// The output function of SplitMix64 (Steele, Lea and Flood, 2014).
fn mix(z: u64) -> u64 {
    let z = z.wrapping_add(GOLDEN_GAMMA);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropout(rows: Vec<(u64, usize)>) -> LoraDropout {
        LoraDropout { seed: 42, step: 7, rows }
    }

    #[test]
    fn a_mask_keeps_its_expected_share_and_scale() {
        let mask = dropout(vec![(0, 100), (1, 100)]).mask(3, 0.15, 500);
        let kept = mask.iter().filter(|m| **m != 0.0).count() as f64 / mask.len() as f64;
        assert!((kept - 0.85).abs() < 0.005, "kept {kept}");
        assert!(mask.iter().all(|m| *m == 0.0 || (*m - 1.0 / 0.85).abs() < 1e-6));
    }

    #[test]
    fn a_rows_mask_does_not_depend_on_its_neighbours_or_its_padding() {
        let together = dropout(vec![(4, 10), (9, 6)]).mask(1, 0.5, 8);
        let alone = dropout(vec![(9, 6)]).mask(1, 0.5, 8);
        assert_eq!(together[80..], alone);
        let padded = dropout(vec![(9, 11)]).mask(1, 0.5, 8);
        assert_eq!(padded[..48], alone);
    }

    #[test]
    fn masks_differ_between_rows_steps_modules_and_seeds() {
        let base = dropout(vec![(0, 16)]).mask(0, 0.5, 16);
        assert_ne!(base, dropout(vec![(1, 16)]).mask(0, 0.5, 16));
        assert_ne!(base, dropout(vec![(0, 16)]).mask(1, 0.5, 16));
        assert_ne!(base, LoraDropout { seed: 43, step: 7, rows: vec![(0, 16)] }.mask(0, 0.5, 16));
        assert_ne!(base, LoraDropout { seed: 42, step: 8, rows: vec![(0, 16)] }.mask(0, 0.5, 16));
    }
}
