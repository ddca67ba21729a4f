//! A linear layer in the checkpoint's layout.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::weight::Weight;
use crate::kernels::{linear, trained_linear};

/// y = x W^T + b
#[derive(Module, Debug)]
pub struct Linear<B: Backend> {
    /// `[out, in]`, as the file has it; multiplied through its transposed view.
    pub weight: Weight<B, 2>,
    /// `[out]`
    pub bias: Option<Weight<B, 1>>,
}

impl<B: Backend> Linear<B> {
    /// # Shapes
    /// `[tokens, in]` -> `[tokens, out]`
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let (weight, bias) = (self.weight.val(), self.bias.as_ref().map(Weight::val));
        match self.weight {
            Weight::Frozen(_) => linear(x, &weight, bias.as_ref()),
            Weight::Trained(_) => trained_linear(x, weight, bias),
        }
    }

    pub fn in_features(&self) -> usize {
        self.weight.dims()[1]
    }

    pub fn out_features(&self) -> usize {
        self.weight.dims()[0]
    }
}
