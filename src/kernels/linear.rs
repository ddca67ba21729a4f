//! Linear layers with frozen weights in f32 or bf16, with and without a LoRA branch, the head, and linear layers whose
//! weights are trained.

use burn::tensor::{DType, Tensor, backend::Backend};
use burn_flex::FlexTensor;

use super::composed_op::{ComposedOp, apply, constant, int_constant};
use super::matmul::{View, ViewMut, Weights, Write, product, times, times_transposed};
use super::op::{FlexOp, Frozen, Matrix, flex_matrix, flex_values, from_matrix, is_fast, run};
use crate::model::dropout::{DeviceKeys, DeviceMask, DropoutMask, HostMask};

/// Whether frozen matrices may stay in bf16 although activations are f32: half the memory, and the same products.
pub fn widens_bf16<B: Backend>() -> bool {
    is_fast::<B>()
}

/// y = x W^T + b with frozen W and b.
///
/// # Shapes
/// x `[tokens, in]`, weight `[out, in]`, bias `[out]` -> `[tokens, out]`
pub fn linear<B: Backend>(x: Tensor<B, 2>, weight: &Tensor<B, 2>, bias: Option<&Tensor<B, 1>>) -> Tensor<B, 2> {
    let again = |inputs| apply(ComposedLinear::new(weight, bias), inputs);
    match LinearOp::new(weight, bias) {
        Some(op) => run(op, [x]).unwrap_or_else(again),
        None => again([x]),
    }
}

/// See [`linear`].
#[derive(Debug, Clone)]
pub struct ComposedLinear<C: Backend> {
    weight: Tensor<C, 2>,
    bias: Option<Tensor<C, 1>>,
}

impl<C: Backend> ComposedLinear<C> {
    pub fn new(weight: &Tensor<C, 2>, bias: Option<&Tensor<C, 1>>) -> Self {
        Self { weight: weight.clone(), bias: bias.cloned() }
    }
}

impl<C: Backend> ComposedOp<1> for ComposedLinear<C> {
    const KEEPS_INPUTS: bool = false;

    fn forward<B: Backend>(&self, [x]: [Tensor<B, 2>; 1]) -> Tensor<B, 2> {
        composed(x, &constant(&self.weight), self.bias.as_ref().map(constant).as_ref())
    }

    /// Without the transpositions that autodiff would undo: where a square weight has as many rows as there are tokens,
    /// burn-fusion 0.21 merges them wrongly with the operations before them (seen with Vulkan).
    fn backward<B: Backend>(&self, _: [Tensor<B, 2>; 1], gradient: Tensor<B, 2>) -> [Tensor<B, 2>; 1] {
        [matmul(gradient, constant(&self.weight))]
    }
}

pub fn composed<B: Backend>(x: Tensor<B, 2>, weight: &Tensor<B, 2>, bias: Option<&Tensor<B, 1>>) -> Tensor<B, 2> {
    let y = matmul(x, weight.clone().transpose());
    match bias {
        Some(bias) => y + bias.clone().unsqueeze(),
        None => y,
    }
}

/// y = x W^T + b with trained W and b.
///
/// # Shapes
/// x `[tokens, in]`, weight `[out, in]`, bias `[out]` -> `[tokens, out]`
pub fn trained_linear<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>, bias: Option<Tensor<B, 1>>) -> Tensor<B, 2> {
    if !B::ad_enabled(&x.device()) {
        return linear(x, &weight, bias.as_ref());
    }
    match bias {
        None => run(TrainedLinearOp, [x, weight]).unwrap_or_else(|[x, weight]| composed(x, &weight, None)),
        Some(bias) => run(TrainedLinearOp, [x, weight, bias.unsqueeze()])
            .unwrap_or_else(|[x, weight, bias]| composed(x, &weight, Some(&bias.squeeze_dim(0)))),
    }
}

