//! The counts in the dataset card, `README.md`.

use std::collections::BTreeMap;

use crate::Result;
use crate::row::Row;
use crate::splits::{Split, Splits};

pub const FILE: &str = "README.md";
const BEGIN: &str = "<!-- counts: written by cargo run -p fitness-dataset -->\n";
const END: &str = "<!-- end of counts -->";

/// The card with the tables between its two markers replaced.
pub fn with_counts(card: &str, splits: &Splits) -> Result<String> {
    let parts = card.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let Some((before, after)) = parts else {
        return Err(format!("{FILE}: the markers {:?} and {END:?} are missing; put them back", BEGIN.trim_end()).into());
    };
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", tables(splits)))
}

fn tables(splits: &Splits) -> String {
    let mut text = "| Topic | train | val | test | all |\n| --- | ---: | ---: | ---: | ---: |\n".to_string();
    let mut topics: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for (column, (_, rows)) in splits.each().enumerate() {
        for row in rows {
            topics.entry(&row.topic).or_default()[column] += 1;
        }
    }
    let line = |name: &str, counts: [usize; 3]| {
        let [train, val, test] = counts;
        format!("| {name} | {train} | {val} | {test} | {} |\n", train + val + test)
    };
    for (topic, counts) in &topics {
        text += &line(topic, *counts);
    }
    let count =
        |wanted: fn(&Row) -> bool| Split::ALL.map(|split| splits.rows(split).iter().filter(|row| wanted(row)).count());
    text += &line("**all**", count(|_| true));
    text += "\n| Of these | train | val | test | all |\n| --- | ---: | ---: | ---: | ---: |\n";
    text += &line("verbatim from `knowledge/`", count(|row| !row.is_computed()));
    text += &line("computed", count(Row::is_computed));
    text += &line("safety", count(|row| row.safety));
    text += &line("of groups that train has", count(|row| row.seen_in_train));
    text += &line("of groups that train lacks", count(|row| !row.seen_in_train));
    text
}
