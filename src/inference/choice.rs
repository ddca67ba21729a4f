//! Which base, adapter and tokenizer a mode means.
//!
//! A config may train one model and name its sibling for inference (Instruct and plain Qwen2.5: same shapes, other
//! end-of-sequence token). An adapter belongs to the base that it was trained on, so its record decides.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::{DType, backend::Backend};

use super::chat::{InferenceConfig, Mode};
use super::generation::GenerationConfig;
use crate::bad_input;
use crate::config::RunConfig;
use crate::data::tokenizer::Tokenizer;
use crate::error::OrBadInput;
use crate::model::Qwen2ForCausalLm;
use crate::weights::adapter::Adapter;
use crate::weights::adapter_config::{AdapterConfig, CONFIG_FILE};
use crate::weights::adapter_record::AdapterRecord;
use crate::weights::generation_config::ModelGenerationConfig;
use crate::weights::hub::{self, HubSettings};
use crate::weights::model::ModelFolder;

/// Everything that answers, opened and checked but not loaded.
pub struct ModelChoice {
    pub base: ModelFolder,
    pub adapter: Option<Adapter>,
    pub tokenizer: Tokenizer,
    /// The model and tokenizer in words: one line.
    pub description: String,
    /// What the user should know before trusting the result.
    pub warnings: Vec<String>,
}

impl ModelChoice {
    /// `allow_mismatch`: use an adapter although it was trained on other weights or with another template.
    pub fn open(config: &RunConfig, mode: Mode, hub: &HubSettings, allow_mismatch: bool) -> Result<Self> {
        let InferenceConfig { adapter_path, merged_model_path, .. } = &config.inference;
        match mode {
            Mode::Merged if merged_model_path.is_dir() => Self::whole(merged_model_path, "the merged model"),
            Mode::Lora | Mode::Merged if is_whole_model(adapter_path) => {
                Self::whole(adapter_path, "the fully fine-tuned model")
            }
            Mode::Merged => {
                bad_input!(
                    "there is no merged model in {} (inference.merged_model_path); `qwen-lora merge` with this config \
                     makes it",
                    merged_model_path.display()
                )
            }
            Mode::Base | Mode::Lora => Self::base_and_adapter(config, mode, hub, allow_mismatch),
        }
    }

    fn whole(path: &Path, what: &str) -> Result<Self> {
        let description = format!("{what} {}", path.display());
        let (base, tokenizer) = (ModelFolder::open(path)?, Tokenizer::open(path)?);
        Ok(Self { base, adapter: None, tokenizer, description, warnings: Vec::new() })
    }

    fn base_and_adapter(config: &RunConfig, mode: Mode, hub: &HubSettings, allow_mismatch: bool) -> Result<Self> {
        let folder = &config.inference.adapter_path;
        let is_there = folder.join(CONFIG_FILE).exists();
        if mode == Mode::Lora && !is_there {
            bad_input!(
                "there is no adapter in {} (inference.adapter_path); `qwen-lora train` with this config writes one to {} \
                 (training.output_dir)",
                folder.display(),
                config.training.output_dir.display()
            );
        }
        let mut warnings = Vec::new();
        let base_name = if is_there {
            let recorded = AdapterConfig::recorded_base(folder)?;
            base_of(recorded.as_deref(), &config.model_name, &config.inference, &mut warnings)
        } else {
            config.inference.base_model_name.clone()
        };
        let base = ModelFolder::open(&hub::resolve(&base_name, hub)?)?;
        // The tokenizer that the adapter was trained with lies beside it.
        let trained_with = (is_there && folder.join("tokenizer.json").exists()).then_some(folder.as_path());
        let tokenizer = Tokenizer::open(trained_with.unwrap_or(&base.path))?;
        // For the base alone, a damaged adapter does not matter.
        let adapter = if mode == Mode::Lora { Some(Adapter::read(folder)?) } else { None };
        if let Some(adapter) = &adapter {
            adapter.check_fits(&base.config)?;
            warnings.extend(check_record(adapter, &base, &tokenizer, allow_mismatch)?);
        }
        if adapter.as_ref().is_some_and(Adapter::is_zero) {
            warnings.push(format!("the adapter in {} is zero everywhere: it changes nothing", folder.display()));
        }
        let description = match mode {
            Mode::Lora => format!("{base_name} with the adapter {}", folder.display()),
            _ => format!("{base_name} without an adapter"),
        };
        Ok(Self { base, adapter, tokenizer, description, warnings })
    }

