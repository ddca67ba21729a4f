//! Token by token: an iterator over the ids that follow a prompt. It never knows text.

use burn::tensor::backend::Backend;

use super::generation::GenerationConfig;
use super::sampler::Sampler;
use crate::model::{KvCache, Qwen2ForCausalLm, TokenBatch};

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// An end-of-sequence token came.
    Stop,
    /// `max_new_tokens`, or the model's last position, was reached.
    Length,
}

impl FinishReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// Yields the generated ids, the end-of-sequence token included.
pub struct Generator<'a, B: Backend> {
    model: &'a Qwen2ForCausalLm<B>,
    config: &'a GenerationConfig,
    sampler: Sampler,
    cache: KvCache<B>,
    /// Prompt and generated ids.
    ids: Vec<u32>,
    prompt_len: usize,
    finish_reason: Option<FinishReason>,
}

impl<'a, B: Backend> Generator<'a, B> {
    /// The prompt must not be empty.
    pub fn new(model: &'a Qwen2ForCausalLm<B>, prompt_ids: &[u32], config: &'a GenerationConfig) -> Self {
        assert!(!prompt_ids.is_empty(), "a prompt has at least one token");
        Self {
            model,
            config,
            sampler: Sampler::new(config),
            cache: KvCache::new(model.num_hidden_layers()),
            ids: prompt_ids.to_vec(),
            prompt_len: prompt_ids.len(),
            finish_reason: None,
        }
    }

    /// The ids generated so far.
    pub fn generated(&self) -> &[u32] {
        &self.ids[self.prompt_len..]
    }

    /// `None` while generation goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }

    /// Logits of the token that follows all ids, computing only those that the cache does not hold.
    fn next_logits(&mut self) -> Vec<f32> {
        let new: Vec<i32> = self.ids[self.cache.len()..].iter().map(|id| *id as i32).collect();
        let last = new.len() - 1;
        let hidden = self.model.model.forward(&TokenBatch::single(new), Some(&mut self.cache), None);
        let logits = self.model.logits(hidden.narrow(0, last, 1)); // only the last position goes through the head
        logits.into_data().convert::<f32>().into_vec().expect("the data was converted to f32")
    }
}

impl<B: Backend> Iterator for Generator<'_, B> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.finish_reason.is_some() {
            return None;
        }
        let full = self.ids.len() > self.model.max_positions();
        if self.generated().len() >= self.config.max_new_tokens || full {
            self.finish_reason = Some(FinishReason::Length);
            return None;
        }
        let mut logits = self.next_logits();
        let id = self.sampler.next(&mut logits, &self.ids);
        self.ids.push(id);
        if self.config.eos_token_ids.contains(&id) {
            self.finish_reason = Some(FinishReason::Stop);
        }
        Some(id)
    }
}
