//! No question twice, and none in two splits in nearly the same words.

use std::collections::{BTreeMap, BTreeSet};

use super::{NEAR_IN_TRAIN_PERCENT, Placed, Report, above, share};
use crate::similarity::{NEAR, fold, near_pairs};
use crate::splits::Split;

pub(super) fn check(rows: &[Placed], report: &mut Report) {
    let mut first: BTreeMap<Vec<String>, &Placed> = BTreeMap::new();
    for placed in rows {
        if let Some(other) = first.insert(fold(&placed.row.question), placed) {
            let (place, other) = (placed.place(), other.place());
            report.refusals.push(format!("{place}: but for case and punctuation the question is that of {other}"));
        }
    }
    let train = Split::Train.file();
    let mut near_in_train = BTreeSet::new();
    for (one, other, similarity) in near_pairs(rows.iter().map(|placed| placed.row.question.as_str()), NEAR) {
        let (one, other) = (&rows[one], &rows[other]);
        if one.file != other.file {
            let (place, other) = (one.place(), other.place());
            report.refusals.push(format!(
                "{place}: the question is too near to that of {other}: similarity {similarity:.2}, below {NEAR} between splits"
            ));
        } else if one.file == train {
            near_in_train.extend([one.line, other.line]);
        }
    }
    let trained = rows.iter().filter(|placed| placed.file == train).count();
    if above(near_in_train.len(), NEAR_IN_TRAIN_PERCENT, trained) {
        let lines: Vec<String> = near_in_train.iter().take(10).map(usize::to_string).collect();
        report.refusals.push(format!(
            "{train}: questions at a similarity of {NEAR} or more: {}, at most {NEAR_IN_TRAIN_PERCENT} %; first lines {}",
            share(near_in_train.len(), trained),
            lines.join(", ")
        ));
    }
}
