//! Knowledge in, files out.

use std::fs;
use std::path::Path;

use crate::knowledge::{self, Group};
use crate::overlaps::Overlaps;
use crate::row::{Row, to_jsonl};
use crate::similarity::Questions;
use crate::splits::{Sizes, Splits, split};
use crate::{Result, card, checker, computed};

/// Everything that the builder writes.
pub struct Built {
    pub splits: Splits,
    /// The dataset card with fresh counts.
    pub card: String,
    pub warnings: Vec<String>,
}

/// Builds in memory; an error when any bound of the checker is broken.
pub fn build(folder: &Path) -> Result<Built> {
    let knowledge = knowledge::read(&folder.join("knowledge"))?;
    let kinds = computed::kinds();
    let overlaps = Overlaps::read(&folder.join("overlaps.json"), &knowledge, &kinds)?;
    let splits = split(all_rows(&knowledge, &kinds)?, &overlaps)?;
    let report = checker::check(&splits);
    if !report.refusals.is_empty() {
        return Err(format!("nothing was written, because of:\n  {}", report.refusals.join("\n  ")).into());
    }
    let card_path = folder.join(card::FILE);
    let old_card = fs::read_to_string(&card_path).map_err(|error| format!("{}: {error}", card_path.display()))?;
    let card = card::with_counts(&old_card, &splits)?;
    let mut warnings = report.warnings;
    if splits.total() < Sizes::FULL.total() {
        warnings.push(format!(
            "{} rows of {}: calculations may be at most {} % of rows, so the other topics must grow",
            splits.total(),
            Sizes::FULL.total(),
            checker::CALCULATIONS_PERCENT
        ));
    }
    Ok(Built { splits, card, warnings })
}

/// The verbatim rows, and as many computed ones as are needed and allowed.
fn all_rows(knowledge: &[Group], kinds: &[computed::Kind]) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = knowledge.iter().flat_map(Group::rows).collect();
    let calculations = rows.iter().filter(|row| row.topic == computed::TOPIC).count();
    let Some(missing) = Sizes::FULL.total().checked_sub(rows.len()) else {
        let (rows, full) = (rows.len(), Sizes::FULL.total());
        return Err(
            format!("knowledge/ holds {rows} pairs, more than the {full} rows of all splits; remove some").into()
        );
    };
    let wanted = missing.min(computed_allowance(rows.len(), calculations));
    let mut questions = Questions::default();
    for row in &rows {
        questions.add(&row.question);
    }
    rows.extend(computed::rows(kinds, wanted, questions)?);
    Ok(rows)
}

/// The largest c with calculations + c at most p % of verbatim + c.
fn computed_allowance(verbatim: usize, calculations: usize) -> usize {
    let percent = checker::CALCULATIONS_PERCENT;
    (percent * verbatim).saturating_sub(100 * calculations) / (100 - percent)
}

impl Built {
    /// Every file whole or not at all: a reader never meets half a file.
    pub fn write(&self, folder: &Path) -> Result<()> {
        for (split, rows) in self.splits.each() {
            replace(&folder.join(split.file()), &to_jsonl(rows)?)?;
        }
        replace(&folder.join(card::FILE), &self.card)
    }
}

fn replace(path: &Path, text: &str) -> Result<()> {
    let partial = path.with_extension("partial");
    let written = fs::write(&partial, text).and_then(|()| fs::rename(&partial, path));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_allowance_is_the_most_that_keeps_the_bound() {
        let (verbatim, calculations) = (5_280, 80);
        let allowed = computed_allowance(verbatim, calculations);
        let percent = |computed: usize| 100.0 * (calculations + computed) as f64 / (verbatim + computed) as f64;
        assert!(percent(allowed) <= 15.0 && percent(allowed + 1) > 15.0);
        assert_eq!(computed_allowance(100, 90), 0);
    }
}
