//! Logits, hidden states and losses against transformers. Gates: logits 1e-4, NLL 1e-5.

use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, Int, Tensor, TensorData, backend::Backend};
use qwen_lora::model::loss::{CHUNK_TOKENS, Wanted, linear_cross_entropy, surrogate};
use qwen_lora::model::{Group, Qwen2ForCausalLm, TokenBatch};
use qwen_lora::weights::model::{ModelFolder, expected_tensors};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

use crate::fixtures::{self, Golden, adapter, base, max_difference, values, with_adapter};

fn logits<B: Backend>(model: &Qwen2ForCausalLm<B>, batch: &TokenBatch) -> Vec<f32> {
    values(model.logits(model.model.forward(batch, None, None)))
}

fn labels<B: Backend>(ids: &[i32]) -> Tensor<B, 1, Int> {
    Tensor::from_data(TensorData::new(ids.to_vec(), [ids.len()]), &B::Device::default())
}

pub fn logits_and_hidden_states_equal_transformers<B: AutodiffBackend>() {
    let (golden, model) = (Golden::open("tensors.safetensors"), base::<B::InnerBackend>());
    let ids = golden.i32("single.ids");
    let hidden = model.model.forward(&TokenBatch::single(ids.clone()), None, None);
    let difference = max_difference(&values(hidden.clone()), &golden.f32("single.hidden.2"));
    assert!(difference < 1e-4, "hidden states: {difference:e}");
    let difference = max_difference(&values(model.logits(hidden.clone())), &golden.f32("single.logits"));
    assert!(difference < 1e-4, "logits: {difference:e}");

    let scored = hidden.narrow(0, 0, ids.len() - 1);
    let losses = linear_cross_entropy(scored, model.head().val(), labels(&ids[1..]), None);
    let expected: Vec<f32> =
        fixtures::golden()["single"]["nll"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
    let difference = max_difference(&values(losses.nll), &expected);
    assert!(difference < 1e-5, "nll: {difference:e}");
}

/// Positions that hold a real token, by the golden mask.
fn real(mask: &[i32]) -> Vec<usize> {
    (0..mask.len()).filter(|i| mask[*i] == 1).collect()
}

fn at_positions(values: &[f32], positions: &[usize], width: usize) -> Vec<f32> {
    positions.iter().flat_map(|p| values[p * width..(p + 1) * width].to_vec()).collect()
}

pub fn padding_on_the_right_changes_nothing<B: AutodiffBackend>() {
    let (golden, model) = (Golden::open("tensors.safetensors"), base::<B::InnerBackend>());
    let (rows, len) = (golden.shape("batch.ids")[0], golden.shape("batch.ids")[1]);
    let batch = TokenBatch { input_ids: golden.i32("batch.ids"), groups: vec![Group { rows, len }] };
    let real = real(&golden.i32("batch.mask"));
    let found = at_positions(&logits(&model, &batch), &real, model.vocab_size());
    let expected = at_positions(&golden.f32("batch.logits_right_padded"), &real, model.vocab_size());
    let difference = max_difference(&found, &expected);
    assert!(difference < 1e-4, "{difference:e}");
}

/// Instead of padding: rows of different lengths as groups of one pass, against transformers' left-padded batch.
pub fn rows_of_other_lengths_in_one_pass_do_not_see_each_other<B: AutodiffBackend>() {
    let (golden, model) = (Golden::open("tensors.safetensors"), base::<B::InnerBackend>());
    let (ids, mask) = (golden.i32("leftpad.ids"), golden.i32("leftpad.mask"));
    let len = golden.shape("leftpad.ids")[1];
    let groups = mask.chunks(len).map(|m| Group { rows: 1, len: m.iter().sum::<i32>() as usize }).collect();
    let real = real(&mask);
    let batch = TokenBatch { input_ids: real.iter().map(|p| ids[*p]).collect(), groups };
    let expected = at_positions(&golden.f32("leftpad.logits"), &real, model.vocab_size());
    let difference = max_difference(&logits(&model, &batch), &expected);
    assert!(difference < 1e-4, "{difference:e}");
}

pub fn positions_far_from_the_start_equal_transformers<B: AutodiffBackend>() {
    let (golden, model) = (Golden::open("tensors.safetensors"), base::<B::InnerBackend>());
    let found = logits(&model, &TokenBatch::single(golden.i32("long300.ids")));
    let last = &found[found.len() - model.vocab_size()..];
    let difference = max_difference(last, &golden.f32("long300.last_logits"));
    assert!(difference < 1e-4, "{difference:e}");
}

pub fn an_adapter_equals_peft<B: AutodiffBackend>() {
    let golden = Golden::open("tensors.safetensors");
    let batch = TokenBatch::single(golden.i32("single.ids"));
    for (folder, tensor) in
        [("adapter_init", "adapter_init.single.logits"), ("adapter_final_hand", "adapter_final.single.logits")]
    {
        let found = logits(&with_adapter::<B::InnerBackend>(folder), &batch);
        let difference = max_difference(&found, &golden.f32(tensor));
        assert!(difference < 1e-4, "{folder}: {difference:e}");
    }
    let folder = tempfile::tempdir().unwrap();
    let adapter = adapter("adapter_final_hand");
    adapter.write(folder.path()).unwrap();
    assert_eq!(qwen_lora::weights::adapter::Adapter::read(folder.path()).unwrap(), adapter);
}

/// A model that this test writes: bf16, untied, in two shards, head_dim other than hidden / heads, transformers 5's
/// config. Its values are known, so a swapped or transposed tensor would show.
pub fn an_untied_sharded_model_with_its_own_head_dim_loads<B: AutodiffBackend>() {
    let folder = tempfile::tempdir().unwrap();
    let config = serde_json::json!({"model_type": "qwen2", "vocab_size": 40, "hidden_size": 12, "head_dim": 8,
        "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}, "dtype": "bfloat16",
        "tie_word_embeddings": false, "max_position_embeddings": 64});
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let parsed = qwen_lora::model::Qwen2Config::from_json(&config).unwrap();
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = expected_tensors(&parsed)
        .into_iter()
        .enumerate()
        .map(|(number, (name, shape))| {
            let size = shape.iter().product::<usize>();
            let value = |i: usize| half::bf16::from_f32(((i * 7 + number * 13) % 31) as f32 / 31.0 - 0.5);
            let bytes = (0..size).flat_map(|i| value(i).to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let mut weight_map = serde_json::Map::new();
    for (shard, part) in tensors.chunks(tensors.len() / 2 + 1).enumerate() {
        let file = format!("model-0000{}-of-00002.safetensors", shard + 1);
        let views = part.iter().map(|(name, shape, bytes)| {
            weight_map.insert(name.clone(), file.clone().into());
            (name, TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap())
        });
        serialize_to_file(views.collect::<Vec<_>>(), None, &folder.path().join(&file)).unwrap();
    }
    let index = serde_json::json!({"metadata": {}, "weight_map": weight_map});
    std::fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();

    let model = ModelFolder::open(folder.path()).unwrap().load::<B::InnerBackend>(&Default::default(), DType::F32);
    for (name, _, bytes) in &tensors {
        let expected: Vec<f32> =
            bytes.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect();
        let layer = &model.model.layers[1];
        let found = match name.as_str() {
            "lm_head.weight" => values(model.head().val()),
            "model.embed_tokens.weight" => values(model.model.embed_tokens.val()),
            "model.layers.1.self_attn.q_proj.weight" => values(layer.self_attn.q_proj.base.weight.val()),
            "model.layers.1.self_attn.k_proj.bias" => values(layer.self_attn.k_proj.base.bias.as_ref().unwrap().val()),
            "model.layers.1.mlp.down_proj.weight" => values(layer.mlp.down_proj.base.weight.val()),
            "model.layers.1.input_layernorm.weight" => values(layer.input_layernorm.weight.val()),
            _ => continue,
        };
        assert_eq!(found, expected, "{name}");
    }
    let found = logits(&model, &TokenBatch::single(vec![1, 2, 3]));
    assert!(found.len() == 3 * 40 && found.iter().all(|v| v.is_finite()));
}

/// The chunked loss and its closed-form gradient against sums written out in f64.
pub fn chunked_cross_entropy_equals_the_plain_one<B: AutodiffBackend>() {
    let device = B::Device::default();
    let (tokens, hidden, vocab) = (CHUNK_TOKENS + 37, 16, 50);
    let numbers = |count: usize, offset: usize| -> Vec<f32> {
        (0..count).map(|i| (((i + offset) * 2654435761) % 1000) as f32 / 500.0 - 1.0).collect()
    };
    let (h, w) = (numbers(tokens * hidden, 0), numbers(vocab * hidden, 77));
    let ids: Vec<i32> = (0..tokens).map(|i| (i * 11 % vocab) as i32).collect();

    let (mut nll, mut gradient, mut head_gradient) = (Vec::new(), Vec::new(), vec![0.0f32; vocab * hidden]);
    for (h, id) in h.chunks(hidden).zip(&ids) {
        let logits = w.chunks(hidden).map(|w| h.iter().zip(w).map(|(h, w)| *h as f64 * *w as f64).sum::<f64>());
        let exp: Vec<f64> = logits.map(f64::exp).collect();
        let total: f64 = exp.iter().sum();
        nll.push(-(exp[*id as usize] / total).ln() as f32);
        for (v, exp) in exp.iter().enumerate() {
            let d_logit = 0.5 * (exp / total - (v == *id as usize) as u8 as f64);
            for (j, h) in h.iter().enumerate() {
                head_gradient[v * hidden + j] += (d_logit * *h as f64) as f32;
            }
        }
        gradient.extend((0..hidden).map(|j| {
            let expected: f64 = (0..vocab).map(|v| exp[v] / total * w[v * hidden + j] as f64).sum();
            (0.5 * (expected - w[*id as usize * hidden + j] as f64)) as f32
        }));
    }

    let h = Tensor::<B, 2>::from_data(TensorData::new(h, [tokens, hidden]), &device).require_grad();
    let w = Tensor::from_data(TensorData::new(w, [vocab, hidden]), &device);
    let chunked = linear_cross_entropy(h.clone().inner(), w, labels(&ids), Some(Wanted { scale: 0.5, head: true }));
    let difference = max_difference(&values(chunked.nll), &nll);
    assert!(difference < 1e-5, "nll: {difference:e}");
    let found = h.grad(&surrogate(h.clone(), chunked.gradient.unwrap()).backward()).unwrap();
    let difference = max_difference(&values(found), &gradient);
    assert!(difference < 1e-5, "gradient: {difference:e}");
    let difference = max_difference(&values(chunked.head_gradient.unwrap()), &head_gradient);
    assert!(difference < 1e-4, "the head's gradient: {difference:e}");
}