    /// Moves the weights to a device and puts the adapter on.
    pub fn load<B: Backend>(&self, device: &B::Device, dtype: DType) -> Qwen2ForCausalLm<B> {
        let model = self.base.load(device, dtype);
        match &self.adapter {
            Some(adapter) => adapter.attach(model, 0.0),
            None => model,
        }
    }

    /// How to generate.
    pub fn generation(&self, inference: &InferenceConfig) -> Result<GenerationConfig> {
        generation(&self.base, &self.tokenizer, inference)
    }
}

/// How to generate: the config over the base's own settings; the tokenizer's end token ends an answer as well.
pub fn generation(base: &ModelFolder, tokenizer: &Tokenizer, inference: &InferenceConfig) -> Result<GenerationConfig> {
    let model = ModelGenerationConfig::read(&base.path)?;
    GenerationConfig::resolve(&inference.generation, &model, &[tokenizer.eos_token_id])
        .or_bad_input(|| format!("generation_config.json in {}", base.path.display()))
}

/// Compares what an adapter was trained on with what it is used with; says what the user should know.
fn check_record(
    adapter: &Adapter,
    base: &ModelFolder,
    tokenizer: &Tokenizer,
    allow_mismatch: bool,
) -> Result<Option<String>> {
    let Some(record) = &adapter.config.record else {
        return Ok(Some("the adapter does not record which weights and template it was trained with".into()));
    };
    let differences = record.differences(&AdapterRecord::of(base, tokenizer));
    if differences.is_empty() {
        return Ok(None);
    }
    let found = format!("the adapter does not belong to {}: {}", base.path.display(), differences.join("; "));
    if !allow_mismatch {
        bad_input!("{found}. Name its own base in the config, or use it all the same with --allow-mismatch");
    }
    Ok(Some(found))
}

/// Whether a folder holds what training without LoRA leaves: all weights.
fn is_whole_model(folder: &Path) -> bool {
    !folder.join(CONFIG_FILE).exists() && folder.join("config.json").exists()
}

/// The adapter's recorded base where the config names it too, else `base_model_name`.
fn base_of(
    recorded: Option<&str>,
    model_name: &str,
    inference: &InferenceConfig,
    warnings: &mut Vec<String>,
) -> String {
    let fallback = inference.base_model_name.as_str();
    let named = [model_name, fallback].into_iter().find(|name| recorded.is_some_and(|recorded| same(recorded, name)));
    match (named, recorded) {
        (Some(name), _) => return name.to_string(),
        (None, Some(recorded)) => warnings.push(format!(
            "the adapter was trained on {recorded}, which is neither model_name ({model_name}) nor \
             inference.base_model_name; using {fallback}: answers may be poor"
        )),
        (None, None) => {
            warnings.push(format!("the adapter does not say what it was trained on; using {fallback}"));
        }
    }
    fallback.to_string()
}

/// The same hub id, or the same folder under another spelling.
fn same(a: &str, b: &str) -> bool {
    let folder = |name: &str| -> Option<PathBuf> { Path::new(name).canonicalize().ok() };
    a == b || folder(a).is_some_and(|a| folder(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn the_recorded_base_wins_where_the_config_names_it() {
        let config = RunConfig::default();
        for (recorded, expected, warned) in [
            (Some("Qwen/Qwen2.5-0.5B-Instruct"), "Qwen/Qwen2.5-0.5B-Instruct", false),
            (Some("Qwen/Qwen2.5-0.5B"), "Qwen/Qwen2.5-0.5B", false),
            (Some("someone/else"), "Qwen/Qwen2.5-0.5B", true),
            (None, "Qwen/Qwen2.5-0.5B", true),
        ] {
            let mut warnings = Vec::new();
            assert_eq!(base_of(recorded, &config.model_name, &config.inference, &mut warnings), expected);
            assert_eq!(!warnings.is_empty(), warned, "{recorded:?}");
        }
    }
}
