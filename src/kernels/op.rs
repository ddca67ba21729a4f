//! From a generic tensor to Flex's memory and back, with or without autodiff.

use std::any::Any;
use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Flex};
use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive, backend::Backend, backend::BackendTypes};
use burn_flex::FlexTensor;
use half::bf16;

use super::matmul::{View, Weights};

/// An operation on matrices `[tokens, features]` in f32, with its gradient. What isn't differentiated (frozen weights,
/// shapes) lies in `self`.
pub trait FlexOp<const N: usize>: Clone + Debug + Send + 'static {
    /// Whether the gradient depends on the inputs' values: if not, they are let go, and `backward` gets empty matrices.
    const KEEPS_INPUTS: bool = true;

    fn forward(&self, inputs: [&Matrix; N]) -> Matrix;
    /// The gradient of each input, from the gradient of the output.
    fn backward(&self, inputs: [&Matrix; N], gradient: &Matrix) -> [Matrix; N];
}

/// A contiguous f32 matrix in Flex's memory.
#[derive(Debug, Clone)]
pub struct Matrix {
    tensor: FlexTensor,
    pub columns: usize,
}

impl Matrix {
    fn new(tensor: FlexTensor) -> Self {
        let shape = tensor.layout().shape().clone();
        let tensor = if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() };
        Self { tensor, columns: shape[1] }
    }

    pub fn from_vec(values: Vec<f32>, columns: usize) -> Self {
        let rows = values.len() / columns;
        Self { tensor: FlexTensor::from_data(TensorData::new(values, [rows, columns])), columns }
    }

    pub fn values(&self) -> &[f32] {
        self.tensor.as_slice().expect("a matrix is contiguous")
    }

    pub fn view(&self) -> View<'_> {
        View::new(self.values(), self.columns)
    }

    pub fn into_vec(self) -> Vec<f32> {
        self.tensor.into_data().into_vec().expect("a matrix holds f32")
    }
}

/// A matrix that isn't differentiated, f32 or bf16, in Flex's memory.
#[derive(Debug, Clone)]
pub struct Frozen {
    tensor: FlexTensor,
    pub rows: usize,
    pub columns: usize,
}

impl Frozen {
    /// `None` off the fast path.
    pub fn new<B: Backend>(tensor: &Tensor<B, 2>) -> Option<Self> {
        let [rows, columns] = tensor.dims();
        let is_read = matches!(tensor.dtype(), DType::F32 | DType::BF16);
        Some(Self { tensor: if is_read { flex_tensor(tensor)? } else { return None }, rows, columns })
    }

    pub fn values(&self) -> Weights<'_> {
        match self.tensor.dtype() {
            DType::BF16 => Weights::Bf16(self.tensor.as_slice::<bf16>().expect("a matrix is contiguous")),
            _ => Weights::F32(self.tensor.as_slice().expect("a matrix is contiguous")),
        }
    }
}

/// Moves a value to another type that is the same type.
pub fn same_type<T: 'static, U: 'static>(value: T) -> Option<U> {
    let mut slot = Some(value);
    (&mut slot as &mut dyn Any).downcast_mut::<Option<U>>().and_then(Option::take)
}

fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> B::FloatTensorPrimitive {
    tensor.into_primitive().tensor()
}

/// A float tensor of Flex under autodiff.
type Tracked = TrackedOn<Flex>;

fn is_autodiff_flex<B: Backend>() -> bool {
    std::any::TypeId::of::<B>() == std::any::TypeId::of::<Autodiff<Flex>>()
}

fn is_flex<B: Backend>() -> bool {
    std::any::TypeId::of::<B>() == std::any::TypeId::of::<Flex>()
}

/// Whether this is a backend with a fast path.
pub fn is_fast<B: Backend>() -> bool {
    is_flex::<B>() || is_autodiff_flex::<B>()
}

/// Runs many short operations on one of the threads that share their work, on the CPU: a thread from elsewhere would have
/// to be put to sleep and woken for each (an eighth of the time of decoding).
pub fn among_workers<B: Backend, R: Send>(operations: impl FnOnce() -> R + Send) -> R {
    if is_fast::<B>() { rayon::scope(|_| operations()) } else { operations() }
}

/// The values of a tensor that isn't differentiated, where the backend is Flex and they are f32.
pub fn flex_values<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<FlexTensor> {
    if tensor.dtype() == DType::F32 { flex_tensor(tensor) } else { None }
}

