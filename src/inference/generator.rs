//! Token by token: an iterator over the ids that follow prompts. It never knows text.

use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

use super::generation::GenerationConfig;
use super::sampler::Sampler;
use crate::kernels::among_workers;
use crate::model::{Group, KvCache, Qwen2ForCausalLm, TokenBatch};

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

/// A prompt and what follows it.
pub struct Sequence {
    /// Prompt and generated ids.
    ids: Vec<u32>,
    prompt_len: usize,
    sampler: Sampler,
    finish_reason: Option<FinishReason>,
}

impl Sequence {
    /// The ids generated so far, the end-of-sequence token included.
    pub fn generated(&self) -> &[u32] {
        &self.ids[self.prompt_len..]
    }

    /// `None` while generation goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason
    }
}

/// Continues several prompts at once: each weight is read once for all of them. Every prompt gets the tokens that it
/// would get alone.
///
/// Yields, step by step, the numbers of the sequences that got a token.
pub struct Generator<'a, B: Backend> {
    model: &'a Qwen2ForCausalLm<B>,
    config: &'a GenerationConfig,
    cache: KvCache<B>,
    sequences: Vec<Sequence>,
    /// The sequences that are not finished, in the order of the cache's rows.
    active: Vec<usize>,
}

impl<'a, B: Backend> Generator<'a, B> {
    /// No prompt may be empty, or longer than the model's positions.
    pub fn new(model: &'a Qwen2ForCausalLm<B>, prompts: &[Vec<u32>], config: &'a GenerationConfig) -> Self {
        assert!(prompts.iter().all(|prompt| !prompt.is_empty()), "a prompt has at least one token");
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let sequence = |prompt: &Vec<u32>| Sequence {
            ids: prompt.clone(),
            prompt_len: prompt.len(),
            sampler: Sampler::new(config),
            finish_reason: None,
        };
        Self {
            model,
            config,
            cache: KvCache::new(model.num_hidden_layers(), longest + config.max_new_tokens),
            sequences: prompts.iter().map(sequence).collect(),
            active: (0..prompts.len()).collect(),
        }
    }

    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// Logits of the token that follows each active sequence, `[active, vocab]`, computing only what the cache does not
    /// hold.
    fn next_logits(&mut self) -> Vec<f32> {
        let first_pass = self.cache.past().slots == 0;
        let mut batch = TokenBatch { input_ids: Vec::new(), groups: Vec::new() };
        for number in &self.active {
            let ids = &self.sequences[*number].ids;
            let new = if first_pass { ids.as_slice() } else { &ids[ids.len() - 1..] };
            batch.input_ids.extend(new.iter().map(|id| *id as i32));
            match batch.groups.last_mut() {
                Some(group) if group.len == new.len() => group.rows += 1,
                _ => batch.groups.push(Group { rows: 1, len: new.len() }),
            }
        }
        let ends = batch.row_lengths().scan(0, |end, len| {
            *end += len;
            Some(*end as i32 - 1)
        });
        let ends = TensorData::new(ends.collect::<Vec<_>>(), [self.active.len()]);
        let (model, cache) = (self.model, &mut self.cache);
        let logits = among_workers::<B, _>(|| {
            let hidden = model.model.forward(&batch, Some(cache), None);
            // Only each sequence's last position goes through the head.
            let ends = Tensor::<B, 1, Int>::from_data(ends, &hidden.device());
            model.logits(hidden.select(0, ends))
        });
        logits.into_data().convert::<f32>().into_vec().expect("the data was converted to f32")
    }

    /// Lets go of sequences that are finished or have no room left.
    fn retire(&mut self) {
        let (max_new_tokens, positions) = (self.config.max_new_tokens, self.model.max_positions());
        let mut kept = Vec::new();
        for (row, number) in self.active.iter().enumerate() {
            let sequence = &mut self.sequences[*number];
            let full = sequence.generated().len() >= max_new_tokens || sequence.ids.len() > positions;
            if full && sequence.finish_reason.is_none() {
                sequence.finish_reason = Some(FinishReason::Length);
            }
            if sequence.finish_reason.is_none() {
                kept.push(row);
            }
        }
        if kept.len() < self.active.len() {
            self.active = kept.iter().map(|row| self.active[*row]).collect();
            if !kept.is_empty() {
                self.cache.keep(&kept);
            }
        }
    }
}

impl<B: Backend> Iterator for Generator<'_, B> {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        if self.active.is_empty() {
            return None;
        }
        let mut logits = self.next_logits();
        let vocab = logits.len() / self.active.len();
        let extended = self.active.clone();
        for (logits, number) in logits.chunks_exact_mut(vocab).zip(&extended) {
            let sequence = &mut self.sequences[*number];
            let id = sequence.sampler.next(logits, &sequence.ids);
            sequence.ids.push(id);
            if self.config.eos_token_ids.contains(&id) {
                sequence.finish_reason = Some(FinishReason::Stop);
            }
        }
        self.retire();
        Some(extended)
    }
}
