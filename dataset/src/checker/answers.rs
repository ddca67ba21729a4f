//! Answers of a useful length, in words of their own.

use std::collections::BTreeMap;

use super::{
    MEDIAN_WORDS, OPENING_PERCENT, Placed, ROWS_PER_FRAME, Report, SENTENCES, UNIQUE_ANSWERS_PERCENT, WORDS, above,
    share,
};
use crate::wording::{frame, opening, sentences, words};

pub(super) fn check(rows: &[Placed], report: &mut Report) {
    lengths(rows, report);
    let total = rows.len();

    let answers = tally(rows, str::to_string);
    let unique = answers.values().filter(|holders| holders.len() == 1).count();
    if 100 * unique < UNIQUE_ANSWERS_PERCENT * total {
        let repeated =
            answers.values().find(|holders| holders.len() > 1).map_or(String::new(), |holders| holders[1].place());
        report.refusals.push(format!(
            "{repeated}: the answer is not the first of its words; unique answers: {}, at least {UNIQUE_ANSWERS_PERCENT} %",
            share(unique, total)
        ));
    }
    for (opening, holders) in tally(rows, opening) {
        if above(holders.len(), OPENING_PERCENT, total) {
            report.refusals.push(format!(
                "{}: answers that open with {opening:?}: {}, at most {OPENING_PERCENT} %",
                holders[holders.len() - 1].place(),
                share(holders.len(), total)
            ));
        }
    }
    for (frame, holders) in tally(rows, frame) {
        if holders.len() > ROWS_PER_FRAME {
            report.refusals.push(format!(
                "{}: {} answers share the frame {frame:?}, at most {ROWS_PER_FRAME}",
                holders[ROWS_PER_FRAME].place(),
                holders.len()
            ));
        }
    }
}

fn lengths(rows: &[Placed], report: &mut Report) {
    let mut lengths = Vec::new();
    for placed in rows {
        let (count, (low, high)) = (words(&placed.row.answer), WORDS);
        if !(low..=high).contains(&count) {
            report.refusals.push(format!("{}: the answer has {count} words, {low} to {high}", placed.place()));
        }
        lengths.push(count);
        let (count, (low, high)) = (sentences(&placed.row.answer), SENTENCES);
        if !(low..=high).contains(&count) {
            report.warnings.push(format!("{}: the answer has {count} sentences, {low} to {high}", placed.place()));
        }
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    if median < MEDIAN_WORDS {
        report.refusals.push(format!("all files: the median answer has {median} words, at least {MEDIAN_WORDS}"));
    }
}

/// The rows by what `of` makes of their answers.
fn tally<'a>(rows: &'a [Placed<'a>], of: impl Fn(&str) -> String) -> BTreeMap<String, Vec<&'a Placed<'a>>> {
    let mut holders: BTreeMap<String, Vec<&Placed>> = BTreeMap::new();
    for placed in rows {
        holders.entry(of(&placed.row.answer)).or_default().push(placed);
    }
    holders
}
