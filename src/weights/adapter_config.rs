//! `adapter_config.json` as peft writes it, old and new.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::adapter_record::AdapterRecord;
use crate::files::read_json;
use crate::model::TargetModule;
use crate::model::lora::{MAX_LORA_ALPHA, MAX_RANK};

pub const CONFIG_FILE: &str = "adapter_config.json";

/// The part of `adapter_config.json` that decides what the adapter computes.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterConfig {
    pub r: usize,
    pub lora_alpha: f64,
    pub lora_dropout: f64,
    pub target_modules: Vec<TargetModule>,
    /// Scale alpha / sqrt(r) instead of alpha / r.
    pub use_rslora: bool,
    /// What the adapter was trained on, as the config named it.
    pub base_model_name_or_path: Option<String>,
    /// Which weights and which template that was; it lies in a file of its own.
    pub record: Option<AdapterRecord>,
}

impl AdapterConfig {
    /// The factor of the low-rank branch.
    pub fn scaling(&self) -> f64 {
        let r = self.r as f64;
        self.lora_alpha / if self.use_rslora { r.sqrt() } else { r }
    }

    /// The base that an adapter folder records, whatever else is in it.
    pub fn recorded_base(folder: &Path) -> Result<Option<String>> {
        let json = read_json(&folder.join(CONFIG_FILE))?;
        Ok(json["base_model_name_or_path"].as_str().map(str::to_string))
    }

    pub fn from_json(json: &Value) -> Result<Self, Vec<String>> {
        let mut problems = unsupported_keys(json);
        let mut positive = |key: &str, max: f64| match json[key].as_f64() {
            Some(value) if value > 0.0 && value <= max => value,
            _ => {
                problems.push(format!("{key} must be a positive number up to {max}, found {}", json[key]));
                1.0
            }
        };
        let (r, lora_alpha) = (positive("r", MAX_RANK as f64), positive("lora_alpha", MAX_LORA_ALPHA));
        if r.fract() != 0.0 {
            problems.push(format!("r must be an integer, found {r}"));
        }
        let mut target_modules = Vec::new();
        match &json["target_modules"] {
            Value::Array(names) => {
                for name in names {
                    // PEFT matches a name against the end of a module's path.
                    let last = name.as_str().and_then(|n| n.rsplit('.').next()).unwrap_or_default();
                    match TargetModule::from_name(last) {
                        Some(target) => target_modules.push(target),
                        None => problems.push(format!("target module {name} is not part of Qwen2's decoder layers")),
                    }
                }
            }
            Value::String(word) if word == "all-linear" => target_modules.extend(TargetModule::ALL),
            other => problems.push(format!("target_modules must be a list of names, found {other}")),
        }
        target_modules.sort_unstable();
        target_modules.dedup();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            r: r as usize,
            lora_alpha,
            lora_dropout: json["lora_dropout"].as_f64().unwrap_or(0.0),
            target_modules,
            use_rslora: json["use_rslora"].as_bool().unwrap_or(false),
            base_model_name_or_path: json["base_model_name_or_path"].as_str().map(str::to_string),
            record: None,
        })
    }

    /// The keys that peft 0.6 knew, so that old and new versions read the file, plus what differs from a default.
    pub fn to_json(&self) -> Value {
        let alpha = if self.lora_alpha.fract() == 0.0 { json!(self.lora_alpha as u64) } else { json!(self.lora_alpha) };
        let mut config = json!({
            "alpha_pattern": {},
            "auto_mapping": null,
            "base_model_name_or_path": self.base_model_name_or_path,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_pattern": null,
            "layers_to_transform": null,
            "lora_alpha": alpha,
            "lora_dropout": self.lora_dropout,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": self.r,
            "rank_pattern": {},
            "revision": null,
            "target_modules": self.target_modules.iter().map(|t| t.name()).collect::<Vec<_>>(),
            "task_type": "CAUSAL_LM",
        });
        if self.use_rslora {
            config["use_rslora"] = json!(true);
        }
        config
    }
}

/// Keys whose value asks for something that is not computed here. A key that is absent, null, false or empty asks
/// for nothing; so a newer peft's keys are accepted as long as they are switched off.
fn unsupported_keys(json: &Value) -> Vec<String> {
    /// Keys that are read, or that change nothing about a trained adapter's output.
    const KNOWN: [&str; 14] = [
        "auto_mapping",
        "base_model_name_or_path",
        "inference_mode",
        "lora_alpha",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "r",
        "revision",
        "target_modules",
        "use_rslora",
        "loftq_config",
        "runtime_config",
    ];
    /// Initialisations that leave the base's weights as they were; others (PiSSA, OLoRA, ...) change them.
    const NEUTRAL_INITS: [&str; 3] = ["gaussian", "eva", "orthogonal"];
    let Some(object) = json.as_object() else {
        return vec!["it must hold a JSON object".into()];
    };
    let asks_for_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    let allowed = |key: &str, value: &Value| match key {
        "peft_type" => value == "LORA",
        "task_type" => value == "CAUSAL_LM" || value.is_null(),
        "bias" => value == "none",
        "init_lora_weights" => value.is_boolean() || value.as_str().is_some_and(|init| NEUTRAL_INITS.contains(&init)),
        _ => KNOWN.contains(&key) || asks_for_nothing(value),
    };
    let mut problems: Vec<String> = object
        .iter()
        .filter(|(key, value)| !allowed(key, value))
        .map(|(key, value)| format!("{key} = {value} is not supported"))
        .collect();
    if !object.contains_key("peft_type") {
        problems.push("peft_type is missing (expected \"LORA\")".into());
    }
    problems
}
