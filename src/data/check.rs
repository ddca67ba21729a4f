//! What is wrong, or odd, with data files: looked at before hours are spent on them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::LazyLock;

use regex::Regex;
use serde::Serialize;

use super::jsonl::{Record, Scan};
use super::similarity::{fold, near_duplicates};

/// Characters from which on a field is worth a look.
const LONG_FIELD: usize = 8000;

/// A data file as it was scanned.
#[derive(Debug, Clone)]
pub struct DataFile {
    pub path: PathBuf,
    pub scan: Scan,
}

/// What was found, each finding with `path:line`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Training must not start.
    pub blocking: Vec<String>,
    /// Worth a look, by kind.
    pub warnings: BTreeMap<&'static str, Vec<String>>,
}

impl Findings {
    fn warn(&mut self, kind: &'static str, text: String) {
        self.warnings.entry(kind).or_default().push(text);
    }
}

/// One row of one file.
struct Row<'a> {
    file: usize,
    path: &'a PathBuf,
    record: &'a Record,
}

impl Row<'_> {
    fn place(&self) -> String {
        format!("{}:{}", self.path.display(), self.record.line)
    }
}

/// What must not be: lines that are no records, and questions of one file that stand in another (then a validation
/// loss measures memory).
pub fn blocking(files: &[DataFile]) -> Vec<String> {
    let rows = rows(files);
    blocking_among(files, &rows, &folded_questions(&rows))
}

fn blocking_among(files: &[DataFile], rows: &[Row], folded: &[String]) -> Vec<String> {
    let mut found: Vec<String> = files.iter().flat_map(|file| file.scan.problems.clone()).collect();
    found.extend(shared_questions(rows, folded));
    found
}

fn folded_questions(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| fold(&row.record.question)).collect()
}

/// Everything that can be seen in the text of the rows.
pub fn check(files: &[DataFile]) -> Findings {
    let rows = rows(files);
    let folded = folded_questions(&rows);
    let mut findings = Findings { blocking: blocking_among(files, &rows, &folded), ..Findings::default() };
    repeated_questions(&rows, &folded, &mut findings);
    for (a, b) in near_duplicates(&folded) {
        if folded[a] != folded[b] {
            let kind = if rows[a].file == rows[b].file { "near duplicates" } else { "near duplicates across files" };
            let (question, of) = (&rows[b].record.question, &rows[a].record.question);
            findings.warn(kind, format!("{}: {question:?} is near {:?} at {}", rows[b].place(), of, rows[a].place()));
        }
    }
    let mut first: HashMap<String, String> = HashMap::new();
    for file in files {
        for document in &file.scan.rows.documents {
            let place = format!("{}:{}", file.path.display(), document.line);
            match first.entry(fold(&document.text)) {
                Entry::Occupied(earlier) => {
                    findings.warn("exact duplicates", format!("{place}: the text stood at {}", earlier.get()));
                }
                Entry::Vacant(vacant) => drop(vacant.insert(place.clone())),
            }
            for (kind, what) in oddities(&document.text).into_iter().filter(|(kind, _)| *kind != "over-long fields") {
                findings.warn(kind, format!("{place}: text {what}"));
            }
        }
    }
    for row in &rows {
        for (name, text) in [("question", &row.record.question), ("answer", &row.record.answer)] {
            for (kind, what) in oddities(text) {
                findings.warn(kind, format!("{}: {name} {what}", row.place()));
            }
        }
    }
    findings
}

fn rows(files: &[DataFile]) -> Vec<Row<'_>> {
    files
        .iter()
        .enumerate()
        .flat_map(|(file, data)| {
            data.scan.rows.records.iter().map(move |record| Row { file, path: &data.path, record })
        })
        .collect()
}

/// Questions that stand in two files, but for case and punctuation.
fn shared_questions(rows: &[Row], folded: &[String]) -> Vec<String> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for (place, text) in folded.iter().enumerate() {
        let earlier = *first.entry(text).or_insert(place);
        if rows[earlier].file != rows[place].file {
            let (question, at) = (&rows[place].record.question, rows[earlier].place());
            found.push(format!("{}: the question {question:?} also stands at {at}", rows[place].place()));
        }
    }
    found
}

