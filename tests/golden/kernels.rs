//! The fast CPU kernels against their composed twins, values and gradients.

use burn::backend::{Autodiff, Flex};
use burn::optim::{AdamWConfig, SimpleOptimizer};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Int, Tensor, TensorData};
use qwen_lora::kernels::composed::{
    self, ComposedAttention, ComposedLinear, ComposedLoraLinear, ComposedOp, ComposedRmsNorm, ComposedSwiGlu,
};
use qwen_lora::kernels::{self, AdamWStep, AttentionPass, AttentionShape, Branch};
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
    matrix_on::<B>(rows, columns, scale, seed)
}

fn matrix_on<B: Backend>(rows: usize, columns: usize, scale: f32, seed: usize) -> Tensor<B, 2> {
    let data = TensorData::new(numbers(rows * columns, scale, seed), [rows, columns]);
    Tensor::<B, 2>::from_data(data, &Default::default()).require_grad()
}

/// The output of `f` and the gradients of its inputs for a fixed gradient of the output.
fn output_and_gradients<B: AutodiffBackend, const N: usize>(
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
    assert_all_close(&output_and_gradients(&inputs, fast), &output_and_gradients(&inputs, slow), 1e-5);
}

#[track_caller]
fn assert_all_close(found: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32) {
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        let scale = expected.iter().fold(1e-3f32, |max, v| max.max(v.abs()));
        let difference = max_difference(found, expected) / scale;
        assert!(difference < tolerance, "tensor {number}: {difference:e} of the largest");
    }
}

/// On any backend what Flex computes, values and gradients, for numbers of tokens that fill vectors and that do not.
pub fn every_backend_computes_the_same<B: AutodiffBackend>() {
    for groups in [vec![(2, 9), (1, 5)], vec![(4, 8)], vec![(2, 8), (3, 16)], vec![(3, 8), (1, 64)]] {
        let groups: Vec<Group> = groups.into_iter().map(|(rows, len)| Group { rows, len }).collect();
        let (found, expected) = (all_operations::<B>(&groups), all_operations::<Autodiff<Flex>>(&groups));
        for ((name, found), (_, expected)) in found.iter().zip(&expected) {
            println!("{name} of {groups:?}");
            assert_all_close(found, expected, 1e-4); // NdArray's sigmoid is that rough
        }
    }
}

/// Outputs and gradients of a layer's operations.
fn all_operations<B: AutodiffBackend>(groups: &[Group]) -> Vec<(&'static str, Vec<Vec<f32>>)> {
    let device = Default::default();
    let vector = |len, seed| Tensor::<B, 1>::from_data(TensorData::new(numbers(len, 1.0, seed), [len]), &device);
    let tokens = groups.iter().map(Group::tokens).sum();
    let x = |columns, seed| matrix_on::<B>(tokens, columns, 1.0, seed);
    let norm = vector(64, 5);
    let shape = AttentionShape { groups: groups.to_vec(), heads: 6, kv_heads: 2, head_dim: 16 };
    let pass = AttentionPass::new(shape, Past::default(), RotaryEmbedding::<B>::new(16, 1e4, 64, &device));
    let (weight, bias) = (matrix_on::<B>(48, 64, 1.0, 7).detach(), vector(48, 8));
    let rows = groups.iter().flat_map(|group| std::iter::repeat_n(group.len, group.rows)).enumerate();
    let dropout = LoraDropout::<B>::new(1, 2, rows.map(|(row, len)| (row as u64, len)));
    let lora = |mask: bool| {
        let inputs = [x(64, 1), matrix_on(8, 64, 0.5, 2), matrix_on(48, 8, 0.5, 3)];
        output_and_gradients(&inputs, |[x, a, b]| {
            let branch = Branch { a, b, scaling: 4.0, dropout: mask.then(|| dropout.mask(4, 0.3)) };
            kernels::lora_linear(x, &weight, Some(&bias), branch)
        })
    };
    vec![
        ("rms_norm", output_and_gradients(&[x(64, 1)], |[x]| kernels::rms_norm(x, &norm, 1e-6))),
        ("swiglu", output_and_gradients(&[x(64, 1), x(64, 2)], |[gate, up]| kernels::swiglu(gate, up))),
        (
            "attention",
            output_and_gradients(&[x(96, 1), x(32, 2), x(32, 3)], |[q, k, v]| {
                kernels::causal_attention(q, k, v, &pass)
            }),
        ),
        ("linear", output_and_gradients(&[x(64, 1)], |[x]| kernels::linear(x, &weight, Some(&bias)))),
        ("lora_linear", lora(false)),
        ("lora_linear with dropout", lora(true)),
    ]
}

/// An operation's own gradient against autodiff's.
#[track_caller]
fn assert_own_gradient<O: ComposedOp<N>, const N: usize>(op: O, inputs: [Tensor<B, 2>; N]) {
    assert_twins(
        inputs,
        |inputs| composed::differentiated::<Flex, O, N>(op.clone(), inputs),
        |inputs| op.forward(inputs),
    );
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
    for scale in [3.0, 1e-4] {
        assert_own_gradient(ComposedRmsNorm { weight: weight.clone(), eps: 1e-6 }, [matrix(13, 72, scale, 1)]);
    }
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
    assert_own_gradient(ComposedSwiGlu, inputs());
}

/// In one block of like lengths, in one with padding, and in several.
#[test]
fn attention_over_rows_of_several_lengths_equals_its_twin() {
    for lengths in [vec![(4, 9)], vec![(2, 9), (3, 14)], vec![(2, 9), (1, 1), (3, 20)]] {
        attention_equals_its_twin(lengths.into_iter().map(|(rows, len)| Group { rows, len }).collect());
    }
}

fn attention_equals_its_twin(groups: Vec<Group>) {
    let shape = AttentionShape { groups, heads: 6, kv_heads: 2, head_dim: 16 };
    let tokens = shape.groups.iter().map(|group| group.rows * group.len).sum();
    let rotary = RotaryEmbedding::<B>::new(16, 1e4, 32, &Default::default());
    let pass = AttentionPass::new(shape, Past::default(), rotary);
    let inputs = [matrix(tokens, 96, 2.0, 1), matrix(tokens, 32, 2.0, 2), matrix(tokens, 32, 1.0, 3)];
    let op = ComposedAttention::new(&pass);
    assert_twins(inputs.clone(), |[q, k, v]| kernels::causal_attention(q, k, v, &pass), |inputs| op.forward(inputs));
    assert_own_gradient(op, inputs);
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
            assert_own_gradient(ComposedLinear::new(&wide, Some(&bias)), [matrix(tokens, 70, 1.0, 1)]);
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
    let dropout = LoraDropout::new(1, 2, rows).mask(4, 0.3);
    for dropout in [None, Some(dropout)] {
        for r in [1, 8] {
            let branch = |a, b| Branch { a, b, scaling: 4.0, dropout: dropout.clone() };
            let inputs = [matrix(40, 70, 1.0, 1), matrix(r, 70, 0.5, 2), matrix(48, r, 0.5, 3)];
            let op = ComposedLoraLinear::new(&wide, None, 4.0, dropout.as_ref());
            let fast = |[x, a, b]: [Tensor<B, 2>; 3]| kernels::lora_linear(x, &narrow, None, branch(a, b));
            assert_twins(inputs.clone(), fast, |inputs| op.forward(inputs));
            assert_own_gradient(op, inputs);
        }
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
