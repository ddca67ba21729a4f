//! The data as burn-train's loaders: optimizer steps to train on, batches to validate on.

use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::tensor::backend::Backend;

use crate::data::batching::{BatchPlan, MicroBatch, Window, Windows};
use crate::data::encode::EncodedRow;

/// Hands out the windows of a whole run, from a step on.
#[derive(Clone)]
pub struct WindowLoader {
    pub plan: Arc<BatchPlan>,
    pub rows: Arc<Vec<EncodedRow>>,
    pub first_step: usize,
}

impl<B: Backend> DataLoader<B, Window> for WindowLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Window> + 'a> {
        let windows = self.plan.clone().windows(self.rows.clone(), self.first_step);
        Box::new(WindowIterator { windows, total: self.plan.total_steps() })
    }

    fn num_items(&self) -> usize {
        self.plan.total_steps() - self.first_step
    }

    // Batches lie on the host until the model takes them: any device will do.
    fn to_device(&self, _: &B::Device) -> Arc<dyn DataLoader<B, Window>> {
        Arc::new(self.clone())
    }

    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<B, Window>> {
        unimplemented!("slices serve training on several devices, which the strategy does not do")
    }
}

struct WindowIterator {
    windows: Windows,
    total: usize,
}

impl Iterator for WindowIterator {
    type Item = Window;

    fn next(&mut self) -> Option<Window> {
        self.windows.next()
    }
}

impl DataLoaderIterator<Window> for WindowIterator {
    fn progress(&self) -> Progress {
        Progress::new(self.windows.step(), self.total)
    }
}

/// Hands out the validation set, in the file's order.
#[derive(Clone)]
pub struct EvaluationLoader {
    pub batches: Arc<Vec<MicroBatch>>,
}

impl<B: Backend> DataLoader<B, MicroBatch> for EvaluationLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<MicroBatch> + 'a> {
        Box::new(BatchIterator { batches: self.batches.clone(), next: 0 })
    }

    fn num_items(&self) -> usize {
        self.batches.len()
    }

    fn to_device(&self, _: &B::Device) -> Arc<dyn DataLoader<B, MicroBatch>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<B, MicroBatch>> {
        Arc::new(Self { batches: Arc::new(self.batches[start..end].to_vec()) })
    }
}

struct BatchIterator {
    batches: Arc<Vec<MicroBatch>>,
    next: usize,
}

impl Iterator for BatchIterator {
    type Item = MicroBatch;

    fn next(&mut self) -> Option<MicroBatch> {
        self.next += 1;
        self.batches.get(self.next - 1).cloned()
    }
}

impl DataLoaderIterator<MicroBatch> for BatchIterator {
    fn progress(&self) -> Progress {
        Progress::new(self.next, self.batches.len())
    }
}
