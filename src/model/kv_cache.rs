//! Keys and values of the tokens seen so far, so that decoding computes only new ones.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use super::layout::Group;
use crate::kernels::{AttentionPass, LayerCache};

/// How far the rows of a cache are filled.
///
/// The first pass may bring rows of different lengths; what follows is appended to all of them in the same slots, so that
/// shorter rows have a gap, which nobody looks at.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Slots in use, the same for every row.
    pub slots: usize,
    /// Tokens of each row in the first pass, and of the longest one.
    prompts: Vec<usize>,
    longest_prompt: usize,
}

impl Past {
    /// The position of a row's next token.
    pub fn position(&self, row: usize) -> usize {
        self.prompts.get(row).map_or(0, |prompt| prompt + self.slots - self.longest_prompt)
    }

    /// The slots that a row leaves out.
    pub fn gap(&self, row: usize) -> Range<usize> {
        self.prompts.get(row).map_or(0..0, |prompt| *prompt..self.longest_prompt)
    }

    /// Counts the tokens of a finished pass.
    fn advance(&mut self, groups: &[Group]) {
        if self.prompts.is_empty() {
            self.prompts = groups.iter().flat_map(|group| std::iter::repeat_n(group.len, group.rows)).collect();
            self.longest_prompt = self.prompts.iter().copied().max().unwrap_or(0);
            self.slots = self.longest_prompt;
        } else {
            self.slots += groups[0].len;
        }
    }
}

/// Memory for so many tokens of every row is taken at the first pass, and only then.
#[derive(Debug)]
pub struct KvCache<B: Backend> {
    layers: Vec<Option<LayerCache<B>>>,
    past: Past,
    capacity: usize,
}

impl<B: Backend> KvCache<B> {
    /// `capacity`: tokens that the longest row will have at most.
    pub fn new(num_hidden_layers: usize, capacity: usize) -> Self {
        Self { layers: (0..num_hidden_layers).map(|_| None).collect(), past: Past::default(), capacity }
    }

    pub fn past(&self) -> &Past {
        &self.past
    }

    /// A layer's keys and values; empty ones like `new` at first. To be [put](Self::put) back.
    pub fn take(&mut self, layer: usize, pass: &AttentionPass<B>, new: &Tensor<B, 2>) -> LayerCache<B> {
        self.layers[layer].take().unwrap_or_else(|| {
            let shape = [pass.rows(), pass.kv_heads(), self.capacity, pass.head_dim()];
            let empty = || Tensor::zeros(shape, (&new.device(), new.dtype()));
            (empty(), empty())
        })
    }

    pub fn put(&mut self, layer: usize, cache: LayerCache<B>) {
        self.layers[layer] = Some(cache);
    }

    /// Counts the tokens of a finished pass.
    pub fn advance(&mut self, groups: &[Group]) {
        self.past.advance(groups);
    }

    /// Drops all rows but these.
    pub fn keep(&mut self, rows: &[usize]) {
        self.past.prompts = rows.iter().map(|row| self.past.prompts[*row]).collect();
        let ids: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
        for layer in &mut self.layers {
            *layer = layer.take().map(|(keys, values)| {
                let ids = TensorData::new(ids.clone(), [ids.len()]);
                let ids = Tensor::<B, 1, Int>::from_data(ids, &keys.device());
                (keys.select(0, ids.clone()), values.select(0, ids))
            });
        }
    }
}
