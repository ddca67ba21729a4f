//! Rotary positions and causal attention of whole rows, made of burn's own operations.

use std::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{DType, Int, Tensor, TensorData, backend::Backend};

use super::attention::{AttentionPass, AttentionShape, together};
use super::composed_op::{ComposedOp, constant, int_constant};
use crate::model::layout::Group;
use crate::model::rotary::RotaryEmbedding;

/// Rows of unlike lengths are computed together, padded to the longest, while that makes at most so many times as many
/// scores: attention is a small part of the work, and on a GPU what counts is how many kernels there are.
const MOST_PADDING: usize = 4;

/// What a pass's attention needs in every layer, on the device.
#[derive(Debug)]
pub struct Plan<C: Backend> {
    /// Of each token's position, `[tokens, 1, head_dim]`.
    cos: Tensor<C, 3>,
    /// The same, negative in the first half: what the second half is multiplied with for the first.
    sin: Tensor<C, 3>,
    /// Exchanges the halves of a head.
    swap: Tensor<C, 1, Int>,
    blocks: Vec<Block<C>>,
}

/// Rows computed together, in slots `[rows, heads, len]`. A slot behind its row's end holds the row's last token; no
/// real one looks at it.
#[derive(Debug)]
struct Block<C: Backend> {
    rows: usize,
    len: usize,
    queries: Slots<C>,
    keys: Slots<C>,
    /// 1 for slots that hold a token of their own, `[rows * heads * len, 1]`; `None` where all do.
    is_real: Option<Tensor<C, 2>>,
    /// What is added to the scores, 0 where a query may look and -inf where it may not, `[1, 1, len, len]`
    mask: Tensor<C, 4>,
}

/// Which head of which token lies in which slot.
#[derive(Debug)]
struct Slots<C: Backend> {
    /// For each slot the place in `[tokens, heads]`.
    from_tokens: Tensor<C, 1, Int>,
    /// For each token of the block and each head the slot.
    to_tokens: Tensor<C, 1, Int>,
}

impl<C: Backend> Plan<C> {
    pub fn new(shape: &AttentionShape, rotary: &RotaryEmbedding<C>) -> Self {
        let device = rotary.cos.device();
        let positions = shape.groups.iter().flat_map(|group| (0..group.rows).flat_map(|_| 0..group.len));
        let positions = ints(positions.collect(), &device);
        let [cos, sin] = [&rotary.cos, &rotary.sin].map(|table| table.clone().select(0, positions.clone()));
        let half = shape.head_dim / 2;
        let mut first_token = 0;
        let blocks = blocks_of(&shape.groups).map(|groups| {
            let block = Block::new(groups, first_token, shape, &device);
            first_token += groups.iter().map(Group::tokens).sum::<usize>();
            block
        });
        Self {
            blocks: blocks.collect(),
            cos: Tensor::cat(vec![cos.clone(), cos], 1).unsqueeze_dim(1),
            sin: Tensor::cat(vec![sin.clone().neg(), sin], 1).unsqueeze_dim(1),
            swap: ints((half..shape.head_dim).chain(0..half).collect(), &device),
        }
    }
}

/// Consecutive groups that are computed together.
fn blocks_of(groups: &[Group]) -> impl Iterator<Item = &[Group]> {
    let mut rest = groups;
    std::iter::from_fn(move || {
        let (mut rows, mut longest, mut scores) = (0, 0, 0);
        let fits = |group: &&Group| {
            rows += group.rows;
            longest = longest.max(group.len);
            scores += group.rows * group.len * group.len;
            rows * longest * longest <= MOST_PADDING * scores
        };
        let (block, others) = rest.split_at(rest.iter().take_while(fits).count());
        rest = others;
        (!block.is_empty()).then_some(block)
    })
}

