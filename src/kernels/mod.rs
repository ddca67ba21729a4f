//! Operations with a fast path on the CPU backend, forward and backward in one pass over memory each.
//!
//! Composed of burn's own operations, they run on one thread with scalar transcendental functions and keep every
//! intermediate for the backward pass. Each public function here takes the fast path on Flex, with and without
//! autodiff, and otherwise its composed twin, which the tests compare it with. On GPUs the composed ones that training
//! runs through bring a gradient of their own: a third of the kernels that autodiff would launch.

mod adamw;
mod attention;
mod composed_attention;
mod composed_op;
mod cross_entropy;
mod linear;
mod math;
mod matmul;
mod op;
mod rms_norm;
mod swiglu;

pub use adamw::{AdamWStep, BAD_GRADIENT, adamw};
pub use attention::{AttentionPass, AttentionShape, LayerCache, cached_attention, causal_attention};
pub use cross_entropy::{CrossEntropy, cross_entropy};
pub use linear::{Branch, linear, linear_backward, lora_linear, trained_linear, weight_gradient, widens_bf16};
pub use op::{among_workers, is_fast, sum};
pub use rms_norm::{rms_norm, trained_rms_norm};
pub use swiglu::swiglu;

/// The slow twins, for tests.
pub mod composed {
    pub use super::attention::composed_cached as cached_attention;
    pub use super::composed_attention::ComposedAttention;
    pub use super::composed_op::{ComposedOp, differentiated};
    pub use super::cross_entropy::composed as cross_entropy;
    pub use super::linear::composed as linear;
    pub use super::linear::{ComposedLinear, ComposedLoraLinear};
    pub use super::rms_norm::ComposedRmsNorm;
    pub use super::rms_norm::composed as rms_norm;
    pub use super::swiglu::ComposedSwiGlu;
    pub use super::swiglu::composed as swiglu;
}
