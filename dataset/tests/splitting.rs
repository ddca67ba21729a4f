//! The rules of the splits, on rows made for the purpose.

use std::collections::BTreeSet;

use fitness_dataset::overlaps::Overlaps;
use fitness_dataset::row::Row;
use fitness_dataset::splits::{Sizes, Splits, split};

/// 620 rows: 155 groups of four pairs over five topics, every question in words of its own.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for group in 0..155 {
        for pair in 1..=4 {
            let topic = format!("topic{}", group % 5);
            rows.push(Row {
                id: format!("{topic}/g{group}-{pair}"),
                question: format!("a{group} b{pair} c{group} d{pair} e{group}{pair}"),
                answer: String::new(),
                group: format!("{topic}/g{group}"),
                topic,
                source: String::new(),
                seen_in_train: true,
                safety: false,
            });
        }
    }
    rows
}

fn splits(rows: Vec<Row>) -> Splits {
    split(rows, &Overlaps::default()).expect("enough groups")
}

#[test]
fn sizes_are_full_at_6200_rows_and_shrink_in_proportion_below() {
    assert_eq!(Sizes::for_rows(6_200), Sizes::FULL);
    assert_eq!(Sizes::for_rows(620), Sizes { train: 500, val: 80, test: 40 });
    let odd = Sizes::for_rows(4_099);
    assert_eq!(odd.total(), 4_099);
}

#[test]
fn the_same_rows_always_give_the_same_splits() {
    assert_eq!(splits(rows()), splits(rows()));
}

#[test]
fn every_row_lands_in_one_split() {
    let splits = splits(rows());
    let ids: BTreeSet<String> = splits.each().flat_map(|(_, rows)| rows).map(|row| row.id.clone()).collect();
    assert_eq!((ids.len(), splits.total()), (620, 620));
}

#[test]
fn every_topic_gives_as_many_unseen_rows_as_the_others() {
    let splits = splits(rows());
    for topic in ["topic0", "topic1", "topic2", "topic3", "topic4"] {
        let unseen = splits.val.iter().filter(|row| !row.seen_in_train && row.topic == topic).count();
        assert_eq!(unseen, 8, "{topic}");
    }
}

#[test]
fn near_questions_stay_together_by_choosing_other_rows() {
    // Two groups whose questions are twins of each other, pair by pair: neither may leave train.
    let mut rows = rows();
    for pair in 0..4 {
        rows[pair].question = format!("{} and one two three", rows[pair + 4].question);
        rows[pair + 4].question += " and one two";
    }
    let splits = splits(rows);
    let held_out = |group: &str| splits.val.iter().chain(&splits.test).any(|row| row.group == group);
    assert!(!held_out("topic0/g0") && !held_out("topic1/g1"));
}

#[test]
fn too_few_groups_are_an_error_and_not_a_smaller_val() {
    let alone: Vec<Row> = rows().into_iter().filter(|row| row.id.ends_with("-1")).collect();
    let error = split(alone, &Overlaps::default()).expect_err("a group of one pair cannot give it away").to_string();
    assert!(error.contains("val and test need 20 and 10 rows"), "{error}");
}
