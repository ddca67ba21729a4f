//! `generation_config.json` of a model folder: how its authors would have it generate.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::bad_input;
use crate::data::tokenizer::Tokenizer;
use crate::files::{read_json, write_atomically};

const FILE: &str = "generation_config.json";

/// What the file says; nothing, where there is none.
#[derive(Debug, Clone, Default)]
pub struct ModelGenerationConfig(Value);

impl ModelGenerationConfig {
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let json = if path.exists() { read_json(&path)? } else { Value::Null };
        if !json.is_null() && !json.is_object() {
            bad_input!("{} must hold a JSON object", path.display());
        }
        Ok(Self(json))
    }

    pub fn from_json(json: Value) -> Self {
        Self(json)
    }

    pub fn number(&self, key: &str) -> Option<f64> {
        self.0[key].as_f64()
    }

    pub fn size(&self, key: &str) -> Option<usize> {
        self.0[key].as_u64().and_then(|n| usize::try_from(n).ok())
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        self.0[key].as_bool()
    }

    /// The ids that end generation: the file has one, or a list of them.
    pub fn eos_token_ids(&self) -> Vec<u32> {
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        match &self.0["eos_token_id"] {
            Value::Array(ids) => ids.iter().filter_map(id).collect(),
            one => id(one).into_iter().collect(),
        }
    }

    /// Writes the file into a folder, the tokenizer's end token among the ids that end generation.
    pub fn write_with_eos_of(&self, tokenizer: &Tokenizer, folder: &Path) -> Result<()> {
        let mut json = if self.0.is_null() { serde_json::json!({}) } else { self.0.clone() };
        let mut ids = self.eos_token_ids();
        if !ids.contains(&tokenizer.eos_token_id) {
            ids.insert(0, tokenizer.eos_token_id);
            json["eos_token_id"] = serde_json::json!(ids);
        }
        write_atomically(&folder.join(FILE), serde_json::to_string_pretty(&json)?.as_bytes())
    }
}
