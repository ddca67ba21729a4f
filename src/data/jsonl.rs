//! Reading questions and answers, one JSON object a line.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::bad_input;
use crate::error::OrBadInput;

/// One row of a data file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub question: String,
    pub answer: String,
    /// Line number in the file, from 1.
    pub line: usize,
}

/// Reads a data file. Blank lines are skipped, other fields ignored; the first bad line is an error.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let bytes = std::fs::read(path).or_bad_input(|| format!("cannot read the data file {}", path.display()))?;
    parse(&bytes, path)
}

fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Record>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes); // a byte order mark
    let mut records = Vec::new();
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let place = || format!("{}:{}", path.display(), number + 1);
        let text = std::str::from_utf8(line).or_bad_input(|| format!("{}: not UTF-8", place()))?;
        if text.trim().is_empty() {
            continue;
        }
        let row: Value = serde_json::from_str(text).or_bad_input(|| format!("{}: not valid JSON", place()))?;
        if !row.is_object() {
            bad_input!("{}: a row must be a JSON object with \"question\" and \"answer\"", place());
        }
        let field = |name: &str| -> Result<String> {
            match &row[name] {
                Value::String(text) if !text.trim().is_empty() => Ok(text.clone()),
                Value::String(_) => bad_input!("{}: {name:?} is empty; fill it in or remove the row", place()),
                Value::Null => bad_input!("{}: {name:?} is missing; add it or remove the row", place()),
                other => bad_input!("{}: {name:?} must be a string, found {other}", place()),
            }
        };
        records.push(Record { question: field("question")?, answer: field("answer")?, line: number + 1 });
    }
    if records.is_empty() {
        bad_input!("{} has no rows", path.display());
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> Result<Vec<Record>> {
        parse(text, Path::new("data.jsonl"))
    }

    #[test]
    fn blank_lines_crlf_and_extra_fields_are_fine() {
        let rows = parsed(
            b"\xEF\xBB\xBF{\"question\":\"q\",\"answer\":\"a\",\"id\":1}\r\n\n{\"answer\":\"b\",\"question\":\"r\"}",
        )
        .unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[1].question.as_str(), rows[1].line), ("r", 3));
    }

    #[test]
    fn a_bad_row_is_named_by_file_and_line() {
        let good = br#"{"question":"q","answer":"a"}"#;
        for (bad, named) in [
            (&br#"{"question":"q"}"#[..], "\"answer\" is missing"),
            (br#"{"question":"","answer":"a"}"#, "\"question\" is empty"),
            (br#"{"question":7,"answer":"a"}"#, "must be a string"),
            (br#"{"question""#, "not valid JSON"),
            (br#"["q","a"]"#, "JSON object"),
            (b"\xff\xfe", "not UTF-8"),
        ] {
            let text = [good, &b"\n"[..], bad].concat();
            let error = parsed(&text).unwrap_err().to_string();
            assert!(error.starts_with("data.jsonl:2: ") && error.contains(named), "{error}");
        }
        assert!(parsed(b"\n \n").unwrap_err().to_string().contains("no rows"));
    }
}
