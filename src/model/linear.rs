//! A frozen linear layer in the checkpoint's layout.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use crate::kernels::linear;

/// y = x W^T + b with frozen W and b.
///
/// Plain tensors, not `Param`s: autodiff never tracks them, the optimizer never sees them, no record holds them.
#[derive(Module, Debug)]
pub struct Linear<B: Backend> {
    /// `[out, in]`, as the file has it; multiplied through its transposed view.
    pub weight: Tensor<B, 2>,
    /// `[out]`
    pub bias: Option<Tensor<B, 1>>,
}

impl<B: Backend> Linear<B> {
    /// # Shapes
    /// `[tokens, in]` -> `[tokens, out]`
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        linear(x, &self.weight, self.bias.as_ref())
    }

    pub fn in_features(&self) -> usize {
        self.weight.dims()[1]
    }

    pub fn out_features(&self) -> usize {
        self.weight.dims()[0]
    }
}
