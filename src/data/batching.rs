//! Which rows go into which optimizer step: epochs, windows of accumulated micro batches, micro batches.

use std::sync::Arc;

use super::encode::EncodedRow;
use super::shuffle::randperm;
use crate::model::{Group, TokenBatch};

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
    /// Rows that are laid out in groups, one after the other, each padded on the right to its longest row, rounded up to a
    /// multiple. Labels go by position: a real pad or end token in the text counts.
    fn new(groups: &[&[(u64, &EncodedRow)]], length_multiple: usize) -> Self {
        let mut batch = Self {
            tokens: TokenBatch { input_ids: Vec::new(), groups: Vec::new() },
            label_positions: Vec::new(),
            labels: Vec::new(),
            rows: Vec::new(),
        };
        for group in groups {
            let longest = group.iter().map(|(_, row)| row.input_ids.len()).max().unwrap_or(0);
            let len = longest.next_multiple_of(length_multiple);
            batch.tokens.groups.push(Group { rows: group.len(), len });
            for (place, row) in *group {
                let start = batch.tokens.input_ids.len();
                batch.tokens.input_ids.extend(&row.input_ids);
                batch.tokens.input_ids.resize(start + len, PADDING);
                batch.label_positions.extend(row.labelled.clone().map(|position| (start + position) as i32));
                batch.labels.extend(row.labels());
                batch.rows.push(*place);
            }
        }
        batch
    }

    pub fn label_count(&self) -> usize {
        self.labels.len()
    }
}

/// Fills up short rows. Any id that every model has would do: no real token sees it, and it is never scored.
const PADDING: i32 = 0;

/// How rows that belong together are split into passes. The sum of losses and gradients is the same for any split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passes {
    /// So many rows each, in order, padded to the longest.
    Rows(usize),
    /// Sorted by length and filled up to about so many tokens. Rows are padded to a multiple: 1 pads nothing; with more
    /// a GPU reads several values at a time, and meets fewer shapes that it has to compile kernels for.
    Tokens { budget: usize, length_multiple: usize },
}

impl Passes {
    pub fn split(self, rows: &[(u64, &EncodedRow)]) -> Vec<MicroBatch> {
        match self {
            Self::Rows(size) => rows.chunks(size).map(|rows| MicroBatch::new(&[rows], 1)).collect(),
            Self::Tokens { budget, length_multiple } => {
                let mut sorted = rows.to_vec();
                sorted.sort_by_key(|(_, row)| row.input_ids.len()); // stable: the same split every time
                let rounded = |row: &EncodedRow| row.input_ids.len().div_ceil(length_multiple);
                fill(&sorted, budget)
                    .into_iter()
                    .map(|rows| {
                        let groups: Vec<_> = rows.chunk_by(|a, b| rounded(a.1) == rounded(b.1)).collect();
                        MicroBatch::new(&groups, length_multiple)
                    })
                    .collect()
            }
        }
    }
}

/// Cuts rows into as few runs of at most `budget` tokens as there must be, of about equal size. A longer row is a run
/// of its own.
fn fill<'a, 'b>(rows: &'a [(u64, &'b EncodedRow)], budget: usize) -> Vec<&'a [(u64, &'b EncodedRow)]> {
    let total: usize = rows.iter().map(|(_, row)| row.input_ids.len()).sum();
    let target = total.div_ceil(total.div_ceil(budget).max(1));
    let (mut runs, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (end, (_, row)) in rows.iter().enumerate() {
        let len = row.input_ids.len();
        // Over the even share is fine as long as the budget holds.
        if end > start && (tokens + len > budget || tokens >= target) {
            runs.push(&rows[start..end]);
            (start, tokens) = (end, 0);
        }
        tokens += len;
    }
    if start < rows.len() {
        runs.push(&rows[start..]);
    }
    runs
}

/// The rows of one optimizer step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Seeds what is random within the step.
    pub seed: u64,
    /// Number of the step, from 0.
    pub step: usize,
    /// Places of its rows in the training set.
    pub rows: Vec<usize>,
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
    /// How a step's rows are computed.
    pub passes: Passes,
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
        let micro_batches = plan.passes.split(&rows);
        let label_count = micro_batches.iter().map(MicroBatch::label_count).sum();
        let window = Window { seed: plan.seed, step: self.step, rows: window.to_vec(), micro_batches, label_count };
        self.order = Some((epoch, order));
        self.step += 1;
        Some(window)
    }
}

/// A validation set in passes.
pub fn evaluation_batches(rows: &[EncodedRow], passes: Passes) -> Vec<MicroBatch> {
    let rows: Vec<(u64, &EncodedRow)> = rows.iter().enumerate().map(|(i, row)| (i as u64, row)).collect();
    passes.split(&rows)
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
            passes: Passes::Rows(2),
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
        let batch = MicroBatch::new(&[&[(0, &short), (1, &long)]], 1);
        assert_eq!(batch.tokens.input_ids, [5, 0, 0, 0, 0, 1, 2, 3, 4, 5]);
        assert_eq!(batch.label_positions, [0, 1, 7, 8]);
        assert_eq!(batch.labels, [0, 0, 4, 5]);
    }

    #[test]
    fn passes_by_tokens_hold_every_row_once_within_the_budget_and_pad_nothing() {
        let rows: Vec<EncodedRow> = (0..40).map(|i| row(2 + (i * 17) % 50)).collect();
        let rows: Vec<(u64, &EncodedRow)> = rows.iter().enumerate().map(|(i, row)| (i as u64, row)).collect();
        let tokens: usize = rows.iter().map(|(_, row)| row.input_ids.len()).sum();
        for budget in [1, 30, 100, 5000] {
            let passes = Passes::Tokens { budget, length_multiple: 1 }.split(&rows);
            let mut places: Vec<u64> = passes.iter().flat_map(|pass| pass.rows.clone()).collect();
            places.sort_unstable();
            assert_eq!(places, (0..40).collect::<Vec<u64>>());
            assert_eq!(passes.iter().map(|pass| pass.tokens.tokens()).sum::<usize>(), tokens);
            assert!(passes.iter().all(|pass| pass.tokens.tokens() <= budget || pass.rows.len() == 1));
        }
        assert_eq!(Passes::Tokens { budget: 5000, length_multiple: 1 }.split(&rows).len(), 1);
        let grouped = Passes::Tokens { budget: 5000, length_multiple: 16 }.split(&rows);
        assert!(grouped[0].tokens.groups.len() <= 4);
        assert!(grouped[0].tokens.row_lengths().all(|len| len % 16 == 0));
    }
}
