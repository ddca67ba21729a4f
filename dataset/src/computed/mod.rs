//! Rows computed from formulas: drawn inputs, a varied question, an answer with the steps worked out.
//!
//! Each formula has a file section of its own with its templates; one group is one formula with one kind of person,
//! distance or band. The results are recomputed from the published text by `tests/recomputed/`.

mod activity;
mod body;
mod cautions;
mod energy;
mod errands;
mod figures;
mod fluids;
mod formula;
mod fuel;
mod heart;
mod macros;
mod outdoors;
mod person;
mod phrasing;
mod protein;
mod races;
mod refusals;
mod running;
mod strength;
mod weight_loss;
mod weight_plan;

use std::collections::{BTreeMap, BTreeSet};

pub use formula::Kind;

use crate::Result;
use crate::checker::{ROWS_PER_FRAME, ROWS_PER_GROUP};
use crate::dice::{Dice, hash};
use crate::row::Row;
use crate::similarity::{NEAR, Questions};
use crate::wording::frame;

pub const TOPIC: &str = "calculations";
/// How the names of computed groups begin, and of no others.
pub const PREFIX: &str = "calculations/computed-";

/// Draws for one row before its group is passed over: most fail because the question is near an earlier one.
const ATTEMPTS: usize = 60;

/// Every formula with every kind.
pub fn kinds() -> Vec<Kind> {
    [
        energy::kinds(),
        activity::kinds(),
        body::kinds(),
        protein::kinds(),
        macros::kinds(),
        fuel::kinds(),
        strength::kinds(),
        heart::kinds(),
        running::kinds(),
        races::kinds(),
        weight_loss::kinds(),
        weight_plan::kinds(),
        fluids::kinds(),
        refusals::kinds(),
        cautions::kinds(),
        errands::kinds(),
        outdoors::kinds(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// At most `wanted` rows, as evenly over the groups as possible, unlike each other and the `questions` there are.
pub fn rows(kinds: &[Kind], wanted: usize, mut questions: Questions) -> Result<Vec<Row>> {
    let mut kinds: Vec<&Kind> = kinds.iter().collect();
    kinds.sort_by_key(|kind| hash(&kind.group())); // so that the last, incomplete round favours no formula
    let mut dice: Vec<Dice> = kinds.iter().map(|kind| Dice::named(&kind.group())).collect();
    let mut frames: BTreeMap<String, usize> = BTreeMap::new();
    let mut answers = BTreeSet::new();
    let mut rows = Vec::new();
    for round in 0..ROWS_PER_GROUP {
        for (kind, dice) in kinds.iter().zip(&mut dice) {
            for attempt in 0..ATTEMPTS {
                if rows.len() == wanted {
                    return Ok(rows);
                }
                let row = kind.row(round, attempt, dice)?;
                let uses = frames.entry(frame(&row.answer)).or_default();
                let repeats = *uses == ROWS_PER_FRAME || answers.contains(&row.answer);
                if repeats || !questions.near(&row.question, NEAR).is_empty() {
                    continue;
                }
                *uses += 1;
                answers.insert(row.answer.clone());
                questions.add(&row.question);
                rows.push(row);
                break;
            }
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_of_every_formula_can_be_filled() {
        for kind in kinds() {
            let mut dice = Dice::named("templates");
            for number in 0..60 {
                let row = kind.row(0, number, &mut dice).expect("a filled template");
                assert!(!row.question.contains(['{', '}']) && !row.answer.contains(['{', '}']), "{}", row.answer);
            }
        }
    }

    #[test]
    fn group_names_are_unique() {
        let names: BTreeSet<String> = kinds().iter().map(Kind::group).collect();
        assert_eq!(names.len(), kinds().len());
    }

    #[test]
    fn there_is_room_for_more_rows_than_the_dataset_may_hold() {
        let rows = rows(&kinds(), usize::MAX, Questions::default()).expect("rows");
        assert!(rows.len() > 930, "{}", rows.len());
    }
}
