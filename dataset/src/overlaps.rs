//! `overlaps.json`: groups that state the same fact under two topics.
//!
//! Were one of them held out as unseen, train would still have told its fact. Groups in a cluster are therefore never
//! held out whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::Result;
use crate::computed::Kind;
use crate::knowledge::Group;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cluster {
    fact: String,
    /// Names of groups, or `calculations/computed-<formula>` for all groups of a formula.
    groups: Vec<String>,
}

/// The groups whose fact some other group tells too.
#[derive(Debug, Default)]
pub struct Overlaps {
    groups: BTreeSet<String>,
}

impl Overlaps {
    pub fn read(path: &Path, knowledge: &[Group], kinds: &[Kind]) -> Result<Self> {
        let place = |problem: String| format!("{}: {problem}", path.display());
        let text = fs::read_to_string(path).map_err(|error| place(error.to_string()))?;
        let clusters: Vec<Cluster> = serde_json::from_str(&text).map_err(|error| place(error.to_string()))?;
        let knowledge: BTreeSet<&str> = knowledge.iter().map(|group| group.group.as_str()).collect();
        let mut computed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for kind in kinds {
            computed.entry(kind.formula_name()).or_default().push(kind.group());
        }
        Ok(Self::resolve(&clusters, &knowledge, &computed).map_err(place)?)
    }

    /// `computed` lists the groups of each formula.
    fn resolve(
        clusters: &[Cluster],
        knowledge: &BTreeSet<&str>,
        computed: &BTreeMap<String, Vec<String>>,
    ) -> std::result::Result<Self, String> {
        // A formula with several groups is one fact told several times, whatever the file says.
        let mut groups: BTreeSet<String> =
            computed.values().filter(|groups| groups.len() > 1).flatten().cloned().collect();
        for Cluster { fact, groups: names } in clusters {
            if names.len() < 2 {
                return Err(format!("cluster {fact:?} names fewer than two groups; complete or remove it"));
            }
            for name in names {
                if let Some(of_formula) = computed.get(name) {
                    groups.extend(of_formula.iter().cloned());
                } else if knowledge.contains(name.as_str()) {
                    groups.insert(name.clone());
                } else {
                    return Err(format!("cluster {fact:?} names {name:?}, which is neither a group nor a formula"));
                }
            }
        }
        Ok(Self { groups })
    }

    pub fn covers(&self, group: &str) -> bool {
        self.groups.contains(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(names: &[&str]) -> std::result::Result<Overlaps, String> {
        let cluster = Cluster { fact: "one fact".into(), groups: names.iter().map(|name| name.to_string()).collect() };
        let knowledge = BTreeSet::from(["foods/oats", "strength/long-rests"]);
        let computed = BTreeMap::from([
            (
                "calculations/computed-pace".into(),
                vec!["calculations/computed-pace-5-km".into(), "calculations/computed-pace-10-km".into()],
            ),
            ("calculations/computed-plates".into(), vec!["calculations/computed-plates".into()]),
        ]);
        Overlaps::resolve(&[cluster], &knowledge, &computed)
    }

    #[test]
    fn a_cluster_covers_its_groups_and_a_formula_all_of_its_groups() {
        let overlaps = resolved(&["foods/oats", "calculations/computed-plates"]).expect("known names");
        assert!(overlaps.covers("foods/oats") && overlaps.covers("calculations/computed-plates"));
        assert!(!overlaps.covers("strength/long-rests"));
    }

    #[test]
    fn groups_of_one_formula_overlap_without_being_listed() {
        let overlaps = resolved(&["foods/oats", "strength/long-rests"]).expect("known names");
        assert!(overlaps.covers("calculations/computed-pace-10-km"));
        assert!(!overlaps.covers("calculations/computed-plates"));
    }

    #[test]
    fn a_misspelt_or_lonely_group_is_an_error_that_names_it() {
        assert!(resolved(&["foods/oat", "foods/oats"]).expect_err("misspelt").contains("\"foods/oat\""));
        assert!(resolved(&["foods/oats"]).expect_err("alone").contains("fewer than two"));
    }
}