/// Changes tensors' values in place, where the backend is Flex without autodiff and they are f32; gives the tensors back
/// elsewhere.
pub fn update<B: Backend, const D: usize, const N: usize>(
    tensors: [Tensor<B, D>; N],
    change: impl FnOnce([&mut [f32]; N]),
) -> Result<[Tensor<B, D>; N], [Tensor<B, D>; N]> {
    if !is_flex::<B>() || tensors.iter().any(|tensor| tensor.dtype() != DType::F32) {
        return Err(tensors);
    }
    let mut values = tensors.map(|tensor| same_type::<_, FlexTensor>(primitive(tensor)).expect("the backend is Flex"));
    change(values.each_mut().map(|values| values.storage_mut()));
    Ok(values.map(|values| {
        let primitive = same_type::<_, B::FloatTensorPrimitive>(values).expect("the backend is Flex");
        Tensor::from_primitive(TensorPrimitive::Float(primitive))
    }))
}

/// The sum of all elements, `[1]`, in the same order every time: on a GPU burn's own adds parts as they happen to come.
pub fn sum<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, 1> {
    if is_fast::<B>() {
        return x.sum();
    }
    let columns = x.dims()[D - 1] as i32;
    x.reshape([-1, columns]).sum_dim(1).sum_dim(0).reshape([1])
}

fn flex_tensor<B: Backend, const D: usize>(tensor: &Tensor<B, D>) -> Option<FlexTensor> {
    let tensor = if is_flex::<B>() {
        same_type::<_, FlexTensor>(primitive(tensor.clone()))?
    } else if is_autodiff_flex::<B>() {
        same_type::<_, Tracked>(primitive(tensor.clone()))?.primitive
    } else {
        return None;
    };
    Some(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() })
}

/// A matrix that isn't differentiated; `None` off the fast path.
pub fn flex_matrix<B: Backend>(tensor: &Tensor<B, 2>) -> Option<Matrix> {
    flex_values(tensor).map(Matrix::new)
}

/// Back to a generic tensor, on a backend for which [`flex_matrix`] gave one without autodiff.
pub fn from_matrix<B: Backend>(matrix: Matrix) -> Tensor<B, 2> {
    let primitive = same_type::<_, B::FloatTensorPrimitive>(matrix.tensor).expect("the backend is Flex");
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// Runs an operation on Flex, with a node in the graph under autodiff; gives the inputs back on other backends and
/// types.
pub fn run<B: Backend, O: FlexOp<N>, const N: usize>(
    op: O,
    inputs: [Tensor<B, 2>; N],
) -> Result<Tensor<B, 2>, [Tensor<B, 2>; N]> {
    if inputs.iter().any(|input| input.dtype() != DType::F32) || !is_fast::<B>() {
        return Err(inputs);
    }
    if is_flex::<B>() {
        let inputs = inputs.map(|input| Matrix::new(same_type(primitive(input)).expect("the backend is Flex")));
        return Ok(from_matrix(op.forward(inputs.each_ref())));
    }
    let inputs = inputs.map(|input| same_type::<_, Tracked>(primitive(input)).expect("the backend is Autodiff<Flex>"));
    let matrices = inputs.each_ref().map(|input| Matrix::new(input.primitive.clone()));
    let output = op.forward(matrices.each_ref()).tensor;
    let matrices = if O::KEEPS_INPUTS { matrices } else { matrices.map(|m| Matrix::from_vec(Vec::new(), m.columns)) };
    let output = record(Node::<O, N>(std::marker::PhantomData), inputs, (op, matrices), output);
    let primitive = same_type::<_, B::FloatTensorPrimitive>(output).expect("the backend is Autodiff<Flex>");
    Ok(Tensor::from_primitive(TensorPrimitive::Float(primitive)))
}

/// A tensor under autodiff.
type TrackedOn<I> = <Autodiff<I> as BackendTypes>::FloatTensorPrimitive;

/// Registers an operation's node in autodiff's graph, if any input is in it, and gives its output.
pub fn record<I: Backend, O: Backward<I, N>, const N: usize>(
    node: O,
    inputs: [TrackedOn<I>; N],
    state: O::State,
    output: I::FloatTensorPrimitive,
) -> TrackedOn<I> {
    let nodes = inputs.each_ref().map(|input| input.node.clone());
    let output = match node.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state, output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    // Not before the new node is registered: autodiff frees nodes that nothing refers to, from any thread.
    drop(inputs);
    output
}

/// An operation's node in autodiff's graph.
#[derive(Debug)]
struct Node<O, const N: usize>(std::marker::PhantomData<O>);

impl<O: FlexOp<N>, const N: usize> Backward<Flex, N> for Node<O, N> {
    type State = (O, [Matrix; N]);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (op, inputs) = ops.state;
        let gradient = Matrix::new(gradients.consume::<Flex>(&ops.node));
        let input_gradients = op.backward(inputs.each_ref(), &gradient);
        for (parent, gradient) in ops.parents.into_iter().zip(input_gradients) {
            if let Some(node) = parent {
                gradients.register::<Flex>(node.id, gradient.tensor);
            }
        }
    }
}
