//! Keys and values of the tokens seen so far, so that decoding computes only new ones.

use burn::tensor::{Tensor, backend::Backend};

/// One entry per layer. All rows have the same length: decoding runs one group at a time.
#[derive(Debug, Clone)]
pub struct KvCache<B: Backend> {
    layers: Vec<Option<(Tensor<B, 4>, Tensor<B, 4>)>>,
    len: usize,
}

impl<B: Backend> KvCache<B> {
    pub fn new(num_hidden_layers: usize) -> Self {
        Self { layers: vec![None; num_hidden_layers], len: 0 }
    }

    /// Tokens per row that the cache holds.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends a layer's new keys and values and returns all of them.
    ///
    /// # Shapes
    /// `[rows, kv_heads, new, head_dim]` -> `[rows, kv_heads, past + new, head_dim]`
    pub(crate) fn append(
        &mut self,
        layer: usize,
        key: Tensor<B, 4>,
        value: Tensor<B, 4>,
    ) -> (Tensor<B, 4>, Tensor<B, 4>) {
        let (key, value) = match self.layers[layer].take() {
            Some((k, v)) => (Tensor::cat(vec![k, key], 2), Tensor::cat(vec![v, value], 2)),
            None => (key, value),
        };
        self.layers[layer] = Some((key.clone(), value.clone()));
        (key, value)
    }

    /// Counts the tokens of a finished pass.
    pub(crate) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }
}
