//! Early stopping as transformers' `EarlyStoppingCallback` decides it.

use super::arguments::BestMetric;

/// Stops after `patience` evaluations in a row, none of which beat the best so far by more than `threshold`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EarlyStopping {
    pub patience: usize,
    pub threshold: f64,
}

impl EarlyStopping {
    /// The new count of evaluations without improvement. `best` is the best value before this evaluation.
    pub fn count(&self, metric: BestMetric, value: f64, best: Option<f64>, count: usize) -> usize {
        let improved = best.is_none_or(|b| metric.is_better(value, b) && (value - b).abs() > self.threshold);
        if improved { 0 } else { count + 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_improvements_and_setbacks_count_and_a_real_one_resets() {
        let stop = EarlyStopping { patience: 3, threshold: 0.1 };
        let (mut best, mut count, mut counts) = (None, 0, Vec::new());
        for value in [2.0, 1.95, 1.5, 1.6, 1.45, 1.55] {
            count = stop.count(BestMetric::Loss, value, best, count);
            best = Some(best.map_or(value, |b: f64| b.min(value)));
            counts.push(count);
        }
        assert_eq!(counts, [0, 1, 0, 1, 2, 3]);
    }

    #[test]
    fn for_accuracy_more_is_better() {
        let stop = EarlyStopping { patience: 1, threshold: 0.0 };
        assert_eq!(stop.count(BestMetric::TokenAccuracy, 0.5, Some(0.4), 2), 0);
        assert_eq!(stop.count(BestMetric::TokenAccuracy, 0.4, Some(0.4), 2), 3);
    }
}
