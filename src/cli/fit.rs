//! Whether a run's time and memory are worth beginning it.

use std::sync::Arc;

use anyhow::Result;
use burn::tensor::DType;

use super::{Session, output};
use crate::backend::{Device, cpu_flops};
use crate::bad_input;
use crate::data::batching::BatchPlan;
use crate::data::encode::EncodedRow;
use crate::model::TargetModule;
use crate::training::arguments::Precision;
use crate::training::memory::{Demand, LOGITS_ON_CPU, LOGITS_ON_GPU, refusal};
use crate::training::side_by_side::passes_at_once;
use crate::training::trainer::{Start, StartWeights};
use crate::weights::model::{ModelFolder, expected_tensors};

/// Before hours are spent unawares.
pub fn say_how_long_it_takes(plan: &BatchPlan, base: &ModelFolder, rows: &[EncodedRow], start: &Start) {
    /// Share of the matrix product's speed that a whole training step reaches.
    const EFFICIENCY: f64 = 0.5;
    let tokens: usize = rows.iter().map(|row| row.input_ids.len()).sum();
    let steps = plan.total_steps().saturating_sub(start.saved.as_ref().map_or(0, |saved| saved.state.global_step));
    let epochs = steps as f64 / plan.steps_per_epoch() as f64;
    // Forward and backward at two operations a parameter; frozen weights need no gradient of their own.
    let passes = if matches!(start.trained, StartWeights::InModel(_)) { 6.0 } else { 4.0 };
    let operations = passes * base.config.multiplied_parameters() as f64 * tokens as f64 * epochs;
    let hours = operations / (cpu_flops() * EFFICIENCY) / 3600.0;
    if hours > 0.2 {
        output::warn(&format!("training on the CPU will take about {hours:.1} hours ({steps} steps)"));
    }
}

/// Before time is spent on a run that would end for want of memory.
pub fn refuse_what_cannot_fit(
    session: &Session,
    device: &Device,
    plan: &Arc<BatchPlan>,
    base: &ModelFolder,
    start: &Start,
    rows: &Arc<Vec<EncodedRow>>,
    precision: Precision,
) -> Result<()> {
    let Some(available) = device.free_memory() else {
        return Ok(());
    };
    let parameters: usize =
        expected_tensors(&base.config).iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let size = if device.dtype(precision)? == DType::BF16 { 2 } else { 4 };
    let (trains_all, trained_parameters, keeps_all_inputs) = match &start.trained {
        StartWeights::Adapter(adapter) => {
            use TargetModule::{KProj, QProj, VProj};
            let trained = adapter.weights.values().map(|w| w.a.len() + w.b.len()).sum();
            (false, trained, adapter.weights.keys().any(|(_, target)| !matches!(target, QProj | KProj | VProj)))
        }
        StartWeights::InModel(_) => (true, parameters, true),
    };
    let on_cpu = matches!(device, Device::Cpu);
    // Every step has about the same passes: some show how large they are.
    const STEPS_LOOKED_AT: usize = 20;
    let longest = rows.iter().map(|row| row.input_ids.len()).max().unwrap_or(0);
    let (mut tokens, mut step_tokens) = (longest, 0);
    for window in plan.clone().windows(rows.clone(), 0).take(STEPS_LOOKED_AT) {
        let passes = window.micro_batches.iter().map(|pass| pass.tokens.tokens());
        tokens = passes.clone().fold(tokens, usize::max);
        step_tokens = step_tokens.max(passes.sum());
    }
    let demand = Demand {
        model: &base.config,
        // On the CPU as the file has them.
        weights: match trains_all {
            true => 0,
            false if on_cpu => base.checkpoint.bytes(),
            false => (parameters * size) as u64,
        },
        trained_parameters: trained_parameters as u64,
        trains_all,
        keeps_all_inputs,
        saves_from_here: on_cpu,
        activation_size: size as u64,
        step_tokens: step_tokens as u64,
        side_by_side: if on_cpu { passes_at_once(parameters) as u64 } else { 1 },
        logits: if on_cpu { LOGITS_ON_CPU } else { LOGITS_ON_GPU },
    };
    match refusal(&demand, &session.config.training, tokens, longest, available) {
        Some(text) => bad_input!("{text}"),
        None => Ok(()),
    }
}
