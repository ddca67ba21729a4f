//! The prose that the quickstart's base learns from: no questions, and nothing of what is kept for validation and test.

mod committed;

use std::collections::BTreeSet;

use fitness_dataset::similarity::fold;
use fitness_dataset::splits::Split;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Article {
    id: String,
    topic: String,
    groups: Vec<String>,
    text: String,
}

const FILES: [&str; 2] = ["articles_train.jsonl", "articles_val.jsonl"];

fn articles(file: &str) -> Vec<Article> {
    let parse =
        |(number, line)| serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}:{}: {error}", number + 1));
    committed::read(file).lines().enumerate().map(parse).collect()
}

fn all() -> impl Iterator<Item = Article> {
    FILES.into_iter().flat_map(articles)
}

#[test]
fn every_article_stands_once_and_names_groups_of_the_training_rows_only() {
    let trained: BTreeSet<String> = committed::splits().train.into_iter().map(|row| row.group).collect();
    let (mut ids, mut texts) = (BTreeSet::new(), BTreeSet::new());
    for Article { id, topic, groups, text } in all() {
        assert!(!groups.is_empty() && text.split_whitespace().count() >= 20, "{id}");
        for group in groups {
            assert!(trained.contains(&group), "{id}: {group} is no group of the training rows");
            assert_eq!(group.split('/').next(), Some(topic.as_str()), "{id}");
        }
        assert!(texts.insert(text), "{id} repeats another one");
        assert!(ids.insert(id.clone()), "{id} stands twice");
    }
}

#[test]
fn no_article_asks_or_answers() {
    for Article { id, text, .. } in all() {
        assert!(!text.contains('?'), "{id} asks");
        let dialogue =
            text.lines().find(|line| ["User:", "Assistant:", "Q:", "A:"].iter().any(|p| line.starts_with(p)));
        assert_eq!(dialogue, None, "{id}");
    }
}

/// Ten words in a row are more than chance and idiom ("if the pain lasts more than a few minutes") have in common.
#[test]
fn no_article_repeats_an_answer_of_a_group_that_train_lacks() {
    const RUN: usize = 10;
    let splits = committed::splits();
    let runs = |text: &str| fold(text).windows(RUN).map(|words| words.join(" ")).collect::<Vec<_>>();
    let of_train: BTreeSet<String> = splits.train.iter().flat_map(|row| runs(&row.answer)).collect();
    let held_out = [Split::Val, Split::Test].into_iter().flat_map(|split| splits.rows(split));
    let held_out: BTreeSet<String> =
        held_out.filter(|row| !row.seen_in_train).flat_map(|row| runs(&row.answer)).collect();
    for Article { id, text, .. } in all() {
        for run in runs(&text) {
            assert!(of_train.contains(&run) || !held_out.contains(&run), "{id}: {run}");
        }
    }
}
