//! `qwen-lora init`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::output::{self, Output};
use crate::bad_input;
use crate::data::jsonl;
use crate::data::train_tokenizer::{MIN_VOCAB_SIZE, TrainedTokenizer};
use crate::error::BadInput;
use crate::files::{partial_of, put_in_place, read_input, read_json, remove, write_atomically};
use crate::model::Qwen2Config;
use crate::weights::init::init_model;

#[derive(Args)]
pub struct InitArgs {
    /// A Qwen2 config.json that gives the shape; the tokenizer gets as many tokens as its vocab_size says
    #[arg(long, value_name = "FILE")]
    shape: PathBuf,
    /// Files to train the tokenizer on: JSONL with "text" or with "question" and "answer", or plain text
    #[arg(long, value_name = "FILES", num_args = 1.., required = true)]
    tokenizer_corpus: Vec<PathBuf>,
    /// The model folder to write
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Seeds the initial weights
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Print JSON on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(args: InitArgs) -> Result<()> {
    let folder = &args.output;
    if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
        bad_input!("{} holds other files; name a new folder for the model", folder.display());
    }
    let partial = partial_of(folder)?;
    let shape = read_json(&args.shape)?;
    let config = Qwen2Config::from_json(&shape)
        .map_err(|problems| BadInput(format!("{}:\n  {}", args.shape.display(), problems.join("\n  "))))?;
    if config.vocab_size < MIN_VOCAB_SIZE {
        bad_input!("{}: vocab_size must be at least {MIN_VOCAB_SIZE}", args.shape.display());
    }
    let mut texts = Vec::new();
    for path in &args.tokenizer_corpus {
        texts.extend(read_texts(path)?);
    }
    let tokenizer = TrainedTokenizer::train(&texts, config.vocab_size)?;
    let tokens = tokenizer.vocab_size;
    if tokens < config.vocab_size {
        output::warn(&format!(
            "the corpus gives {tokens} tokens only; the model keeps vocab_size {}, with rows that nothing uses",
            config.vocab_size
        ));
    }
    let model = init_model(&shape, &config, tokenizer.end_of_text_id, args.seed)?;
    let parameters: usize = model.tensors.values().map(|tensor| tensor.values.len()).sum();

    let what = || format!("cannot write {}", folder.display());
    remove(&partial).with_context(what)?;
    model.write(&partial, model.format.dtype)?;
    tokenizer.write(&partial, config.max_position_embeddings)?;
    let id = tokenizer.end_of_text_id;
    let generation = json!({"bos_token_id": id, "pad_token_id": id, "eos_token_id": id, "do_sample": false});
    let generation = serde_json::to_string_pretty(&generation)?;
    write_atomically(&partial.join("generation_config.json"), generation.as_bytes())?;
    put_in_place(&partial, folder).with_context(what)?;

    let output = Output::new(args.json);
    output.text(&format!("wrote {}: {parameters} parameters, {tokens} tokens\n", folder.display()))?;
    output.object(&json!({"output": folder, "parameters": parameters, "tokens": tokens}))
}

fn read_texts(path: &Path) -> Result<Vec<String>> {
    if path.extension().is_none_or(|extension| extension != "jsonl") {
        return Ok(vec![read_input(path)?]);
    }
    let rows = jsonl::read(path)?;
    let records = rows.records.into_iter().flat_map(|record| [record.question, record.answer]);
    Ok(rows.documents.into_iter().map(|document| document.text).chain(records).collect())
}
