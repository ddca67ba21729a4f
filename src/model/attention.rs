//! Grouped-query attention (Ainslie et al., 2023), causal, within each row only.

use burn::module::Module;
use burn::tensor::{DType, Tensor, TensorData, activation::softmax, backend::Backend};

use super::kv_cache::KvCache;
use super::layout::Group;
use super::lora::{LoraDropout, LoraLinear};
use super::rotary::RotaryWindow;

#[derive(Module, Debug)]
pub struct Attention<B: Backend> {
    pub q_proj: LoraLinear<B>,
    pub k_proj: LoraLinear<B>,
    pub v_proj: LoraLinear<B>,
    pub o_proj: LoraLinear<B>,
    #[module(skip)]
    pub num_attention_heads: usize,
    #[module(skip)]
    pub num_key_value_heads: usize,
    #[module(skip)]
    pub head_dim: usize,
}

/// What a group of rows needs in every layer: built once a pass.
#[derive(Debug, Clone)]
pub struct GroupContext<B: Backend> {
    pub group: Group,
    /// Where the group's tokens begin in the flat list.
    pub offset: usize,
    pub rotary: RotaryWindow<B>,
    /// Added to the scores, `[1, 1, len, past + len]`: 0 where a query may look, -inf where it may not.
    /// `None` for a single query, which sees everything before it.
    pub mask: Option<Tensor<B, 4>>,
}

/// The additive causal mask of `len` queries that follow `past` cached tokens.
pub fn causal_mask<B: Backend>(len: usize, past: usize, device: &B::Device) -> Option<Tensor<B, 4>> {
    if len == 1 {
        return None;
    }
    let total = past + len;
    let values: Vec<f32> = (0..len)
        .flat_map(|query| (0..total).map(move |key| if key <= past + query { 0.0 } else { f32::NEG_INFINITY }))
        .collect();
    Some(Tensor::from_data(TensorData::new(values, [1, 1, len, total]), (device, DType::F32)))
}

impl<B: Backend> Attention<B> {
    /// # Shapes
    /// `[tokens, hidden]` -> `[tokens, hidden]`
    pub fn forward(
        &self,
        x: Tensor<B, 2>,
        groups: &[GroupContext<B>],
        mut cache: Option<(&mut KvCache<B>, usize)>,
        dropout: Option<&LoraDropout>,
    ) -> Tensor<B, 2> {
        let q = self.q_proj.forward(x.clone(), dropout);
        let k = self.k_proj.forward(x.clone(), dropout);
        let v = self.v_proj.forward(x, dropout);
        let attended = groups
            .iter()
            .map(|context| {
                let rows = |t: &Tensor<B, 2>, heads| self.split_heads(t.clone(), context, heads);
                let q = context.rotary.rotate(rows(&q, self.num_attention_heads));
                let k = context.rotary.rotate(rows(&k, self.num_key_value_heads));
                let v = rows(&v, self.num_key_value_heads);
                let (k, v) = match &mut cache {
                    Some((cache, layer)) => cache.append(*layer, k, v),
                    None => (k, v),
                };
                self.attend(q, k, v, context.mask.as_ref())
            })
            .collect::<Vec<_>>();
        let attended = match attended.len() {
            1 => attended.into_iter().next().expect("one group"),
            _ => Tensor::cat(attended, 0),
        };
        self.o_proj.forward(attended, dropout)
    }

    /// `[all tokens, heads * head_dim]` -> `[rows, heads, len, head_dim]` of one group
    fn split_heads(&self, x: Tensor<B, 2>, context: &GroupContext<B>, heads: usize) -> Tensor<B, 4> {
        let Group { rows, len } = context.group;
        let x =
            if context.group.tokens() == x.dims()[0] { x } else { x.narrow(0, context.offset, context.group.tokens()) };
        x.reshape([rows, len, heads, self.head_dim]).swap_dims(1, 2)
    }

    /// softmax(q k^T / sqrt(head_dim) + mask) v, the query heads of one key/value head side by side.
    ///
    /// # Shapes
    /// q `[rows, heads, len, head_dim]`, k and v `[rows, kv_heads, total, head_dim]` -> `[rows * len, heads * head_dim]`
    fn attend(&self, q: Tensor<B, 4>, k: Tensor<B, 4>, v: Tensor<B, 4>, mask: Option<&Tensor<B, 4>>) -> Tensor<B, 2> {
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
}
