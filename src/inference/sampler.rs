//! From logits to the next token: penalty, temperature, top-k, top-p, as transformers orders them.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::generation::{GenerationConfig, Sampling};

/// Picks tokens. The generator is portable: a seed gives the same tokens on every machine.
pub struct Sampler {
    sampling: Option<Sampling>,
    repetition_penalty: f32,
    rng: ChaCha8Rng,
}

impl Sampler {
    pub fn new(config: &GenerationConfig) -> Self {
        Self {
            sampling: config.sampling,
            repetition_penalty: config.repetition_penalty as f32,
            rng: ChaCha8Rng::seed_from_u64(config.seed),
        }
    }

    /// The next token after `seen` (prompt and generated ids).
    pub fn next(&mut self, logits: &mut [f32], seen: &[u32]) -> u32 {
        penalise_repetition(logits, seen, self.repetition_penalty);
        match self.sampling {
            None => argmax(logits),
            Some(sampling) => {
                let candidates = candidates(logits, sampling);
                draw(&candidates, self.rng.random())
            }
        }
    }
}

/// Makes every token seen less likely (Keskar et al., 2019): positive logits are divided, negative multiplied.
fn penalise_repetition(logits: &mut [f32], seen: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut unique: Vec<u32> = seen.to_vec();
    unique.sort_unstable();
    unique.dedup();
    for id in unique {
        if let Some(logit) = logits.get_mut(id as usize) {
            *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
        }
    }
}

/// The most likely token; the first of equals.
fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

/// Tokens that may be drawn with their probabilities, most likely first.
fn candidates(logits: &[f32], sampling: Sampling) -> Vec<(u32, f64)> {
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    if let Some(k) = sampling.top_k.filter(|k| *k < ids.len()) {
        ids.select_nth_unstable_by(k - 1, by_logit);
        ids.truncate(k);
    }
    ids.sort_unstable_by(by_logit);
    let max = logits[ids[0] as usize] as f64;
    let weights: Vec<f64> =
        ids.iter().map(|id| ((logits[*id as usize] as f64 - max) / sampling.temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    // Top-p: the smallest set of most likely tokens whose probability reaches p.
    let mut reached = 0.0;
    let mut kept = Vec::new();
    for (id, weight) in ids.into_iter().zip(weights) {
        kept.push((id, weight));
        reached += weight / total;
        if reached >= sampling.top_p {
            break;
        }
    }
    let kept_total: f64 = kept.iter().map(|(_, weight)| weight).sum();
    kept.into_iter().map(|(id, weight)| (id, weight / kept_total)).collect()
}

/// The candidate whose stretch of the unit interval holds `point`.
fn draw(candidates: &[(u32, f64)], point: f64) -> u32 {
    let mut reached = 0.0;
    for (id, probability) in candidates {
        reached += probability;
        if point < reached {
            return *id;
        }
    }
    candidates.last().expect("at least one candidate").0
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, -1.0, 0.0];

    fn sampling(temperature: f64, top_k: Option<usize>, top_p: f64) -> Sampling {
        Sampling { temperature, top_k, top_p }
    }

    #[test]
    fn the_penalty_divides_positive_and_multiplies_negative_logits_once() {
        let mut logits = LOGITS;
        penalise_repetition(&mut logits, &[1, 3, 1, 4, 99], 2.0);
        assert_eq!(logits, [1.0, 1.5, 2.0, -2.0, 0.0]);
    }

    #[test]
    fn top_k_keeps_the_k_most_likely() {
        let ids: Vec<u32> = candidates(&LOGITS, sampling(1.0, Some(2), 1.0)).iter().map(|c| c.0).collect();
        assert_eq!(ids, [1, 2]);
    }

    #[test]
    fn top_p_keeps_the_smallest_set_that_reaches_p() {
        let all = candidates(&LOGITS, sampling(1.0, None, 1.0));
        let first = all[0].1;
        assert_eq!(candidates(&LOGITS, sampling(1.0, None, first - 0.01)).len(), 1);
        assert_eq!(candidates(&LOGITS, sampling(1.0, None, first + 0.01)).len(), 2);
        let two = candidates(&LOGITS, sampling(1.0, None, first + 0.01));
        assert!((two.iter().map(|c| c.1).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn temperature_comes_before_top_p() {
        // Cold, the first token alone reaches 0.9; hot, it doesn't.
        assert_eq!(candidates(&LOGITS, sampling(0.1, None, 0.9)).len(), 1);
        assert!(candidates(&LOGITS, sampling(2.0, None, 0.9)).len() > 2);
    }

    #[test]
    fn drawing_follows_the_probabilities_and_the_seed() {
        let candidates = candidates(&LOGITS, sampling(1.0, None, 1.0));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let hits = (0..20_000).filter(|_| draw(&candidates, rng.random()) == 1).count() as f64 / 20_000.0;
        assert!((hits - candidates[0].1).abs() < 0.015, "{hits} against {}", candidates[0].1);
    }
}
