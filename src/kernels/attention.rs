//! Rotary positions and causal attention: of whole rows, with a gradient and nothing of size len x len kept; and of new
//! tokens to those in a cache.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{DType, Tensor, TensorData, activation::softmax, backend::Backend};
use multiversion::multiversion;
use rayon::prelude::*;

use super::composed_attention::{ComposedAttention, Plan};
use super::composed_op::apply;
use super::math;
use super::matmul::{View, ViewMut, Write, product};
use super::op::{FlexOp, Matrix, flex_matrix, from_matrix, run, update};
use crate::model::kv_cache::Past;
use crate::model::layout::Group;
use crate::model::rotary::{RotaryEmbedding, RotaryTables, RotaryWindow};

/// How the columns of queries, keys and values fall into heads, and the tokens into rows.
#[derive(Debug, Clone)]
pub struct AttentionShape {
    pub groups: Vec<Group>,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
}

/// What one pass's attention needs in every layer.
#[derive(Debug)]
pub struct AttentionPass<B: Backend> {
    shape: AttentionShape,
    /// What a cache held before the pass.
    past: Past,
    rotary: RotaryEmbedding<B>,
    windows: OnceCell<Vec<Window<B>>>,
    plan: OnceCell<Arc<Plan<B>>>,
}

/// For the tokens of one group: the angles of their positions, and what is added to the scores, 0 where a query may look
/// and -inf where it may not; `None` where all may.
type Window<B> = (RotaryWindow<B>, Option<Tensor<B, 4>>);

impl<B: Backend> AttentionPass<B> {
    pub fn new(shape: AttentionShape, past: Past, rotary: RotaryEmbedding<B>) -> Self {
        Self { shape, past, rotary, windows: OnceCell::new(), plan: OnceCell::new() }
    }

    pub(super) fn shape(&self) -> &AttentionShape {
        &self.shape
    }

    pub fn rows(&self) -> usize {
        self.shape.groups.iter().map(|group| group.rows).sum()
    }

    pub fn kv_heads(&self) -> usize {
        self.shape.kv_heads
    }

    pub fn head_dim(&self) -> usize {
        self.shape.head_dim
    }

    /// Made when a layer asks for them: the fast path does not.
    fn windows(&self) -> &[Window<B>] {
        self.windows.get_or_init(|| {
            let mut first = 0;
            let window = |group: &Group| {
                let rows = first..first + group.rows;
                first = rows.end;
                let starts: Vec<usize> = rows.clone().map(|row| self.past.position(row)).collect();
                (self.rotary.windows(&starts, group.len), self.mask(rows, group.len))
            };
            self.shape.groups.iter().map(window).collect()
        })
    }

    /// Made when a layer asks for it: the fast path does not.
    pub(super) fn plan(&self) -> Arc<Plan<B>> {
        self.plan.get_or_init(|| Arc::new(Plan::new(&self.shape, &self.rotary))).clone()
    }

    /// The additive mask of `len` new tokens in each row, `[1 or rows * kv_heads, 1, len, slots + len]`.
    fn mask(&self, rows: Range<usize>, len: usize) -> Option<Tensor<B, 4>> {
        let (slots, kv_heads) = (self.past.slots, self.shape.kv_heads);
        let alike = rows.clone().all(|row| self.past.gap(row).is_empty());
        if alike && len == 1 {
            return None;
        }
        let gaps: Vec<Range<usize>> = if alike {
            std::iter::once(0..0).collect()
        } else {
            rows.flat_map(|row| std::iter::repeat_n(self.past.gap(row), kv_heads)).collect()
        };
        let total = slots + len;
        let mut values = Vec::with_capacity(gaps.len() * len * total);
        for gap in &gaps {
            for query in 0..len {
                let sees = |slot: usize| slot <= slots + query && !gap.contains(&slot);
                values.extend((0..total).map(|slot| if sees(slot) { 0.0 } else { f32::NEG_INFINITY }));
            }
        }
        let shape = [gaps.len(), 1, len, total];
        Some(Tensor::from_data(TensorData::new(values, shape), (&self.rotary.cos.device(), DType::F32)))
    }
}

/// # Shapes
/// q `[tokens, heads * head_dim]`, k and v `[tokens, kv_heads * head_dim]` -> like q
pub fn causal_attention<B: Backend>(
    q: Tensor<B, 2>,
    k: Tensor<B, 2>,
    v: Tensor<B, 2>,
    pass: &AttentionPass<B>,
) -> Tensor<B, 2> {
    let op = AttentionOp { shape: pass.shape.clone(), tables: pass.rotary.tables.clone() };
    run(op, [q, k, v]).unwrap_or_else(|inputs| apply(ComposedAttention::new(pass), inputs))
}

