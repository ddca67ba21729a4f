//! The committed files are what the builder writes, and keep every bound.

mod committed;

use std::collections::{BTreeMap, BTreeSet};

use fitness_dataset::row::{Row, to_jsonl};
use fitness_dataset::splits::{Sizes, Split};
use fitness_dataset::{builder, checker, computed, knowledge, overlaps::Overlaps};

const REBUILD: &str = "run `cargo run -p fitness-dataset` and commit what it writes";

#[test]
fn the_committed_files_are_exactly_what_the_builder_writes() {
    let built = builder::build(committed::folder()).expect("knowledge that keeps the bounds");
    for (split, rows) in built.splits.each() {
        let fresh = to_jsonl(rows).expect("rows in JSON");
        assert!(fresh == committed::read(&split.file()), "{} is out of date: {REBUILD}", split.file());
    }
    assert!(built.card == committed::read("README.md"), "the counts in README.md are out of date: {REBUILD}");
}

#[test]
fn every_bound_holds_on_the_committed_files() {
    let report = checker::check(&committed::splits());
    assert!(report.refusals.is_empty(), "{}", report.refusals.join("\n"));
}

#[test]
fn the_sizes_are_those_of_the_plan_or_shrunk_in_proportion() {
    let splits = committed::splits();
    let sizes = Sizes::for_rows(splits.total());
    assert_eq!([splits.train.len(), splits.val.len(), splits.test.len()], [sizes.train, sizes.val, sizes.test]);
}

#[test]
fn verbatim_rows_are_the_pairs_of_the_knowledge_and_none_is_lost() {
    let knowledge = knowledge::read(&committed::folder().join("knowledge")).expect("readable knowledge");
    let pairs: BTreeSet<(String, String)> = knowledge
        .iter()
        .flat_map(|group| &group.pairs)
        .map(|pair| (pair.question.clone(), pair.answer.clone()))
        .collect();
    let rows: BTreeSet<(String, String)> = committed::all_rows()
        .into_iter()
        .filter(|row| !row.is_computed())
        .map(|row| (row.question, row.answer))
        .collect();
    assert!(rows == pairs, "{REBUILD}");
}

#[test]
fn half_of_val_and_test_comes_whole_from_groups_that_train_never_sees() {
    let splits = committed::splits();
    let mut homes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (split, rows) in splits.each() {
        for row in rows {
            homes.entry(&row.group).or_default().insert(split.name());
        }
    }
    for (split, rows) in [(Split::Val, &splits.val), (Split::Test, &splits.test)] {
        let unseen: Vec<&Row> = rows.iter().filter(|row| !row.seen_in_train).collect();
        // Whole groups rarely fill the half to the row.
        let half = rows.len() / 2;
        assert!(
            (half - checker::ROWS_PER_GROUP + 1..=half).contains(&unseen.len()),
            "{}: {}",
            split.name(),
            unseen.len()
        );
        for row in unseen {
            assert_eq!(homes[row.group.as_str()], BTreeSet::from([split.name()]), "{}", row.id);
        }
    }
}

#[test]
fn a_group_that_train_sees_gives_away_one_pair_at_most() {
    let splits = committed::splits();
    let mut given: BTreeMap<&str, usize> = BTreeMap::new();
    for row in splits.val.iter().chain(&splits.test).filter(|row| row.seen_in_train) {
        *given.entry(&row.group).or_default() += 1;
    }
    assert!(given.values().all(|pairs| *pairs == 1));
}

#[test]
fn groups_of_a_cluster_are_never_unseen_and_every_topic_has_its_share_of_the_others() {
    let splits = committed::splits();
    let knowledge = knowledge::read(&committed::folder().join("knowledge")).expect("readable knowledge");
    let file = committed::folder().join("overlaps.json");
    let overlaps = Overlaps::read(&file, &knowledge, &computed::kinds()).expect("known groups");
    let held_out: Vec<&Row> = splits.val.iter().chain(&splits.test).filter(|row| !row.seen_in_train).collect();
    for row in &held_out {
        assert!(!overlaps.covers(&row.group), "{} is held out, and overlaps.json names its group", row.id);
    }
    let all = committed::all_rows();
    let free: Vec<&Row> = all.iter().filter(|row| !overlaps.covers(&row.group)).collect();
    let of_topic = |rows: &[&Row], topic: &str| rows.iter().filter(|row| row.topic == topic).count();
    for topic in all.iter().map(|row| row.topic.as_str()).collect::<BTreeSet<_>>() {
        let fair = (of_topic(&free, topic) * held_out.len()) as f64 / free.len() as f64;
        let found = of_topic(&held_out, topic) as f64;
        // Val and test may each be off by one group.
        assert!(
            (found - fair).abs() < 2.0 * checker::ROWS_PER_GROUP as f64,
            "{topic}: {found} rows, {fair:.1} would be fair"
        );
    }
}

#[test]
fn train_is_shuffled_over_the_topics() {
    let train = committed::splits().train;
    for (index, rows) in train.chunks(250).enumerate() {
        let topics: BTreeSet<&str> = rows.iter().map(|row| row.topic.as_str()).collect();
        assert!(rows.len() < 250 || topics.len() > 15, "rows from {}: {} topics", index * 250 + 1, topics.len());
    }
}
