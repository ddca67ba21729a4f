//! Greedy token ids against transformers: base, adapters, merged; with and without repetition penalty.

use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Tensor};
use qwen_lora::inference::generation::{GenerationArguments, GenerationConfig};
use qwen_lora::inference::generator::{FinishReason, Generator, Sequence};
use qwen_lora::model::{KvCache, Qwen2ForCausalLm, TargetModule, TokenBatch};
use qwen_lora::weights::generation_config::ModelGenerationConfig;
use qwen_lora::weights::merge::{verify_merged_weights, write_merged_weights};
use qwen_lora::weights::model::ModelFolder;
use qwen_lora::weights::safetensors::{SafetensorsFile, narrow};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::Value;

use crate::fixtures::{Golden, adapter, base, golden, integers, max_difference, path, values, with_adapter};

fn greedy(penalty: f64, eos_token_ids: Vec<u32>) -> GenerationConfig {
    GenerationConfig { max_new_tokens: 32, sampling: None, repetition_penalty: penalty, eos_token_ids, seed: 0 }
}

fn unsigned(value: &Value) -> Vec<u32> {
    integers(value).into_iter().map(|id| id as u32).collect()
}

fn check<B: Backend>(model: &Qwen2ForCausalLm<B>, cases: &Value) {
    let eos = ModelGenerationConfig::read(&path("tiny-model")).unwrap().eos_token_ids();
    for case in cases.as_array().unwrap() {
        let prompt = unsigned(&case["prompt_ids"]);
        for (key, config) in [
            ("greedy", greedy(1.0, eos.clone())),
            ("greedy_rep_penalty_1.1", greedy(1.1, eos.clone())),
            ("greedy_no_stop", greedy(1.0, vec![])),
        ] {
            let (ids, reason) = generate(model, std::slice::from_ref(&prompt), &config).remove(0);
            assert_eq!(ids, unsigned(&case[key]["ids"]), "{key} after {}", case["prompt"]);
            let stopped = ids.last().is_some_and(|id| config.eos_token_ids.contains(id));
            assert_eq!(reason, if stopped { FinishReason::Stop } else { FinishReason::Length });
        }
    }
    // All prompts at once, which are of different lengths and end at different times.
    let prompts: Vec<Vec<u32>> = cases.as_array().unwrap().iter().map(|case| unsigned(&case["prompt_ids"])).collect();
    assert!(prompts.iter().any(|prompt| prompt.len() != prompts[0].len()));
    let together = generate(model, &prompts, &greedy(1.1, eos));
    for ((ids, _), case) in together.iter().zip(cases.as_array().unwrap()) {
        assert_eq!(*ids, unsigned(&case["greedy_rep_penalty_1.1"]["ids"]), "at once, after {}", case["prompt"]);
    }
}

fn generate<B: Backend>(
    model: &Qwen2ForCausalLm<B>,
    prompts: &[Vec<u32>],
    config: &GenerationConfig,
) -> Vec<(Vec<u32>, FinishReason)> {
    let mut generator = Generator::new(model, prompts, config);
    while generator.next().is_some() {}
    let finished = |sequence: &Sequence| (sequence.generated().to_vec(), sequence.finish_reason().unwrap());
    generator.sequences().iter().map(finished).collect()
}

pub fn greedy_tokens_equal_transformers<B: AutodiffBackend>() {
    let golden = golden();
    check(&base::<B::InnerBackend>(), &golden["generation_base"]);
    check(&with_adapter::<B::InnerBackend>("adapter_init"), &golden["generation_adapter_init"]);
    check(&with_adapter::<B::InnerBackend>("adapter_final_hand"), &golden["generation_adapter_final"]);
}

pub fn a_merged_model_equals_base_and_adapter<B: AutodiffBackend>() {
    let folder = tempfile::tempdir().unwrap();
    let source = ModelFolder::open(&path("tiny-model")).unwrap();
    let (adapter, device) = (adapter("adapter_final_hand"), Default::default());
    write_merged_weights::<B::InnerBackend>(&source, &adapter, folder.path(), &device).unwrap();
    std::fs::copy(path("tiny-model/config.json"), folder.path().join("config.json")).unwrap();
    let merged = ModelFolder::open(folder.path()).unwrap().load::<B::InnerBackend>(&device, DType::F32);

    let golden_tensors = Golden::open("tensors.safetensors");
    let batch = TokenBatch::single(golden_tensors.i32("single.ids"));
    let logits = values(merged.logits(merged.model.forward(&batch, None, None)));
    let difference = max_difference(&logits, &golden_tensors.f32("merged.single.logits"));
    assert!(difference < 1e-4, "{difference:e}");
    check(&merged, &golden()["generation_merged"]);
}

