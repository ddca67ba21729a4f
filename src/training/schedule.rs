//! Learning rate schedules as transformers computes them, one value per optimizer step.

use std::f64::consts::PI;

use burn::lr_scheduler::LrScheduler;
use burn::tensor::backend::Backend;

use super::arguments::SchedulerType;

/// The learning rate of each optimizer step; with warm-up, the first step's is 0.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub kind: SchedulerType,
    pub learning_rate: f64,
    pub warmup_steps: usize,
    pub total_steps: usize,
    /// The step whose rate comes next, from 0.
    pub next_step: usize,
}

impl Schedule {
    /// The rate of a step, counted from 0.
    pub fn rate(&self, step: usize) -> f64 {
        let warmup = self.warmup_steps;
        if step < warmup && self.kind != SchedulerType::Constant {
            return self.learning_rate * (step as f64 / warmup as f64);
        }
        let after_warmup = self.total_steps.saturating_sub(warmup).max(1) as f64;
        let factor = match self.kind {
            SchedulerType::Linear => self.total_steps.saturating_sub(step) as f64 / after_warmup,
            SchedulerType::Cosine => {
                let progress = step.saturating_sub(warmup) as f64 / after_warmup;
                (0.5 * (1.0 + (PI * progress).cos())).max(0.0)
            }
            SchedulerType::Constant | SchedulerType::ConstantWithWarmup => 1.0,
        };
        self.learning_rate * factor
    }
}

impl LrScheduler for Schedule {
    type Record<B: Backend> = usize;

    fn step(&mut self) -> f64 {
        self.next_step += 1;
        self.rate(self.next_step - 1)
    }

    fn to_record<B: Backend>(&self) -> usize {
        self.next_step
    }

    fn load_record<B: Backend>(self, next_step: usize) -> Self {
        Self { next_step, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: SchedulerType, warmup_steps: usize) -> Schedule {
        Schedule { kind, learning_rate: 1.0, warmup_steps, total_steps: 20, next_step: 0 }
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-12
    }

    #[test]
    fn linear_starts_at_zero_peaks_after_warmup_and_ends_one_step_above_zero() {
        let s = schedule(SchedulerType::Linear, 5);
        assert!(close(s.rate(0), 0.0) && close(s.rate(4), 0.8) && close(s.rate(5), 1.0));
        assert!(close(s.rate(19), 1.0 / 15.0) && close(s.rate(20), 0.0));
        assert!(close(schedule(SchedulerType::Linear, 0).rate(0), 1.0));
    }

    #[test]
    fn cosine_halves_in_the_middle() {
        let s = schedule(SchedulerType::Cosine, 10);
        assert!(close(s.rate(10), 1.0) && close(s.rate(15), 0.5) && close(s.rate(20), 0.0));
    }

    #[test]
    fn constant_ignores_warmup_unless_asked_for_it() {
        assert!(close(schedule(SchedulerType::Constant, 5).rate(0), 1.0));
        assert!(close(schedule(SchedulerType::ConstantWithWarmup, 5).rate(1), 0.2));
        assert!(close(schedule(SchedulerType::ConstantWithWarmup, 5).rate(19), 1.0));
    }

    #[test]
    fn warmup_longer_than_the_run_only_warms_up() {
        let s = schedule(SchedulerType::Linear, 50);
        assert!(close(s.rate(19), 19.0 / 50.0));
    }
}
