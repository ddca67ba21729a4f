//! The fast CPU kernels against their composed twins, values and gradients.

use burn::backend::{Autodiff, Flex};
use burn::optim::{AdamWConfig, SimpleOptimizer};
use burn::tensor::{DType, Int, Tensor, TensorData};
use qwen_lora::kernels::{self, AdamWStep, AttentionPass, AttentionShape, Branch, composed};
use qwen_lora::model::kv_cache::Past;
use qwen_lora::model::rotary::RotaryEmbedding;
use qwen_lora::model::{Group, KvCache, LoraDropout};

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
fn trained_layers_equal_their_twins() {
    let inputs = || [matrix(13, 72, 3.0, 1), matrix(1, 72, 2.0, 2)];
    assert_twins(
        inputs(),
        |[x, w]| kernels::trained_rms_norm(x, w.squeeze_dim(0), 1e-6),
        |[x, w]| composed::rms_norm(x, &w.squeeze_dim(0), 1e-6),
    );
    let inputs = || [matrix(37, 24, 1.0, 1), matrix(40, 24, 1.0, 2), matrix(1, 40, 1.0, 3)];
    assert_twins(
        inputs(),
        |[x, w, b]| kernels::trained_linear(x, w, Some(b.squeeze_dim(0))),
        |[x, w, b]| composed::linear(x, &w, Some(&b.squeeze_dim(0))),
    );
    let inputs = || [matrix(5, 24, 1.0, 1), matrix(40, 24, 1.0, 2)];
    assert_twins(inputs(), |[x, w]| kernels::trained_linear(x, w, None), |[x, w]| composed::linear(x, &w, None));
}

