//! The bounds that the three files keep. The builder refuses to write when one is broken, and tests hold the committed
//! files to them.

mod answers;
mod questions;
mod shares;

use crate::row::Row;
use crate::splits::Splits;

/// Rows of one group, all splits together.
pub const ROWS_PER_GROUP: usize = 8;
/// Calculations among all rows, at most.
pub const CALCULATIONS_PERCENT: usize = 15;
/// Rows copied from `knowledge/`, at least.
pub const VERBATIM_PERCENT: usize = 85;
/// Rows marked `safety`, at least.
pub const SAFETY_PERCENT: usize = 6;
/// Rows of topic `off_domain`, at least and at most.
pub const OFF_DOMAIN_PERCENT: (usize, usize) = (1, 2);
/// Answers that no other row has, at least.
pub const UNIQUE_ANSWERS_PERCENT: usize = 95;
/// Answers that begin with the same four words, at most.
pub const OPENING_PERCENT: usize = 2;
/// Answers of one frame, at most.
pub const ROWS_PER_FRAME: usize = 15;
/// Words of an answer.
pub const WORDS: (usize, usize) = (15, 120);
/// Words of the answer in the middle, at least.
pub const MEDIAN_WORDS: usize = 25;
/// Sentences of an answer; outside of them is worth a look and no more.
pub const SENTENCES: (usize, usize) = (1, 6);
/// Train rows in a pair of near questions, at most.
pub const NEAR_IN_TRAIN_PERCENT: usize = 1;

/// What the checker found: sentences that name the place and the bound.
#[derive(Debug, Default)]
pub struct Report {
    pub refusals: Vec<String>,
    pub warnings: Vec<String>,
}

/// A row and where it stands.
struct Placed<'a> {
    file: String,
    line: usize,
    row: &'a Row,
}

impl Placed<'_> {
    /// `file:line (id)`.
    fn place(&self) -> String {
        format!("{}:{} ({})", self.file, self.line, self.row.id)
    }
}

pub fn check(splits: &Splits) -> Report {
    let mut report = Report::default();
    let rows: Vec<Placed> = splits
        .each()
        .flat_map(|(split, rows)| {
            rows.iter().enumerate().map(move |(index, row)| Placed { file: split.file(), line: index + 1, row })
        })
        .collect();
    if rows.is_empty() {
        report.refusals.push("all three files are empty; run `cargo run -p fitness-dataset`".to_string());
        return report;
    }
    shares::check(&rows, &mut report);
    questions::check(&rows, &mut report);
    answers::check(&rows, &mut report);
    report
}

/// Whether `count` is more than `percent` % of `total`, without rounding.
fn above(count: usize, percent: usize, total: usize) -> bool {
    100 * count > percent * total
}

/// For messages: `17 of 120 rows (14.2 %)`.
fn share(count: usize, total: usize) -> String {
    format!("{count} of {total} rows ({:.1} %)", 100.0 * count as f64 / total as f64)
}
