//! Rotary positions and causal attention of whole rows, from positions 0 on: nothing of size len x len is kept.

use std::ops::Range;

use burn::tensor::{DType, Tensor, activation::softmax, backend::Backend};
use multiversion::multiversion;
use rayon::prelude::*;

use super::math;
use super::op::{FlexOp, Matrix, run};
use crate::model::layout::Group;
use crate::model::rotary::{RotaryTables, RotaryWindow};

/// How the columns of queries, keys and values fall into heads, and the tokens into rows.
#[derive(Debug, Clone)]
pub struct AttentionShape {
    pub groups: Vec<Group>,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

/// # Shapes
/// q `[tokens, heads * head_dim]`, k and v `[tokens, kv_heads * head_dim]` -> like q
pub fn causal_attention<B: Backend>(
    q: Tensor<B, 2>,
    k: Tensor<B, 2>,
    v: Tensor<B, 2>,
    shape: &AttentionShape,
    tables: &RotaryTables,
    windows: &[(RotaryWindow<B>, Option<Tensor<B, 4>>)],
) -> Tensor<B, 2> {
    let op = AttentionOp { shape: shape.clone(), tables: tables.clone() };
    run(op, [q, k, v]).unwrap_or_else(|[q, k, v]| composed(q, k, v, shape, windows))
}

/// For each group its rotary window and additive causal mask.
pub fn composed<B: Backend>(
    q: Tensor<B, 2>,
    k: Tensor<B, 2>,
    v: Tensor<B, 2>,
    shape: &AttentionShape,
    windows: &[(RotaryWindow<B>, Option<Tensor<B, 4>>)],
) -> Tensor<B, 2> {
    let mut offset = 0;
    let mut attended = Vec::new();
    for (group, (rotary, mask)) in shape.groups.iter().zip(windows) {
        let rows = |x: &Tensor<B, 2>, heads| split_heads(x.clone(), *group, offset, heads, shape.head_dim);
        let q = rotary.rotate(rows(&q, shape.heads));
        let k = rotary.rotate(rows(&k, shape.kv_heads));
        attended.push(attend(q, k, rows(&v, shape.kv_heads), mask.as_ref()));
        offset += group.tokens();
    }
    if attended.len() == 1 { attended.remove(0) } else { Tensor::cat(attended, 0) }
}

/// `[all tokens, heads * head_dim]` -> `[rows, heads, len, head_dim]` of one group
pub fn split_heads<B: Backend>(
    x: Tensor<B, 2>,
    group: Group,
    offset: usize,
    heads: usize,
    head_dim: usize,
) -> Tensor<B, 4> {
    let x = if group.tokens() == x.dims()[0] { x } else { x.narrow(0, offset, group.tokens()) };
    x.reshape([group.rows, group.len, heads, head_dim]).swap_dims(1, 2)
}

/// softmax(q k^T / sqrt(head_dim) + mask) v, the query heads of one key/value head side by side.
///
/// # Shapes
/// q `[rows, heads, len, head_dim]`, k and v `[rows, kv_heads, total, head_dim]` -> `[rows * len, heads * head_dim]`
pub fn attend<B: Backend>(
    q: Tensor<B, 4>,
    k: Tensor<B, 4>,
    v: Tensor<B, 4>,
    mask: Option<&Tensor<B, 4>>,
) -> Tensor<B, 2> {
    let [rows, heads, len, head_dim] = q.dims();
    let [_, kv_heads, total, _] = k.dims();
    let (batch, group) = (rows * kv_heads, heads / kv_heads);
    let dtype = q.dtype();

    let q = q.reshape([batch, group * len, head_dim]);
    let k = k.reshape([batch, total, head_dim]);
    let v = v.reshape([batch, total, head_dim]);
    let scale = 1.0 / (head_dim as f64).sqrt();
    let scores = q.matmul(k.swap_dims(1, 2)).cast(DType::F32) * scale;
    let scores = scores.reshape([batch, group, len, total]);
    let scores = match mask {
        Some(mask) => scores + mask.clone(),
        None => scores,
    };
    let weights = softmax(scores, 3).cast(dtype).reshape([batch, group * len, total]);
    let attended = weights.matmul(v); // [batch, group * len, head_dim]
    attended.reshape([rows, heads, len, head_dim]).swap_dims(1, 2).reshape([rows * len, heads * head_dim])
}

#[derive(Debug, Clone)]
struct AttentionOp {
    shape: AttentionShape,
    tables: RotaryTables,
}

impl AttentionOp {
    /// Each row's tokens.
    fn rows(&self) -> Vec<Range<usize>> {
        let mut start = 0;
        let lengths = self.shape.groups.iter().flat_map(|group| std::iter::repeat_n(group.len, group.rows));
        lengths
            .map(|len| {
                start += len;
                start - len..start
            })
            .collect()
    }