/// Several steps, with and without weight decay, against burn's AdamW; and none at a gradient that is no number.
#[test]
fn adamw_equals_its_twin() {
    type Inner = Flex;
    let vector =
        |values: Vec<f32>| Tensor::<Inner, 1>::from_data(TensorData::from(values.as_slice()), &Default::default());
    for weight_decay in [0.0, 0.1] {
        let step = AdamWStep { learning_rate: 3e-3, beta_1: 0.9, beta_2: 0.95, epsilon: 1e-8, weight_decay, time: 0 };
        let twin = AdamWConfig::new().with_beta_2(0.95).with_epsilon(1e-8).with_weight_decay(weight_decay).build();
        let start = vector(numbers(50_000, 1.0, 1));
        let mut fast = [start.clone(), start.zeros_like(), start.zeros_like()];
        let (mut slow, mut state) = (start, None);
        for time in 1..=3 {
            let gradient = vector(numbers(50_000, 0.1, time + 1));
            fast = kernels::adamw(AdamWStep { time, ..step }, &gradient, fast).expect("Flex has the fast path");
            (slow, state) = SimpleOptimizer::step(&twin, 3e-3, slow, gradient, state);
        }
        let state = state.unwrap().momentum;
        for (fast, slow) in fast.clone().into_iter().zip([slow, state.moment_1, state.moment_2]) {
            assert!(max_difference(&values(fast), &values(slow)) < 1e-7);
        }
        let bad = vector(vec![kernels::BAD_GRADIENT; 50_000]);
        let unchanged = kernels::adamw(AdamWStep { time: 4, ..step }, &bad, fast.clone()).unwrap();
        assert_eq!(unchanged.map(values), fast.map(values));
    }
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
    let pass = AttentionPass::new(shape, Past::default(), rotary);
    let inputs = [matrix(tokens, 96, 2.0, 1), matrix(tokens, 32, 2.0, 2), matrix(tokens, 32, 1.0, 3)];
    assert_twins(
        inputs,
        |[q, k, v]| kernels::causal_attention(q, k, v, &pass),
        |[q, k, v]| composed::causal_attention(q, k, v, &pass),
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

/// A frozen matrix as a bf16 file gives it: held in bf16, and the same values widened.
fn frozen(rows: usize, columns: usize, seed: usize) -> [Tensor<B, 2>; 2] {
    let narrow = matrix(rows, columns, 1.0, seed).detach().cast(DType::BF16);
    [narrow.clone(), narrow.cast(DType::F32)]
}

#[test]
fn a_linear_layer_with_weights_of_either_type_equals_its_twin() {
    let bias = Tensor::<B, 1>::from_data(TensorData::new(numbers(48, 1.0, 5), [48]), &Default::default());
    let [narrow, wide] = frozen(48, 70, 7);
    for tokens in [3, 40] {
        for weight in [&narrow, &wide] {
            assert_twins(
                [matrix(tokens, 70, 1.0, 1)],
                |[x]| kernels::linear(x, weight, Some(&bias)),
                |[x]| composed::linear(x, &wide, Some(&bias)),
            );
            let x = matrix(tokens, 48, 1.0, 2).inner();
            let fast = kernels::linear_backward(x.clone(), &weight.clone().inner());
            assert!(max_difference(&values(fast), &values(x.matmul(wide.clone().inner()))) < 1e-5);
        }
    }
}

#[test]
fn a_linear_layer_with_an_adapter_equals_its_twin_with_and_without_dropout() {
    let [narrow, wide] = frozen(48, 70, 7);
    let rows = vec![(3, 15), (8, 25)];
    let dropout = LoraDropout { seed: 1, step: 2, rows }.mask(4, 0.3);
    for dropout in [None, Some(dropout)] {
        let branch = |a, b| Branch { a, b, scaling: 4.0, dropout: dropout.clone() };
        assert_twins(
            [matrix(40, 70, 1.0, 1), matrix(8, 70, 0.5, 2), matrix(48, 8, 0.5, 3)],
            |[x, a, b]| kernels::lora_linear(x, &narrow, None, branch(a, b)),
            |[x, a, b]| composed::lora_linear(x, &wide, None, branch(a, b)),
        );
    }
}

/// Rows of two lengths, then single tokens, then several at once, after a row was dropped.
#[test]
fn attention_to_a_cache_equals_its_twin() {
    type B = Flex;
    let (heads, kv_heads, head_dim) = (6, 2, 16);
    let rotary = RotaryEmbedding::<B>::new(head_dim, 1e4, 64, &Default::default());
    let run = |fast: bool| -> Vec<Vec<f32>> {
        let mut cache = KvCache::<B>::new(1, 32);
        let mut outputs = Vec::new();
        let passes = [
            (vec![Group { rows: 2, len: 9 }, Group { rows: 1, len: 4 }], None),
            (vec![Group { rows: 3, len: 1 }], None),
            (vec![Group { rows: 2, len: 5 }], Some([0, 2])),
            (vec![Group { rows: 2, len: 1 }], None),
        ];
        for (number, (groups, keep)) in passes.into_iter().enumerate() {
            if let Some(rows) = keep {
                cache.keep(&rows);
            }
            let tokens = groups.iter().map(|group| group.tokens()).sum();
            let [q, k, v] = [(heads, 1), (kv_heads, 2), (kv_heads, 3)]
                .map(|(heads, seed)| matrix(tokens, heads * head_dim, 2.0, 10 * number + seed).inner());
            let shape = AttentionShape { groups: groups.clone(), heads, kv_heads, head_dim };
            let pass = AttentionPass::new(shape, cache.past().clone(), rotary.clone());
            let layer = cache.take(0, &pass, &q);
            let attend = if fast { kernels::cached_attention } else { composed::cached_attention };
            let (attended, layer) = attend(q, k, v, layer, &pass);
            cache.put(0, layer);
            cache.advance(&groups);
            outputs.push(values(attended));
        }
        outputs
    };
    for (fast, slow) in run(true).iter().zip(&run(false)) {
        assert!(max_difference(fast, slow) < 1e-5);
    }
}
