//! What a training run was good for: the base and the tuned model beside each other.

use anyhow::Result;
use burn::tensor::backend::Backend;
use console::{Term, measure_text_width, pad_str};
use serde::Serialize;

use super::output;
use crate::config::RunConfig;
use crate::data::jsonl::{self, Record};
use crate::data::tokenizer::Tokenizer;
use crate::inference::chat::{Progress, answer};
use crate::inference::generation::GenerationConfig;
use crate::inference::scoring::{AnswerScores, score};
use crate::model::Qwen2ForCausalLm;

/// Longest answer that ends a training run: a taste, not an essay.
const SAMPLE_TOKENS: usize = 128;
/// Questions of the config that are shown answered.
const SHOWN: usize = 3;

/// What to ask both models.
pub struct Questions<'a> {
    pub shown: &'a [String],
    /// With reference answers; may be none.
    pub scored: &'a [Record],
}

/// What one model made of the questions.
#[derive(Debug, Clone, Serialize)]
pub struct Answered {
    pub scores: Option<AnswerScores>,
    pub answers: Vec<String>,
}

impl Questions<'_> {
    pub fn new<'a>(shown: &'a [String], scored: &'a [Record]) -> Questions<'a> {
        Questions { shown: &shown[..shown.len().min(SHOWN)], scored }
    }

    /// Lets a model answer. `name` is what the progress bar calls it.
    pub fn ask<B: Backend>(
        &self,
        model: &Qwen2ForCausalLm<B>,
        tokenizer: &Tokenizer,
        generation: &GenerationConfig,
        name: &'static str,
    ) -> Result<Answered> {
        let short =
            GenerationConfig { max_new_tokens: generation.max_new_tokens.min(SAMPLE_TOKENS), ..generation.clone() };
        let mut answers = vec![String::new(); self.shown.len()];
        answer(model, tokenizer, &short, self.shown, |progress| {
            if let Progress::Finished(number, answer) = progress {
                answers[number] = answer.text.clone();
            }
            true
        })?;
        if self.scored.is_empty() {
            return Ok(Answered { scores: None, answers });
        }
        let bar = output::progress_bar(self.scored.len(), name);
        let scores = score(model, tokenizer, generation, self.scored, |done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        Ok(Answered { scores: Some(scores), answers })
    }
}

/// Test questions that are answered unless the command line says otherwise.
pub const SCORED_ANSWERS: usize = 200;

/// The test questions to be answered.
pub fn test_records(config: &RunConfig, count: usize) -> Result<Vec<Record>> {
    let Some(path) = config.test_file.as_ref().filter(|_| count > 0) else {
        return Ok(Vec::new());
    };
    let mut records = jsonl::read(path)?.records;
    records.truncate(count);
    Ok(records)
}

/// The lines of scored answers for [`table`]; none where nothing was scored.
pub fn score_rows(
    base: Option<AnswerScores>,
    tuned: Option<AnswerScores>,
) -> Vec<(&'static str, Option<String>, Option<String>)> {
    if base.is_none() && tuned.is_none() {
        return Vec::new();
    }
    let f1 = |scores: Option<AnswerScores>| scores.map(|s| format!("{:.3}", s.token_f1));
    let ended = |scores: Option<AnswerScores>| scores.map(|s| format!("{:.1} %", 100.0 * s.ended));
    vec![("token F1", f1(base), f1(tuned)), ("answers ended", ended(base), ended(tuned))]
}

/// A figure of both models, a line each; "-" where it was not measured.
pub fn table(rows: &[(&str, Option<String>, Option<String>)]) -> String {
    let mut text = format!("{:<18}{:>10}{:>10}\n", "", "base", "tuned");
    for (name, base, tuned) in rows {
        let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        text += &format!("{name:<18}{:>10}{:>10}\n", or_none(base), or_none(tuned));
    }
    text
}

/// Narrowest terminal for two columns, and the widest that they use.
const TWO_COLUMNS: usize = 72;
const WIDEST: usize = 132;

/// Questions with both answers in two columns, or in a narrow terminal one below the other.
pub fn side_by_side(questions: &[String], base: &[String], tuned: &[String]) -> String {
    let width = Term::stdout().size_checked().map_or(100, |(_, columns)| columns as usize).min(WIDEST);
    let mut text = String::new();
    for ((question, base), tuned) in questions.iter().zip(base).zip(tuned) {
        text += &format!("\n{question}\n");
        text += &match width >= TWO_COLUMNS {
            true => in_columns(base, tuned, width),
            false => format!("  base:  {base}\n  tuned: {tuned}\n"),
        };
    }
    text
}

fn in_columns(base: &str, tuned: &str, width: usize) -> String {
    let column = (width - 7) / 2;
    let (left, right) = (wrapped("base", base, column), wrapped("tuned", tuned, column));
    let line = |lines: &[String], i: usize| lines.get(i).cloned().unwrap_or_default();
    (0..left.len().max(right.len()))
        .map(|i| {
            let left = pad_str(&line(&left, i), column, console::Alignment::Left, None).into_owned();
            format!("  {left}  | {}", line(&right, i)).trim_end().to_string() + "\n"
        })
        .collect()
}

/// A heading and a text in lines of at most `width` columns.
fn wrapped(heading: &str, text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![format!("[{heading}]")];
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && measure_text_width(&line) + 1 + measure_text_width(word) > width {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line += word;
        }
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_stand_in_two_columns() {
        let text = in_columns("one two three four", "five", 27);
        assert_eq!(text, "  [base]      | [tuned]\n  one two     | five\n  three four  |\n");
    }
}
