//! The dashboard in a terminal that changes its size and that goes away.

use std::io::{Read, Write};
use std::process::Child;
use std::time::Duration;

use pty_process::Size;
use pty_process::blocking::{Command, Pty};

use crate::support::Workspace;

const LONG: [&str; 8] = [
    "--set",
    "training.max_steps=500",
    "--set",
    "training.eval_steps=250",
    "--set",
    "training.save_steps=250",
    "--answers",
    "0",
];

/// Trains in a terminal of its own, with the dashboard.
fn train_in_terminal(workspace: &Workspace, rows: u16, columns: u16) -> (Pty, Child) {
    let (terminal, end) = pty_process::blocking::open().unwrap();
    terminal.resize(Size::new(rows, columns)).unwrap();
    let command = Command::new(env!("CARGO_BIN_EXE_qwen-lora")).current_dir(workspace.path());
    let command = command.args(["train", "--config", "config.json"]).args(LONG).env("TERM", "xterm-256color");
    (terminal, command.env("HF_HUB_OFFLINE", "1").spawn(end).unwrap())
}

/// What the terminal shows until a word comes by (what is between words may be skipped), or until it closes.
fn read_until(terminal: &mut Pty, wanted: &str) -> String {
    let mut shown = String::new();
    let mut bytes = [0; 4096];
    while !shown.contains(wanted) {
        match terminal.read(&mut bytes) {
            Ok(0) | Err(_) => break, // Linux: an error once nobody has the other end open
            Ok(count) => shown.push_str(&String::from_utf8_lossy(&bytes[..count])),
        }
    }
    shown
}

#[test]
fn a_terminal_of_any_size_shows_the_run() {
    let workspace = Workspace::new();
    let (mut terminal, mut child) = train_in_terminal(&workspace, 30, 100);
    let shown = read_until(&mut terminal, "gradient");
    assert!(shown.contains("validation"), "{shown}");
    for (rows, columns) in [(1, 1), (5, 200), (200, 5), (0, 0), (24, 80)] {
        terminal.resize(Size::new(rows, columns)).unwrap();
        // The next frame, and a key that means nothing (unless the run is over).
        let _ = terminal.write_all(b"x");
        std::thread::sleep(Duration::from_millis(300));
    }
    let shown = read_until(&mut terminal, "\0never");
    assert_eq!(child.wait().unwrap().code(), Some(0), "{shown}");
    assert!(!shown.contains("panicked") && shown.contains("peak memory"), "{shown}");
}

/// The window is closed, or the connection lost: a checkpoint, and the resumed run ends like an uninterrupted one.
#[test]
fn a_terminal_that_goes_away_loses_nothing() {
    let workspace = Workspace::new();
    let (mut terminal, mut child) = train_in_terminal(&workspace, 30, 100);
    read_until(&mut terminal, "gradient");
    drop(terminal);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let resume = ["--set", "training.resume_from_checkpoint=true"];
    let ran = workspace.run("train", &[&LONG[..], &resume].concat());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("resuming from out/checkpoint-"), "{}", ran.stderr);

    let whole = Workspace::new();
    assert_eq!(whole.run("train", &LONG).code, Some(0));
    workspace.assert_ended_like(&whole);
}
