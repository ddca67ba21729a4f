//! Text to ids and back, with the model's own `tokenizer.json`.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use crate::bad_input;
use crate::error::{BadInput, OrBadInput};
use crate::files::read_json;

/// The files that make a tokenizer, where a folder has them.
pub const TOKENIZER_FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

/// A tokenizer with the special tokens that training and generation need.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    folder: PathBuf,
    /// Ends every training example.
    pub eos_token: String,
    pub eos_token_id: u32,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and `tokenizer_config.json` of a folder.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("tokenizer.json");
        // As JSON first: where a file is not, tokenizers' own reader may panic.
        let mut inner = tokenizers::Tokenizer::deserialize(read_json(&path)?)
            .or_bad_input(|| format!("cannot read the tokenizer {}", path.display()))?;
        // Files saved after training may ask for either; transformers switches both off for every call, and padding
        // here would be trained on.
        inner.with_padding(None);
        inner.with_truncation(None).or_bad_input(|| format!("cannot use the tokenizer {}", path.display()))?;
        let config_path = folder.join("tokenizer_config.json");
        let config = read_json(&config_path)?;
        let Some(eos_token) = token_text(&config["eos_token"]) else {
            bad_input!("{}: \"eos_token\" is missing; generation could never stop", config_path.display());
        };
        let id = |token: &str| {
            inner.token_to_id(token).ok_or_else(|| {
                BadInput(format!("{}: the token {token:?} is not in tokenizer.json", config_path.display()))
            })
        };
        let eos_token_id = id(&eos_token)?;
        Ok(Self { inner, folder: folder.to_path_buf(), eos_token, eos_token_id })
    }

    /// Where the files lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ids of a text, with what the tokenizer adds by itself (Qwen2's: nothing).
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.inner.encode(text, true).map_err(|e| BadInput(format!("cannot tokenise {text:?}: {e}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Ids of many texts, on all cores.
    pub fn encode_batch(&self, texts: Vec<String>) -> Result<Vec<Vec<u32>>> {
        let encodings = self.inner.encode_batch(texts, true).map_err(|e| BadInput(format!("cannot tokenise: {e}")))?;
        Ok(encodings.iter().map(|encoding| encoding.get_ids().to_vec()).collect())
    }

    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        self.inner.decode(ids, skip_special_tokens).map_err(|e| anyhow::anyhow!("cannot decode: {e}"))
    }
}

/// A special token is written as a string or as an object with a `content`.
fn token_text(value: &Value) -> Option<String> {
    value.as_str().or(value["content"].as_str()).map(str::to_string)
}
