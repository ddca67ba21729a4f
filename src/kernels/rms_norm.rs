//! Root mean square normalisation.

use burn::tensor::{DType, Tensor, backend::Backend};
use burn_flex::FlexTensor;
use multiversion::multiversion;
use rayon::prelude::*;

use super::composed_op::{ComposedOp, apply, constant};
use super::math;
use super::op::{FlexOp, Matrix, flex_values, run};

/// y = w * x / sqrt(mean(x^2) + eps) with a frozen w, statistics in f32.
///
/// # Shapes
/// x `[tokens, hidden]`, weight `[hidden]` -> `[tokens, hidden]`
pub fn rms_norm<B: Backend>(x: Tensor<B, 2>, weight: &Tensor<B, 1>, eps: f64) -> Tensor<B, 2> {
    let again = |x| apply(ComposedRmsNorm { weight: weight.clone(), eps }, [x]);
    let Some(frozen) = flex_values(weight) else {
        return again(x);
    };
    run(RmsNormOp { weight: frozen, eps: eps as f32 }, [x]).unwrap_or_else(|[x]| again(x))
}

/// As [`rms_norm`], with a weight that is trained.
pub fn trained_rms_norm<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 1>, eps: f64) -> Tensor<B, 2> {
    if !B::ad_enabled(&x.device()) {
        return rms_norm(x, &weight, eps);
    }
    run(TrainedRmsNormOp { eps: eps as f32 }, [x, weight.unsqueeze()])
        .unwrap_or_else(|[x, weight]| composed(x, &weight.squeeze_dim(0), eps))
}

pub fn composed<B: Backend>(x: Tensor<B, 2>, weight: &Tensor<B, 1>, eps: f64) -> Tensor<B, 2> {
    let dtype = x.dtype();
    let x = x.cast(DType::F32);
    let rms = (x.clone().square().mean_dim(1) + eps).sqrt();
    (x / rms).cast(dtype) * weight.clone().unsqueeze()
}

#[derive(Debug, Clone)]
pub struct ComposedRmsNorm<C: Backend> {
    pub weight: Tensor<C, 1>,
    pub eps: f64,
}

impl<C: Backend> ComposedOp<1> for ComposedRmsNorm<C> {
    fn forward<B: Backend>(&self, [x]: [Tensor<B, 2>; 1]) -> Tensor<B, 2> {
        composed(x, &constant(&self.weight), self.eps)
    }

    /// The formula stands at `backward_row`.
    fn backward<B: Backend>(&self, [x]: [Tensor<B, 2>; 1], gradient: Tensor<B, 2>) -> [Tensor<B, 2>; 1] {
        let dtype = x.dtype();
        let [x, dy] = [x, gradient].map(|x| x.cast(DType::F32));
        let dy = dy * constant::<C, B, 1>(&self.weight).cast(DType::F32).unsqueeze();
        let r = (x.clone().square().mean_dim(1) + self.eps).sqrt().recip();
        let shared = (x.clone() * dy.clone()).mean_dim(1) * (r.clone() * r.clone() * r.clone());
        [(dy * r - x * shared).cast(dtype)]
    }
}

#[derive(Debug, Clone)]
struct RmsNormOp {
    weight: FlexTensor,
    eps: f32,
}

impl FlexOp<1> for RmsNormOp {
    fn forward(&self, [x]: [&Matrix; 1]) -> Matrix {
        forward(x, self.weight(), self.eps)
    }

    fn backward(&self, [x]: [&Matrix; 1], gradient: &Matrix) -> [Matrix; 1] {
        [backward(x, self.weight(), self.eps, gradient)]
    }
}

impl RmsNormOp {
    fn weight(&self) -> &[f32] {
        self.weight.as_slice().expect("the weight is contiguous")
    }
}

/// With the weight, `[1, hidden]`, as second input.
#[derive(Debug, Clone)]
struct TrainedRmsNormOp {
    eps: f32,
}

impl FlexOp<2> for TrainedRmsNormOp {
    fn forward(&self, [x, weight]: [&Matrix; 2]) -> Matrix {
        forward(x, weight.values(), self.eps)
    }

    fn backward(&self, [x, weight]: [&Matrix; 2], gradient: &Matrix) -> [Matrix; 2] {
        let mut dw = vec![0.0; x.columns];
        for (x, dy) in x.values().chunks_exact(x.columns).zip(gradient.values().chunks_exact(x.columns)) {
            add_weight_gradient(x, self.eps, dy, &mut dw);
        }
        [backward(x, weight.values(), self.eps, gradient), Matrix::from_vec(dw, x.columns)]
    }
}

fn forward(x: &Matrix, weight: &[f32], eps: f32) -> Matrix {
    let mut y = vec![0.0; x.values().len()];
    let rows = y.par_chunks_exact_mut(x.columns).zip(x.values().par_chunks_exact(x.columns));
    rows.for_each(|(y, x)| forward_row(x, weight, eps, y));
    Matrix::from_vec(y, x.columns)
}

/// The gradient of x.
fn backward(x: &Matrix, weight: &[f32], eps: f32, gradient: &Matrix) -> Matrix {
    let mut dx = vec![0.0; x.values().len()];
    let inputs = x.values().par_chunks_exact(x.columns).zip(gradient.values().par_chunks_exact(x.columns));
    dx.par_chunks_exact_mut(x.columns).zip(inputs).for_each(|(dx, (x, dy))| backward_row(x, weight, eps, dy, dx));
    Matrix::from_vec(dx, x.columns)
}

#[multiversion(targets = "simd")]
fn forward_row(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let scale = 1.0 / (math::dot(x, x) / x.len() as f32 + eps).sqrt();
    for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
        *y = x * scale * w;
    }
}

/// With r = 1 / rms: dx = r (w dy) - x r^3 mean(x w dy)
#[multiversion(targets = "simd")]
fn backward_row(x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32]) {
    let n = x.len() as f32;
    let r = 1.0 / (math::dot(x, x) / n + eps).sqrt();
    for ((dx, dy), w) in dx.iter_mut().zip(dy).zip(weight) {
        *dx = dy * w;
    }
    let shared = math::dot(x, dx) / n * r * r * r;
    for (dx, x) in dx.iter_mut().zip(x) {
        *dx = *dx * r - x * shared;
    }
}

/// dw += dy x / rms
#[multiversion(targets = "simd")]
fn add_weight_gradient(x: &[f32], eps: f32, dy: &[f32], dw: &mut [f32]) {
    let r = 1.0 / (math::dot(x, x) / x.len() as f32 + eps).sqrt();
    for ((dw, dy), x) in dw.iter_mut().zip(dy).zip(x) {
        *dw += dy * x * r;
    }
}
