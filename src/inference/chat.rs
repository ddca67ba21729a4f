//! A question in, an answer out, in pieces as it is generated.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};

use super::generation::{GenerationArguments, GenerationConfig};
use super::generator::{FinishReason, Generator};
use crate::bad_input;
use crate::data::template;
use crate::data::tokenizer::Tokenizer;
use crate::model::Qwen2ForCausalLm;

/// Which weights answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The base model.
    Base,
    /// The base model with the adapter.
    Lora,
    /// The model that `merge` wrote.
    Merged,
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Lora => "lora",
            Self::Merged => "merged",
        }
    }
}

/// The `inference` section of config.json.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InferenceConfig {
    pub mode: Mode,
    /// The base for `base` mode, and for adapters whose own base the config does not name.
    pub base_model_name: String,
    pub adapter_path: PathBuf,
    pub merged_model_path: PathBuf,
    pub generation: GenerationArguments,
    pub questions: Vec<String>,
}

impl Default for InferenceConfig {
    fn default() -> Self {
        Self {
            mode: Mode::Lora,
            base_model_name: "Qwen/Qwen2.5-0.5B".into(),
            adapter_path: "./qwen2.5-0.5b-finetuned".into(),
            merged_model_path: "./qwen2.5-0.5b-merged".into(),
            generation: GenerationArguments::default(),
            questions: Vec::new(),
        }
    }
}

impl InferenceConfig {
    /// Problems by key, without the section's name.
    pub fn validate(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if self.base_model_name.trim().is_empty() {
            problems.push(("base_model_name", "must be a hub id or a folder".into()));
        }
        if self.questions.iter().any(|question| question.trim().is_empty()) {
            problems.push(("questions", "must not hold an empty question".into()));
        }
        problems
    }
}

/// An answer with the ids behind it.
#[derive(Debug, Clone)]
pub struct Answer {
    pub text: String,
    pub prompt_token_ids: Vec<u32>,
    /// The end-of-sequence token included.
    pub token_ids: Vec<u32>,
    pub finish_reason: FinishReason,
    pub tokens_per_second: f64,
}

/// Answers a question in the form that the model was trained on. `on_text` gets each piece of the answer as soon as
/// it is known; it returns whether to go on.
pub fn answer<B: Backend>(
    model: &Qwen2ForCausalLm<B>,
    tokenizer: &Tokenizer,
    config: &GenerationConfig,
    question: &str,
    mut on_text: impl FnMut(&str) -> bool,
) -> Result<Answer> {
    let prompt_token_ids = tokenizer.encode(&template::prompt(question))?;
    let vocabulary = model.vocab_size();
    if let Some(id) = prompt_token_ids.iter().find(|id| **id as usize >= vocabulary) {
        bad_input!("the tokenizer gives id {id}, but the model's vocabulary ends at {vocabulary}");
    }
    if prompt_token_ids.len() > model.max_positions() {
        bad_input!(
            "the question has {} tokens; the model takes {} positions",
            prompt_token_ids.len(),
            model.max_positions()
        );
    }
    let started = Instant::now();
    let mut generator = Generator::new(model, &prompt_token_ids, config);
    let mut text = AnswerText::default();
    let mut go_on = true;
    while go_on && generator.next().is_some() {
        if let Some(piece) = text.extend(tokenizer, generator.generated())? {
            go_on = on_text(&piece);
        }
    }
    if let Some(piece) = text.finish(tokenizer, generator.generated())? {
        on_text(&piece);
    }
    Ok(Answer {
        text: text.shown,
        token_ids: generator.generated().to_vec(),
        finish_reason: generator.finish_reason().unwrap_or(FinishReason::Length),
        tokens_per_second: generator.generated().len() as f64 / started.elapsed().as_secs_f64(),
        prompt_token_ids,
    })
}

/// The text shown so far. A character may need several tokens: it is held back until it is whole.
#[derive(Default)]
struct AnswerText {
    shown: String,
}

impl AnswerText {
    fn extend(&mut self, tokenizer: &Tokenizer, ids: &[u32]) -> Result<Option<String>> {
        let text = Self::decode(tokenizer, ids)?;
        Ok(if text.ends_with('\u{FFFD}') { None } else { self.show(text) })
    }

    fn finish(&mut self, tokenizer: &Tokenizer, ids: &[u32]) -> Result<Option<String>> {
        let text = Self::decode(tokenizer, ids)?;
        Ok(self.show(text))
    }

    /// The prompt ends with a colon, so an answer begins with a space that is not part of it.
    fn decode(tokenizer: &Tokenizer, ids: &[u32]) -> Result<String> {
        Ok(tokenizer.decode(ids, true)?.trim_start().to_string())
    }

    fn show(&mut self, text: String) -> Option<String> {
        let piece = text.get(self.shown.len()..).unwrap_or_default().to_string();
        self.shown = text;
        (!piece.is_empty()).then_some(piece)
    }
}
