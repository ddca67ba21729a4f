//! The fast CPU kernels against their composed twins, values and gradients.

use burn::backend::{Autodiff, Flex};
use burn::tensor::{Int, Tensor, TensorData};
use qwen_lora::kernels::{self, AttentionShape, composed};
use qwen_lora::model::Group;
use qwen_lora::model::attention::causal_mask;
use qwen_lora::model::rotary::RotaryEmbedding;

use crate::fixtures::{max_difference, values};

type B = Autodiff<Flex>;

/// Numbers without a pattern, in [-scale, scale).
fn numbers(count: usize, scale: f32, seed: usize) -> Vec<f32> {
    let number = |i: usize| (((i + 1) * 2_654_435_761 + seed * 40_503) % 100_003) as f32 / 50_001.5 - 1.0;
    (0..count).map(|i| scale * number(i)).collect()
}

fn matrix(rows: usize, columns: usize, scale: f32, seed: usize) -> Tensor<B, 2> {
    let data = TensorData::new(numbers(rows * columns, scale, seed), [rows, columns]);
    Tensor::<B, 2>::from_data(data, &Default::default()).require_grad()
}

/// The output of `f` and the gradients of its inputs for a fixed gradient of the output.
fn output_and_gradients<const N: usize>(
    inputs: &[Tensor<B, 2>; N],
    f: impl Fn([Tensor<B, 2>; N]) -> Tensor<B, 2>,
) -> Vec<Vec<f32>> {
    let output = f(inputs.clone());
    let [rows, columns] = output.dims();
    let weights = Tensor::<B, 2>::from_data(
        TensorData::new(numbers(rows * columns, 1.0, 99), [rows, columns]),
        &Default::default(),
    );
    let gradients = (output.clone() * weights).sum().backward();
    let mut all = vec![values(output)];
    all.extend(inputs.iter().map(|input| values(input.grad(&gradients).expect("every input has a gradient"))));
    all
}

#[track_caller]
fn assert_twins<const N: usize>(
    inputs: [Tensor<B, 2>; N],
    fast: impl Fn([Tensor<B, 2>; N]) -> Tensor<B, 2>,
    slow: impl Fn([Tensor<B, 2>; N]) -> Tensor<B, 2>,
) {
    let (fast, slow) = (output_and_gradients(&inputs, fast), output_and_gradients(&inputs, slow));
    for (number, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
        let scale = slow.iter().fold(1e-3f32, |max, v| max.max(v.abs()));
        let difference = max_difference(fast, slow) / scale;
        assert!(difference < 1e-5, "tensor {number}: {difference:e} of the largest");
    }
}

#[test]
fn rms_norm_equals_its_twin() {
    let weight = Tensor::<B, 1>::from_data(TensorData::new(numbers(72, 2.0, 5), [72]), &Default::default());
    let norm = |f: fn(Tensor<B, 2>, &Tensor<B, 1>, f64) -> Tensor<B, 2>| {
        let weight = weight.clone();
        move |[x]: [Tensor<B, 2>; 1]| f(x, &weight, 1e-6)
    };
    assert_twins([matrix(13, 72, 3.0, 1)], norm(kernels::rms_norm), norm(composed::rms_norm));
    assert_twins([matrix(2, 72, 1e-4, 1)], norm(kernels::rms_norm), norm(composed::rms_norm));
}

#[test]
fn swiglu_equals_its_twin() {
    let inputs = || [matrix(37, 133, 12.0, 1), matrix(37, 133, 2.0, 2)];
    assert_twins(inputs(), |[g, u]| kernels::swiglu(g, u), |[g, u]| composed::swiglu(g, u));
}

#[test]
fn attention_over_rows_of_several_lengths_equals_its_twin() {
    let shape = AttentionShape {
        groups: vec![Group { rows: 2, len: 9 }, Group { rows: 1, len: 1 }, Group { rows: 3, len: 20 }],
        heads: 6,
        kv_heads: 2,
        head_dim: 16,
    };
    let tokens = shape.groups.iter().map(|group| group.rows * group.len).sum();
    let rotary = RotaryEmbedding::<B>::new(16, 1e4, 32, &Default::default());
    let windows: Vec<_> = shape
        .groups
        .iter()
        .map(|group| (rotary.window(0, group.len), causal_mask(group.len, 0, &Default::default())))
        .collect();
    let inputs = [matrix(tokens, 96, 2.0, 1), matrix(tokens, 32, 2.0, 2), matrix(tokens, 32, 1.0, 3)];
    assert_twins(
        inputs,
        |[q, k, v]| kernels::causal_attention(q, k, v, &shape, &rotary.tables, &windows),
        |[q, k, v]| composed::causal_attention(q, k, v, &shape, &windows),
    );
}

#[test]
fn cross_entropy_equals_its_twin() {
    let (tokens, vocab) = (7, 1003);
    let logits = || {
        Tensor::<Flex, 2>::from_data(
            TensorData::new(numbers(tokens * vocab, 20.0, 3), [tokens, vocab]),
            &Default::default(),
        )
    };
    let labels = || {
        // Among them the most likely token of its row.
        let mut ids: Vec<i32> = (0..tokens as i32).map(|i| i * 131).collect();
        ids[2] = logits().argmax(1).into_data().iter::<i32>().nth(2).unwrap();
        Tensor::<Flex, 1, Int>::from_data(TensorData::new(ids, [tokens]), &Default::default())
    };
    let fast = kernels::cross_entropy(logits(), labels(), Some(0.25));
    let slow = composed::cross_entropy(logits(), labels(), Some(0.25));
    assert!(max_difference(&values(fast.nll), &values(slow.nll)) < 1e-5);
    assert!(max_difference(&values(fast.gradient.unwrap()), &values(slow.gradient.unwrap())) < 1e-6);
    let correct = |t: Tensor<Flex, 1, Int>| -> Vec<i64> { t.into_data().iter::<i64>().collect() };
    assert_eq!(correct(fast.correct), [0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(correct(slow.correct), [0, 0, 1, 0, 0, 0, 0]);
}

/// Off the CPU backend, and where activations are not f32, the twin is taken.
#[test]
fn other_types_take_the_composed_path() {
    let device = <Flex as burn::tensor::backend::BackendTypes>::Device::default();
    let x = Tensor::<Flex, 2>::from_data(TensorData::new(numbers(64, 1.0, 1), [4, 16]), &device);
    let half = x.clone().cast(burn::tensor::DType::BF16);
    let y = kernels::swiglu(half.clone(), half);
    assert_eq!(y.dtype(), burn::tensor::DType::BF16);
    assert!(max_difference(&values(y), &values(kernels::swiglu(x.clone(), x))) < 0.02);
}

/// Exponentials of our own round differently now and then: equal bits would mean that the fast path is not taken.
#[test]
fn without_autodiff_the_fast_path_is_taken_too() {
    let inner = |columns, seed| matrix(64, columns, 8.0, seed).inner();
    let (fast, slow) = (kernels::swiglu(inner(333, 1), inner(333, 2)), composed::swiglu(inner(333, 1), inner(333, 2)));
    let (fast, slow) = (values(fast), values(slow));
    assert!(max_difference(&fast, &slow) < 1e-5 * 64.0);
    assert_ne!(fast, slow);
}
