//! Linear head and cross-entropy in one, in chunks of tokens: the logits of a whole batch never exist.
//!
//! The head is frozen, so the loss's gradient with respect to the hidden states is known in closed form,
//! (softmax - onehot) W, and is computed beside the loss. Training feeds it to autodiff through [`surrogate`].

use burn::tensor::{DType, Int, Tensor, backend::AutodiffBackend, backend::Backend};

/// Tokens whose logits exist at the same time: 256 x 151,936 x 4 bytes = 156 MB for Qwen2.5.
pub const CHUNK_TOKENS: usize = 256;

/// Negative log-likelihoods of labelled tokens.
pub struct TokenLosses<B: Backend> {
    /// `[tokens]`, in nats, f32
    pub nll: Tensor<B, 1>,
    /// `[tokens]`: 1 where the label is the most likely token; only when asked for.
    pub correct: Option<Tensor<B, 1, Int>>,
    /// `[tokens, hidden]`: the gradient of the *sum* of `nll`, in the hidden states' type; only when asked for.
    pub gradient: Option<Tensor<B, 2>>,
}

/// What to compute beside the losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    Accuracy,
    Gradient,
}

/// # Shapes
/// hidden `[tokens, hidden]`, head `[vocab, hidden]`, labels `[tokens]`
pub fn linear_cross_entropy<B: Backend>(
    hidden: Tensor<B, 2>,
    head: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
    beside: Beside,
) -> TokenLosses<B> {
    let tokens = hidden.dims()[0];
    let (mut nll, mut correct, mut gradient) = (Vec::new(), Vec::new(), Vec::new());
    for start in (0..tokens).step_by(CHUNK_TOKENS) {
        let len = CHUNK_TOKENS.min(tokens - start);
        let labels = labels.clone().narrow(0, start, len);
        let logits = hidden.clone().narrow(0, start, len).matmul(head.clone().transpose()).cast(DType::F32);
        let label_logit = logits.clone().gather(1, labels.clone().unsqueeze_dim(1)); // [len, 1]
        if beside == Beside::Accuracy {
            correct.push(logits.clone().argmax(1).squeeze_dim::<1>(1).equal(labels.clone()).int());
        }
        let max = logits.clone().max_dim(1);
        let exp = (logits - max.clone()).exp();
        let sum = exp.clone().sum_dim(1);
        nll.push((sum.clone().log() + max - label_logit).squeeze_dim::<1>(1));
        if beside == Beside::Gradient {
            let dtype = hidden.dtype();
            let expected = (exp / sum).cast(dtype).matmul(head.clone());
            gradient.push(expected - head.clone().select(0, labels));
        }
    }
    let cat = |parts: Vec<Tensor<B, 2>>| (!parts.is_empty()).then(|| Tensor::cat(parts, 0));
    TokenLosses {
        nll: Tensor::cat(nll, 0),
        correct: (!correct.is_empty()).then(|| Tensor::cat(correct, 0)),
        gradient: cat(gradient),
    }
}

/// A scalar whose gradient with respect to `hidden` is `gradient`: backward from it is backward from the loss.
pub fn surrogate<B: AutodiffBackend>(hidden: Tensor<B, 2>, gradient: Tensor<B::InnerBackend, 2>) -> Tensor<B, 1> {
    (hidden * Tensor::from_inner(gradient)).sum()
}
