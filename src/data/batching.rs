//! Which rows go into which optimizer step: epochs, windows of accumulated micro batches, micro batches.

use std::sync::Arc;

use super::encode::EncodedRow;
use super::shuffle::randperm;
use crate::model::TokenBatch;

/// Rows computed in one pass, with what their loss needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MicroBatch {
    pub tokens: TokenBatch,
    /// Places in the flat token list whose prediction is scored, ...
    pub label_positions: Vec<i32>,
    /// ... and what should be predicted there.
    pub labels: Vec<i32>,
    /// For each row, its place in the optimizer step.
    pub rows: Vec<u64>,
}

impl MicroBatch {
    /// Pads rows on the right to the longest. Labels go by position: a real pad or end token in the text counts.
    pub fn new<'a>(rows: impl IntoIterator<Item = (u64, &'a EncodedRow)>) -> Self {
        let (places, rows): (Vec<u64>, Vec<&EncodedRow>) = rows.into_iter().unzip();
        let ids: Vec<&[i32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
        let tokens = TokenBatch::padded(&ids);
        let width = tokens.groups[0].len;
        let label_positions = rows
            .iter()
            .enumerate()
            .flat_map(|(i, row)| row.labelled.clone().map(move |position| (i * width + position) as i32))
            .collect();
        let labels = rows.iter().flat_map(|row| row.labels()).copied().collect();
        Self { tokens, label_positions, labels, rows: places }
    }

    pub fn label_count(&self) -> usize {
        self.labels.len()
    }
}

/// The rows of one optimizer step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Seeds what is random within the step.
    pub seed: u64,
    /// Number of the step, from 0.
    pub step: usize,
    pub micro_batches: Vec<MicroBatch>,
    /// Labels in all micro batches: what the step's loss is divided by.
    pub label_count: usize,
}

/// Splits a training set into optimizer steps exactly as transformers' Trainer does: shuffled anew each epoch, the
/// last micro batch of an epoch may have fewer rows, its last window fewer micro batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchPlan {
    pub rows: usize,
    pub micro_batch_size: usize,
    pub accumulation_steps: usize,
    pub epochs: usize,
    /// Overrides `epochs`.
    pub max_steps: Option<usize>,
    pub shuffle: bool,
    pub seed: u64,
}

impl BatchPlan {
    pub fn micro_batches_per_epoch(&self) -> usize {
        self.rows.div_ceil(self.micro_batch_size)
    }

    pub fn steps_per_epoch(&self) -> usize {
        self.micro_batches_per_epoch().div_ceil(self.accumulation_steps)
    }

    pub fn total_steps(&self) -> usize {
        self.max_steps.unwrap_or(self.epochs * self.steps_per_epoch())
    }

    /// How many epochs are done after a number of steps, with a fraction, as the Trainer logs it.
    pub fn epoch_after(&self, steps: usize) -> f64 {
        let (epoch, step) = (steps / self.steps_per_epoch(), steps % self.steps_per_epoch());
        epoch as f64 + (step * self.accumulation_steps) as f64 / self.micro_batches_per_epoch() as f64
    }

    /// The order of an epoch's rows.
    pub fn epoch_order(&self, epoch: usize) -> Vec<usize> {
        if self.shuffle { randperm(self.rows, self.seed.wrapping_add(epoch as u64)) } else { (0..self.rows).collect() }
    }

    /// The windows from a step on to the end of the run.
    pub fn windows(self: Arc<Self>, rows: Arc<Vec<EncodedRow>>, first_step: usize) -> Windows {
        Windows { plan: self, rows, step: first_step, order: None }
    }
}

/// Iterator over a run's optimizer steps.
pub struct Windows {
    plan: Arc<BatchPlan>,
    rows: Arc<Vec<EncodedRow>>,
    step: usize,
    /// The current epoch's order.
    order: Option<(usize, Vec<usize>)>,
}

impl Windows {
    /// Steps handed out so far, those before the first one included.
    pub fn step(&self) -> usize {
        self.step
    }
}

