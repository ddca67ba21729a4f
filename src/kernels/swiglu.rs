//! silu(gate) * up

use burn::tensor::{DType, Tensor, activation::silu, backend::Backend};
use multiversion::multiversion;
use rayon::prelude::*;

use super::composed_op::{ComposedOp, apply};
use super::math;
use super::op::{FlexOp, Matrix, run};

/// Elements that a thread takes at a time.
const CHUNK: usize = 4096;

/// # Shapes
/// `[tokens, intermediate]` each -> the same
pub fn swiglu<B: Backend>(gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2> {
    run(SwiGluOp, [gate, up]).unwrap_or_else(|inputs| apply(ComposedSwiGlu, inputs))
}

pub fn composed<B: Backend>(gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2> {
    silu(gate) * up
}

#[derive(Debug, Clone)]
pub struct ComposedSwiGlu;

impl ComposedOp<2> for ComposedSwiGlu {
    fn forward<B: Backend>(&self, [gate, up]: [Tensor<B, 2>; 2]) -> Tensor<B, 2> {
        composed(gate, up)
    }

    fn backward<B: Backend>(&self, [gate, up]: [Tensor<B, 2>; 2], gradient: Tensor<B, 2>) -> [Tensor<B, 2>; 2] {
        let dtype = gate.dtype();
        let [gate, up, dy] = [gate, up, gradient].map(|x| x.cast(DType::F32));
        let sigmoid = (gate.clone().neg().exp() + 1.0).recip();
        let silu = gate * sigmoid.clone();
        let slope = sigmoid.clone() + silu.clone() - silu.clone() * sigmoid;
        [(dy.clone() * up * slope).cast(dtype), (dy * silu).cast(dtype)]
    }
}

#[derive(Debug, Clone)]
struct SwiGluOp;

impl FlexOp<2> for SwiGluOp {
    fn forward(&self, [gate, up]: [&Matrix; 2]) -> Matrix {
        let mut y = vec![0.0; gate.values().len()];
        let inputs = gate.values().par_chunks(CHUNK).zip(up.values().par_chunks(CHUNK));
        y.par_chunks_mut(CHUNK).zip(inputs).for_each(|(y, (gate, up))| forward(gate, up, y));
        Matrix::from_vec(y, gate.columns)
    }

    fn backward(&self, [gate, up]: [&Matrix; 2], gradient: &Matrix) -> [Matrix; 2] {
        let mut d_gate = vec![0.0; gate.values().len()];
        let mut d_up = vec![0.0; gate.values().len()];
        let inputs = gate.values().par_chunks(CHUNK).zip(up.values().par_chunks(CHUNK));
        d_gate
            .par_chunks_mut(CHUNK)
            .zip(d_up.par_chunks_mut(CHUNK))
            .zip(inputs.zip(gradient.values().par_chunks(CHUNK)))
            .for_each(|((d_gate, d_up), ((gate, up), dy))| backward(gate, up, dy, d_gate, d_up));
        [Matrix::from_vec(d_gate, gate.columns), Matrix::from_vec(d_up, gate.columns)]
    }
}

#[multiversion(targets = "simd")]
fn forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
        *y = g * math::sigmoid(*g) * u;
    }
}

#[multiversion(targets = "simd")]
fn backward(gate: &[f32], up: &[f32], dy: &[f32], d_gate: &mut [f32], d_up: &mut [f32]) {
    for ((((g, u), dy), d_gate), d_up) in gate.iter().zip(up).zip(dy).zip(d_gate).zip(d_up) {
        let sigmoid = math::sigmoid(*g);
        *d_gate = dy * u * sigmoid * (1.0 + g * (1.0 - sigmoid));
        *d_up = dy * g * sigmoid;
    }
}