/// x W, a single row as two: burn-fusion 0.21 multiplies a single row wrongly when it merges the operation that makes the
/// row into the product (seen with Vulkan; two rows are fine).
fn matmul<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>) -> Tensor<B, 2> {
    match x.dims()[0] {
        1 => Tensor::cat(vec![x.clone(), x], 0).matmul(weight).narrow(0, 0, 1),
        _ => x.matmul(weight),
    }
}

/// x W with a frozen W; not differentiated.
///
/// # Shapes
/// x `[tokens, out]`, weight `[out, in]` -> `[tokens, in]`
pub fn linear_backward<B: Backend>(x: Tensor<B, 2>, weight: &Tensor<B, 2>) -> Tensor<B, 2> {
    match (flex_matrix(&x), Frozen::new(weight)) {
        (Some(x), Some(weight)) => {
            from_matrix(Matrix::from_vec(times(x.values(), weight.values(), weight.columns), weight.columns))
        }
        _ => matmul(x.cast(weight.dtype()), weight.clone()),
    }
}

/// dW = dy^T x of a linear layer; not differentiated.
///
/// # Shapes
/// dy `[tokens, out]`, x `[tokens, in]` -> `[out, in]`
pub fn weight_gradient<B: Backend>(dy: Tensor<B, 2>, x: Tensor<B, 2>) -> Tensor<B, 2> {
    match (flex_matrix(&dy), flex_matrix(&x)) {
        (Some(dy), Some(x)) => {
            let mut dw = vec![0.0; dy.columns * x.columns];
            product(ViewMut::new(&mut dw, x.columns), Write::Replace, 1.0, dy.view().transposed(), x.view());
            from_matrix(Matrix::from_vec(dw, x.columns))
        }
        _ => dy.transpose().matmul(x),
    }
}

/// The trainable branch of a linear layer.
#[derive(Debug)]
pub struct Branch<B: Backend> {
    /// `[r, in]`
    pub a: Tensor<B, 2>,
    /// `[out, r]`
    pub b: Tensor<B, 2>,
    /// alpha / r
    pub scaling: f64,
    pub dropout: Option<DropoutMask<B>>,
}

/// y = x W^T + b + scaling dropout(x) A^T B^T: never W + s B A, for 4N operations per token instead of 6N and no matrix
/// of W's size to keep. The branch is computed in f32.
pub fn lora_linear<B: Backend>(
    x: Tensor<B, 2>,
    weight: &Tensor<B, 2>,
    bias: Option<&Tensor<B, 1>>,
    branch: Branch<B>,
) -> Tensor<B, 2> {
    let Branch { a, b, scaling, dropout } = branch;
    let again =
        |inputs: [Tensor<B, 2>; 3]| apply(ComposedLoraLinear::new(weight, bias, scaling, dropout.as_ref()), inputs);
    match LinearOp::new(weight, bias) {
        Some(base) => {
            let op =
                LoraLinearOp { base, scaling: scaling as f32, dropout: dropout.as_ref().map(|mask| mask.host.clone()) };
            run(op, [x, a, b]).unwrap_or_else(again)
        }
        None => again([x, a, b]),
    }
}

/// See [`lora_linear`].
#[derive(Debug, Clone)]
pub struct ComposedLoraLinear<C: Backend> {
    base: ComposedLinear<C>,
    scaling: f64,
    mask: Option<DeviceMask<C>>,
}

impl<C: Backend> ComposedLoraLinear<C> {
    pub fn new(
        weight: &Tensor<C, 2>,
        bias: Option<&Tensor<C, 1>>,
        scaling: f64,
        dropout: Option<&DropoutMask<C>>,
    ) -> Self {
        let mask = dropout.map(|mask| mask.on(&weight.device()));
        Self { base: ComposedLinear::new(weight, bias), scaling, mask }
    }

    /// dropout(x), of which nothing is kept: the mask is computed anew wherever it is needed.
    fn dropped<B: Backend>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let Some(DeviceMask { keys, module, threshold, keep }) = self.mask.clone() else {
            return x;
        };
        let keys = DeviceKeys { high: int_constant::<C, B, 2>(&keys.high), low: int_constant::<C, B, 2>(&keys.low) };
        DeviceMask { keys, module, threshold, keep }.apply(x)
    }
}

