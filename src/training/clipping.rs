//! Clipping by the global norm of all gradients, as `torch.nn.utils.clip_grad_norm_`: burn's own clips each tensor.

use std::marker::PhantomData;

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Tensor, backend::AutodiffBackend};

use crate::kernels::{BAD_GRADIENT, sum};

/// Scales the gradients so that their norm is at most `max_norm` (0: leaves them) and returns the norm from before,
/// `[1]`. Where the norm is not finite, every gradient becomes [`BAD_GRADIENT`], at which the optimizer leaves weights and
/// moments as they are. All on the device: nothing waits for it.
pub fn clip_grad_norm<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: &M,
    gradients: &mut GradientsParams,
    max_norm: f64,
) -> Tensor<B::InnerBackend, 1> {
    let mut squares = SumOfSquares::<B> { gradients, sum: None };
    model.visit(&mut squares);
    let norm = squares.sum.expect("a training model has gradients").sqrt();
    let factor = match max_norm > 0.0 {
        true => (norm.clone() + 1e-6).recip().mul_scalar(max_norm).clamp_max(1.0),
        false => norm.ones_like(),
    };
    // So rather than by a test for NaN, which some GPUs' compilers take for granted to be false.
    let is_bad = norm.clone().lower_elem(f32::MAX).bool_not();
    model.visit(&mut Scale::<B> { gradients, factor, is_bad, backend: PhantomData });
    norm
}

struct SumOfSquares<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for SumOfSquares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
            let square = sum(gradient.square());
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a, B: AutodiffBackend> {
    gradients: &'a mut GradientsParams,
    /// `[1]`
    factor: Tensor<B::InnerBackend, 1>,
    /// `[1]`
    is_bad: Tensor<B::InnerBackend, 1, Bool>,
    backend: PhantomData<B>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            let is_bad = self.is_bad.clone().unsqueeze::<D>().expand(gradient.shape());
            let scaled = gradient * self.factor.clone().unsqueeze();
            self.gradients.register(param.id, scaled.mask_fill(is_bad, BAD_GRADIENT));
        }
    }
}