    /// Cuts an output into the rows' parts, so that threads can fill them.
    fn split<'a>(rows: &[Range<usize>], mut values: &'a mut [f32], columns: usize) -> Vec<&'a mut [f32]> {
        rows.iter()
            .map(|row| {
                let (part, rest) = std::mem::take(&mut values).split_at_mut(row.len() * columns);
                values = rest;
                part
            })
            .collect()
    }

    fn row<'a>(&'a self, [q, k, v]: [&'a Matrix; 3], row: &Range<usize>) -> Row<'a> {
        let part = |m: &'a Matrix| &m.values()[row.start * m.columns..row.end * m.columns];
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let half = head_dim / 2;
        Row {
            q: part(q),
            k: part(k),
            v: part(v),
            cos: &self.tables.cos[..row.len() * half],
            sin: &self.tables.sin[..row.len() * half],
            len: row.len(),
            heads,
            kv_heads,
            head_dim,
        }
    }
}

impl FlexOp<3> for AttentionOp {
    fn forward(&self, inputs: [&Matrix; 3]) -> Matrix {
        let (rows, columns) = (self.rows(), inputs[0].columns);
        let mut output = vec![0.0; inputs[0].values().len()];
        let parts = Self::split(&rows, &mut output, columns);
        rows.par_iter().zip(parts).for_each(|(row, output)| forward_row(&self.row(inputs, row), output));
        Matrix::from_vec(output, columns)
    }

    fn backward(&self, inputs: [&Matrix; 3], gradient: &Matrix) -> [Matrix; 3] {
        let rows = self.rows();
        let mut gradients = inputs.map(|input| vec![0.0; input.values().len()]);
        let columns = inputs.map(|input| input.columns);
        let [dq, dk, dv] = &mut gradients;
        let parts = Self::split(&rows, dq, columns[0])
            .into_iter()
            .zip(Self::split(&rows, dk, columns[1]))
            .zip(Self::split(&rows, dv, columns[2]))
            .collect::<Vec<_>>();
        rows.par_iter().zip(parts).for_each(|(row, ((dq, dk), dv))| {
            let d_output = &gradient.values()[row.start * columns[0]..row.end * columns[0]];
            backward_row(&self.row(inputs, row), d_output, dq, dk, dv);
        });
        let [dq, dk, dv] = gradients;
        [Matrix::from_vec(dq, columns[0]), Matrix::from_vec(dk, columns[1]), Matrix::from_vec(dv, columns[2])]
    }
}

/// One row's queries, keys and values before rotation, `[len, heads * head_dim]`, and its positions' angles.
struct Row<'a> {
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    /// `[len, head_dim / 2]`
    cos: &'a [f32],
    sin: &'a [f32],
    len: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Row<'_> {
    /// One head of a `[len, heads * head_dim]` matrix at one position.
    #[inline(always)]
    fn at<'m>(&self, matrix: &'m [f32], heads: usize, position: usize, head: usize) -> &'m [f32] {
        let start = (position * heads + head) * self.head_dim;
        &matrix[start..start + self.head_dim]
    }

    /// Turns one head's vector by its position's angles; by the opposite ones for `direction` -1.
    #[inline(always)]
    fn rotate(&self, x: &[f32], position: usize, direction: f32, rotated: &mut [f32]) {
        let half = self.head_dim / 2;
        let angles = position * half..(position + 1) * half;
        let (first, second) = x.split_at(half);
        let (rotated_first, rotated_second) = rotated.split_at_mut(half);
        for (i, (cos, sin)) in self.cos[angles.clone()].iter().zip(&self.sin[angles]).enumerate() {
            let sin = direction * sin;
            rotated_first[i] = first[i] * cos - second[i] * sin;
            rotated_second[i] = second[i] * cos + first[i] * sin;
        }
    }

    /// A key head's rotated vectors, `[len, head_dim]`.
    #[inline(always)]
    fn rotated_keys(&self, head: usize) -> Vec<f32> {
        let mut keys = vec![0.0; self.len * self.head_dim];
        for (position, rotated) in keys.chunks_exact_mut(self.head_dim).enumerate() {
            self.rotate(self.at(self.k, self.kv_heads, position, head), position, 1.0, rotated);
        }
        keys
    }

    /// The softmax weights of one query over the keys up to its position; `keys` is transposed, `[head_dim, len]`.
    #[inline(always)]
    fn weights(&self, query: &[f32], keys: &[f32], position: usize, weights: &mut [f32]) {
        let seen = position + 1;
        let weights = &mut weights[..seen];
        weights.fill(0.0);
        let scale = 1.0 / (self.head_dim as f32).sqrt();
        for (q, key) in query.iter().zip(keys.chunks_exact(self.len)) {
            math::axpy(weights, q * scale, &key[..seen]);
        }
        let max = math::max(weights);
        for weight in weights.iter_mut() {
            *weight = math::exp(*weight - max);
        }
        let scale = 1.0 / math::sum(weights, |weight| weight);
        for weight in weights.iter_mut() {
            *weight *= scale;
        }
    }
}

