//! stdout carries the result, stderr everything else.

use std::io::{self, Write};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How results are printed.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    pub json: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// One JSON object, with `--json`.
    pub fn object(&self, value: &impl Serialize) -> Result<()> {
        if self.json { print(&format!("{}\n", serde_json::to_string(value)?)) } else { Ok(()) }
    }

    /// Text, without `--json`; written at once, so that a streamed answer is seen.
    pub fn text(&self, text: &str) -> Result<()> {
        if self.json { Ok(()) } else { print(text) }
    }
}

fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Writes to stderr; a closed stderr is nobody's problem.
fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Progress and facts.
pub fn inform(line: &str) {
    tell(&format!("{line}\n"));
}

/// A bar on stderr; hidden where that is no terminal.
pub fn progress_bar(len: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} ({eta} left)").expect("a valid template");
    ProgressBar::new(len as u64).with_style(style).with_message(what)
}

/// Something that the user should not overlook.
pub fn warn(line: &str) {
    tell(&format!("warning: {line}\n"));
}

/// An error.
pub fn complain(line: &str) {
    tell(&format!("{line}\n"));
}

/// Whether the error is that nobody reads stdout any more.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let closed = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(closed))
}

/// The process's largest resident size so far, in MiB.
pub fn peak_rss_mib() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let max = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss());
    // Linux counts KiB, macOS bytes.
    max as f64 / if cfg!(target_os = "macos") { 1024.0 * 1024.0 } else { 1024.0 }
}
