//! `config.json`: the one file that drives every command.
//!
//! Each section is a struct beside the code that it steers; a key's default stands there and nowhere else. Loading
//! reports every problem at once, by dotted path.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::bad_input;
use crate::data::encode::EncodeOptions;
use crate::error::BadInput;
use crate::files::read_json;
use crate::inference::chat::InferenceConfig;
use crate::model::LoraConfig;
use crate::training::TrainingArguments;
use crate::training::arguments::Precision;

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The NVIDIA GPU where there is one, else, after a warning, the CPU.
    Cuda,
    /// The GPU of any maker where there is one, else, after a warning, the CPU.
    Vulkan,
    Cpu,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunConfig {
    pub device: DeviceChoice,
    /// The base to fine-tune: a hub id or a folder.
    pub model_name: String,
    pub train_file: PathBuf,
    pub eval_file: PathBuf,
    /// Questions with reference answers, by which the base and the tuned model's own answers are scored.
    pub test_file: Option<PathBuf>,
    /// Tokens per example; longer ones lose their end.
    pub max_length: usize,
    /// Null: no adapter, all weights are trained.
    pub lora: Option<LoraConfig>,
    pub training: TrainingArguments,
    pub inference: InferenceConfig,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Cuda,
            model_name: "Qwen/Qwen2.5-0.5B-Instruct".into(),
            train_file: "dataset/qa_fitness_nutrition_train.jsonl".into(),
            eval_file: "dataset/qa_fitness_nutrition_val.jsonl".into(),
            test_file: None,
            max_length: 512,
            lora: Some(LoraConfig::default()),
            training: TrainingArguments::default(),
            inference: InferenceConfig::default(),
        }
    }
}

impl RunConfig {
    /// Reads a file, applies `--set path.to.key=VALUE` overrides in order, and validates.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut json = read_json(path)?;
        if !json.is_object() {
            bad_input!("{} must hold a JSON object", path.display());
        }
        for assignment in overrides {
            apply_override(&mut json, assignment)?;
        }
        Self::from_json(json).map_err(|problems| {
            BadInput(format!("{} cannot be used:\n  {}", path.display(), problems.join("\n  "))).into()
        })
    }

    /// Parses and validates; every problem is in the list, `dotted.path: what is wrong`.
    pub fn from_json(mut json: Value) -> Result<Self, Vec<String>> {
        let known = serde_json::to_value(Self::default()).expect("the config serialises");
        let mut problems = Vec::new();
        answer_with_what_is_trained(&mut json);
        remove_unknown_keys(&mut json, &known, "", &mut problems);
        let config = loop {
            match serde_path_to_error::deserialize::<_, Self>(&json) {
                Ok(config) => break config,
                // Note the problem, fall back to the default and look for the next one.
                Err(error) => {
                    let path = error.path().to_string();
                    problems.push(format!("{path}: {}", error.into_inner()));
                    if !remove_at(&mut json, &path) {
                        return Err(problems);
                    }
                }
            }
        };
        problems.extend(config.validate());
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// How the data files become ids and labels.
    pub fn encode_options(&self) -> EncodeOptions {
        EncodeOptions { max_length: self.max_length, completion_only_loss: self.training.completion_only_loss }
    }

    fn validate(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.model_name.trim().is_empty() {
            problems.push("model_name: must be a hub id or a folder".into());
        }
        if !(2..=1_000_000).contains(&self.max_length) {
            problems.push(format!("max_length: must be from 2 to 1000000, found {}", self.max_length));
        }
        let mut section = |name: &str, found: Vec<(&'static str, String)>| {
            problems.extend(found.into_iter().map(|(key, problem)| format!("{name}.{key}: {problem}")));
        };
        section("lora", self.lora.as_ref().map(LoraConfig::validate).unwrap_or_default());
        section("training", self.training.validate());
        section("inference", self.inference.validate());
        section("inference.generation", self.inference.generation.validate());
        if self.lora.is_none() && self.training.dtype == Precision::Bf16 {
            problems.push("training.dtype: weights that are all trained (\"lora\": null) are f32; use \"auto\"".into());
        }
        problems
    }
}

/// Where `inference.adapter_path` is absent, it is `training.output_dir`.
fn answer_with_what_is_trained(json: &mut Value) {
    let Some(output_dir) = json.pointer("/training/output_dir").filter(|dir| dir.is_string()).cloned() else { return };
    let inference = json.as_object_mut().map(|json| json.entry("inference").or_insert_with(|| Map::new().into()));
    if let Some(inference) = inference.and_then(Value::as_object_mut) {
        inference.entry("adapter_path").or_insert(output_dir);
    }
}

/// `training.eval_steps=10`: the value is JSON, or else a string.
fn apply_override(json: &mut Value, assignment: &str) -> Result<()> {
    let Some((path, text)) = assignment.split_once('=') else {
        bad_input!("--set {assignment}: expected path.to.key=VALUE");
    };
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_string()));
    let mut place = json;
    for key in path.split('.') {
        if key.is_empty() {
            bad_input!("--set {assignment}: the path has an empty part");
        }
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let Some(object) = place.as_object_mut() else {
            bad_input!("--set {assignment}: {path} leads through a value that is not an object");
        };
        place = object.entry(key).or_insert(Value::Null);
    }
    *place = value;
    Ok(())
}

