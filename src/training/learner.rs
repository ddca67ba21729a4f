//! The model as burn-train sees it: one training step is one optimizer step's worth of micro batches.

use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Tensor, backend::AutodiffBackend, backend::Backend};
use burn::train::{InferenceStep, LearningComponentsMarker, TrainOutput, TrainStep};

use super::evaluate::{EvalMetrics, evaluate_batch, indices, labelled_hidden};
use super::metrics::TrainItem;
use super::optimizer::SharedAdamW;
use super::schedule::Schedule;
use crate::data::batching::{MicroBatch, Window};
use crate::model::loss::{linear_cross_entropy, surrogate};
use crate::model::{LoraDropout, Qwen2ForCausalLm};

/// The parts that burn-train trains with.
pub type Components<B> =
    LearningComponentsMarker<B, Schedule, Qwen2ForCausalLm<B>, SharedAdamW<Qwen2ForCausalLm<B>, B>>;

impl<B: AutodiffBackend> TrainStep for Qwen2ForCausalLm<B> {
    type Input = Window;
    type Output = TrainItem<B::InnerBackend>;

    /// Forward and backward of a whole optimizer step: the loss is the sum over its labels divided by their number,
    /// so that it does not depend on how the rows are split into micro batches.
    fn step(&self, window: Window) -> TrainOutput<Self::Output> {
        let mut gradients = GradientsAccumulator::new();
        let mut loss: Option<Tensor<B::InnerBackend, 1>> = None;
        for batch in &window.micro_batches {
            let (nll, batch_gradients) = forward_backward(self, &window, batch);
            gradients.accumulate(self, batch_gradients);
            loss = Some(match loss {
                Some(loss) => loss + nll,
                None => nll,
            });
        }
        let loss = loss.expect("a window has micro batches");
        TrainOutput { grads: gradients.grads(), item: TrainItem::Step(loss) }
    }
}

/// One micro batch's share of the step's loss, `[1]`, and its gradients.
fn forward_backward<B: AutodiffBackend>(
    model: &Qwen2ForCausalLm<B>,
    window: &Window,
    batch: &MicroBatch,
) -> (Tensor<B::InnerBackend, 1>, GradientsParams) {
    let rows = batch.rows.iter().copied().zip(batch.tokens.row_lengths()).collect();
    let dropout = LoraDropout { seed: window.seed, step: window.step as u64, rows };
    let hidden = labelled_hidden(model.model.forward(&batch.tokens, None, Some(&dropout)), batch);
    let labels = indices::<B::InnerBackend>(&batch.labels, &hidden.device());
    let per_label = 1.0 / window.label_count as f64;
    let losses = linear_cross_entropy(hidden.clone().inner(), model.head().inner(), labels, Some(per_label));
    let gradient = losses.gradient.expect("the gradient was asked for");
    let gradients = surrogate(hidden, gradient).backward();
    (losses.nll.sum().mul_scalar(per_label), GradientsParams::from_grads(gradients, model))
}

impl<B: Backend> InferenceStep for Qwen2ForCausalLm<B> {
    type Input = MicroBatch;
    type Output = EvalMetrics;

    fn step(&self, batch: MicroBatch) -> EvalMetrics {
        evaluate_batch(self, &batch).metrics()
    }
}
