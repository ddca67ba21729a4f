//! One row of the published files.

use serde::{Deserialize, Serialize};

use crate::Result;

/// Fields in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// `<group>-<n>`, n from 1.
    pub id: String,
    pub question: String,
    pub answer: String,
    pub topic: String,
    /// The fact behind the row: `<topic>/<name>`.
    pub group: String,
    pub source: String,
    /// Whether train holds another row of the same group; true for train's own rows.
    pub seen_in_train: bool,
    /// Whether the right answer is a warning or a refusal rather than plain help.
    pub safety: bool,
}

impl Row {
    /// Computed from a formula rather than copied from `knowledge/`.
    pub fn is_computed(&self) -> bool {
        self.group.starts_with(crate::computed::PREFIX)
    }
}

/// One JSON object a line.
pub fn to_jsonl(rows: &[Row]) -> Result<String> {
    let mut text = String::new();
    for row in rows {
        text += &serde_json::to_string(row)?;
        text.push('\n');
    }
    Ok(text)
}

/// Reads what [`to_jsonl`] wrote; `file` is for messages.
pub fn from_jsonl(file: &str, text: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let row = serde_json::from_str(line).map_err(|error| {
            format!(
                "{file}:{}: not a row of the dataset ({error}); rebuild with `cargo run -p fitness-dataset`",
                index + 1
            )
        })?;
        rows.push(row);
    }
    Ok(rows)
}