impl<C: Backend> ComposedOp<3> for ComposedLoraLinear<C> {
    fn forward<B: Backend>(&self, [x, a, b]: [Tensor<B, 2>; 3]) -> Tensor<B, 2> {
        let y = self.base.forward([x.clone()]);
        let update = matmul(matmul(self.dropped(x.cast(DType::F32)), a.transpose()), b.transpose()) * self.scaling;
        let dtype = y.dtype();
        (y.cast(DType::F32) + update).cast(dtype)
    }

    /// The formulas stand at `LoraLinearOp`.
    fn backward<B: Backend>(&self, [x, a, b]: [Tensor<B, 2>; 3], gradient: Tensor<B, 2>) -> [Tensor<B, 2>; 3] {
        let dtype = x.dtype();
        let u = self.dropped(x.cast(DType::F32));
        let dy = gradient.clone().cast(DType::F32) * self.scaling;
        let db = matmul(dy.clone().transpose(), matmul(u.clone(), a.clone().transpose()));
        let d_compressed = matmul(dy, b);
        let da = matmul(d_compressed.clone().transpose(), u);
        let du = self.dropped(matmul(d_compressed, a));
        let dx = matmul(gradient, constant(&self.base.weight)).cast(DType::F32) + du;
        [dx.cast(dtype), da, db]
    }
}

#[derive(Debug, Clone)]
struct LinearOp {
    weight: Frozen,
    bias: Option<FlexTensor>,
}

impl LinearOp {
    fn new<B: Backend>(weight: &Tensor<B, 2>, bias: Option<&Tensor<B, 1>>) -> Option<Self> {
        let weight = Frozen::new(weight)?;
        let bias = match bias {
            Some(bias) => Some(flex_values(bias)?),
            None => None,
        };
        Some(Self { weight, bias })
    }
}

impl FlexOp<1> for LinearOp {
    const KEEPS_INPUTS: bool = false;

    fn forward(&self, [x]: [&Matrix; 1]) -> Matrix {
        let mut y = times_transposed(x.values(), self.weight.values(), self.weight.columns);
        if let Some(bias) = &self.bias {
            add_to_rows(bias.as_slice().expect("the bias is contiguous"), &mut y);
        }
        Matrix::from_vec(y, self.weight.rows)
    }

    fn backward(&self, _: [&Matrix; 1], gradient: &Matrix) -> [Matrix; 1] {
        let columns = self.weight.columns;
        [Matrix::from_vec(times(gradient.values(), self.weight.values(), columns), columns)]
    }
}

/// A linear layer, or with three inputs, one with a bias `[1, out]`.
#[derive(Debug, Clone)]
struct TrainedLinearOp;

impl FlexOp<2> for TrainedLinearOp {
    fn forward(&self, [x, weight]: [&Matrix; 2]) -> Matrix {
        let y = times_transposed(x.values(), Weights::F32(weight.values()), x.columns);
        Matrix::from_vec(y, weight.values().len() / x.columns)
    }

    /// With dy the output's gradient: dx = dy W, dW = dy^T x.
    fn backward(&self, [x, weight]: [&Matrix; 2], gradient: &Matrix) -> [Matrix; 2] {
        let mut dw = vec![0.0; weight.values().len()];
        product(ViewMut::new(&mut dw, x.columns), Write::Replace, 1.0, gradient.view().transposed(), x.view());
        let dx = times(gradient.values(), Weights::F32(weight.values()), x.columns);
        [Matrix::from_vec(dx, x.columns), Matrix::from_vec(dw, x.columns)]
    }
}

