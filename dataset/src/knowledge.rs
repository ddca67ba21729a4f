//! Reads `knowledge/<topic>.jsonl`: one group of facts and hand-written pairs a line.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::row::Row;
use crate::{Result, computed};

/// Questions about one fact.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// `<topic>/<name>`.
    pub group: String,
    pub topic: String,
    /// Where the figures come from, cited from memory; may be empty.
    pub source: String,
    /// What the answers rest on: for authors and reviewers, not published.
    pub facts: Vec<String>,
    pub pairs: Vec<Pair>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    pub question: String,
    pub answer: String,
    #[serde(default)]
    pub safety: bool,
}

impl Group {
    /// The pairs, verbatim.
    pub fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        self.pairs.iter().enumerate().map(|(index, pair)| Row {
            id: format!("{}-{}", self.group, index + 1),
            question: pair.question.clone(),
            answer: pair.answer.clone(),
            topic: self.topic.clone(),
            group: self.group.clone(),
            source: self.source.clone(),
            seen_in_train: true,
            safety: pair.safety,
        })
    }
}

/// All groups, by file name and line.
pub fn read(folder: &Path) -> Result<Vec<Group>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            files.push(path);
        }
    }
    files.sort(); // the file system's order differs between machines
    let mut groups = Vec::new();
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    for path in files {
        let topic = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for (index, line) in text.lines().enumerate() {
            let place = format!("knowledge/{topic}.jsonl:{}", index + 1);
            let group = parse(line, topic).map_err(|problem| format!("{place}: {problem}"))?;
            if let Some(first) = places.insert(group.group.clone(), place.clone()) {
                return Err(format!("{place}: group {:?} is already at {first}; rename one", group.group).into());
            }
            groups.push(group);
        }
    }
    if groups.is_empty() {
        return Err(format!("{}: no groups; expected <topic>.jsonl files", folder.display()).into());
    }
    Ok(groups)
}

fn parse(line: &str, topic: &str) -> Result<Group> {
    let group: Group =
        serde_json::from_str(line).map_err(|error| format!("not a group of knowledge ({error}); fix the line"))?;
    if group.topic != topic {
        return Err(format!("topic {:?} is in the file of {topic:?}; move the line", group.topic).into());
    }
    let name = group.group.strip_prefix(topic).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    if name.is_empty() {
        return Err(format!("group {:?} must be named \"{topic}/<name>\"", group.group).into());
    }
    if group.group.starts_with(computed::PREFIX) {
        return Err(
            format!("group {:?}: names with {:?} belong to computed rows", group.group, computed::PREFIX).into()
        );
    }
    if group.pairs.is_empty() {
        return Err(format!("group {:?} has no pairs; add some or remove the line", group.group).into());
    }
    for (index, pair) in group.pairs.iter().enumerate() {
        if pair.question.trim().is_empty() || pair.answer.trim().is_empty() {
            return Err(format!("pair {} of {:?} lacks its question or answer", index + 1, group.group).into());
        }
    }
    Ok(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> String {
        parse(line, "sleep").expect_err("the line is bad").to_string()
    }

    #[test]
    fn a_group_in_the_wrong_file_is_named() {
        let line = r#"{"group":"foods/oats","topic":"foods","source":"","facts":[],"pairs":[]}"#;
        assert_eq!(problem(line), r#"topic "foods" is in the file of "sleep"; move the line"#);
    }

    #[test]
    fn a_group_may_not_pose_as_computed_or_be_empty() {
        let line = r#"{"group":"sleep/naps","topic":"sleep","source":"","facts":[],"pairs":[]}"#;
        assert!(problem(line).contains("has no pairs"));
        let line = r#"{"group":"sleep","topic":"sleep","source":"","facts":[],"pairs":[]}"#;
        assert!(problem(line).contains("must be named"));
        let line = r#"{"group":"calculations/computed-x","topic":"calculations","source":"","facts":[],"pairs":[]}"#;
        assert!(parse(line, "calculations").expect_err("reserved").to_string().contains("belong to computed rows"));
    }

    #[test]
    fn half_a_line_is_an_error_and_not_a_panic() {
        assert!(problem(r#"{"group":"sleep/na"#).contains("not a group of knowledge"));
    }
}