/// `[len, width]` -> `[width, len]`
#[inline(always)]
fn transposed(matrix: &[f32], width: usize) -> Vec<f32> {
    let len = matrix.len() / width;
    let mut result = vec![0.0; matrix.len()];
    for (row, values) in matrix.chunks_exact(width).enumerate() {
        for (column, value) in values.iter().enumerate() {
            result[column * len + row] = *value;
        }
    }
    result
}

#[multiversion(targets = "simd")]
fn forward_row(row: &Row, output: &mut [f32]) {
    let dim = row.head_dim;
    let group = row.heads / row.kv_heads;
    let (mut query, mut weights) = (vec![0.0; dim], vec![0.0; row.len]);
    for kv_head in 0..row.kv_heads {
        let keys = transposed(&row.rotated_keys(kv_head), dim);
        for head in kv_head * group..(kv_head + 1) * group {
            for position in 0..row.len {
                row.rotate(row.at(row.q, row.heads, position, head), position, 1.0, &mut query);
                row.weights(&query, &keys, position, &mut weights);
                let start = (position * row.heads + head) * dim;
                let output = &mut output[start..start + dim];
                for (seen, weight) in weights[..=position].iter().enumerate() {
                    math::axpy(output, *weight, row.at(row.v, row.kv_heads, seen, kv_head));
                }
            }
        }
    }
}

/// With P the weights and dO the output's gradient: dV = P^T dO, dP = dO V^T, dS = P (dP - sum(P dP)),
/// dQ = dS K, dK = dS^T Q, and the rotation undone.
#[multiversion(targets = "simd")]
fn backward_row(row: &Row, d_output: &[f32], dq: &mut [f32], dk: &mut [f32], dv: &mut [f32]) {
    let (dim, len) = (row.head_dim, row.len);
    let group = row.heads / row.kv_heads;
    let scale = 1.0 / (dim as f32).sqrt();
    let (mut query, mut d_query) = (vec![0.0; dim], vec![0.0; dim]);
    let (mut weights, mut d_weights) = (vec![0.0; len], vec![0.0; len]);
    for kv_head in 0..row.kv_heads {
        let keys = row.rotated_keys(kv_head);
        let keys_transposed = transposed(&keys, dim);
        let values: Vec<f32> =
            (0..len).flat_map(|position| row.at(row.v, row.kv_heads, position, kv_head)).copied().collect();
        let values_transposed = transposed(&values, dim);
        let mut d_keys = vec![0.0; len * dim];
        for head in kv_head * group..(kv_head + 1) * group {
            for position in 0..len {
                let seen = position + 1;
                row.rotate(row.at(row.q, row.heads, position, head), position, 1.0, &mut query);
                row.weights(&query, &keys_transposed, position, &mut weights);
                let d_out = row.at(d_output, row.heads, position, head);
                let (weights, d_weights) = (&weights[..seen], &mut d_weights[..seen]);
                d_weights.fill(0.0);
                for (d, value) in d_out.iter().zip(values_transposed.chunks_exact(len)) {
                    math::axpy(d_weights, *d, &value[..seen]);
                }
                let shared = math::dot(weights, d_weights);
                d_query.fill(0.0);
                for (key, (weight, d_weight)) in weights.iter().zip(d_weights.iter()).enumerate() {
                    let d_score = weight * (d_weight - shared) * scale;
                    math::axpy(&mut d_query, d_score, &keys[key * dim..(key + 1) * dim]);
                    math::axpy(&mut d_keys[key * dim..(key + 1) * dim], d_score, &query);
                    let start = (key * row.kv_heads + kv_head) * dim;
                    math::axpy(&mut dv[start..start + dim], *weight, d_out);
                }
                let start = (position * row.heads + head) * dim;
                row.rotate(&d_query, position, -1.0, &mut dq[start..start + dim]);
            }
        }
        for (position, d_key) in d_keys.chunks_exact(dim).enumerate() {
            let start = (position * row.kv_heads + kv_head) * dim;
            row.rotate(d_key, position, -1.0, &mut dk[start..start + dim]);
        }
    }
}