impl FlexOp<3> for TrainedLinearOp {
    fn forward(&self, [x, weight, bias]: [&Matrix; 3]) -> Matrix {
        let mut y = FlexOp::<2>::forward(self, [x, weight]).into_vec();
        add_to_rows(bias.values(), &mut y);
        Matrix::from_vec(y, bias.columns)
    }

    fn backward(&self, [x, weight, bias]: [&Matrix; 3], gradient: &Matrix) -> [Matrix; 3] {
        let [dx, dw] = FlexOp::<2>::backward(self, [x, weight], gradient);
        let mut db = vec![0.0; bias.columns];
        for row in gradient.values().chunks_exact(bias.columns) {
            db.iter_mut().zip(row).for_each(|(db, dy)| *db += dy);
        }
        [dx, dw, Matrix::from_vec(db, bias.columns)]
    }
}

fn add_to_rows(bias: &[f32], y: &mut [f32]) {
    for row in y.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
    }
}

#[derive(Debug, Clone)]
struct LoraLinearOp {
    base: LinearOp,
    scaling: f32,
    dropout: Option<HostMask>,
}

impl LoraLinearOp {
    /// dropout(x), computed again where it is needed instead of kept.
    fn dropped(&self, x: &Matrix) -> Option<Matrix> {
        self.dropout.as_ref().map(|mask| Matrix::from_vec(mask.apply(x.values()), x.columns))
    }
}

impl FlexOp<3> for LoraLinearOp {
    fn forward(&self, [x, a, b]: [&Matrix; 3]) -> Matrix {
        let (r, outputs) = (b.columns, self.base.weight.rows);
        let mut y = self.base.forward([x]).into_vec();
        let dropped = self.dropped(x);
        let compressed = compress(dropped.as_ref().unwrap_or(x), a, r);
        product(
            ViewMut::new(&mut y, outputs),
            Write::Add,
            self.scaling,
            View::new(&compressed, r),
            b.view().transposed(),
        );
        Matrix::from_vec(y, outputs)
    }

    /// With u = dropout(x) and dy the output's gradient: dB = s dy^T (u A^T), dA = s (dy B)^T u,
    /// dx = dy W + dropout(s dy B A).
    fn backward(&self, [x, a, b]: [&Matrix; 3], gradient: &Matrix) -> [Matrix; 3] {
        let (r, inputs, outputs) = (b.columns, x.columns, self.base.weight.rows);
        let tokens = x.values().len() / inputs;
        let dropped = self.dropped(x);
        let u = dropped.as_ref().unwrap_or(x);
        let dy = gradient.view();

        let compressed = compress(u, a, r);
        let mut db = vec![0.0; outputs * r];
        product(ViewMut::new(&mut db, r), Write::Replace, self.scaling, dy.transposed(), View::new(&compressed, r));
        let mut d_compressed = vec![0.0; tokens * r];
        product(ViewMut::new(&mut d_compressed, r), Write::Replace, self.scaling, dy, b.view());
        let d_compressed = View::new(&d_compressed, r);
        let mut da = vec![0.0; r * inputs];
        product(ViewMut::new(&mut da, inputs), Write::Replace, 1.0, d_compressed.transposed(), u.view());

        let mut dx = times(gradient.values(), self.base.weight.values(), inputs);
        match &self.dropout {
            None => product(ViewMut::new(&mut dx, inputs), Write::Add, 1.0, d_compressed, a.view()),
            Some(mask) => {
                let mut du = vec![0.0; dx.len()];
                product(ViewMut::new(&mut du, inputs), Write::Replace, 1.0, d_compressed, a.view());
                mask.add(&du, &mut dx);
            }
        }
        [Matrix::from_vec(dx, inputs), Matrix::from_vec(da, inputs), Matrix::from_vec(db, r)]
    }
}

/// u A^T
fn compress(u: &Matrix, a: &Matrix, r: usize) -> Vec<f32> {
    let mut compressed = vec![0.0; u.values().len() / u.columns * r];
    product(ViewMut::new(&mut compressed, r), Write::Replace, 1.0, u.view(), a.view().transposed());
    compressed
}
