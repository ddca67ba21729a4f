//! Stopping and going on.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::support::{Workspace, run};

const LONG: [&str; 6] =
    ["--set", "training.max_steps=400", "--set", "training.eval_steps=100", "--set", "training.save_steps=100"];

/// Starts a long run, waits for a line of its progress and sends a signal; returns the exit code and stderr.
fn interrupt(workspace: &Workspace, signal: &str) -> (Option<i32>, String) {
    let mut child = workspace.command("train").args(LONG).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("step 20/") {
        assert!(stderr.read_line(&mut text).unwrap() > 0, "ended early: {text}");
    }
    let killed = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    while stderr.read_line(&mut text).unwrap() > 0 {}
    (child.wait().unwrap().code(), text)
}

#[test]
fn a_signal_saves_a_checkpoint_and_the_resumed_run_ends_like_an_uninterrupted_one() {
    for signal in ["-INT", "-TERM"] {
        let workspace = Workspace::new();
        let (code, stderr) = interrupt(&workspace, signal);
        assert_eq!(code, Some(130), "{stderr}");
        // The command that is offered, as it is.
        let offered = stderr.lines().find_map(|line| line.split_once("To go on: ")).expect("it says how to go on").1;
        let resumed = workspace.bash(offered);
        assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);

        let whole = Workspace::new();
        assert_eq!(whole.run("train", &LONG).code, Some(0));
        workspace.assert_ended_like(&whole);
        assert_eq!(losses(&workspace), losses(&whole));
    }
}

/// The metric logs of the training loss: a value a line, a file from each evaluation to the next.
fn losses(workspace: &Workspace) -> Vec<String> {
    let log = |epoch: usize| std::fs::read_to_string(workspace.file(&format!("logs/train/epoch-{epoch}/Loss.log")));
    (1..).map_while(|epoch| log(epoch).ok()).collect()
}

/// Steps that are made again after a kill are logged once.
#[test]
fn metric_logs_hold_each_entry_once() {
    let workspace = Workspace::new();
    let steps = ["--set", "training.save_total_limit=null", "--set", "training.eval_steps=8"];
    assert_eq!(workspace.run("train", &steps).code, Some(0));
    let before = losses(&workspace);
    assert!(before.len() == 2 && before[0].lines().count() == 4, "{before:?}");
    for checkpoint in ["out/checkpoint-8", "out/checkpoint-4"] {
        let resume = format!("training.resume_from_checkpoint={checkpoint}");
        let ran = workspace.run("train", &[&steps[..], &["--overwrite", "--set", &resume]].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(losses(&workspace), before, "{checkpoint}");
    }
}

#[test]
fn a_run_is_not_overwritten_unasked() {
    let workspace = Workspace::new().trained();
    let before = workspace.adapter_bytes();
    let again = ["--set", "training.seed=7"];
    workspace.run("train", &again).refuses(2, &["out", "--overwrite", "resume_from_checkpoint"]);
    assert_eq!(workspace.adapter_bytes(), before);
    let ran = workspace.run("train", &[&again[..], &["--overwrite"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_ne!(workspace.adapter_bytes(), before);
}

/// Without checkpoints, too: a finished adapter is a result.
#[test]
fn a_finished_adapter_is_not_overwritten_unasked() {
    let workspace = Workspace::new();
    let without = ["--set", "training.save_strategy=no", "--set", "training.load_best_model_at_end=false"];
    assert_eq!(workspace.run("train", &without).code, Some(0));
    workspace.run("train", &without).refuses(2, &["--overwrite"]);
    // What can't start removes nothing.
    let before = workspace.adapter_bytes();
    workspace
        .run("train", &[&without[..], &["--overwrite", "--set", "training.dtype=bf16"]].concat())
        .refuses(2, &["bf16"]);
    assert_eq!(workspace.adapter_bytes(), before);
}

#[test]
fn going_on_from_an_earlier_checkpoint_does_not_mix_with_later_ones() {
    let workspace = Workspace::new();
    let keep = ["--set", "training.save_total_limit=null"];
    assert_eq!(workspace.run("train", &keep).code, Some(0));
    let earlier = [&keep[..], &["--set", "training.resume_from_checkpoint=out/checkpoint-4"]].concat();
    workspace.run("train", &earlier).refuses(2, &["after step 4", "--overwrite"]);
    assert!(workspace.file("out/checkpoint-12").is_dir());
    let before = workspace.adapter_bytes();
    let ran = workspace.run("train", &[&earlier[..], &["--overwrite"]].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(workspace.adapter_bytes(), before); // the same run again
}

#[test]
fn resuming_a_finished_run_repeats_its_end() {
    let workspace = Workspace::new().trained();
    let before = (workspace.adapter_bytes(), workspace.json("out/trainer_state.json"));
    let ran = workspace.run("train", &["--set", "training.resume_from_checkpoint=true"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!((workspace.adapter_bytes(), workspace.json("out/trainer_state.json")), before);
}

#[test]
fn resuming_without_a_checkpoint_starts_from_the_beginning_and_says_so() {
    let workspace = Workspace::new();
    let ran = workspace.run("train", &["--set", "training.resume_from_checkpoint=true"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("starting from the beginning"), "{}", ran.stderr);
    let named = workspace.run("train", &["--set", "training.resume_from_checkpoint=out/checkpoint-99"]);
    named.refuses(2, &["out/checkpoint-99"]);
}

/// Passes side by side, products and sums in shares: each sum has one order.
#[test]
fn the_number_of_threads_changes_no_bit() {
    let train = |threads: &str| {
        let workspace = Workspace::new();
        let mut command = workspace.command("train");
        let ran = run(command.env("RAYON_NUM_THREADS", threads).args(["--set", "training.tokens_per_pass=60"]));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        (workspace.adapter_bytes(), workspace.json("out/trainer_state.json"))
    };
    let alone = train("1");
    assert_eq!(train("2"), alone);
    assert_eq!(train("5"), alone);
}
