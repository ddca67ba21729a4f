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
use crate::model::Qwen2ForCausalLm;
use crate::weights::adapter::Adapter;
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
    pub fn open(config: &RunConfig, mode: Mode, hub: &HubSettings) -> Result<Self> {
        match mode {
            Mode::Merged => Self::merged(&config.inference),
            Mode::Base | Mode::Lora => Self::base_and_adapter(config, mode, hub),
        }
    }

    fn merged(inference: &InferenceConfig) -> Result<Self> {
        let path = &inference.merged_model_path;
        if !path.is_dir() {
            bad_input!("there is no merged model in {}; run `qwen-lora merge` first", path.display());
        }
        let description = format!("the merged model {}", path.display());
        let (base, tokenizer) = (ModelFolder::open(path)?, Tokenizer::open(path)?);
        Ok(Self { base, adapter: None, tokenizer, description, warnings: Vec::new() })
    }

    fn base_and_adapter(config: &RunConfig, mode: Mode, hub: &HubSettings) -> Result<Self> {
        let folder = &config.inference.adapter_path;
        let is_there = folder.join("adapter_config.json").exists();
        if mode == Mode::Lora && !is_there {
            bad_input!("there is no adapter in {}; run `qwen-lora train` first", folder.display());
        }
        let adapter = if is_there { Some(Adapter::read(folder)?) } else { None };
        let mut warnings = Vec::new();
        let base_name = base_of(adapter.as_ref(), config, &mut warnings);
        let base = ModelFolder::open(&hub::resolve(&base_name, hub)?)?;
        // The tokenizer that the adapter was trained with lies beside it.
        let trained_with = (is_there && folder.join("tokenizer.json").exists()).then_some(folder.as_path());
        let tokenizer = Tokenizer::open(trained_with.unwrap_or(&base.path))?;
        let adapter = adapter.filter(|_| mode == Mode::Lora);
        if let Some(adapter) = &adapter {
            adapter.check_fits(&base.config)?;
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

    /// How to generate: the config over the base's own settings; the tokenizer's end token ends an answer as well.
    pub fn generation(&self, inference: &InferenceConfig) -> Result<GenerationConfig> {
        let model = ModelGenerationConfig::read(&self.base.path)?;
        Ok(GenerationConfig::resolve(&inference.generation, &model, &[self.tokenizer.eos_token_id]))
    }
}

/// The adapter's recorded base where the config names it too, else `base_model_name`.
fn base_of(adapter: Option<&Adapter>, config: &RunConfig, warnings: &mut Vec<String>) -> String {
    let fallback = config.inference.base_model_name.clone();
    let Some(adapter) = adapter else {
        return fallback;
    };
    let recorded = adapter.config.base_model_name_or_path.as_deref();
    let named = [&config.model_name, &fallback].into_iter().find(|name| recorded.is_some_and(|r| same(r, name)));
    match (named, recorded) {
        (Some(name), _) => name.clone(),
        (None, Some(recorded)) => {
            warnings.push(format!(
                "the adapter was trained on {recorded}, which is neither model_name ({}) nor inference.base_model_name; \
                 using {fallback}: answers may be poor",
                config.model_name
            ));
            fallback
        }
        (None, None) => {
            warnings.push(format!("the adapter does not say what it was trained on; using {fallback}"));
            fallback
        }
    }
}

/// The same hub id, or the same folder under another spelling.
fn same(a: &str, b: &str) -> bool {
    let folder = |name: &str| -> Option<PathBuf> { Path::new(name).canonicalize().ok() };
    a == b || folder(a).is_some_and(|a| folder(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::adapter::AdapterConfig;

    fn adapter(base: Option<&str>) -> Adapter {
        let config = AdapterConfig {
            r: 1,
            lora_alpha: 1.0,
            lora_dropout: 0.0,
            target_modules: vec![],
            use_rslora: false,
            base_model_name_or_path: base.map(str::to_string),
        };
        Adapter { config, weights: Default::default() }
    }

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
            assert_eq!(base_of(Some(&adapter(recorded)), &config, &mut warnings), expected);
            assert_eq!(!warnings.is_empty(), warned, "{recorded:?}");
        }
        assert_eq!(base_of(None, &config, &mut Vec::new()), "Qwen/Qwen2.5-0.5B");
    }
}
