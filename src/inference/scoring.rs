//! How good answers are, measured against reference answers.

use std::collections::HashMap;

use anyhow::Result;
use burn::tensor::backend::Backend;
use serde::Serialize;

use super::chat::{Progress, answer};
use super::generation::GenerationConfig;
use super::generator::FinishReason;
use crate::data::jsonl::Record;
use crate::data::tokenizer::Tokenizer;
use crate::model::Qwen2ForCausalLm;

/// Means over answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AnswerScores {
    pub answers: usize,
    /// See [`token_f1`].
    pub token_f1: f64,
    /// Share of the answers that the model ended by itself, with an end-of-sequence token.
    pub ended: f64,
}

/// Answers every record's question and compares with its answer. `on_answer` hears how many are done.
pub fn score<B: Backend>(
    model: &Qwen2ForCausalLm<B>,
    tokenizer: &Tokenizer,
    generation: &GenerationConfig,
    records: &[Record],
    mut on_answer: impl FnMut(usize),
) -> Result<AnswerScores> {
    let questions: Vec<String> = records.iter().map(|record| record.question.clone()).collect();
    let (mut done, mut f1, mut ended) = (0, 0.0, 0);
    answer(model, tokenizer, generation, &questions, |progress| {
        if let Progress::Finished(number, answer) = progress {
            f1 += token_f1(&answer.text, &records[number].answer);
            ended += (answer.finish_reason == FinishReason::Stop) as usize;
            done += 1;
            on_answer(done);
        }
        true
    })?;
    let count = records.len().max(1) as f64;
    Ok(AnswerScores { answers: records.len(), token_f1: f1 / count, ended: ended as f64 / count })
}

/// Harmonic mean of precision and recall over words, as in SQuAD (Rajpurkar et al., 2016): lower case, without
/// punctuation and without articles.
pub fn token_f1(answer: &str, reference: &str) -> f64 {
    let (answer, reference) = (words(answer), words(reference));
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in &reference {
        *left.entry(word).or_default() += 1;
    }
    let shared = answer.iter().filter(|word| match left.get_mut(word.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    });
    let shared = shared.count() as f64;
    match shared > 0.0 {
        true => 2.0 * shared / (answer.len() + reference.len()) as f64,
        false => 0.0,
    }
}

fn words(text: &str) -> Vec<String> {
    let plain: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let is_article = |word: &&str| matches!(*word, "a" | "an" | "the");
    plain.split_whitespace().filter(|word| !is_article(word)).map(str::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_f1_counts_shared_words_once_each() {
        assert_eq!(token_f1("The squat trains the legs.", "Squat trains legs"), 1.0);
        assert_eq!(token_f1("squat squat", "squat"), 2.0 / 3.0);
        assert_eq!(token_f1("rest", "squat"), 0.0);
        assert_eq!(token_f1("", "squat"), 0.0);
        assert_eq!(token_f1("eat 30 g protein", "30 g of protein a day"), 2.0 * 3.0 / 9.0);
    }
}
