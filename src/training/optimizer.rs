//! AdamW (Loshchilov and Hutter, 2019) whose state can be read while the learner owns it, and its file.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, Result};
use burn::module::{AutodiffModule, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::record::AdaptorRecord;
use burn::optim::{
    AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, GradientsParams, MultiGradientsParams, Optimizer,
    SimpleOptimizer,
};
use burn::tensor::{DType, Tensor, TensorData, backend::AutodiffBackend, backend::Backend};
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::arguments::TrainingArguments;
use crate::bad_input;
use crate::kernels::{AdamWStep, BAD_GRADIENT, adamw};
use crate::weights::safetensors::{SafetensorsFile, narrow};

type Inner<M, B> = OptimizerAdaptor<MatrixDecay, M, B>;

/// AdamW whose weight decay leaves vectors (biases, norms) alone, as transformers' Trainer does, and which changes nothing
/// where the gradient is [`BAD_GRADIENT`]: no bad number gets into a weight, and the device need not be asked first.
#[derive(Clone)]
pub struct MatrixDecay {
    /// Learning rate and time are those of the step.
    step: AdamWStep,
    matrices: AdamW,
    vectors: AdamW,
}

impl MatrixDecay {
    fn new(args: &TrainingArguments) -> Self {
        let step = AdamWStep {
            learning_rate: 0.0,
            beta_1: args.adam_beta1 as f32,
            beta_2: args.adam_beta2 as f32,
            epsilon: args.adam_epsilon as f32,
            weight_decay: args.weight_decay as f32,
            time: 0,
        };
        let adamw = AdamWConfig::new().with_beta_1(step.beta_1).with_beta_2(step.beta_2).with_epsilon(step.epsilon);
        Self {
            step,
            matrices: adamw.clone().with_weight_decay(step.weight_decay).build(),
            vectors: adamw.with_weight_decay(0.0).build(),
        }
    }

    /// A step composed of burn's operations.
    fn composed_step<B: Backend, const D: usize>(
        &self,
        learning_rate: f64,
        gradient: Tensor<B, D>,
        [tensor, first, second]: [Tensor<B, D>; 3],
        time: usize,
    ) -> [Tensor<B, D>; 3] {
        let adamw = if D == 1 { &self.vectors } else { &self.matrices };
        let bad = gradient.clone().greater_equal_elem(BAD_GRADIENT);
        let before = AdamWState::new(momentum(time - 1, first.clone(), second.clone()));
        let (new, state) = adamw.step(learning_rate, tensor.clone(), gradient, Some(before));
        let AdaptiveMomentumState { moment_1, moment_2, .. } = state.expect("a step leaves a state").momentum;
        [new.mask_where(bad.clone(), tensor), moment_1.mask_where(bad.clone(), first), moment_2.mask_where(bad, second)]
    }
}

fn momentum<B: Backend, const D: usize>(
    time: usize,
    first: Tensor<B, D>,
    second: Tensor<B, D>,
) -> AdaptiveMomentumState<B, D> {
    let mut momentum = AdaptiveMomentumState::new(time, first, second);
    momentum.max_moment_2 = None;
    momentum
}

impl<B: Backend> SimpleOptimizer<B> for MatrixDecay {
    type State<const D: usize> = AdamWState<B, D>;

    fn step<const D: usize>(
        &self,
        learning_rate: f64,
        tensor: Tensor<B, D>,
        gradient: Tensor<B, D>,
        state: Option<AdamWState<B, D>>,
    ) -> (Tensor<B, D>, Option<AdamWState<B, D>>) {
        let (time, first, second) = match state.map(|state| state.momentum) {
            Some(momentum) => (momentum.time + 1, momentum.moment_1, momentum.moment_2),
            None => (1, tensor.zeros_like(), tensor.zeros_like()),
        };
        let weight_decay = if D == 1 { 0.0 } else { self.step.weight_decay };
        let step = AdamWStep { learning_rate, time, weight_decay, ..self.step };
        let [tensor, first, second] = adamw(step, &gradient, [tensor, first, second])
            .unwrap_or_else(|before| self.composed_step(learning_rate, gradient, before, time));
        (tensor, Some(AdamWState::new(momentum(time, first, second))))
    }

    fn to_device<const D: usize>(state: AdamWState<B, D>, device: &B::Device) -> AdamWState<B, D> {
        <AdamW as SimpleOptimizer<B>>::to_device(state, device)
    }
}

/// A handle on one optimizer. burn-train's learner keeps its optimizer private; a clone of this one reads the state
/// for checkpoints.
pub struct SharedAdamW<M, B>(Arc<Mutex<Inner<M, B>>>)
where
    M: AutodiffModule<B>,
    B: AutodiffBackend;

impl<M: AutodiffModule<B>, B: AutodiffBackend> Clone for SharedAdamW<M, B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> Optimizer<M, B> for SharedAdamW<M, B> {
    type Record = <Inner<M, B> as Optimizer<M, B>>::Record;

    fn step(&mut self, lr: f64, module: M, gradients: GradientsParams) -> M {
        self.lock().step(lr, module, gradients)
    }

    fn step_multi(&mut self, lr: f64, module: M, gradients: MultiGradientsParams) -> M {
        self.lock().step_multi(lr, module, gradients)
    }

    fn to_record(&self) -> Self::Record {
        self.lock().to_record()
    }

    fn load_record(self, record: Self::Record) -> Self {
        {
            let mut inner = self.lock();
            *inner = inner.clone().load_record(record);
        }
        self
    }
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> SharedAdamW<M, B> {
    pub fn new(args: &TrainingArguments) -> Self {
        Self(Arc::new(Mutex::new(OptimizerAdaptor::from(MatrixDecay::new(args)))))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<M, B>> {
        self.0.lock().expect("no step of the optimizer panicked")
    }

    /// The moments of every parameter of the model, named by its id, as a safetensors file.
    pub fn to_file(&self, model: &M) -> Result<Vec<u8>> {
        let mut visitor = Moments::<M, B> { records: self.to_record(), tensors: Vec::new() };
        model.visit(&mut visitor);
        let views = visitor
            .tensors
            .iter()
            .map(|(name, dtype, shape, data)| Ok((name, TensorView::new(*dtype, shape.clone(), data)?)))
            .collect::<Result<Vec<_>>>()?;
        serialize(views, None).context("cannot serialise the optimizer's state")
    }

    /// Reads what [`to_file`](Self::to_file) gave after so many steps: the moments of every parameter of the model, no more
    /// and no less.
    pub fn load(&self, path: &Path, model: &M, steps: usize, device: &B::Device) -> Result<()> {
        let file = SafetensorsFile::open(path)?;
        let mut loading =
            Loading::<M, B> { file: &file, steps, device, records: Default::default(), damaged: Vec::new() };
        model.visit(&mut loading);
        let Loading { records, damaged, .. } = loading;
        if !damaged.is_empty() {
            bad_input!("{}: {} is missing or damaged", path.display(), damaged.join(", "));
        }
        if file.names().count() != 3 * records.len() {
            bad_input!("{} does not belong to the weights beside it: it has other parameters", path.display());
        }
        self.clone().load_record(records);
        Ok(())
    }
}

/// Every parameter's state, by its id.
type Records<M, B> = <Inner<M, B> as Optimizer<M, B>>::Record;

/// Names of a parameter's state in the file.
fn names(id: ParamId) -> [String; 3] {
    ["exp_avg", "exp_avg_sq", "step"].map(|what| format!("{}.{what}", id.val()))
}

/// Turns a model's states into a file's tensors.
struct Moments<M: AutodiffModule<B>, B: AutodiffBackend> {
    records: Records<M, B>,
    tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>,
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> ModuleVisitor<B> for Moments<M, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(record) = self.records.remove(&param.id) else {
            return; // no step was made yet
        };
        let state: AdamWState<B::InnerBackend, D> = record.into_state();
        let AdaptiveMomentumState { time, moment_1, moment_2, .. } = state.momentum;
        let [first, second, step] = names(param.id);
        for (name, moment) in [(first, moment_1), (second, moment_2)] {
            let shape = moment.dims().to_vec();
            let values = moment.into_data().convert::<f32>().into_vec::<f32>().expect("converted to f32");
            self.tensors.push((name, Dtype::F32, shape, narrow(&values, Dtype::F32)));
        }
        self.tensors.push((step, Dtype::I64, vec![1], (time as i64).to_le_bytes().to_vec()));
    }
}

/// Turns a file's tensors into a model's states.
struct Loading<'a, M: AutodiffModule<B>, B: AutodiffBackend> {
    file: &'a SafetensorsFile,
    /// What every parameter's own count must say.
    steps: usize,
    device: &'a B::Device,
    records: Records<M, B>,
    /// Names of what is missing or not as it should be.
    damaged: Vec<String>,
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> Loading<'_, M, B> {
    fn moment<const D: usize>(&self, name: &str, shape: [usize; D]) -> Option<Tensor<B::InnerBackend, D>> {
        let tensor = self.file.get(name).filter(|t| t.dtype == Dtype::F32 && t.shape == shape.as_slice())?;
        Some(Tensor::from_data(TensorData::new(tensor.to_f32(), shape), (self.device, DType::F32)))
    }

    fn step(&self, name: &str) -> Option<usize> {
        let bytes = <[u8; 8]>::try_from(self.file.get(name)?.bytes).ok()?;
        (i64::from_le_bytes(bytes) == self.steps as i64).then_some(self.steps)
    }
}

impl<M: AutodiffModule<B>, B: AutodiffBackend> ModuleVisitor<B> for Loading<'_, M, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let [first, second, step] = names(param.id);
        let shape = param.dims();
        match (self.moment(&first, shape), self.moment(&second, shape), self.step(&step)) {
            (Some(moment_1), Some(moment_2), Some(time)) => {
                let state = AdamWState::new(momentum(time, moment_1, moment_2));
                self.records.insert(param.id, AdaptorRecord::from_state(state));
            }
            (None, _, _) => self.damaged.push(first),
            (_, None, _) => self.damaged.push(second),
            (_, _, None) => self.damaged.push(step),
        }
    }
}
