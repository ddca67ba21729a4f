//! The figures of a run as burn-train metrics: logged to `logging_dir` and drawn by the renderer.

use std::sync::Arc;

use burn::tensor::{Tensor, backend::Backend};
use burn::train::ItemLazy;
use burn::train::metric::{
    Adaptor, Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};

use super::evaluate::EvalMetrics;

/// One log entry of training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainFigures {
    /// Mean over the optimizer steps since the last entry.
    pub loss: f64,
    /// Global norm before clipping, at the entry's step.
    pub grad_norm: f64,
    pub learning_rate: f64,
    pub epoch: f64,
    /// Over the whole run so far, without its first steps.
    pub label_tokens_per_s: f64,
}

/// What a training step hands to burn-train: the loss on the device, or a finished log entry.
pub enum TrainItem<B: Backend> {
    /// The step's mean loss per label, `[1]`.
    Step(Tensor<B, 1>),
    Entry(TrainFigures),
}

impl<B: Backend> ItemLazy for TrainItem<B> {
    type ItemSync = TrainFigures;

    fn sync(self) -> TrainFigures {
        match self {
            Self::Entry(figures) => figures,
            Self::Step(loss) => TrainFigures {
                loss: loss.into_scalar_f64(),
                grad_norm: f64::NAN,
                learning_rate: f64::NAN,
                epoch: f64::NAN,
                label_tokens_per_s: f64::NAN,
            },
        }
    }
}

/// Reads a one-element tensor of any float type.
pub trait IntoScalarF64 {
    fn into_scalar_f64(self) -> f64;
}

impl<B: Backend> IntoScalarF64 for Tensor<B, 1> {
    fn into_scalar_f64(self) -> f64 {
        self.into_data().iter::<f64>().next().unwrap_or(f64::NAN)
    }
}

impl Adaptor<TrainFigures> for TrainFigures {
    fn adapt(&self) -> TrainFigures {
        *self
    }
}

impl ItemLazy for EvalMetrics {
    type ItemSync = EvalMetrics;

    fn sync(self) -> EvalMetrics {
        self
    }
}

impl Adaptor<EvalMetrics> for EvalMetrics {
    fn adapt(&self) -> EvalMetrics {
        *self
    }
}

/// Names of the metrics, which a renderer finds them by.
pub mod name {
    pub const LOSS: &str = "Loss";
    pub const GRAD_NORM: &str = "Grad Norm";
    pub const LEARNING_RATE: &str = "Learning Rate";
    pub const EPOCH: &str = "Epoch";
    pub const LABEL_TOKENS_PER_S: &str = "Label Tokens per Second";
    pub const TOKEN_ACCURACY: &str = "Token Accuracy";
}

/// One figure of an entry. Values are shown as they are: an entry is a mean already.
#[derive(Clone)]
pub struct Figure<F> {
    name: MetricName,
    attributes: NumericAttributes,
    select: fn(&F) -> f64,
    value: f64,
}

impl<F> Figure<F> {
    pub fn new(name: &str, higher_is_better: bool, select: fn(&F) -> f64) -> Self {
        let attributes = NumericAttributes { unit: None, higher_is_better };
        Self { name: Arc::new(name.to_string()), attributes, select, value: f64::NAN }
    }
}

impl<F: Clone + Send + Sync> Metric for Figure<F> {
    type Input = F;

    fn name(&self) -> MetricName {
        self.name.clone()
    }

    fn attributes(&self) -> MetricAttributes {
        self.attributes.clone().into()
    }

    fn update(&mut self, figures: &F, _: &MetricMetadata) -> SerializedEntry {
        self.value = (self.select)(figures);
        SerializedEntry::new(format!("{:.6}", self.value), self.value.to_string())
    }

    fn clear(&mut self) {}
}

impl<F> Numeric for Figure<F> {
    fn value(&self) -> NumericEntry {
        NumericEntry::Value(self.value)
    }

    fn running_value(&self) -> NumericEntry {
        self.value()
    }
}
