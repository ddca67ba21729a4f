//! A GPU whose memory runs out while a command uses it.

use std::panic::PanicHookInfo;

use super::{dashboard, output};
use crate::backend::Device;

/// Ends the program with one line when an allocation on the GPU fails. burn's thread for the device panics then, and goes
/// on with the next operation, without the memory: whatever is computed from there on is worthless. Files are whole at
/// any moment, so nothing is lost.
pub fn exit_when_it_runs_out(device: &Device) {
    if *device == Device::Cpu {
        return;
    }
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_failed_allocation(&message(panic)) {
            return previous(panic);
        }
        dashboard::restore_terminal();
        output::complain(
            "error: the GPU's memory ran out. Lower training.tokens_per_pass (or per_device_train_batch_size and \
             per_device_eval_batch_size) or max_length, or set training.gradient_checkpointing to true; checkpoints are \
             as they were",
        );
        std::process::exit(1);
    }));
}

fn message(panic: &PanicHookInfo) -> String {
    panic.payload_as_str().unwrap_or_default().to_lowercase()
}

/// As CubeCL and wgpu say it.
fn is_failed_allocation(message: &str) -> bool {
    ["can't allocate", "out of memory", "out_of_memory", "cuda allocation error"]
        .iter()
        .any(|text| message.contains(text))
}
