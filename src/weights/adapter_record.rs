//! `adapter_record.json`: what an adapter was trained on. peft has no place for it and ignores the file.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::model::ModelFolder;
use crate::data::template;
use crate::data::tokenizer::Tokenizer;
use crate::error::OrBadInput;
use crate::files::{read_input, write_atomically};

const FILE: &str = "adapter_record.json";

/// What an adapter belongs to. With other weights or another form of text it computes something, but nothing learnt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdapterRecord {
    /// The fingerprint of the base's weights.
    pub base_weights: String,
    /// The text that a question and an answer became.
    pub template: String,
}

impl AdapterRecord {
    /// What an adapter that is trained on this base, with this tokenizer, belongs to.
    pub fn of(base: &ModelFolder, tokenizer: &Tokenizer) -> Self {
        Self { base_weights: base.fingerprint(), template: template::description(&tokenizer.eos_token) }
    }

    /// The record of a folder; adapters from elsewhere have none.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let record = serde_json::from_str(&read_input(&path)?);
        record.map(Some).or_bad_input(|| format!("{} is damaged", path.display()))
    }

    pub fn write(&self, folder: &Path) -> Result<()> {
        write_atomically(&folder.join(FILE), serde_json::to_string_pretty(self)?.as_bytes())
    }

    /// How what is at hand differs, in words.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let pairs = [
            ("base weights with fingerprint", &self.base_weights, &now.base_weights),
            ("the template", &self.template, &now.template),
        ];
        let differing = pairs.into_iter().filter(|(_, then, now)| then != now);
        differing.map(|(what, then, now)| format!("it was trained with {what} {then:?}, here it is {now:?}")).collect()
    }
}
