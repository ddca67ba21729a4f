//! Softmax and cross-entropy of a chunk's logits. Not differentiated by autodiff: it computes its gradient itself.

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use multiversion::multiversion;
use rayon::prelude::*;

use super::math;
use super::op::{Matrix, flex_matrix, from_matrix};

/// Per token: negative log-likelihood of the label, whether the label is the most likely token (the first of equals),
/// and the gradient of the summed losses, softmax - onehot, times the scale that was given.
pub struct CrossEntropy<B: Backend> {
    /// `[tokens]`
    pub nll: Tensor<B, 1>,
    /// `[tokens]`
    pub correct: Tensor<B, 1, Int>,
    /// `[tokens, vocab]`, when asked for
    pub gradient: Option<Tensor<B, 2>>,
}

/// # Shapes
/// logits `[tokens, vocab]` in f32, labels `[tokens]`
pub fn cross_entropy<B: Backend>(
    logits: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
    gradient_scale: Option<f64>,
) -> CrossEntropy<B> {
    let Some(matrix) = flex_matrix(&logits) else {
        return composed(logits, labels, gradient_scale);
    };
    let device = logits.device();
    drop(logits);
    let labels: Vec<i32> = labels.into_data().iter::<i32>().collect();
    let columns = matrix.columns;
    let rows = matrix.values().par_chunks_exact(columns).zip(labels.par_iter());
    let (scores, gradient): (Vec<(f32, i32)>, Option<Matrix>) = if let Some(scale) = gradient_scale {
        let mut gradient = vec![0.0; matrix.values().len()];
        let scores = rows
            .zip(gradient.par_chunks_exact_mut(columns))
            .map(|((logits, label), gradient)| score_with_gradient(logits, *label as usize, scale as f32, gradient))
            .collect();
        (scores, Some(Matrix::from_vec(gradient, columns)))
    } else {
        (rows.map(|(logits, label)| score(logits, *label as usize)).collect(), None)
    };
    let (nll, correct): (Vec<f32>, Vec<i32>) = scores.into_iter().unzip();
    let tokens = [nll.len()];
    CrossEntropy {
        nll: Tensor::from_data(TensorData::new(nll, tokens), &device),
        correct: Tensor::from_data(TensorData::new(correct, tokens), &device),
        gradient: gradient.map(from_matrix),
    }
}

pub fn composed<B: Backend>(
    logits: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
    gradient_scale: Option<f64>,
) -> CrossEntropy<B> {
    let label_column: Tensor<B, 2, Int> = labels.clone().unsqueeze_dim(1);
    let label_logit = logits.clone().gather(1, label_column.clone()); // [tokens, 1]
    let correct = logits.clone().argmax(1).squeeze_dim::<1>(1).equal(labels).int();
    let max = logits.clone().max_dim(1);
    let exp = (logits - max.clone()).exp();
    let sum = exp.clone().sum_dim(1);
    let nll = (sum.clone().log() + max - label_logit.clone()).squeeze_dim::<1>(1);
    let gradient = gradient_scale.map(|scale| {
        let minus_one = label_logit.ones_like().neg();
        (exp / sum).scatter(1, label_column, minus_one, burn::tensor::IndexingUpdateOp::Add).mul_scalar(scale)
    });
    CrossEntropy { nll, correct, gradient }
}

/// The loss and whether the label is the most likely token, given the largest logit and the sum of exponentials.
#[inline(always)]
fn judge(logits: &[f32], label: usize, max: f32, sum: f32) -> (f32, i32) {
    let correct = logits[label] == max && !logits[..label].contains(&max);
    (sum.ln() + max - logits[label], correct as i32)
}

#[multiversion(targets = "simd")]
fn score(logits: &[f32], label: usize) -> (f32, i32) {
    let max = math::max(logits);
    let sum = math::sum(logits, |logit| math::exp(logit - max));
    judge(logits, label, max, sum)
}

#[multiversion(targets = "simd")]
fn score_with_gradient(logits: &[f32], label: usize, scale: f32, gradient: &mut [f32]) -> (f32, i32) {
    let max = math::max(logits);
    for (gradient, logit) in gradient.iter_mut().zip(logits) {
        *gradient = math::exp(logit - max);
    }
    let sum = math::sum(gradient, |exp| exp);
    let factor = scale / sum;
    let exp_label = gradient[label];
    for gradient in gradient.iter_mut() {
        *gradient *= factor;
    }
    gradient[label] = (exp_label / sum - 1.0) * scale;
    judge(logits, label, max, sum)
}