/// What transformers calls a key now, and what the config calls it.
const NEWER_NAMES: [(&str, &str); 1] = [("eval_strategy", "evaluation_strategy")];

/// Reports (and drops) every key that `known` does not have, with the nearest one that it does.
fn remove_unknown_keys(json: &mut Value, known: &Value, prefix: &str, problems: &mut Vec<String>) {
    let (Some(object), Some(known)) = (json.as_object_mut(), known.as_object()) else {
        return;
    };
    object.retain(|key, value| match known.get(key) {
        Some(known) => {
            remove_unknown_keys(value, known, &format!("{prefix}{key}."), problems);
            true
        }
        None => {
            let likeness = |name: &String| strsim::jaro_winkler(name, key);
            let same = NEWER_NAMES.iter().find(|(newer, name)| newer == key && known.contains_key(*name));
            let nearest = same.map(|(_, name)| *name);
            let nearest =
                nearest.or(known.keys().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).map(String::as_str));
            let nearest = nearest.map(|n| format!("; did you mean {prefix}{n}?")).unwrap_or_default();
            problems.push(format!("{prefix}{key}: unknown key{nearest}"));
            false
        }
    });
}

/// Removes the value at a dotted path, so that its default takes its place.
fn remove_at(json: &mut Value, path: &str) -> bool {
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    let pointer = if parent.is_empty() { String::new() } else { format!("/{}", parent.replace('.', "/")) };
    match json.pointer_mut(&pointer) {
        Some(Value::Object(object)) => object.remove(key.split('[').next().unwrap_or(key)).is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_problem_is_reported_at_once_by_its_path() {
        let problems = RunConfig::from_json(json!({
            "modelname": "x",
            "max_length": "long",
            "lora": {"r": 0, "bias": "all", "lora_alhpa": 3},
            "training": {"eval_steps": -1, "warmup_stpes": 3, "eval_strategy": "no", "report_to": "wandb",
                         "early_stopping_patience": 2, "evaluation_strategy": "no", "lr_scheduler_type": "polynomial"},
            "inference": {"generation": {"top_p": 0.0}, "questions": "one?"},
        }))
        .unwrap_err();
        for expected in [
            "modelname: unknown key; did you mean model_name?",
            "max_length: invalid type",
            "lora.r: must be from 1",
            "lora.bias:",
            "lora.lora_alhpa: unknown key; did you mean lora.lora_alpha?",
            "training.eval_steps: invalid value",
            "training.eval_strategy: unknown key; did you mean training.evaluation_strategy?",
            "training.warmup_stpes: unknown key; did you mean training.warmup_steps?",
            "training.report_to:",
            "training.early_stopping_patience: needs",
            "training.load_best_model_at_end: needs",
            "training.lr_scheduler_type: unknown variant",
            "inference.generation.top_p:",
            "inference.questions: invalid type",
        ] {
            assert!(problems.iter().any(|p| p.starts_with(expected)), "{expected} is not in {problems:#?}");
        }
        assert_eq!(problems.len(), 14, "{problems:#?}");
    }

    #[test]
    fn overrides_are_json_or_else_strings() {
        let mut json = json!({"training": {"seed": 1}});
        for assignment in ["training.seed=7", "lora.r=4", "model_name=./m=1", "training.max_steps=null"] {
            apply_override(&mut json, assignment).unwrap();
        }
        let config = RunConfig::from_json(json).unwrap();
        assert_eq!(
            (config.training.seed, config.lora.as_ref().unwrap().r, config.model_name.as_str()),
            (7, 4, "./m=1")
        );
        for bad in ["training.seed", "a..b=1", "training.seed.x=1"] {
            assert!(apply_override(&mut json!({"training": {"seed": 1}}), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_trained_answers_unless_told_otherwise() {
        let adapter_path = |json| RunConfig::from_json(json).unwrap().inference.adapter_path;
        assert_eq!(adapter_path(json!({"training": {"output_dir": "a"}})), Path::new("a"));
        assert_eq!(
            adapter_path(json!({"training": {"output_dir": "a"}, "inference": {"mode": "base"}})),
            Path::new("a")
        );
        let both = json!({"training": {"output_dir": "a"}, "inference": {"adapter_path": "b"}});
        assert_eq!(adapter_path(both), Path::new("b"));
        let default = RunConfig::default();
        assert_eq!(default.inference.adapter_path, default.training.output_dir);
    }

    #[test]
    fn an_error_inside_a_list_or_a_wrong_section_is_found_too() {
        let problems = RunConfig::from_json(json!({"inference": {"questions": ["a", 3]}, "training": 5})).unwrap_err();
        assert!(problems.iter().any(|p| p.starts_with("inference.questions[1]:")), "{problems:?}");
        assert!(problems.iter().any(|p| p.starts_with("training:")), "{problems:?}");
    }
}