/// W' = round(f32(W) + scale B A), rounded once, in the base's own type: what peft does for a bf16 base.
#[test]
fn merging_into_a_half_precision_base_rounds_once() {
    type B = burn::backend::Flex;
    for dtype in [Dtype::BF16, Dtype::F16] {
        let (base_folder, merged_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = SafetensorsFile::open(&path("tiny-model/model.safetensors")).unwrap();
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = source
            .names()
            .map(|name| {
                let tensor = source.get(name).unwrap();
                (name.to_string(), tensor.shape.to_vec(), narrow(&tensor.to_f32(), dtype))
            })
            .collect();
        let views = tensors.iter().map(|(n, s, b)| (n, TensorView::new(dtype, s.clone(), b).unwrap()));
        serialize_to_file(views.collect::<Vec<_>>(), None, &base_folder.path().join("model.safetensors")).unwrap();
        std::fs::copy(path("tiny-model/config.json"), base_folder.path().join("config.json")).unwrap();
        let base = ModelFolder::open(base_folder.path()).unwrap();
        let adapter = adapter("adapter_final_hand");
        write_merged_weights::<B>(&base, &adapter, merged_folder.path(), &Default::default()).unwrap();

        let merged = SafetensorsFile::open(&merged_folder.path().join("model.safetensors")).unwrap();
        let mut changed = 0;
        for (name, shape, bytes) in &tensors {
            let found = merged.get(name).unwrap();
            assert_eq!((found.dtype, found.shape), (dtype, shape.as_slice()), "{name}");
            let place = [TargetModule::QProj, TargetModule::VProj]
                .into_iter()
                .find(|t| name.ends_with(&format!("{}.weight", t.path())));
            let Some(target) = place else {
                assert_eq!(found.bytes, bytes, "{name}");
                continue;
            };
            let layer: usize = name.split('.').nth(2).unwrap().parse().unwrap();
            let lora = &adapter.weights[&(layer, target)];
            let input = shape[1];
            let expected: Vec<f32> = base.checkpoint.get(name).unwrap().to_f32();
            let expected: Vec<f32> = expected
                .iter()
                .enumerate()
                .map(|(i, w)| {
                    let (row, column) = (i / input, i % input);
                    let product = |k: usize| lora.b[row * lora.r + k] as f64 * lora.a[k * input + column] as f64;
                    (*w as f64 + adapter.config.scaling() * (0..lora.r).map(product).sum::<f64>()) as f32
                })
                .collect();
            let expected = narrow(&expected, dtype);
            // Sums in f64 and f32 may fall on either side of a rounding boundary, now and then.
            let different = found.bytes.chunks(2).zip(expected.chunks(2)).filter(|(a, b)| a != b).count();
            assert!(different * 500 <= expected.len() / 2, "{name}: {different} of {}", expected.len() / 2);
            changed += found.bytes.chunks(2).zip(bytes.chunks(2)).filter(|(a, b)| a != b).count();
        }
        assert!(changed > 1000);
    }
}

/// Token by token with a cache, in pieces, and all at once: the same logits.
pub fn the_cache_changes_no_logits<B: AutodiffBackend>() {
    let model = with_adapter::<B::InnerBackend>("adapter_final_hand");
    let ids = Golden::open("tensors.safetensors").i32("single.ids");
    let whole = model.model.forward(&TokenBatch::single(ids.clone()), None, None);
    for piece in [1, 4] {
        let mut cache = KvCache::new(model.num_hidden_layers(), ids.len());
        let pieces: Vec<Tensor<B::InnerBackend, 2>> = ids
            .chunks(piece)
            .map(|ids| model.model.forward(&TokenBatch::single(ids.to_vec()), Some(&mut cache), None))
            .collect();
        assert_eq!(cache.past().slots, ids.len());
        let difference = max_difference(&values(Tensor::cat(pieces, 0)), &values(whole.clone()));
        assert!(difference < 1e-5, "pieces of {piece}: {difference:e}");
    }
}

#[test]
fn generation_stops_at_the_tokenizers_and_the_models_end_tokens() {
    let model = ModelGenerationConfig::read(&path("tiny-model")).unwrap();
    let config = GenerationConfig::resolve(&GenerationArguments::default(), &model, &[3]).unwrap();
    assert_eq!(config.eos_token_ids, [3, 509, 511]);
}

/// One bit of the file is enough.
#[test]
fn merged_weights_that_read_back_otherwise_are_refused() {
    type B = burn::backend::Flex;
    let folder = tempfile::tempdir().unwrap();
    let (base, adapter) = (ModelFolder::open(&path("tiny-model")).unwrap(), adapter("adapter_final_hand"));
    let device = Default::default();
    write_merged_weights::<B>(&base, &adapter, folder.path(), &device).unwrap();
    verify_merged_weights::<B>(&base, &adapter, folder.path(), &device).unwrap();
    let file = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let error = verify_merged_weights::<B>(&base, &adapter, folder.path(), &device).unwrap_err().to_string();
    assert!(error.contains("reads back otherwise"), "{error}");
}
