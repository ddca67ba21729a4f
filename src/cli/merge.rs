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
use crate::files::is_same_folder;
use crate::inference::chat::Mode;
use crate::inference::choice::ModelChoice;
use crate::training::arguments::Precision;
use crate::weights::merge::write_merged_model;

#[derive(Args)]
pub struct MergeArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Where to write the model folder [default: inference.merged_model_path]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub fn run(args: MergeArgs) -> Result<()> {
    let session = Session::open(&args.common)?;
    signals::install()?;
    let folder = args.output.unwrap_or_else(|| session.config.inference.merged_model_path.clone());
    let choice = ModelChoice::open(&session.config, Mode::Lora, &session.hub)?;
    if choice.adapter.is_none() {
        bad_input!("there is nothing to merge: {} has no adapter", choice.description);
    }
    if is_same_folder(&folder, &choice.base.path) {
        bad_input!("{} is the base model's own folder; choose another for the merged model", folder.display());
    }
    session.announce(&choice);
    // A product per matrix: not worth a GPU.
    Device::Cpu.run(Merge { choice: &choice, folder: &folder }, Precision::F32)?;
    session.output.text(&format!("wrote the merged model to {}\n", folder.display()))?;
    session.output.object(&json!({"output": folder.display().to_string()}))?;
    output::inform("answer with it: qwen-lora infer --mode merged");
    Ok(())
}

struct Merge<'a> {
    choice: &'a ModelChoice,
    folder: &'a PathBuf,
}

impl Job for Merge<'_> {
    type Output = ();

    fn run<B: AutodiffBackend>(self, device: B::Device, _: DType) -> Result<()> {
        let ModelChoice { base, adapter, tokenizer, .. } = self.choice;
        let adapter = adapter.as_ref().expect("mode lora has an adapter");
        write_merged_model::<B::InnerBackend>(base, adapter, tokenizer, self.folder, &device)
    }
}
