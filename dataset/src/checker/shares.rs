//! How many rows of each sort, and the bookkeeping of ids and groups.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CALCULATIONS_PERCENT, OFF_DOMAIN_PERCENT, Placed, ROWS_PER_GROUP, Report, SAFETY_PERCENT, VERBATIM_PERCENT, above,
    share,
};
use crate::computed;
use crate::splits::{Sizes, Split};

pub(super) fn check(rows: &[Placed], report: &mut Report) {
    ids_are_unique(rows, report);
    groups_stay_small(rows, report);
    seen_in_train_tells_the_truth(rows, report);

    let total = rows.len();
    let count = |wanted: fn(&Placed) -> bool| rows.iter().filter(|placed| wanted(placed)).count();
    let calculations = count(|placed| placed.row.topic == computed::TOPIC);
    if above(calculations, CALCULATIONS_PERCENT, total) {
        let share = share(calculations, total);
        report.refusals.push(format!("topic {}: {share}, at most {CALCULATIONS_PERCENT} %", computed::TOPIC));
    }
    let verbatim = count(|placed| !placed.row.is_computed());
    if 100 * verbatim < VERBATIM_PERCENT * total {
        let share = share(verbatim, total);
        report.refusals.push(format!("verbatim rows: {share}, at least {VERBATIM_PERCENT} %"));
    }
    let safety = count(|placed| placed.row.safety);
    if 100 * safety < SAFETY_PERCENT * total {
        report.refusals.push(format!("safety: {}, at least {SAFETY_PERCENT} %", share(safety, total)));
    }
    let off_domain = count(|placed| placed.row.topic == "off_domain");
    let (low, high) = OFF_DOMAIN_PERCENT;
    let message = format!("topic off_domain: {}, {low} to {high} %", share(off_domain, total));
    if above(off_domain, high, total) {
        report.refusals.push(message);
    } else if 100 * off_domain < low * total {
        // The knowledge grows topic by topic; only the full dataset must be balanced.
        let full = total >= Sizes::FULL.total();
        if full { report.refusals.push(message) } else { report.warnings.push(message) }
    }
}

fn ids_are_unique(rows: &[Placed], report: &mut Report) {
    let mut first: BTreeMap<&str, &Placed> = BTreeMap::new();
    for placed in rows {
        if let Some(other) = first.insert(&placed.row.id, placed) {
            report.refusals.push(format!("{}: the id is also at {}:{}", placed.place(), other.file, other.line));
        }
    }
}

fn groups_stay_small(rows: &[Placed], report: &mut Report) {
    let mut groups: BTreeMap<&str, Vec<&Placed>> = BTreeMap::new();
    for placed in rows {
        groups.entry(&placed.row.group).or_default().push(placed);
    }
    for (group, members) in groups {
        if members.len() > ROWS_PER_GROUP {
            let last = members[members.len() - 1].place();
            report.refusals.push(format!("{last}: group {group} has {} rows, at most {ROWS_PER_GROUP}", members.len()));
        }
    }
}

fn seen_in_train_tells_the_truth(rows: &[Placed], report: &mut Report) {
    let train = Split::Train.file();
    let trained: BTreeSet<&str> =
        rows.iter().filter(|placed| placed.file == train).map(|placed| placed.row.group.as_str()).collect();
    for placed in rows {
        let seen = trained.contains(placed.row.group.as_str());
        if placed.row.seen_in_train != seen {
            report.refusals.push(format!(
                "{}: seen_in_train is {}, but train has {} row of group {}",
                placed.place(),
                placed.row.seen_in_train,
                if seen { "a" } else { "no" },
                placed.row.group
            ));
        }
    }
}
