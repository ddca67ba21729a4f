//! Ctrl-C and SIGTERM: training stops at the next optimizer step, everything else at once.

use std::sync::Mutex;

use anyhow::{Context, Result};
use burn::train::Interrupter;
use nix::sys::signal::{SigHandler, Signal, signal};

use super::{dashboard, output};

const EXIT_CODE: i32 = 130;

/// What a signal means now: a process has one handler only.
static TRAINING: Mutex<Option<Training>> = Mutex::new(None);

struct Training {
    interrupter: Interrupter,
    /// Whether to acknowledge the signal with a line (the dashboard shows it by itself).
    prints_lines: bool,
}

/// Installs the handler. Until training begins, a signal ends the program at once.
pub fn install() -> Result<()> {
    // Else a write beyond the file size limit would end the process instead of failing.
    // SAFETY: no handler runs; ignoring is all that is asked for.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.context("cannot ignore SIGXFSZ")?;
    ctrlc::set_handler(handle).context("cannot install the signal handler")
}

fn handle() {
    let training = TRAINING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(Training { interrupter, prints_lines }) = &*training
        && !interrupter.should_stop()
    {
        interrupter.stop(Some("a signal asked to stop"));
        if *prints_lines {
            output::inform("stopping after this step and saving a checkpoint; once more: stop at once");
        }
        return;
    }
    dashboard::restore_terminal();
    std::process::exit(EXIT_CODE);
}

/// From now on the first signal stops training in good order, the second at once.
pub fn stop_training_with(interrupter: Interrupter, prints_lines: bool) {
    *TRAINING.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Training { interrupter, prints_lines });
}

/// From now on a signal ends the program at once.
pub fn exit_at_once() {
    *TRAINING.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
}
