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

/// What becomes known while questions are answered.
pub enum Progress<'a> {
    /// The next piece of an answer, by the question's number.
    Text(usize, &'a str),
    Finished(usize, &'a Answer),
}

/// Questions answered at once. More would keep a CPU no busier, and a GPU's cache of keys and values small.
const AT_ONCE: usize = 8;

/// Answers questions in the form that the model was trained on, several at once. `on_progress` hears of each piece as
/// soon as it is known; it returns whether to go on.
pub fn answer<B: Backend>(
    model: &Qwen2ForCausalLm<B>,
    tokenizer: &Tokenizer,
    config: &GenerationConfig,
    questions: &[String],
    mut on_progress: impl FnMut(Progress) -> bool,
) -> Result<()> {
    let prompts = prompts(tokenizer, questions, model.vocab_size(), model.max_positions())?;
    for (number, prompts) in prompts.chunks(AT_ONCE).enumerate() {
        let first = number * AT_ONCE;
        let started = Instant::now();
        let mut generator = Generator::new(model, prompts, config);
        let mut texts: Vec<AnswerText> = prompts.iter().map(|_| AnswerText::default()).collect();
        while let Some(extended) = generator.next() {
            for number in extended {
                let sequence = &generator.sequences()[number];
                let text = &mut texts[number];
                let piece = match sequence.finish_reason() {
                    Some(_) => text.finish(tokenizer, sequence.generated())?,
                    None => text.extend(tokenizer, sequence.generated())?,
                };
                if piece.is_some_and(|piece| !on_progress(Progress::Text(first + number, &piece))) {
                    return Ok(());
                }
                let Some(finish_reason) = sequence.finish_reason() else { continue };
                let answer = Answer {
                    text: text.shown.clone(),
                    prompt_token_ids: prompts[number].clone(),
                    token_ids: sequence.generated().to_vec(),
                    finish_reason,
                    tokens_per_second: sequence.generated().len() as f64 / started.elapsed().as_secs_f64(),
                };
                if !on_progress(Progress::Finished(first + number, &answer)) {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// The ids that each question is put to a model in, or the first question that the model cannot take.
pub fn prompts(
    tokenizer: &Tokenizer,
    questions: &[String],
    vocab_size: usize,
    max_positions: usize,
) -> Result<Vec<Vec<u32>>> {
    let mut prompts = Vec::with_capacity(questions.len());
    for (number, question) in questions.iter().enumerate() {
        let ids = tokenizer.encode(&template::prompt(question))?;
        if let Some(id) = ids.iter().find(|id| **id as usize >= vocab_size) {
            bad_input!("the tokenizer gives id {id}, but the model's vocabulary ends at {vocab_size}");
        }
        if ids.len() > max_positions {
            bad_input!(
                "question {} ({question:.40}...) has {} tokens; the model takes {max_positions}: shorten it",
                number + 1,
                ids.len()
            );
        }
        prompts.push(ids);
    }
    Ok(prompts)
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
