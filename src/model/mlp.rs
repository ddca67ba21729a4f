//! The gated feed-forward block (SwiGLU: Shazeer, 2020).

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::dropout::LoraDropout;
use super::lora::LoraLinear;
use crate::kernels::swiglu;

#[derive(Module, Debug)]
pub struct Mlp<B: Backend> {
    pub gate_proj: LoraLinear<B>,
    pub up_proj: LoraLinear<B>,
    pub down_proj: LoraLinear<B>,
}

impl<B: Backend> Mlp<B> {
    /// # Shapes
    /// `[tokens, hidden]` -> `[tokens, hidden]`
    pub fn forward(&self, x: Tensor<B, 2>, dropout: Option<&LoraDropout<B>>) -> Tensor<B, 2> {
        let gate = self.gate_proj.forward(x.clone(), dropout);
        let up = self.up_proj.forward(x, dropout);
        self.down_proj.forward(swiglu(gate, up), dropout)
    }
}
