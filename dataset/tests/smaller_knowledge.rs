//! The builder on a part of the knowledge: smaller files by the same rules, or none at all.

mod committed;

use std::fs;
use std::path::PathBuf;

use fitness_dataset::builder;
use fitness_dataset::row::to_jsonl;
use fitness_dataset::splits::{Sizes, Split};

/// A dataset folder of its own with every second group of the knowledge, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("fitness-dataset-{name}-{}", std::process::id())));
        fs::create_dir_all(folder.0.join("knowledge")).expect("a temporary folder");
        for entry in fs::read_dir(committed::folder().join("knowledge")).expect("the knowledge") {
            let path = entry.expect("a file").path();
            let text = fs::read_to_string(&path).expect("a readable file");
            let half: String = text.lines().step_by(2).flat_map(|line| [line, "\n"]).collect();
            folder.write(&format!("knowledge/{}", path.file_name().unwrap_or_default().display()), &half);
        }
        folder.write("overlaps.json", "[]");
        folder.write("README.md", &committed::read("README.md"));
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("a writable temporary folder");
    }

    fn error(&self) -> String {
        builder::build(&self.0).err().expect("a refusal").to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // left to the system's own cleaning
    }
}

#[test]
fn half_of_the_knowledge_gives_smaller_files_that_keep_the_bounds() {
    let folder = Folder::new("half");
    let built = builder::build(&folder.0).expect("the bounds hold at any size");
    let sizes = Sizes::for_rows(built.splits.total());
    assert!(built.splits.total() < Sizes::FULL.total());
    assert_eq!((built.splits.val.len(), built.splits.test.len()), (sizes.val, sizes.test));
    assert!(built.warnings.iter().any(|warning| warning.contains("rows of 6200")), "{:?}", built.warnings);

    built.write(&folder.0).expect("a writable folder");
    for (split, rows) in built.splits.each() {
        let written = fs::read_to_string(folder.0.join(split.file())).expect("a written file");
        assert_eq!(written, to_jsonl(rows).expect("rows in JSON"));
    }
}

#[test]
fn a_question_told_twice_stops_the_build_and_is_named() {
    let folder = Folder::new("twice");
    let text = fs::read_to_string(folder.0.join("knowledge/sleep.jsonl")).expect("the knowledge of sleep");
    let again = text.lines().next().unwrap_or_default().replacen("\"sleep/", "\"sleep/again-", 1);
    folder.write("knowledge/sleep.jsonl", &format!("{text}{again}\n"));
    let error = folder.error();
    assert!(error.starts_with("nothing was written") && error.contains("(sleep/again-"), "{error}");
}

#[test]
fn what_is_missing_or_misspelt_is_named() {
    let folder = Folder::new("missing");
    folder.write("overlaps.json", r#"[{"fact": "Oats", "groups": ["foods/oats", "foods/no-such-food"]}]"#);
    assert!(folder.error().contains("\"foods/no-such-food\", which is neither a group nor a formula"));
    folder.write("overlaps.json", "[]");
    folder.write("README.md", "a card without markers");
    assert!(folder.error().contains("README.md: the markers"));
    folder.write("knowledge/sleep.jsonl", "{\"group\":");
    assert!(folder.error().contains("knowledge/sleep.jsonl:1: not a group of knowledge"));
}

#[test]
fn files_are_named_by_their_split() {
    assert_eq!(Split::Val.file(), "qa_fitness_nutrition_val.jsonl");
}
