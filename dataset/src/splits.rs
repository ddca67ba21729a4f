//! Train, val and test.
//!
//! Half of val and of test comes from groups that train never sees, whole groups at a time; the other half is one pair
//! each of groups that train does see. Both halves are spread over the topics.

use std::collections::{BTreeMap, BTreeSet};

use crate::Result;
use crate::dice::{Dice, hash};
use crate::overlaps::Overlaps;
use crate::row::Row;
use crate::similarity::{NEAR, near_pairs};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    Train,
    Val,
    Test,
}

impl Split {
    pub const ALL: [Split; 3] = [Split::Train, Split::Val, Split::Test];

    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }

    pub fn file(self) -> String {
        format!("qa_fitness_nutrition_{}.jsonl", self.name())
    }
}

/// Rows per split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub train: usize,
    pub val: usize,
    pub test: usize,
}

impl Sizes {
    pub const FULL: Sizes = Sizes { train: 5_000, val: 800, test: 400 };

    pub fn total(self) -> usize {
        self.train + self.val + self.test
    }

    /// The full sizes, shrunk in proportion while there are fewer rows.
    pub fn for_rows(rows: usize) -> Self {
        let part = |full: usize| full * rows.min(Self::FULL.total()) / Self::FULL.total();
        let (val, test) = (part(Self::FULL.val), part(Self::FULL.test));
        Self { train: rows - val - test, val, test }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Splits {
    pub train: Vec<Row>,
    pub val: Vec<Row>,
    pub test: Vec<Row>,
}

impl Splits {
    pub fn rows(&self, split: Split) -> &[Row] {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
            Split::Test => &self.test,
        }
    }

    pub fn each(&self) -> impl Iterator<Item = (Split, &[Row])> {
        Split::ALL.into_iter().map(|split| (split, self.rows(split)))
    }

    pub fn total(&self) -> usize {
        self.each().map(|(_, rows)| rows.len()).sum()
    }
}

/// Divides all rows.
pub fn split(rows: Vec<Row>, overlaps: &Overlaps) -> Result<Splits> {
    let sizes = Sizes::for_rows(rows.len());
    let mut pool = Pool::new(rows);
    let mut splits = Splits {
        test: pool.take_groups("unseen test", sizes.test / 2, overlaps),
        val: pool.take_groups("unseen val", sizes.val / 2, overlaps),
        train: Vec::new(),
    };
    let unseen: usize = splits.test.len() + splits.val.len();
    splits.test.extend(pool.take_pairs("seen test", sizes.test - splits.test.len()));
    splits.val.extend(pool.take_pairs("seen val", sizes.val - splits.val.len()));
    if (splits.val.len(), splits.test.len()) != (sizes.val, sizes.test) {
        return Err(format!(
            "val and test need {} and {} rows, and only {} and {} can be held out ({unseen} of them in unseen groups): \
             too few groups with two or more questions unlike all others",
            sizes.val,
            sizes.test,
            splits.val.len(),
            splits.test.len()
        )
        .into());
    }
    splits.train = pool.rows.into_values().flatten().collect();
    for (split, rows) in [("train", &mut splits.train), ("val", &mut splits.val), ("test", &mut splits.test)] {
        Dice::named(split).shuffle(rows);
    }
    Ok(splits)
}

/// What is not held out yet.
struct Pool {
    /// Rows by group.
    rows: BTreeMap<String, Vec<Row>>,
    /// Ids of rows that are near a row of another group, and of any other row: near rows must stay together.
    near_elsewhere: BTreeSet<String>,
    near: BTreeSet<String>,
    /// Groups that have given a pair already.
    given: BTreeSet<String>,
}

impl Pool {
    fn new(rows: Vec<Row>) -> Self {
        let mut near = BTreeSet::new();
        let mut near_elsewhere = BTreeSet::new();
        for (one, other, _) in near_pairs(rows.iter().map(|row| row.question.as_str()), NEAR) {
            for (row, partner) in [(&rows[one], &rows[other]), (&rows[other], &rows[one])] {
                near.insert(row.id.clone());
                if row.group != partner.group {
                    near_elsewhere.insert(row.id.clone());
                }
            }
        }
        let mut by_group: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in rows {
            by_group.entry(row.group.clone()).or_default().push(row);
        }
        Self { rows: by_group, near_elsewhere, near, given: BTreeSet::new() }
    }

    /// Whole groups of `wanted` rows in all, or a few rows fewer.
    fn take_groups(&mut self, purpose: &str, wanted: usize, overlaps: &Overlaps) -> Vec<Row> {
        let alone = |rows: &[Row]| rows.iter().all(|row| !self.near_elsewhere.contains(&row.id));
        let free = self.rows.iter().filter(|(group, rows)| !overlaps.covers(group) && alone(rows));
        let order = spread(purpose, free.map(|(group, rows)| (rows[0].topic.as_str(), group.as_str())));
        let mut taken = Vec::new();
        for group in order {
            if taken.len() + self.rows[&group].len() > wanted {
                break;
            }
            taken.extend(self.rows.remove(&group).unwrap_or_default());
        }
        for row in &mut taken {
            row.seen_in_train = false;
        }
        taken
    }

    /// One row each of `wanted` groups, or of as many as can give one and keep another.
    fn take_pairs(&mut self, purpose: &str, wanted: usize) -> Vec<Row> {
        let mut candidates: BTreeMap<&str, &Row> = BTreeMap::new();
        for (group, rows) in self.rows.iter().filter(|(group, rows)| rows.len() > 1 && !self.given.contains(*group)) {
            let apart = rows.iter().filter(|row| !self.near.contains(&row.id));
            if let Some(row) = apart.min_by_key(|row| hash(&format!("{purpose}: {}", row.id))) {
                candidates.insert(group, row);
            }
        }
        let order = spread(purpose, candidates.iter().map(|(group, row)| (row.topic.as_str(), *group)));
        let chosen: Vec<Row> = order.iter().take(wanted).map(|group| candidates[group.as_str()].clone()).collect();
        for row in &chosen {
            self.given.insert(row.group.clone());
            self.rows.entry(row.group.clone()).or_default().retain(|other| other.id != row.id);
        }
        chosen
    }
}

/// Orders (topic, name) so that every beginning of the order holds each topic in proportion: the i-th of a topic's n
/// names, counted in the order of their hashes, stands at (i + 1/2) / n.
fn spread<'a>(purpose: &str, candidates: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let mut topics: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (topic, name) in candidates {
        topics.entry(topic).or_default().push(name);
    }
    let mut places = Vec::new();
    for (topic, mut names) in topics {
        names.sort_by_key(|name| hash(&format!("{purpose}: {name}")));
        let step = 1.0 / names.len() as f64;
        places.extend(names.iter().enumerate().map(|(index, name)| ((index as f64 + 0.5) * step, topic, *name)));
    }
    places
        .sort_by(|(one, one_topic, _), (other, other_topic, _)| one.total_cmp(other).then(one_topic.cmp(other_topic)));
    places.into_iter().map(|(_, _, name)| name.to_string()).collect()
}
