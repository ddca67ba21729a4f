//! The golden gates: what transformers, peft and TRL computed on a tiny Qwen2, computed here on each CPU backend, and with
//! `--features cuda` or `vulkan` on a GPU; for Vulkan a CPU can play one (Mesa's lavapipe).
//!
//! `fixtures/golden` was made by torch 2.15.0, transformers 5.23.0, peft 0.21.2 and trl 1.16.0.

mod data;
mod fixtures;
mod full;
mod generation;
mod kernels;
mod model;
mod training;

use burn::backend::{Autodiff, Flex};
use burn_ndarray::NdArray;

/// The checks as tests of a GPU's backend, where the feature is on.
macro_rules! on_gpu {
    ($feature:literal, $name:ident, $backend:ty, $($module:ident::$check:ident),+) => {
        #[cfg(feature = $feature)]
        mod $name {
            $(#[test] fn $check() {
                let _turn = super::turn();
                super::$module::$check::<$backend>();
            })+
        }
    };
}

/// Runs each generic check on each backend, as a test named `backend::check`.
macro_rules! on_each_backend {
    ($($module:ident::$check:ident),+ $(,)?) => {
        mod ndarray {
            $(#[test] fn $check() { super::$module::$check::<super::Autodiff<super::NdArray>>(); })+
        }
        mod flex {
            $(#[test] fn $check() { super::$module::$check::<super::Autodiff<super::Flex>>(); })+
        }
        on_gpu!("cuda", cuda, super::Autodiff<burn::backend::Cuda>, $($module::$check),+);
        on_gpu!("vulkan", vulkan, super::Autodiff<burn::backend::Vulkan>, $($module::$check),+);
    };
}

/// One check at a time on the GPU, as in the program, where one thread uses it: while autotune measures the kernels for a
/// shape, other threads get the first kernel for that shape and later the fastest, whose sums may be rounded differently.
#[cfg(any(feature = "cuda", feature = "vulkan"))]
fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

on_each_backend!(
    model::logits_and_hidden_states_equal_transformers,
    model::padding_on_the_right_changes_nothing,
    model::rows_of_other_lengths_in_one_pass_do_not_see_each_other,
    model::positions_far_from_the_start_equal_transformers,
    model::an_adapter_equals_peft,
    model::an_untied_sharded_model_with_its_own_head_dim_loads,
    model::chunked_cross_entropy_equals_the_plain_one,
    training::gradients_of_the_first_step_equal_peft,
    training::twenty_clipped_steps_follow_sft_trainer,
    training::twenty_unclipped_steps_follow_sft_trainer,
    training::ragged_epochs_follow_sft_trainer,
    training::the_shuffled_run_follows_sft_trainer,
    training::loss_and_gradients_do_not_depend_on_the_micro_batch_or_padding,
    training::passes_of_as_many_tokens_as_features_are_right,
    training::layers_computed_again_give_the_same_gradients,
    training::evaluation_does_not_depend_on_the_batch_size,
    training::a_resumed_run_equals_an_uninterrupted_one,
    training::a_step_without_finite_gradients_is_not_made,
    training::early_stopping_keeps_the_best_adapter,
    full::twenty_steps_on_all_parameters_follow_sft_trainer,
    full::gradients_of_all_parameters_survive_computing_layers_again,
    generation::greedy_tokens_equal_transformers,
    generation::a_merged_model_equals_base_and_adapter,
    generation::the_cache_changes_no_logits,
    kernels::every_backend_computes_the_same,
);
