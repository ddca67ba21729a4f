//! AdamW (Loshchilov and Hutter, 2019) whose state can be read while the learner owns it, and its file.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::{Context, Result};
use burn::module::{AutodiffModule, ModuleVisitor, Param, ParamId};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::record::AdaptorRecord;
use burn::optim::{
    AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, GradientsParams, MultiGradientsParams, Optimizer,
};
use burn::tensor::{DType, Tensor, TensorData, backend::AutodiffBackend};
use safetensors::tensor::{Dtype, TensorView, serialize};

use super::arguments::TrainingArguments;
use crate::bad_input;
use crate::weights::safetensors::{SafetensorsFile, narrow};

type Inner<M, B> = OptimizerAdaptor<AdamW, M, B>;

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
        let adamw = AdamWConfig::new()
            .with_beta_1(args.adam_beta1 as f32)
            .with_beta_2(args.adam_beta2 as f32)
            .with_epsilon(args.adam_epsilon as f32)
            .with_weight_decay(args.weight_decay as f32);
        Self(Arc::new(Mutex::new(adamw.init())))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<M, B>> {
        self.0.lock().expect("no step of the optimizer panicked")
    }

    /// The moments of every parameter, named by its id, as a safetensors file. All parameters are matrices.
    pub fn to_file(&self) -> Result<Vec<u8>> {
        let mut states: Vec<(ParamId, AdamWState<B::InnerBackend, 2>)> =
            self.to_record().into_iter().map(|(id, record)| (id, record.into_state())).collect();
        states.sort_by_key(|(id, _)| *id);
        let mut tensors = Vec::new();
        for (id, state) in states {
            let AdaptiveMomentumState { time, moment_1, moment_2, .. } = state.momentum;
            for (name, moment) in [("exp_avg", moment_1), ("exp_avg_sq", moment_2)] {
                let shape = moment.dims().to_vec();
                let values = moment.into_data().convert::<f32>().into_vec::<f32>().expect("converted to f32");
                tensors.push((format!("{}.{name}", id.val()), Dtype::F32, shape, narrow(&values, Dtype::F32)));
            }
            tensors.push((format!("{}.step", id.val()), Dtype::I64, vec![1], (time as i64).to_le_bytes().to_vec()));
        }
        let views = tensors
            .iter()
            .map(|(name, dtype, shape, data)| Ok((name, TensorView::new(*dtype, shape.clone(), data)?)))
            .collect::<Result<Vec<_>>>()?;
        serialize(views, None).context("cannot serialise the optimizer's state")
    }

    /// Reads what [`to_file`](Self::to_file) gave after so many steps: the moments of every parameter of the model, no more
    /// and no less.
    pub fn load(&self, path: &Path, model: &M, steps: usize, device: &B::Device) -> Result<()> {
        let file = SafetensorsFile::open(path)?;
        let mut parameters = Matrices(Vec::new());
        model.visit(&mut parameters);
        let parameters = parameters.0;
        if file.names().count() != 3 * parameters.len() {
            bad_input!("{} does not belong to the adapter beside it: it has other parameters", path.display());
        }
        let damaged = |name: &str| format!("{}: {name} is missing or damaged", path.display());
        let mut record = <Self as Optimizer<M, B>>::Record::default();
        for (id, shape) in parameters {
            let id = id.val();
            let moment = |name: &str| -> Result<Tensor<B::InnerBackend, 2>> {
                let name = format!("{id}.{name}");
                match file.get(&name) {
                    Some(t) if t.dtype == Dtype::F32 && t.shape == shape.as_slice() => {
                        Ok(Tensor::from_data(TensorData::new(t.to_f32(), shape), (device, DType::F32)))
                    }
                    _ => bad_input!("{}", damaged(&name)),
                }
            };
            let name = format!("{id}.step");
            let time = match file.get(&name).map(|t| <[u8; 8]>::try_from(t.bytes)) {
                Some(Ok(bytes)) if i64::from_le_bytes(bytes) == steps as i64 => steps,
                _ => bad_input!("{}", damaged(&name)),
            };
            let mut momentum = AdaptiveMomentumState::new(time, moment("exp_avg")?, moment("exp_avg_sq")?);
            momentum.max_moment_2 = None;
            record.insert(ParamId::from(id), AdaptorRecord::from_state(AdamWState::new(momentum)));
        }
        self.clone().load_record(record);
        Ok(())
    }
}

/// Lists a model's parameters, all of them matrices.
struct Matrices(Vec<(ParamId, [usize; 2])>);

impl<B: AutodiffBackend> ModuleVisitor<B> for Matrices {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let shape: [usize; 2] = param.dims().as_slice().try_into().expect("adapters are matrices");
        self.0.push((param.id, shape));
    }
}
