//! Ctrl-C and SIGTERM: training stops at the next optimizer step, everything else at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use burn::train::Interrupter;

use super::{dashboard, output};

const EXIT_CODE: i32 = 130;

/// Stops training in good order at the first signal, at once at the second.
pub fn stop_training_with(interrupter: Interrupter) -> Result<()> {
    let signals = AtomicUsize::new(0);
    let handler = move || {
        if signals.fetch_add(1, Ordering::Relaxed) == 0 {
            interrupter.stop(Some("a signal asked to stop"));
        } else {
            dashboard::restore_terminal();
            output::complain("stopped at once; the last checkpoint is intact");
            std::process::exit(EXIT_CODE);
        }
    };
    ctrlc::set_handler(handler).context("cannot install the signal handler")
}

/// For commands that leave nothing half done.
pub fn exit_at_once() -> Result<()> {
    ctrlc::set_handler(|| std::process::exit(EXIT_CODE)).context("cannot install the signal handler")
}
