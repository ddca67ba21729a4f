//! A step of AdamW in one pass over memory.

use burn::tensor::{Tensor, backend::Backend};
use multiversion::multiversion;
use rayon::prelude::*;

use super::op::{flex_values, update};

/// What a step is made with.
#[derive(Debug, Clone, Copy)]
pub struct AdamWStep {
    pub learning_rate: f64,
    pub beta_1: f32,
    pub beta_2: f32,
    pub epsilon: f32,
    pub weight_decay: f32,
    /// Number of the step, from 1.
    pub time: usize,
}

/// Stands for a gradient that is no number. No other gradient is so large: the sum of squares would not be finite.
pub const BAD_GRADIENT: f32 = f32::MAX;

/// Elements that a thread takes at a time.
const CHUNK: usize = 1 << 14;

/// Weights and both moments after the step, changed in place, and left alone where the gradient is [`BAD_GRADIENT`]; as they
/// were, on backends without this fast path.
pub fn adamw<B: Backend, const D: usize>(
    step: AdamWStep,
    gradient: &Tensor<B, D>,
    weights_and_moments: [Tensor<B, D>; 3],
) -> Result<[Tensor<B, D>; 3], [Tensor<B, D>; 3]> {
    let Some(gradient) = flex_values(gradient) else {
        return Err(weights_and_moments);
    };
    let gradient: &[f32] = gradient.as_slice().expect("it is contiguous and f32");
    update(weights_and_moments, |[weights, first, second]| {
        let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
        let parts = weights.par_chunks_mut(CHUNK).zip(moments).zip(gradient.par_chunks(CHUNK));
        parts.for_each(|((weights, (first, second)), gradient)| change(step, gradient, weights, first, second));
    })
}

/// Rounds as burn's operations do, one after the other.
#[multiversion(targets = "simd")]
fn change(step: AdamWStep, gradient: &[f32], weights: &mut [f32], first: &mut [f32], second: &mut [f32]) {
    let AdamWStep { learning_rate, beta_1, beta_2, epsilon, weight_decay, time } = step;
    let correction_1 = 1.0 - beta_1.powi(time as i32);
    let correction_2 = 1.0 - beta_2.powi(time as i32);
    let decay = (1.0 - learning_rate * weight_decay as f64) as f32;
    let learning_rate = learning_rate as f32;
    for (((g, w), m), v) in gradient.iter().zip(weights).zip(first).zip(second) {
        let new_m = *m * beta_1 + g * (1.0 - beta_1);
        let new_v = *v * beta_2 + g * g * (1.0 - beta_2);
        let delta = (new_m / correction_1) / ((new_v / correction_2).sqrt() + epsilon);
        let new_w = *w * decay - delta * learning_rate;
        let keep = *g == BAD_GRADIENT;
        *m = if keep { *m } else { new_m };
        *v = if keep { *v } else { new_v };
        *w = if keep { *w } else { new_w };
    }
}