/// The groups' tokens one after the other.
pub(super) fn together<B: Backend>(mut groups: Vec<Tensor<B, 2>>) -> Tensor<B, 2> {
    if groups.len() == 1 { groups.remove(0) } else { Tensor::cat(groups, 0) }
}

/// A layer's keys (rotated) and values, `[rows, kv_heads, capacity, head_dim]`.
pub type LayerCache<B> = (Tensor<B, 4>, Tensor<B, 4>);

/// Attention of a pass's tokens to those in a cache and to those before them in their row; the cache then holds them
/// too. Not differentiated.
///
/// # Shapes
/// As [`causal_attention`].
pub fn cached_attention<B: Backend>(
    q: Tensor<B, 2>,
    k: Tensor<B, 2>,
    v: Tensor<B, 2>,
    (keys, values): LayerCache<B>,
    pass: &AttentionPass<B>,
) -> (Tensor<B, 2>, LayerCache<B>) {
    let (Some(new_q), Some(new_k), Some(new_v)) = (flex_matrix(&q), flex_matrix(&k), flex_matrix(&v)) else {
        return composed_cached(q, k, v, (keys, values), pass);
    };
    let columns = new_q.columns;
    let mut output = vec![0.0; new_q.values().len()];
    let attend = |[keys, values]: [&mut [f32]; 2]| {
        attend_cached([&new_q, &new_k, &new_v], keys, values, pass, &mut output);
    };
    match update([keys, values], attend) {
        Ok([keys, values]) => (from_matrix(Matrix::from_vec(output, columns)), (keys, values)),
        Err([keys, values]) => composed_cached(q, k, v, (keys, values), pass),
    }
}

pub fn composed_cached<B: Backend>(
    q: Tensor<B, 2>,
    k: Tensor<B, 2>,
    v: Tensor<B, 2>,
    (mut keys, mut values): LayerCache<B>,
    pass: &AttentionPass<B>,
) -> (Tensor<B, 2>, LayerCache<B>) {
    let AttentionShape { groups, heads, kv_heads, head_dim } = &pass.shape;
    let slots = pass.past.slots;
    let (mut offset, mut first) = (0, 0);
    let mut attended = Vec::new();
    for (group, (rotary, mask)) in groups.iter().zip(pass.windows()) {
        let rows = |x: &Tensor<B, 2>, heads| split_heads(x.clone(), *group, offset, heads, *head_dim);
        let q = rotary.rotate(rows(&q, *heads));
        let place = [first..first + group.rows, 0..*kv_heads, slots..slots + group.len, 0..*head_dim];
        keys = keys.slice_assign(place.clone(), rotary.rotate(rows(&k, *kv_heads)));
        values = values.slice_assign(place.clone(), rows(&v, *kv_heads));
        let seen = [place[0].clone(), place[1].clone(), 0..slots + group.len, 0..*head_dim];
        attended.push(attend(q, keys.clone().slice(seen.clone()), values.clone().slice(seen), mask.as_ref()));
        offset += group.tokens();
        first += group.rows;
    }
    (together(attended), (keys, values))
}

/// `[all tokens, heads * head_dim]` -> `[rows, heads, len, head_dim]` of one group
fn split_heads<B: Backend>(
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
fn attend<B: Backend>(q: Tensor<B, 4>, k: Tensor<B, 4>, v: Tensor<B, 4>, mask: Option<&Tensor<B, 4>>) -> Tensor<B, 2> {
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

    fn row<'a>(&'a self, [q, k, v]: [&'a Matrix; 3], row: &Range<usize>, start: usize) -> Row<'a> {
        let part = |m: &'a Matrix| &m.values()[row.start * m.columns..row.end * m.columns];
        let AttentionShape { heads, kv_heads, head_dim, .. } = self.shape;
        let half = head_dim / 2;
        Row {
            q: part(q),
            k: part(k),
            v: part(v),
            cos: &self.tables.cos[start * half..(start + row.len()) * half],
            sin: &self.tables.sin[start * half..(start + row.len()) * half],
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
        rows.par_iter().zip(parts).for_each(|(row, output)| forward_row(&self.row(inputs, row, 0), output));
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
            backward_row(&self.row(inputs, row, 0), d_output, dq, dk, dv);
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

    /// All heads of a matrix turned by their positions' angles.
    fn rotated(&self, matrix: &[f32], heads: usize) -> Vec<f32> {
        let mut rotated = vec![0.0; matrix.len()];
        rotate_heads(self, matrix, heads, 1.0, &mut rotated);
        rotated
    }

    /// One head's columns of a matrix.
    fn head<'m>(&self, matrix: &'m [f32], heads: usize, head: usize) -> View<'m> {
        View::new(matrix, heads * self.head_dim).part(head * self.head_dim, self.head_dim)
    }

    fn head_mut<'m>(&self, matrix: &'m mut [f32], heads: usize, head: usize) -> ViewMut<'m> {
        ViewMut::new(matrix, heads * self.head_dim).part(head * self.head_dim, self.head_dim)
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }
}

