//! What a training run begins with, and what of an earlier one it may touch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::{Session, output};
use crate::bad_input;
use crate::config::RunConfig;
use crate::data::tokenizer::Tokenizer;
use crate::files::is_same_folder;
use crate::model::LoraConfig;
use crate::training::TrainingArguments;
use crate::training::arguments::Resume;
use crate::training::checkpoint::{Checkpoints, OldRun, SavedRun};
use crate::training::trainer::{Start, StartWeights};
use crate::weights::adapter::Adapter;
use crate::weights::adapter_config::{AdapterConfig, CONFIG_FILE as ADAPTER_CONFIG};
use crate::weights::adapter_record::AdapterRecord;
use crate::weights::model::ModelFolder;
use crate::weights::trained_model::ModelFormat;

/// The checkpoint that the config asks to go on from, if any.
pub fn run_to_resume(args: &TrainingArguments) -> Result<Option<SavedRun>> {
    let resuming = |folder: &Path| output::inform(&format!("resuming from {}", folder.display()));
    match &args.resume_from_checkpoint {
        None | Some(Resume::Latest(false)) => Ok(None),
        Some(Resume::From(folder)) => {
            resuming(folder);
            SavedRun::read(folder).map(Some)
        }
        Some(Resume::Latest(true)) => {
            let (latest, damaged) = Checkpoints::of(&args.output_dir).latest_complete();
            damaged.iter().for_each(|problem| output::warn(problem));
            let Some(folder) = latest else {
                let path = args.output_dir.display();
                output::warn(&format!(
                    "there is no complete checkpoint in {path} to resume from; starting from the beginning"
                ));
                return Ok(None);
            };
            resuming(&folder);
            SavedRun::read_complete(&folder).map(Some)
        }
    }
}

/// What the user allows by a flag.
#[derive(Debug, Clone, Copy)]
pub struct Permissions {
    pub overwrite: bool,
    pub accept_changes: bool,
}

/// What to begin with. Checked against the model before any weight is loaded.
pub fn start(
    session: &Session,
    base: &ModelFolder,
    tokenizer: &Tokenizer,
    saved: Option<SavedRun>,
    permissions: Permissions,
) -> Result<Start> {
    let config = &session.config;
    if is_same_folder(&config.training.output_dir, &base.path) {
        bad_input!(
            "training.output_dir {} is the base model's own folder; name another one",
            config.training.output_dir.display()
        );
    }
    let trained = match &config.lora {
        Some(lora) => StartWeights::Adapter(start_adapter(
            config,
            lora,
            base,
            tokenizer,
            saved.as_ref(),
            permissions.accept_changes,
        )?),
        None => {
            if let Some(saved) = saved.as_ref().filter(|saved| saved.folder.join(ADAPTER_CONFIG).exists()) {
                bad_input!(
                    "{} holds an adapter, but the config trains all weights (\"lora\": null)",
                    saved.folder.display()
                );
            }
            StartWeights::InModel(Arc::new(ModelFormat::of(base)?))
        }
    };
    let old_run = old_run(&config.training, saved.as_ref(), permissions.overwrite)?;
    Ok(Start { trained, saved, old_run: Some(old_run), accepts_changes: permissions.accept_changes })
}

/// The adapter to begin with: resumed, given, or fresh.
fn start_adapter(
    config: &RunConfig,
    lora: &LoraConfig,
    base: &ModelFolder,
    tokenizer: &Tokenizer,
    saved: Option<&SavedRun>,
    accepts_changes: bool,
) -> Result<Adapter> {
    let targets = lora.targets().expect("the config was validated");
    let (mut adapter, which) = match (saved, &lora.init_adapter) {
        (Some(saved), _) => (Adapter::read(&saved.folder)?, "the checkpoint to resume from"),
        (None, Some(folder)) => (Adapter::read(folder)?, "lora.init_adapter"),
        (None, None) => {
            let fresh = AdapterConfig {
                r: lora.r,
                lora_alpha: lora.lora_alpha,
                lora_dropout: lora.lora_dropout,
                target_modules: targets.clone(),
                use_rslora: false,
                base_model_name_or_path: None,
                record: None,
            };
            (Adapter::init(fresh, &base.config, config.training.seed), "the config's adapter")
        }
    };
    if let Err(difference) = adapter.check_matches(lora, &targets) {
        bad_input!("{which} is not the config's kind of adapter: {difference}");
    }
    adapter.check_fits(&base.config)?;
    let record = AdapterRecord::of(base, tokenizer);
    // A resumed run compares more than that.
    let differences = adapter.config.record.iter().flat_map(|trained| trained.differences(&record)).collect::<Vec<_>>();
    if saved.is_none() && !differences.is_empty() && !accepts_changes {
        bad_input!("{which}: {}. To go on all the same: --accept-changes", differences.join("; "));
    }
    adapter.config.base_model_name_or_path = Some(config.model_name.clone());
    adapter.config.record = Some(record);
    Ok(adapter)
}

/// Results of an earlier run are not mixed with, and not removed unasked.
fn old_run(args: &TrainingArguments, saved: Option<&SavedRun>, overwrite: bool) -> Result<OldRun> {
    let checkpoints = Checkpoints::of(&args.output_dir);
    let folder = args.output_dir.display();
    // The step after which the run of a checkpoint in this folder goes on.
    let lies_here = |saved: &&SavedRun| {
        let resolved = saved.folder.canonicalize().unwrap_or_default();
        resolved.parent().is_some_and(|of| is_same_folder(of, &args.output_dir))
    };
    let own = saved.filter(lies_here);
    let after = own.map(|saved| saved.state.global_step);
    // Asked to go on from a checkpoint, but there is none.
    let begins_after_all = saved.is_none() && args.resume_from_checkpoint == Some(Resume::Latest(true));
    let is_worth_keeping = match after {
        // Damaged ones were passed over, and are set aside.
        Some(step) => checkpoints.has_complete_after(step),
        None if begins_after_all => checkpoints.holds_results(),
        None => checkpoints.holds_results() || !checkpoints.steps().is_empty(),
    };
    match after {
        _ if overwrite || !is_worth_keeping => {}
        None if begins_after_all => bad_input!(
            "training.output_dir {folder} holds the results of a run, but no complete checkpoint to go on from. Replace \
             it: --overwrite; or name another folder"
        ),
        None => bad_input!(
            "training.output_dir {folder} holds the results of a run. Go on with it: --set \
             training.resume_from_checkpoint=true; replace it: --overwrite; or name another folder"
        ),
        Some(step) => bad_input!(
            "training.output_dir {folder} holds checkpoints after step {step}, where this run would go on. Go on from \
             the latest: --set training.resume_from_checkpoint=true; drop the later ones: --overwrite; or name another \
             folder"
        ),
    }
    let best = saved.and_then(|saved| saved.state.best_model_checkpoint.clone()).map(PathBuf::from);
    let needed = saved.map(|saved| saved.folder.clone()).into_iter().chain(best).collect();
    Ok(OldRun { checkpoints, after, overwrite, needed })
}
