//! Linear head and cross-entropy in one, in chunks of tokens: the logits of a whole batch never exist.
//!
//! The loss's gradients are known in closed form, (softmax - onehot) W for the hidden states and (softmax - onehot)^T h
//! for the head, and are computed beside the loss. Training feeds the first to autodiff through [`surrogate`].

use burn::tensor::{DType, Int, Tensor, backend::AutodiffBackend, backend::Backend};

use crate::kernels::{cross_entropy, linear, linear_backward, weight_gradient};

/// Tokens whose logits exist at the same time: 256 x 151,936 x 4 bytes = 156 MB for Qwen2.5.
pub const CHUNK_TOKENS: usize = 256;

/// Negative log-likelihoods of labelled tokens.
pub struct TokenLosses<B: Backend> {
    /// `[tokens]`, in nats, f32
    pub nll: Tensor<B, 1>,
    /// `[tokens]`: 1 where the label is the most likely token.
    pub correct: Tensor<B, 1, Int>,
    /// `[tokens, hidden]`, in the hidden states' type, when [`Wanted`].
    pub gradient: Option<Tensor<B, 2>>,
    /// `[vocab, hidden]`, when wanted.
    pub head_gradient: Option<Tensor<B, 2>>,
}

/// Which gradients to compute, of the sum of the losses times `scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    pub scale: f64,
    /// The head's as well as the hidden states'.
    pub head: bool,
}

/// # Shapes
/// hidden `[tokens, hidden]`, head `[vocab, hidden]`, labels `[tokens]`
pub fn linear_cross_entropy<B: Backend>(
    hidden: Tensor<B, 2>,
    head: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
    wanted: Option<Wanted>,
) -> TokenLosses<B> {
    let (tokens, dtype) = (hidden.dims()[0], hidden.dtype());
    let (mut nll, mut correct, mut gradient) = (Vec::new(), Vec::new(), Vec::new());
    let mut head_gradient: Option<Tensor<B, 2>> = None;
    for start in (0..tokens).step_by(CHUNK_TOKENS) {
        let len = CHUNK_TOKENS.min(tokens - start);
        let hidden = hidden.clone().narrow(0, start, len);
        let logits = linear(hidden.clone(), &head, None).cast(DType::F32);
        let chunk = cross_entropy(logits, labels.clone().narrow(0, start, len), wanted.map(|wanted| wanted.scale));
        nll.push(chunk.nll);
        correct.push(chunk.correct);
        if let Some(d_logits) = chunk.gradient {
            if wanted.is_some_and(|wanted| wanted.head) {
                let of_chunk = weight_gradient(d_logits.clone(), hidden.cast(DType::F32));
                head_gradient = Some(match head_gradient.take() {
                    Some(sum) => sum + of_chunk,
                    None => of_chunk,
                });
            }
            // Subtracted and scaled in f32 before it is rounded: softmax - onehot nearly cancels where the model is sure.
            gradient.push(linear_backward(d_logits, &head).cast(dtype));
        }
    }
    TokenLosses {
        nll: Tensor::cat(nll, 0),
        correct: Tensor::cat(correct, 0),
        gradient: wanted.map(|_| Tensor::cat(gradient, 0)),
        head_gradient,
    }
}

/// A scalar whose gradient with respect to `hidden` is `gradient`: backward from it is backward from the loss.
pub fn surrogate<B: AutodiffBackend>(hidden: Tensor<B, 2>, gradient: Tensor<B::InnerBackend, 2>) -> Tensor<B, 1> {
    (hidden * Tensor::from_inner(gradient)).sum()
}
