//! How far two models are apart: one token's prediction after the other.

use burn::tensor::backend::Backend;
use serde::Serialize;

use crate::data::encode::EncodedRow;
use crate::model::{Qwen2ForCausalLm, TokenBatch};

/// Differences over the labelled tokens of some rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Parity {
    pub rows: usize,
    pub tokens: usize,
    pub largest_logit_difference: f64,
    /// Mean Kullback-Leibler divergence of the other's predictions from the reference's, in nats.
    pub kl_divergence: f64,
    /// Share of tokens at which both find the same token most likely.
    pub greedy_agreement: f64,
    /// The other's mean loss less the reference's.
    pub loss_difference: f64,
}

/// Compares `other` with `reference`.
pub fn parity<B: Backend>(reference: &Qwen2ForCausalLm<B>, other: &Qwen2ForCausalLm<B>, rows: &[EncodedRow]) -> Parity {
    let mut sums = Parity { rows: rows.len(), ..Parity::default() };
    for row in rows {
        let (a, b) = (logits(reference, row), logits(other, row));
        for ((a, b), label) in a.iter().zip(&b).zip(row.labels()) {
            sums.tokens += 1;
            sums.largest_logit_difference =
                a.iter().zip(b).map(|(a, b)| (a - b).abs() as f64).fold(sums.largest_logit_difference, f64::max);
            let (p, q) = (log_softmax(a), log_softmax(b));
            sums.kl_divergence += p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>();
            sums.greedy_agreement += (argmax(a) == argmax(b)) as u8 as f64;
            sums.loss_difference += p[*label as usize] - q[*label as usize];
        }
    }
    let count = sums.tokens.max(1) as f64;
    sums.kl_divergence /= count;
    sums.greedy_agreement /= count;
    sums.loss_difference /= count;
    sums
}

/// Logits of a row's labelled positions.
fn logits<B: Backend>(model: &Qwen2ForCausalLm<B>, row: &EncodedRow) -> Vec<Vec<f32>> {
    let hidden = model.model.forward(&TokenBatch::single(row.input_ids.clone()), None, None);
    let labelled = row.labelled.clone();
    let logits = model.logits(hidden.narrow(0, labelled.start, labelled.len()));
    let vocab = logits.dims()[1];
    let values = logits.into_data().convert::<f32>().into_vec::<f32>().expect("converted to f32");
    values.chunks(vocab).map(<[f32]>::to_vec).collect()
}

fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().fold(f64::NEG_INFINITY, |max, logit| max.max(*logit as f64));
    let total = logits.iter().map(|logit| (*logit as f64 - max).exp()).sum::<f64>().ln() + max;
    logits.iter().map(|logit| *logit as f64 - total).collect()
}

fn argmax(logits: &[f32]) -> usize {
    let best = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (0..logits.len()).fold(0, best)
}