fn ints<C: Backend>(values: Vec<usize>, device: &C::Device) -> Tensor<C, 1, Int> {
    let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

impl<C: Backend> Block<C> {
    fn new(groups: &[Group], first_token: usize, shape: &AttentionShape, device: &C::Device) -> Self {
        let lengths: Vec<usize> = groups.iter().flat_map(|group| std::iter::repeat_n(group.len, group.rows)).collect();
        let (rows, len) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let is_real = lengths.iter().any(|own| *own < len).then(|| {
            let real =
                |own: &usize| (0..shape.heads * len).map(|slot| f32::from(slot % len < *own)).collect::<Vec<_>>();
            let real: Vec<f32> = lengths.iter().flat_map(real).collect();
            Tensor::from_data(TensorData::new(real, [rows * shape.heads * len, 1]), (device, DType::F32))
        });
        let sees = (0..len * len).map(|pair| if pair % len <= pair / len { 0.0 } else { f32::NEG_INFINITY });
        let mask = TensorData::new(sees.collect::<Vec<f32>>(), [1, 1, len, len]);
        Self {
            rows,
            len,
            queries: Slots::new(&lengths, len, shape.heads, first_token, device),
            keys: Slots::new(&lengths, len, shape.kv_heads, first_token, device),
            is_real,
            mask: Tensor::from_data(mask, (device, DType::F32)),
        }
    }
}

impl<C: Backend> Slots<C> {
    fn new(lengths: &[usize], len: usize, heads: usize, first_token: usize, device: &C::Device) -> Self {
        let (mut from_tokens, mut to_tokens) = (Vec::new(), Vec::new());
        let mut token = first_token;
        for (row, own) in lengths.iter().enumerate() {
            let places = (0..heads).flat_map(|head| (0..len).map(move |slot| (slot.min(own - 1), head)));
            from_tokens.extend(places.map(|(position, head)| (token + position) * heads + head));
            let slots = (0..*own).flat_map(|slot| (0..heads).map(move |head| (row * heads + head) * len + slot));
            to_tokens.extend(slots);
            token += own;
        }
        Self { from_tokens: ints(from_tokens, device), to_tokens: ints(to_tokens, device) }
    }

    /// `[tokens * heads, head_dim]` -> `[slots, head_dim]`
    fn fill<B: Backend>(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        x.select(0, int_constant(&self.from_tokens))
    }

    /// The way back for the block's tokens: `[slots, head_dim]` -> `[tokens, heads * head_dim]`
    fn empty<B: Backend>(&self, x: Tensor<B, 2>, heads: usize) -> Tensor<B, 2> {
        let [_, head_dim] = x.dims();
        x.select(0, int_constant(&self.to_tokens)).reshape([-1, (heads * head_dim) as i32])
    }
}

/// softmax(q k^T / sqrt(head_dim) + mask) v with rotated q and k, the query heads of one key/value head side by side.
#[derive(Debug, Clone)]
pub struct ComposedAttention<C: Backend> {
    plan: Arc<Plan<C>>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

/// What a block's scores are computed from, and the weights: `[rows * kv_heads, ...]` each.
struct Attended<B: Backend> {
    q: Tensor<B, 3>,
    k: Tensor<B, 3>,
    v: Tensor<B, 3>,
    weights: Tensor<B, 3>,
}

impl<C: Backend> ComposedAttention<C> {
    pub fn new(pass: &AttentionPass<C>) -> Self {
        let AttentionShape { heads, kv_heads, head_dim, .. } = *pass.shape();
        Self { plan: pass.plan(), heads, kv_heads, head_dim }
    }

    fn scale(&self) -> f64 {
        1.0 / (self.head_dim as f64).sqrt()
    }

    /// Turns each head of each token by its position's angles, or back.
    ///
    /// # Shapes
    /// `[tokens, heads * head_dim]` -> `[tokens * heads, head_dim]`
    fn rotate<B: Backend>(&self, x: Tensor<B, 2>, back: bool) -> Tensor<B, 2> {
        let dtype = x.dtype();
        let [tokens, width] = x.dims();
        let x = x.reshape([tokens, width / self.head_dim, self.head_dim]).cast(DType::F32);
        let swapped = x.clone().select(2, int_constant(&self.plan.swap));
        let (straight, across) = (x * constant(&self.plan.cos), swapped * constant(&self.plan.sin));
        let turned = if back { straight - across } else { straight + across };
        turned.cast(dtype).reshape([-1, self.head_dim as i32])
    }

    /// One head's features in each row: `[tokens, heads * head_dim]`, or a block's slots -> `[.., head_dim]`
    fn heads<B: Backend, const D: usize>(&self, x: Tensor<B, D>) -> Tensor<B, 2> {
        x.reshape([-1, self.head_dim as i32])
    }

    /// A block's queries or keys or values, from `[tokens * heads, head_dim]`.
    fn batched<B: Backend>(&self, block: &Block<C>, slots: Tensor<B, 2>) -> Tensor<B, 3> {
        slots.reshape([(block.rows * self.kv_heads) as i32, -1, self.head_dim as i32])
    }

    fn attend<B: Backend>(&self, block: &Block<C>, [q, k, v]: &[Tensor<B, 2>; 3]) -> Attended<B> {
        let q = self.batched(block, block.queries.fill(q.clone()));
        let [k, v] = [k, v].map(|x| self.batched(block, block.keys.fill(x.clone())));
        let dtype = q.dtype();
        let [batch, queries, _] = q.dims();
        let scores = q.clone().matmul(k.clone().swap_dims(1, 2)).cast(DType::F32) * self.scale();
        let scores = scores.reshape([batch, queries / block.len, block.len, block.len]) + constant(&block.mask);
        let weights = softmax(scores, 3).cast(dtype).reshape([batch, queries, block.len]);
        Attended { q, k, v, weights }
    }
}

impl<C: Backend> ComposedOp<3> for ComposedAttention<C> {
    fn forward<B: Backend>(&self, [q, k, v]: [Tensor<B, 2>; 3]) -> Tensor<B, 2> {
        let inputs = [self.rotate(q, false), self.rotate(k, false), self.heads(v)];
        let attended = self.plan.blocks.iter().map(|block| {
            let Attended { v, weights, .. } = self.attend(block, &inputs);
            block.queries.empty(self.heads(weights.matmul(v)), self.heads)
        });
        together(attended.collect())
    }

    /// With P the weights and dO the output's gradient: dV = P^T dO, dS = P (dP - sum(dP P)) with dP = dO V^T,
    /// dQ = dS K, dK = dS^T Q.
    fn backward<B: Backend>(&self, [q, k, v]: [Tensor<B, 2>; 3], gradient: Tensor<B, 2>) -> [Tensor<B, 2>; 3] {
        let inputs = [self.rotate(q, false), self.rotate(k, false), self.heads(v)];
        let gradient = self.heads(gradient);
        let mut gradients = [Vec::new(), Vec::new(), Vec::new()];
        for block in &self.plan.blocks {
            let Attended { q, k, v, weights } = self.attend(block, &inputs);
            let dtype = q.dtype();
            let output = block.queries.fill(gradient.clone());
            let output = match &block.is_real {
                Some(real) => output * constant::<C, B, 2>(real).cast(dtype),
                None => output,
            };
            let output = self.batched(block, output);
            let dv = weights.clone().swap_dims(1, 2).matmul(output.clone());
            let d_weights = output.matmul(v.swap_dims(1, 2)).cast(DType::F32);
            let weights = weights.cast(DType::F32);
            let product = weights.clone() * d_weights;
            let d_scores = (product.clone() - weights * product.sum_dim(2)) * self.scale();
            let d_scores = d_scores.cast(dtype);
            let dq = d_scores.clone().matmul(k);
            let dk = d_scores.swap_dims(1, 2).matmul(q);
            gradients[0].push(block.queries.empty(self.heads(dq), self.heads));
            gradients[1].push(block.keys.empty(self.heads(dk), self.kv_heads));
            gradients[2].push(block.keys.empty(self.heads(dv), self.kv_heads));
        }
        let [dq, dk, dv] = gradients.map(together);
        let width = |heads: usize| [-1, (heads * self.head_dim) as i32];
        [self.rotate(dq, true).reshape(width(self.heads)), self.rotate(dk, true).reshape(width(self.kv_heads)), dv]
    }
}
