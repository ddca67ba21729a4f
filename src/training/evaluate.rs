//! The validation loss: the whole file, weighted by tokens, whatever the batch size.

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use serde::Serialize;

use super::side_by_side;
use crate::data::batching::MicroBatch;
use crate::model::Qwen2ForCausalLm;
use crate::model::loss::linear_cross_entropy;

/// Sums over scored labels; add them up, then [`metrics`](Self::metrics).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct EvalSums {
    pub nll: f64,
    pub correct: usize,
    pub tokens: usize,
}

impl std::ops::AddAssign for EvalSums {
    fn add_assign(&mut self, other: Self) {
        self.nll += other.nll;
        self.correct += other.correct;
        self.tokens += other.tokens;
    }
}

/// What an evaluation found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EvalMetrics {
    /// Mean negative log-likelihood of a label, in nats.
    pub loss: f64,
    /// exp(loss)
    pub perplexity: f64,
    /// Share of labels that were the most likely token.
    pub token_accuracy: f64,
    /// Labels scored.
    pub tokens: usize,
}

impl EvalSums {
    pub fn metrics(self) -> EvalMetrics {
        let loss = self.nll / self.tokens as f64;
        let token_accuracy = self.correct as f64 / self.tokens as f64;
        EvalMetrics { loss, perplexity: loss.exp(), token_accuracy, tokens: self.tokens }
    }
}

/// Hidden states of the positions that carry a label.
pub(super) fn labelled_hidden<B: Backend>(hidden: Tensor<B, 2>, batch: &MicroBatch) -> Tensor<B, 2> {
    let positions = indices::<B>(&batch.label_positions, &hidden.device());
    hidden.select(0, positions)
}

pub(super) fn indices<B: Backend>(values: &[i32], device: &B::Device) -> Tensor<B, 1, Int> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
}

/// Scores one batch.
pub fn evaluate_batch<B: Backend>(model: &Qwen2ForCausalLm<B>, batch: &MicroBatch) -> EvalSums {
    let hidden = labelled_hidden(model.model.forward(&batch.tokens, None, None), batch);
    let labels = indices::<B>(&batch.labels, &hidden.device());
    let losses = linear_cross_entropy(hidden, model.head().val(), labels, None);
    // Added up in f64 on the host: the same to the last digit for any batch size, as far as the losses are.
    let nll = losses.nll.into_data().iter::<f64>().sum();
    let correct = losses.correct.into_data().iter::<i64>().sum::<i64>();
    EvalSums { nll, correct: correct as usize, tokens: batch.label_count() }
}

/// Scores all batches. `on_batch` hears how many are done and says whether to go on; `None` if it did not.
pub fn evaluate<B: Backend>(
    model: &Qwen2ForCausalLm<B>,
    batches: impl IntoIterator<Item = MicroBatch>,
    mut on_batch: impl FnMut(usize) -> bool,
) -> Option<EvalMetrics> {
    let batches: Vec<MicroBatch> = batches.into_iter().collect();
    let mut sums = EvalSums::default();
    let at_once = side_by_side::items_at_once(model);
    for (number, batches) in batches.chunks(at_once).enumerate() {
        if !on_batch(number * at_once) {
            return None;
        }
        match batches {
            [batch] => sums += evaluate_batch(model, batch),
            several => {
                side_by_side::map(model, several, evaluate_batch).into_iter().for_each(|batch| sums += batch);
            }
        }
    }
    Some(sums.metrics())
}