impl Iterator for Windows {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        let plan = &self.plan;
        if self.step >= plan.total_steps() {
            return None;
        }
        let (epoch, step) = (self.step / plan.steps_per_epoch(), self.step % plan.steps_per_epoch());
        let order = match self.order.take() {
            Some((of, order)) if of == epoch => order,
            _ => plan.epoch_order(epoch),
        };
        let size = plan.micro_batch_size * plan.accumulation_steps;
        let window = &order[step * size..(step * size + size).min(plan.rows)];
        let rows: Vec<(u64, &EncodedRow)> =
            window.iter().enumerate().map(|(place, &row)| (place as u64, &self.rows[row])).collect();
        let micro_batches: Vec<MicroBatch> =
            rows.chunks(plan.micro_batch_size).map(|rows| MicroBatch::new(rows.iter().copied())).collect();
        let label_count = micro_batches.iter().map(MicroBatch::label_count).sum();
        let window = Window { seed: plan.seed, step: self.step, micro_batches, label_count };
        self.order = Some((epoch, order));
        self.step += 1;
        Some(window)
    }
}

/// A validation set in batches, in the file's order.
pub fn evaluation_batches(rows: &[EncodedRow], batch_size: usize) -> Vec<MicroBatch> {
    rows.chunks(batch_size)
        .map(|rows| MicroBatch::new(rows.iter().enumerate().map(|(i, row)| (i as u64, row))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(len: usize) -> EncodedRow {
        EncodedRow { input_ids: (0..len as i32).collect(), labelled: 0..len - 1 }
    }

    fn plan() -> BatchPlan {
        BatchPlan {
            rows: 61,
            micro_batch_size: 2,
            accumulation_steps: 4,
            epochs: 3,
            max_steps: None,
            shuffle: true,
            seed: 42,
        }
    }

    #[test]
    fn a_ragged_epoch_ends_with_a_smaller_window() {
        let plan = plan();
        assert_eq!((plan.micro_batches_per_epoch(), plan.steps_per_epoch(), plan.total_steps()), (31, 8, 24));
        let rows = Arc::new(vec![row(5); 61]);
        let windows: Vec<Window> = Arc::new(plan.clone()).windows(rows, 0).collect();
        assert_eq!(windows.len(), 24);
        assert_eq!(windows[7].micro_batches.len(), 3);
        assert_eq!(windows[7].micro_batches[2].rows.len(), 1);
        assert_eq!(windows[7].label_count, 5 * 4);
        assert_eq!(plan.epoch_after(8), 1.0);
        assert!((plan.epoch_after(9) - (1.0 + 4.0 / 31.0)).abs() < 1e-12);
    }

    #[test]
    fn every_row_is_seen_once_an_epoch_and_resuming_goes_on_with_the_same_windows() {
        let plan = Arc::new(plan());
        let rows: Arc<Vec<EncodedRow>> = Arc::new((0..61).map(|i| row(i + 2)).collect());
        let all: Vec<Window> = plan.clone().windows(rows.clone(), 0).collect();
        // Row i carries i + 1 labels, so an epoch that saw each row once carries 1 + 2 + ... + 61.
        let labels: usize = all[..8].iter().map(|window| window.label_count).sum();
        assert_eq!(labels, 61 * 62 / 2);
        let resumed: Vec<Window> = plan.windows(rows, 11).collect();
        assert_eq!(resumed, all[11..]);
    }

    #[test]
    fn labels_go_by_position_and_never_by_value() {
        let short = EncodedRow { input_ids: vec![5, 0, 0], labelled: 0..2 };
        let long = EncodedRow { input_ids: vec![1, 2, 3, 4, 5], labelled: 2..4 };
        let batch = MicroBatch::new([(0, &short), (1, &long)]);
        assert_eq!(batch.tokens.input_ids, [5, 0, 0, 0, 0, 1, 2, 3, 4, 5]);
        assert_eq!(batch.label_positions, [0, 1, 7, 8]);
        assert_eq!(batch.labels, [0, 0, 4, 5]);
    }
}
