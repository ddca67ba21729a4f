//! Rows to ids and labels: the only place where something is masked or cut.

use std::ops::Range;
use std::path::Path;

use anyhow::Result;

use super::jsonl::{Document, Record, Rows};
use super::template;
use super::tokenizer::Tokenizer;
use crate::bad_input;

/// One training example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedRow {
    pub input_ids: Vec<i32>,
    /// The positions whose *prediction of the next token* is scored: position t carries the label `input_ids[t + 1]`.
    pub labelled: Range<usize>,
}

impl EncodedRow {
    pub fn label_count(&self) -> usize {
        self.labelled.len()
    }

    /// The labels, one for each position of `labelled`.
    pub fn labels(&self) -> &[i32] {
        &self.input_ids[self.labelled.start + 1..self.labelled.end + 1]
    }
}

/// A data file, ready to be batched.
#[derive(Debug, Clone)]
pub struct EncodedRows {
    pub rows: Vec<EncodedRow>,
    /// Rows that were longer than `max_length` and lost their end, the end-of-sequence token included.
    pub truncated: usize,
}

/// How text becomes labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    pub max_length: usize,
    /// Score the answer and the end-of-sequence token only, not the prompt.
    pub completion_only_loss: bool,
}

/// Encodes a file's rows: each record by itself, then the documents in blocks.
pub fn encode(rows: &Rows, tokenizer: &Tokenizer, options: EncodeOptions, source: &Path) -> Result<EncodedRows> {
    let mut encoded = encode_records(&rows.records, tokenizer, options, source)?;
    encoded.rows.extend(encode_documents(&rows.documents, tokenizer, options.max_length)?);
    if encoded.rows.is_empty() && !rows.documents.is_empty() {
        bad_input!("{}: its texts have no two tokens, so there is nothing to predict", source.display());
    }
    Ok(encoded)
}

/// Plain language modelling: documents one after the other, an end-of-sequence token after each, cut into blocks of
/// `max_length` tokens (the last may be shorter). Every token but a block's first is predicted.
fn encode_documents(documents: &[Document], tokenizer: &Tokenizer, max_length: usize) -> Result<Vec<EncodedRow>> {
    let texts = documents.iter().map(|document| document.text.clone()).collect();
    let mut stream: Vec<i32> = Vec::new();
    for ids in tokenizer.encode_batch(texts)? {
        stream.extend(ids.iter().map(|id| *id as i32));
        if ids.last() != Some(&tokenizer.eos_token_id) {
            stream.push(tokenizer.eos_token_id as i32);
        }
    }
    let blocks = stream.chunks(max_length).filter(|block| block.len() > 1);
    Ok(blocks.map(|ids| EncodedRow { input_ids: ids.to_vec(), labelled: 0..ids.len() - 1 }).collect())
}

/// Encodes records as TRL's SFTTrainer does: template, end-of-sequence token unless the text ends with it, ids, the
/// first `max_length` of them, labels on every token.
fn encode_records(
    records: &[Record],
    tokenizer: &Tokenizer,
    options: EncodeOptions,
    source: &Path,
) -> Result<EncodedRows> {
    let texts = records.iter().map(|record| {
        let mut text = template::example(&record.question, &record.answer);
        if !text.ends_with(&tokenizer.eos_token) {
            text.push_str(&tokenizer.eos_token);
        }
        text
    });
    let ids = tokenizer.encode_batch(texts.collect())?;
    let prompts = if options.completion_only_loss {
        tokenizer.encode_batch(records.iter().map(|record| template::prompt(&record.question)).collect())?
    } else {
        vec![Vec::new(); records.len()]
    };
    let (mut rows, mut truncated) = (Vec::with_capacity(records.len()), 0);
    for ((record, mut ids), prompt) in records.iter().zip(ids).zip(prompts) {
        // Where the prompt's tokens end: its own ids, as far as the whole text begins with them.
        let prompt_len = prompt.iter().zip(&ids).take_while(|(a, b)| a == b).count();
        if ids.len() > options.max_length {
            ids.truncate(options.max_length);
            truncated += 1;
        }
        let labelled = prompt_len.saturating_sub(1)..ids.len().saturating_sub(1);
        if labelled.is_empty() {
            bad_input!(
                "{}:{}: no token of this row would be trained on: max_length {} cuts it before {}",
                source.display(),
                record.line,
                options.max_length,
                if options.completion_only_loss { "its answer begins" } else { "its second token" }
            );
        }
        rows.push(EncodedRow { input_ids: ids.into_iter().map(|id| id as i32).collect(), labelled });
    }
    Ok(EncodedRows { rows, truncated })
}

impl EncodedRows {
    /// Refuses ids that the model has no embedding for, and rows longer than it has positions for.
    pub fn check_fits(&self, vocab_size: usize, max_positions: usize, source: &Path) -> Result<()> {
        for row in &self.rows {
            if let Some(id) = row.input_ids.iter().find(|id| **id as usize >= vocab_size) {
                bad_input!(
                    "{}: the tokenizer gives id {id}, but the model's vocabulary ends at {vocab_size}; tokenizer and \
                     model do not belong together",
                    source.display()
                );
            }
            if row.input_ids.len() > max_positions {
                bad_input!(
                    "{}: a row has {} tokens, but the model takes at most {max_positions}; lower max_length",
                    source.display(),
                    row.input_ids.len()
                );
            }
        }
        Ok(())
    }

    /// Labels of all rows.
    pub fn label_count(&self) -> usize {
        self.rows.iter().map(EncodedRow::label_count).sum()
    }
}
