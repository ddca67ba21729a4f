//! The model as burn-train sees it: one training step is one optimizer step's worth of micro batches.

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Tensor, backend::AutodiffBackend, backend::Backend};
use burn::train::{InferenceStep, LearningComponentsMarker, TrainOutput, TrainStep};

use super::evaluate::{EvalMetrics, evaluate_batch, indices, labelled_hidden};
use super::metrics::TrainItem;
use super::optimizer::SharedAdamW;
use super::schedule::Schedule;
use super::side_by_side;
use crate::data::batching::{MicroBatch, Window};
use crate::kernels::sum;
use crate::model::kv_cache::Past;
use crate::model::loss::{Wanted, linear_cross_entropy, surrogate};
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
        let mut add = |(nll, batch_gradients): Pass<B>| {
            gradients.accumulate(self, batch_gradients);
            loss = Some(match loss.take() {
                Some(loss) => loss + nll,
                None => nll,
            });
        };
        if side_by_side::suits(self) {
            // Not all at once: each has gradients of its own.
            for batches in window.micro_batches.chunks(side_by_side::items_at_once(self)) {
                side_by_side::map(self, batches, |model, batch| forward_backward(model, &window, batch))
                    .into_iter()
                    .for_each(&mut add);
            }
        } else {
            window.micro_batches.iter().for_each(|batch| add(forward_backward(self, &window, batch)));
        }
        let loss = loss.expect("a window has micro batches");
        TrainOutput { grads: gradients.grads(), item: TrainItem::Step(loss) }
    }
}

/// One micro batch's share of the step's loss, `[1]`, and its gradients.
type Pass<B> = (Tensor<<B as AutodiffBackend>::InnerBackend, 1>, GradientsParams);

fn forward_backward<B: AutodiffBackend>(model: &Qwen2ForCausalLm<B>, window: &Window, batch: &MicroBatch) -> Pass<B> {
    if model.model.gradient_checkpointing {
        return layer_by_layer(model, window, batch);
    }
    let hidden = model.model.forward(&batch.tokens, None, Some(&dropout(window, batch)));
    let Scored { loss, gradients, head_gradient } = loss_and_backward(model, window, batch, hidden);
    let mut gradients = GradientsParams::from_grads(gradients, model);
    add_head_gradient(model, head_gradient, &mut gradients);
    (loss, gradients)
}

fn dropout<B: Backend>(window: &Window, batch: &MicroBatch) -> LoraDropout<B> {
    let rows = batch.rows.iter().copied().zip(batch.tokens.row_lengths());
    LoraDropout::new(window.seed, window.step as u64, rows)
}

/// A loss, `[1]`, and what it depends on.
struct Scored<B: AutodiffBackend> {
    loss: Tensor<B::InnerBackend, 1>,
    /// Of everything before the head.
    gradients: B::Gradients,
    /// `[vocab, hidden]`, where the head is trained.
    head_gradient: Option<Tensor<B::InnerBackend, 2>>,
}

/// The loss of hidden states, and the gradients of what they were computed from.
fn loss_and_backward<B: AutodiffBackend>(
    model: &Qwen2ForCausalLm<B>,
    window: &Window,
    batch: &MicroBatch,
    hidden: Tensor<B, 2>,
) -> Scored<B> {
    let hidden = labelled_hidden(hidden, batch);
    let labels = indices::<B::InnerBackend>(&batch.labels, &hidden.device());
    let per_label = 1.0 / window.label_count as f64;
    let head = model.head();
    let wanted = Wanted { scale: per_label, head: head.is_trained() };
    let losses = linear_cross_entropy(hidden.clone().inner(), head.val().inner(), labels, Some(wanted));
    let gradient = losses.gradient.expect("the gradient was asked for");
    Scored {
        loss: sum(losses.nll).mul_scalar(per_label),
        gradients: surrogate(hidden, gradient).backward(),
        head_gradient: losses.head_gradient,
    }
}

/// A tied head is the embedding, whose gradient as such is there already.
fn add_head_gradient<B: AutodiffBackend>(
    model: &Qwen2ForCausalLm<B>,
    gradient: Option<Tensor<B::InnerBackend, 2>>,
    gradients: &mut GradientsParams,
) {
    if let (Some(id), Some(gradient)) = (model.head().id(), gradient) {
        let sum = match gradients.remove::<B::InnerBackend, 2>(id) {
            Some(embedding) => embedding + gradient,
            None => gradient,
        };
        gradients.register(id, sum);
    }
}

/// As [`forward_backward`] with nothing kept but each layer's input (Chen et al., 2016): a layer is computed again, with
/// autodiff, when the gradient has come back to it.
fn layer_by_layer<B: AutodiffBackend>(model: &Qwen2ForCausalLm<B>, window: &Window, batch: &MicroBatch) -> Pass<B> {
    let leaf = |x: Tensor<B::InnerBackend, 2>| Tensor::<B, 2>::from_inner(x).require_grad();
    let without_autodiff = model.model.valid();
    let pass = without_autodiff.attention_pass(&batch.tokens, Past::default());
    let masks = dropout(window, batch);
    let mut x = without_autodiff.embed(&batch.tokens.input_ids);
    let mut inputs = Vec::new();
    for layer in &without_autodiff.layers {
        inputs.push(x.clone());
        x = layer.forward(x, &pass, None, Some(&masks));
    }

    let output = leaf(x);
    let normed = model.model.norm.forward(output.clone());
    let Scored { loss, gradients, head_gradient } = loss_and_backward(model, window, batch, normed);
    let mut gradient = output.grad(&gradients).expect("the loss depends on the last layer");
    let pass = model.model.attention_pass(&batch.tokens, Past::default());
    let masks = dropout(window, batch);
    let mut all = GradientsParams::from_grads(gradients, &model.model.norm);
    for (layer, input) in model.model.layers.iter().zip(inputs).rev() {
        let input = leaf(input);
        let output = layer.forward(input.clone(), &pass, None, Some(&masks));
        let gradients = surrogate(output, gradient).backward();
        gradient = input.grad(&gradients).expect("a layer's output depends on its input");
        collect(layer, gradients, &mut all);
    }
    let embedding = &model.model.embed_tokens;
    if embedding.is_trained() {
        let embedded = model.model.embed(&batch.tokens.input_ids);
        collect(embedding, surrogate(embedded, gradient).backward(), &mut all);
    }
    add_head_gradient(model, head_gradient, &mut all);
    (loss, all)
}

/// Moves the gradients of a module's parameters to those of other modules.
fn collect<B: AutodiffBackend, M: AutodiffModule<B>>(module: &M, gradients: B::Gradients, all: &mut GradientsParams) {
    struct Collect<'a> {
        of_module: GradientsParams,
        all: &'a mut GradientsParams,
    }
    impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if let Some(gradient) = self.of_module.remove::<B::InnerBackend, D>(param.id) {
                self.all.register(param.id, gradient);
            }
        }
    }
    module.visit(&mut Collect { of_module: GradientsParams::from_grads(gradients, module), all });
}

impl<B: Backend> InferenceStep for Qwen2ForCausalLm<B> {
    type Input = MicroBatch;
    type Output = EvalMetrics;

    fn step(&self, batch: MicroBatch) -> EvalMetrics {
        evaluate_batch(self, &batch).metrics()
    }
}
