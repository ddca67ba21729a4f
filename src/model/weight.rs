//! A weight that training leaves as it is, or changes.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Tensor, backend::Backend};

/// A weight of the base model.
#[derive(Module, Debug)]
pub enum Weight<B: Backend, const D: usize> {
    /// A plain tensor: autodiff never tracks it, the optimizer never sees it, no record holds it.
    Frozen(Tensor<B, D>),
    /// A parameter, in f32, for full fine-tuning.
    Trained(Param<Tensor<B, D>>),
}

impl<B: Backend, const D: usize> Weight<B, D> {
    /// A trained weight. Its id is given, so that optimizer state finds it again in another process.
    pub fn trained(tensor: Tensor<B, D>, id: u64) -> Self {
        Self::Trained(Param::initialized(ParamId::from(id), tensor.require_grad()))
    }

    pub fn val(&self) -> Tensor<B, D> {
        match self {
            Self::Frozen(tensor) => tensor.clone(),
            Self::Trained(param) => param.val(),
        }
    }

    /// The id of the parameter; a frozen weight has none.
    pub fn id(&self) -> Option<ParamId> {
        match self {
            Self::Frozen(_) => None,
            Self::Trained(param) => Some(param.id),
        }
    }

    pub fn is_trained(&self) -> bool {
        self.id().is_some()
    }

    pub fn dims(&self) -> [usize; D] {
        self.val().dims()
    }

    pub fn device(&self) -> B::Device {
        self.val().device()
    }
}
