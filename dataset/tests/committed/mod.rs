//! The files as they are committed.

use std::fs;
use std::path::Path;

use fitness_dataset::row::{Row, from_jsonl};
use fitness_dataset::splits::{Split, Splits};

pub fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(name: &str) -> String {
    let path = folder().join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn splits() -> Splits {
    let rows = |split: Split| from_jsonl(&split.file(), &read(&split.file())).expect("rows of the dataset");
    Splits { train: rows(Split::Train), val: rows(Split::Val), test: rows(Split::Test) }
}

#[allow(dead_code, reason = "not every test binary wants the rows of all splits at once")]
pub fn all_rows() -> Vec<Row> {
    splits().each().flat_map(|(_, rows)| rows.to_vec()).collect()
}