#[multiversion(targets = "simd")]
fn rotate_heads(row: &Row, matrix: &[f32], heads: usize, direction: f32, rotated: &mut [f32]) {
    let vectors = matrix.chunks_exact(row.head_dim).zip(rotated.chunks_exact_mut(row.head_dim));
    for (number, (x, rotated)) in vectors.enumerate() {
        row.rotate(x, number / heads, direction, rotated);
    }
}

/// Each row's softmax over what its query may see; 0 for the rest.
#[multiversion(targets = "simd")]
fn causal_softmax(scores: &mut [f32], len: usize) {
    for (position, scores) in scores.chunks_exact_mut(len).enumerate() {
        let (seen, unseen) = scores.split_at_mut(position + 1);
        let max = math::max(seen);
        for score in seen.iter_mut() {
            *score = math::exp(*score - max);
        }
        let scale = 1.0 / math::sum(seen, |score| score);
        for score in seen.iter_mut() {
            *score *= scale;
        }
        unseen.fill(0.0);
    }
}

/// From the gradient of the weights to that of the scores, times `scale`: dS = P (dP - sum(P dP)).
#[multiversion(targets = "simd")]
fn causal_softmax_backward(weights: &[f32], gradient: &mut [f32], len: usize, scale: f32) {
    for (weights, gradient) in weights.chunks_exact(len).zip(gradient.chunks_exact_mut(len)) {
        let shared = math::dot(weights, gradient);
        for (gradient, weight) in gradient.iter_mut().zip(weights) {
            *gradient = weight * (*gradient - shared) * scale;
        }
    }
}

fn forward_row(row: &Row, output: &mut [f32]) {
    let (queries, keys) = (row.rotated(row.q, row.heads), row.rotated(row.k, row.kv_heads));
    let mut weights = vec![0.0; row.len * row.len];
    for head in 0..row.heads {
        let kv_head = head / (row.heads / row.kv_heads);
        let (query, key) = (row.head(&queries, row.heads, head), row.head(&keys, row.kv_heads, kv_head));
        product(ViewMut::new(&mut weights, row.len), Write::Replace, row.scale(), query, key.transposed());
        causal_softmax(&mut weights, row.len);
        let value = row.head(row.v, row.kv_heads, kv_head);
        product(row.head_mut(output, row.heads, head), Write::Replace, 1.0, View::new(&weights, row.len), value);
    }
}

/// With P the weights and dO the output's gradient: dV = P^T dO, dP = dO V^T, dS = P (dP - sum(P dP)),
/// dQ = dS K, dK = dS^T Q, and the rotation undone.
fn backward_row(row: &Row, d_output: &[f32], dq: &mut [f32], dk: &mut [f32], dv: &mut [f32]) {
    let Row { len, heads, kv_heads, .. } = *row;
    let (queries, keys) = (row.rotated(row.q, heads), row.rotated(row.k, kv_heads));
    let (mut d_queries, mut d_keys) = (vec![0.0; dq.len()], vec![0.0; dk.len()]);
    let (mut weights, mut d_scores) = (vec![0.0; len * len], vec![0.0; len * len]);
    for head in 0..heads {
        let kv_head = head / (heads / kv_heads);
        let (query, key) = (row.head(&queries, heads, head), row.head(&keys, kv_heads, kv_head));
        let (value, d_out) = (row.head(row.v, kv_heads, kv_head), row.head(d_output, heads, head));
        product(ViewMut::new(&mut weights, len), Write::Replace, row.scale(), query, key.transposed());
        causal_softmax(&mut weights, len);
        product(ViewMut::new(&mut d_scores, len), Write::Replace, 1.0, d_out, value.transposed());
        causal_softmax_backward(&weights, &mut d_scores, len, row.scale());
        let (weights, d_scores) = (View::new(&weights, len), View::new(&d_scores, len));
        product(row.head_mut(dv, kv_heads, kv_head), Write::Add, 1.0, weights.transposed(), d_out);
        product(row.head_mut(&mut d_queries, heads, head), Write::Replace, 1.0, d_scores, key);
        product(row.head_mut(&mut d_keys, kv_heads, kv_head), Write::Add, 1.0, d_scores.transposed(), query);
    }
    rotate_heads(row, &d_queries, heads, -1.0, dq);
    rotate_heads(row, &d_keys, kv_heads, -1.0, dk);
}

