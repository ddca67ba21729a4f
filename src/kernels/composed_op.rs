//! Operations made of burn's own, with a gradient of their own: on a GPU autodiff's way back through them takes several
//! times as many kernels, and keeps what can be computed again.

use std::any::TypeId;
use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::tensor::backend::{Backend, BackendTypes};
use burn::tensor::{Int, Tensor, TensorPrimitive};

use super::op::{record, same_type};

/// An operation on matrices `[tokens, features]`, with its gradient. What isn't differentiated lies in `self`, as
/// tensors of the caller's backend; `constant` makes them the operation's.
pub trait ComposedOp<const N: usize>: Clone + Debug + Send + 'static {
    /// Whether the gradient depends on the inputs' values: if not, they are let go, and `backward` gets other tensors.
    const KEEPS_INPUTS: bool = true;

    fn forward<B: Backend>(&self, inputs: [Tensor<B, 2>; N]) -> Tensor<B, 2>;
    /// The gradient of each input, from the gradient of the output.
    fn backward<B: Backend>(&self, inputs: [Tensor<B, 2>; N], gradient: Tensor<B, 2>) -> [Tensor<B, 2>; N];
}

/// Runs an operation. On GPUs under autodiff its own gradient is taken, elsewhere the backend's.
pub fn apply<B: Backend, O: ComposedOp<N>, const N: usize>(op: O, inputs: [Tensor<B, 2>; N]) -> Tensor<B, 2> {
    #[cfg(feature = "cuda")]
    if let Some(output) = apply_on::<burn::backend::Cuda, B, O, N>(&op, &inputs) {
        return output;
    }
    #[cfg(feature = "vulkan")]
    if let Some(output) = apply_on::<burn::backend::Vulkan, B, O, N>(&op, &inputs) {
        return output;
    }
    op.forward(inputs)
}

/// `None` if `B` is not `Autodiff<I>`.
#[cfg_attr(not(any(feature = "cuda", feature = "vulkan")), expect(dead_code))]
fn apply_on<I: Backend, B: Backend, O: ComposedOp<N>, const N: usize>(
    op: &O,
    inputs: &[Tensor<B, 2>; N],
) -> Option<Tensor<B, 2>> {
    if TypeId::of::<B>() != TypeId::of::<Autodiff<I>>() {
        return None;
    }
    let tracked = |input: Tensor<B, 2>| same_type::<_, Tensor<Autodiff<I>, 2>>(input).expect("the types are the same");
    same_type(differentiated(op.clone(), inputs.clone().map(tracked)))
}

/// Runs an operation with a node of its own in autodiff's graph.
pub fn differentiated<I: Backend, O: ComposedOp<N>, const N: usize>(
    op: O,
    inputs: [Tensor<Autodiff<I>, 2>; N],
) -> Tensor<Autodiff<I>, 2> {
    let inputs = inputs.map(|input| input.into_primitive().tensor());
    let values = inputs.each_ref().map(|input| tensor::<I>(input.primitive.clone()));
    let output = op.forward(values.clone());
    let values = if O::KEEPS_INPUTS { values } else { values.map(|_| output.clone()) };
    let output = record(Node::<O, N>(PhantomData), inputs, (op, values), output.into_primitive().tensor());
    Tensor::from_primitive(TensorPrimitive::Float(output))
}

fn tensor<I: Backend>(primitive: I::FloatTensorPrimitive) -> Tensor<I, 2> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// An operation's node in autodiff's graph.
#[derive(Debug)]
struct Node<O, const N: usize>(PhantomData<O>);

impl<I: Backend, O: ComposedOp<N>, const N: usize> Backward<I, N> for Node<O, N> {
    type State = (O, [Tensor<I, 2>; N]);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (op, inputs) = ops.state;
        let gradient = tensor::<I>(gradients.consume::<I>(&ops.node));
        let input_gradients = op.backward(inputs, gradient);
        for (parent, gradient) in ops.parents.into_iter().zip(input_gradients) {
            if let Some(node) = parent {
                gradients.register::<I>(node.id, gradient.into_primitive().tensor());
            }
        }
    }
}

/// A tensor of `C`, which is not differentiated, as one of `B`, which is the same backend or the one under its autodiff.
pub fn constant<C: Backend, B: Backend, const D: usize>(tensor: &Tensor<C, D>) -> Tensor<B, D> {
    let primitive = tensor.clone().into_primitive().tensor();
    let primitive = if TypeId::of::<C>() == TypeId::of::<B>() {
        same_type::<_, B::FloatTensorPrimitive>(primitive)
    } else {
        same_type::<_, <Autodiff<B> as BackendTypes>::FloatTensorPrimitive>(primitive).map(|tracked| tracked.primitive)
    };
    Tensor::from_primitive(TensorPrimitive::Float(primitive.expect("an operation runs on its caller's backend")))
}

/// As [`constant`], of integers.
pub fn int_constant<C: Backend, B: Backend, const D: usize>(tensor: &Tensor<C, D, Int>) -> Tensor<B, D, Int> {
    let primitive = same_type::<_, B::IntTensorPrimitive>(tensor.clone().into_primitive());
    Tensor::from_primitive(primitive.expect("an operation runs on its caller's backend"))
}
