//! Reading questions and answers, or plain text, one JSON object a line.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::bad_input;
use crate::error::OrBadInput;

/// A row with a question and an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub question: String,
    pub answer: String,
    /// Line number in the file, from 1.
    pub line: usize,
}

/// A row with plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub text: String,
    /// Line number in the file, from 1.
    pub line: usize,
}

/// The rows of a data file, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    pub records: Vec<Record>,
    pub documents: Vec<Document>,
}

impl Rows {
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.documents.is_empty()
    }
}

/// A data file, bad lines and all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    pub rows: Rows,
    /// `path:line: what is wrong`, for each line that is no row.
    pub problems: Vec<String>,
}

/// How many bad lines an error lists.
const LISTED_PROBLEMS: usize = 20;

/// Reads a data file in which every line must be a row. Blank lines are skipped, other fields ignored.
pub fn read(path: &Path) -> Result<Rows> {
    scan(path)?.into_rows()
}

/// Reads what can be read of a data file, and lists what can't.
pub fn scan(path: &Path) -> Result<Scan> {
    let bytes = std::fs::read(path).or_bad_input(|| format!("cannot read the data file {}", path.display()))?;
    Ok(parse(&bytes, path))
}

fn parse(bytes: &[u8], path: &Path) -> Scan {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes); // a byte order mark
    let mut scan = Scan::default();
    for (index, line) in bytes.split(|b| *b == b'\n').enumerate() {
        match parse_line(line, index + 1) {
            Ok(Some(Row::Record(record))) => scan.rows.records.push(record),
            Ok(Some(Row::Document(document))) => scan.rows.documents.push(document),
            Ok(None) => {}
            Err(problem) => scan.problems.push(format!("{}:{}: {problem}", path.display(), index + 1)),
        }
    }
    if scan.rows.is_empty() && scan.problems.is_empty() {
        scan.problems.push(format!("{} has no rows", path.display()));
    }
    scan
}

enum Row {
    Record(Record),
    Document(Document),
}

/// The row on a line; nothing on a blank one.
fn parse_line(line: &[u8], number: usize) -> Result<Option<Row>, String> {
    let text = std::str::from_utf8(line).map_err(|e| format!("not UTF-8: {e}"))?;
    if text.trim().is_empty() {
        return Ok(None);
    }
    let row: Value = serde_json::from_str(text).map_err(|e| {
        let (what, column) = (e.to_string(), e.column());
        // Its own line number is always 1 here.
        format!("not valid JSON: {} (column {column})", what.split(" at line ").next().unwrap_or(&what))
    })?;
    if !row.is_object() {
        return Err("a row must be a JSON object with \"question\" and \"answer\", or with \"text\"".into());
    }
    let field = |name: &str| match &row[name] {
        Value::String(text) if !text.trim().is_empty() => Ok(text.clone()),
        Value::String(_) => Err(format!("{name:?} is empty; fill it in or remove the row")),
        Value::Null => Err(format!("{name:?} is missing; add it or remove the row")),
        other => Err(format!("{name:?} must be a string, found {other}")),
    };
    let is_document = row["question"].is_null() && row["answer"].is_null() && !row["text"].is_null();
    Ok(Some(match is_document {
        true => Row::Document(Document { text: field("text")?, line: number }),
        false => Row::Record(Record { question: field("question")?, answer: field("answer")?, line: number }),
    }))
}

impl Scan {
    /// The rows, if every line was one.
    pub fn into_rows(self) -> Result<Rows> {
        if self.problems.is_empty() {
            return Ok(self.rows);
        }
        bad_input!("{}", list_problems(&self.problems))
    }
}

/// The first problems, a line each, and how many more there are.
pub fn list_problems(problems: &[String]) -> String {
    let more = problems.len().saturating_sub(LISTED_PROBLEMS);
    let listed = problems[..problems.len() - more].join("\n");
    if more > 0 { format!("{listed}\n... and {more} more") } else { listed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> Result<Vec<Record>> {
        Ok(parse(text, Path::new("data.jsonl")).into_rows()?.records)
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
    fn a_row_with_text_only_is_a_document() {
        let file = br#"{"text":"One."}
            {"question":"q","answer":"a","text":"ignored"}"#;
        let rows = parse(file, Path::new("data.jsonl")).into_rows().unwrap();
        assert_eq!(rows.documents, [Document { text: "One.".into(), line: 1 }]);
        assert_eq!(rows.records.len(), 1);
        assert!(parsed(br#"{"text":" "}"#).unwrap_err().to_string().contains("\"text\" is empty"));
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
        assert_eq!(parsed(b"1\n2\n").unwrap_err().to_string().lines().count(), 2);
        assert!(parsed(b"\n \n").unwrap_err().to_string().contains("no rows"));
    }
}
