//! `data check` and `data show`.

use std::process::Command;

use serde_json::Value;

use crate::support::{Ran, Workspace, run};

fn row(question: &str, answer: &str) -> String {
    serde_json::json!({"question": question, "answer": answer}).to_string()
}

/// `data <verb>`: two words, so that [`Workspace::run`] does not do.
fn data(workspace: &Workspace, verb: &str, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qwen-lora"));
    command.current_dir(workspace.path()).args(["data", verb, "--config", "config.json"]).args(arguments);
    run(&mut command)
}

fn check(workspace: &Workspace, files: &[&str]) -> (Ran, Value) {
    let ran = data(workspace, "check", &[&["--json"], files].concat());
    let report = serde_json::from_str(ran.stdout.lines().next().unwrap_or("null")).unwrap();
    (ran, report)
}

fn listed<'a>(report: &'a Value, kind: &str) -> Vec<&'a str> {
    let list = if kind == "blocking" { &report["blocking"] } else { &report["warnings"][kind] };
    list.as_array().map(|list| list.iter().map(|v| v.as_str().unwrap()).collect()).unwrap_or_default()
}

#[test]
fn every_fault_of_broken_files_is_named_with_its_line() {
    let workspace = Workspace::new();
    let long = "word ".repeat(2000);
    let train = [
        row("How much protein should I eat each day to build muscle?", "About 1.6 g per kg."),
        row("How many sets a week?", "Ten to twenty."),
        row("how many sets a week", "Ten to twenty!"),
        row("How many sets a week?", "Three are plenty."),
        row("How much protein should I eat each day to build some muscle?", "About 1.6 g per kg, spread over the day."),
        row("Who can help?", "Write to coach@example.org or call +49 30 1234567."),
        row("Is this broken?", "cafÃ© and donâ€™t"),
        row("Is this one odd?", "a\u{0007}b"),
        row("Is this one long?", &long),
        r#"{"question": "no answer here"}"#.to_string(),
        "{".to_string(),
    ];
    let val = [row("HOW MANY SETS A WEEK", "Ten."), row("What is a deload?", "A lighter week.")];
    workspace.write("train.jsonl", train.join("\n"));
    workspace.write("val.jsonl", val.join("\n"));
    let (ran, report) = check(&workspace, &["train.jsonl", "val.jsonl"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    for (kind, expected) in [
        (
            "blocking",
            vec![
                "train.jsonl:10: \"answer\" is missing",
                "train.jsonl:11: not valid JSON",
                "val.jsonl:1: the question",
            ],
        ),
        ("exact duplicates", vec!["train.jsonl:3:"]),
        ("one question, two answers", vec!["train.jsonl:4:"]),
        ("near duplicates", vec!["train.jsonl:5:"]),
        ("e-mail addresses", vec!["train.jsonl:6: answer holds \"coach@example.org\""]),
        ("phone numbers", vec!["train.jsonl:6: answer holds \"+49 30 1234567\""]),
        ("mojibake", vec!["train.jsonl:7:"]),
        ("control characters", vec!["train.jsonl:8: answer holds U+0007"]),
        ("over-long fields", vec!["train.jsonl:9: answer has 10000 characters"]),
    ] {
        let found = listed(&report, kind);
        assert_eq!(found.len(), expected.len(), "{kind}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{kind}: {found}");
        }
    }
    assert_eq!(report["warnings"].as_object().unwrap().len(), 8);
}

#[test]
fn clean_files_are_described_and_pass() {
    let workspace = Workspace::new();
    let (ran, report) = check(&workspace, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(report["files"][0]["lengths"]["rows"], 64);
    assert_eq!(report["files"][1]["lengths"]["tokens"], 776);
    assert_eq!(report["steps_per_epoch"], 8);
}

#[test]
fn training_does_not_start_on_rows_that_stand_in_both_files() {
    let workspace = Workspace::new();
    let rows = [row("How many sets?", "Three."), row("How many reps?", "Ten.")];
    workspace.write("train.jsonl", rows.join("\n"));
    workspace.write("val.jsonl", &rows[1]);
    let ran = workspace.run("train", &["--set", "train_file=train.jsonl", "--set", "eval_file=val.jsonl"]);
    ran.refuses(2, &["val.jsonl:1: the question \"How many reps?\" also stands at train.jsonl:2"]);
    assert!(!workspace.file("out").exists());
}

#[test]
fn a_row_is_shown_token_by_token() {
    let workspace = Workspace::new();
    let show = |arguments: &[&str]| data(&workspace, "show", arguments);
    let set = ["--set", "training.completion_only_loss=true", "--set", "max_length=25"];
    let ran = show(&[&["--row", "1", "--json"][..], &set].concat());
    let object = ran.objects().remove(0);
    let tokens = object["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 27);
    let prompt = tokens.iter().position(|token| token["trained"] == true).unwrap();
    let text: String = tokens[..prompt].iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(text, "User: What muscles does the pull-up work?\nAssistant:");
    assert!(tokens[25..].iter().all(|token| token["cut"] == true && token["trained"] == false));
    assert!(show(&["--row", "1"]).stdout.contains("<- end of sequence"));
    show(&["--row", "99"]).refuses(2, &["rows 1 to 64", "99"]);
}

#[test]
fn texts_that_are_repeated_are_found() {
    let workspace = Workspace::new();
    let text = |text: &str| format!("{}\n", serde_json::json!({ "text": text }));
    workspace.write("train.jsonl", text("Squat deep.") + &text("Row.") + &text("squat deep"));
    let ran = data(&workspace, "check", &["train.jsonl"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("train.jsonl: 1 rows (texts, 3 of them, in blocks)"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("exact duplicates: 1\n  train.jsonl:3: the text stood at train.jsonl:1"),
        "{}",
        ran.stdout
    );
}