/// Multiplications below which other threads are not worth waking.
const WORTH_THREADS: usize = 1 << 17;

/// One row's new tokens, and where they stand in the cache.
struct NewTokens<'a> {
    row: Row<'a>,
    slot: usize,
    gap: Range<usize>,
}

/// One key and value head of a row, with its part of the cache, `[capacity, head_dim]` each.
struct HeadTask<'a> {
    new: &'a NewTokens<'a>,
    kv_head: usize,
    keys: &'a mut [f32],
    values: &'a mut [f32],
}

fn attend_cached<B: Backend>(
    [q, k, v]: [&Matrix; 3],
    keys: &mut [f32],
    values: &mut [f32],
    pass: &AttentionPass<B>,
    output: &mut [f32],
) {
    let op = AttentionOp { shape: pass.shape.clone(), tables: pass.rotary.tables.clone() };
    let (ranges, kv_heads) = (op.rows(), pass.shape.kv_heads);
    let rows: Vec<NewTokens> = ranges
        .iter()
        .enumerate()
        .map(|(number, range)| {
            let row = op.row([q, k, v], range, pass.past.position(number));
            NewTokens { row, slot: pass.past.slots, gap: pass.past.gap(number) }
        })
        .collect();
    let size = keys.len() / (rows.len() * kv_heads);
    let caches = keys.chunks_exact_mut(size).zip(values.chunks_exact_mut(size));
    let heads = rows.iter().flat_map(|row| (0..kv_heads).map(move |kv_head| (row, kv_head)));
    let tasks: Vec<HeadTask> =
        heads.zip(caches).map(|((new, kv_head), (keys, values))| HeadTask { new, kv_head, keys, values }).collect();
    let longest = ranges.iter().map(Range::len).max().unwrap_or(0);
    let parts: Vec<Vec<f32>> = if q.values().len() * (pass.past.slots + longest) < WORTH_THREADS {
        tasks.into_iter().map(cached_head).collect()
    } else {
        tasks.into_par_iter().map(cached_head).collect()
    };
    // [row][kv_head][new, heads of the kv head] -> [tokens, heads]
    let width = q.columns / kv_heads;
    for (number, part) in parts.iter().enumerate() {
        let (range, kv_head) = (&ranges[number / kv_heads], number % kv_heads);
        for (token, values) in range.clone().zip(part.chunks_exact(width)) {
            let start = token * q.columns + kv_head * width;
            output[start..start + width].copy_from_slice(values);
        }
    }
}

/// Appends one head's keys and values and attends to all that are visible; `[new, heads of the kv head * head_dim]`.
#[multiversion(targets = "simd")]
fn cached_head(HeadTask { new, kv_head, keys, values }: HeadTask) -> Vec<f32> {
    let NewTokens { row, slot, gap } = new;
    let (dim, group) = (row.head_dim, row.heads / row.kv_heads);
    let places = slot * dim..(slot + row.len) * dim;
    let new_places = keys[places.clone()].chunks_exact_mut(dim).zip(values[places].chunks_exact_mut(dim));
    for (position, (key, value)) in new_places.enumerate() {
        row.rotate(row.at(row.k, row.kv_heads, position, kv_head), position, 1.0, key);
        value.copy_from_slice(row.at(row.v, row.kv_heads, position, kv_head));
    }
    let (mut query, mut output) = (vec![0.0; dim], vec![0.0; row.len * group * dim]);
    let mut weights = vec![0.0; slot + row.len];
    for position in 0..row.len {
        let weights = &mut weights[..slot + position + 1];
        for head in 0..group {
            row.rotate(row.at(row.q, row.heads, position, kv_head * group + head), position, 1.0, &mut query);
            for (weight, key) in weights.iter_mut().zip(keys.chunks_exact(dim)) {
                *weight = math::dot(&query, key) * row.scale();
            }
            weights[gap.clone()].fill(f32::NEG_INFINITY);
            let max = math::max(weights);
            for weight in weights.iter_mut() {
                *weight = math::exp(*weight - max);
            }
            weights[gap.clone()].fill(0.0);
            let total = math::sum(weights, |weight| weight);
            let start = (position * group + head) * dim;
            let output = &mut output[start..start + dim];
            for (weight, value) in weights.iter().zip(values.chunks_exact(dim)) {
                math::axpy(output, weight / total, value);
            }
        }
    }
    output
}
