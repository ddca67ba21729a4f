//! Root mean square normalisation (Zhang and Sennrich, 2019).

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::weight::Weight;
use crate::kernels::{rms_norm, trained_rms_norm};

/// y = w * x / sqrt(mean(x^2) + eps), with statistics in f32 whatever the activations' type.
#[derive(Module, Debug)]
pub struct RmsNorm<B: Backend> {
    /// `[hidden]`
    pub weight: Weight<B, 1>,
    #[module(skip)]
    pub eps: f64,
}

impl<B: Backend> RmsNorm<B> {
    /// # Shapes
    /// `[tokens, hidden]` -> `[tokens, hidden]`
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match &self.weight {
            Weight::Frozen(weight) => rms_norm(x, weight, self.eps),
            Weight::Trained(weight) => trained_rms_norm(x, weight.val(), self.eps),
        }
    }
}
