//! Linear head and cross-entropy in one, in chunks of tokens: the logits of a whole batch never exist.
//!
//! The head is frozen, so the loss's gradient with respect to the hidden states is known in closed form,
//! (softmax - onehot) W, and is computed beside the loss. Training feeds it to autodiff through [`surrogate`].

use burn::tensor::{DType, Int, Tensor, backend::AutodiffBackend, backend::Backend};

use crate::kernels::{cross_entropy, linear, linear_backward};

/// Tokens whose logits exist at the same time: 256 x 151,936 x 4 bytes = 156 MB for Qwen2.5.
pub const CHUNK_TOKENS: usize = 256;

/// Negative log-likelihoods of labelled tokens.
pub struct TokenLosses<B: Backend> {
    /// `[tokens]`, in nats, f32
    pub nll: Tensor<B, 1>,
    /// `[tokens]`: 1 where the label is the most likely token.
    pub correct: Tensor<B, 1, Int>,
    /// `[tokens, hidden]`: the gradient of the sum of `nll` times `gradient_scale`, in the hidden states' type; only
    /// when a scale is given.
    pub gradient: Option<Tensor<B, 2>>,
}

/// # Shapes
/// hidden `[tokens, hidden]`, head `[vocab, hidden]`, labels `[tokens]`
pub fn linear_cross_entropy<B: Backend>(
    hidden: Tensor<B, 2>,
    head: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
    gradient_scale: Option<f64>,
) -> TokenLosses<B> {
    let (tokens, dtype) = (hidden.dims()[0], hidden.dtype());
    let (mut nll, mut correct, mut gradient) = (Vec::new(), Vec::new(), Vec::new());
    for start in (0..tokens).step_by(CHUNK_TOKENS) {
        let len = CHUNK_TOKENS.min(tokens - start);
        let logits = linear(hidden.clone().narrow(0, start, len), &head, None).cast(DType::F32);
        let chunk = cross_entropy(logits, labels.clone().narrow(0, start, len), gradient_scale);
        nll.push(chunk.nll);
        correct.push(chunk.correct);
        if let Some(d_logits) = chunk.gradient {
            // Subtracted and scaled in f32 before it is rounded: softmax - onehot nearly cancels where the model is sure.
            gradient.push(linear_backward(d_logits, &head).cast(dtype));
        }
    }
    TokenLosses {
        nll: Tensor::cat(nll, 0),
        correct: Tensor::cat(correct, 0),
        gradient: gradient_scale.map(|_| Tensor::cat(gradient, 0)),
    }
}

/// A scalar whose gradient with respect to `hidden` is `gradient`: backward from it is backward from the loss.
pub fn surrogate<B: AutodiffBackend>(hidden: Tensor<B, 2>, gradient: Tensor<B::InnerBackend, 2>) -> Tensor<B, 1> {
    (hidden * Tensor::from_inner(gradient)).sum()
}
