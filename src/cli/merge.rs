//! `qwen-lora merge`

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::DType;
use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use serde_json::json;

use super::{CommonArgs, Session, output, signals};
use crate::backend::{Device, Job};
use crate::bad_input;
use crate::data::encode::{EncodedRow, encode};
use crate::data::jsonl;
use crate::files::is_same_folder;
use crate::inference::chat::Mode;
use crate::inference::choice::ModelChoice;
use crate::inference::parity::{Parity, parity};
use crate::training::arguments::Precision;
use crate::weights::merge::write_merged_model;
use crate::weights::model::ModelFolder;

#[derive(Args)]
pub struct MergeArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Where to write the model folder [default: inference.merged_model_path]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Merge although the adapter was trained on other weights or with another template
    #[arg(long)]
    allow_mismatch: bool,
}

/// Rows on which the merged model is compared.
const COMPARED_ROWS: usize = 16;

pub fn run(args: MergeArgs) -> Result<()> {
    let session = Session::open(&args.common)?;
    signals::install()?;
    let folder = args.output.unwrap_or_else(|| session.config.inference.merged_model_path.clone());
    let choice = ModelChoice::open(&session.config, Mode::Lora, &session.hub, args.allow_mismatch)?;
    if choice.adapter.is_none() {
        bad_input!("there is nothing to merge: {} has no adapter", choice.description);
    }
    if is_same_folder(&folder, &choice.base.path) {
        bad_input!("{} is the base model's own folder; choose another for the merged model", folder.display());
    }
    session.announce(&choice);
    let rows = rows_to_compare(&session, &choice)?;
    // A product per matrix: not worth a GPU.
    let parity = Device::Cpu.run(Merge { choice: &choice, folder: &folder, rows: &rows }, Precision::F32)?;
    session.output.text(&format!("wrote the merged model to {}\n", folder.display()))?;
    if let Some(Parity { rows, tokens, largest_logit_difference, kl_divergence, greedy_agreement, loss_difference }) =
        parity
    {
        session.output.text(&format!(
            "against base and adapter over {tokens} tokens of {rows} validation rows: largest logit difference \
             {largest_logit_difference:.2e}, KL divergence {kl_divergence:.2e}, same most likely token {:.2} %, loss \
             {loss_difference:+.2e}\n",
            100.0 * greedy_agreement
        ))?;
    }
    session.output.object(&json!({"output": folder.display().to_string(), "parity": parity}))?;
    let configured = &session.config.inference.merged_model_path;
    let ask = session.ask_command("inference.merged_model_path", configured, &folder);
    output::inform(&format!("ask it: {ask} --mode merged"));
    Ok(())
}

/// Validation rows that show how close the merged model is; none where there is no validation file.
fn rows_to_compare(session: &Session, choice: &ModelChoice) -> Result<Vec<EncodedRow>> {
    let path = &session.config.eval_file;
    if !path.exists() {
        output::inform(&format!("{} is not there, so the merged model is not compared on it", path.display()));
        return Ok(Vec::new());
    }
    let mut rows = jsonl::read(path)?;
    rows.records.truncate(COMPARED_ROWS);
    rows.documents.truncate(COMPARED_ROWS - rows.records.len());
    let rows = encode(&rows, &choice.tokenizer, session.config.encode_options(), path)?;
    rows.check_fits(choice.base.config.vocab_size, choice.base.config.max_position_embeddings, path)?;
    Ok(rows.rows)
}

struct Merge<'a> {
    choice: &'a ModelChoice,
    folder: &'a PathBuf,
    rows: &'a [EncodedRow],
}

impl Job for Merge<'_> {
    type Output = Option<Parity>;

    fn run<B: AutodiffBackend>(self, device: B::Device, dtype: DType) -> Result<Option<Parity>> {
        let ModelChoice { base, adapter, tokenizer, .. } = self.choice;
        let adapter = adapter.as_ref().expect("mode lora has an adapter");
        write_merged_model::<B::InnerBackend>(base, adapter, tokenizer, self.folder, &device)?;
        if self.rows.is_empty() {
            return Ok(None);
        }
        let reference = self.choice.load::<B::InnerBackend>(&device, dtype);
        let merged = ModelFolder::open(self.folder)?.load(&device, dtype);
        Ok(Some(parity(&reference, &merged, self.rows)))
    }
}