/// Questions that a file repeats: with the same answer a copy, with another a contradiction.
fn repeated_questions(rows: &[Row], folded: &[String], findings: &mut Findings) {
    let mut first: HashMap<(usize, &str), usize> = HashMap::new();
    for (place, text) in folded.iter().enumerate() {
        let earlier = *first.entry((rows[place].file, text)).or_insert(place);
        if earlier == place {
            continue;
        }
        let same_answer = fold(&rows[earlier].record.answer) == fold(&rows[place].record.answer);
        let kind = if same_answer { "exact duplicates" } else { "one question, two answers" };
        let question = &rows[place].record.question;
        findings.warn(kind, format!("{}: {question:?} stood at {}", rows[place].place(), rows[earlier].place()));
    }
}

/// What is odd about a text.
fn oddities(text: &str) -> Vec<(&'static str, String)> {
    static EMAIL: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\w.+-]+@[\w-]+\.[\w.-]*\w"));
    static PHONE: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"\+\d[\d ()-]{7,}\d|\(\d{3}\) ?\d{3}[- ]\d{4}|\b\d{3}-\d{3}-\d{4}\b"));
    // UTF-8 read as Latin-1 or Windows-1252 and written again.
    static MOJIBAKE: LazyLock<Regex> = LazyLock::new(|| pattern("\u{FFFD}|Ã[\u{80}-\u{BF}]|Â[\u{80}-\u{BF}]|â€"));
    let mut found = Vec::new();
    let length = text.chars().count();
    if length > LONG_FIELD {
        found.push(("over-long fields", format!("has {length} characters")));
    }
    if let Some(c) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')) {
        found.push(("control characters", format!("holds U+{:04X}", c as u32)));
    }
    for (kind, pattern) in [("mojibake", &MOJIBAKE), ("e-mail addresses", &EMAIL), ("phone numbers", &PHONE)] {
        if let Some(hit) = pattern.find(text) {
            found.push((kind, format!("holds {:?}", hit.as_str())));
        }
    }
    found
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is valid")
}

/// Token lengths of a file's rows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Lengths {
    pub rows: usize,
    pub tokens: usize,
    pub p5: usize,
    pub p50: usize,
    pub p95: usize,
    pub p99: usize,
    pub max: usize,
    /// Rows that `max_length` would cut.
    pub longer_than_max_length: usize,
    /// (up to so many tokens, rows), in ten steps.
    pub histogram: Vec<(usize, usize)>,
}

impl Lengths {
    pub fn new(mut lengths: Vec<usize>, max_length: usize) -> Self {
        lengths.sort_unstable();
        let max = lengths.last().copied().unwrap_or(0);
        let percentile = |p: usize| lengths.get((lengths.len() * p / 100).min(lengths.len().saturating_sub(1)));
        let percentile = |p| percentile(p).copied().unwrap_or(0);
        let width = max.div_ceil(10).max(1);
        let histogram = (0..max.div_ceil(width))
            .map(|i| {
                let (low, high) = (i * width, (i + 1) * width);
                (high, lengths.iter().filter(|n| **n > low && **n <= high).count())
            })
            .collect();
        Self {
            rows: lengths.len(),
            tokens: lengths.iter().sum(),
            p5: percentile(5),
            p50: percentile(50),
            p95: percentile(95),
            p99: percentile(99),
            max,
            longer_than_max_length: lengths.iter().filter(|n| **n > max_length).count(),
            histogram,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_figures_are_no_phone_numbers_and_no_mojibake() {
        for text in ["Eat 2000-2500 kcal.", "3 x 10-12 reps, 120-150 bpm", "½ café — naïve Ångström 30 °C", "a\nb\tc"]
        {
            assert_eq!(oddities(text), [], "{text}");
        }
    }

    #[test]
    fn lengths_count_every_row_once() {
        let lengths = Lengths::new((1..=100).collect(), 90);
        assert_eq!((lengths.p50, lengths.p95, lengths.max, lengths.tokens), (51, 96, 100, 5050));
        assert_eq!(lengths.longer_than_max_length, 10);
        assert_eq!(lengths.histogram.iter().map(|(_, rows)| rows).sum::<usize>(), 100);
    }
}
