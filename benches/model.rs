//! What a model of Qwen2.5-0.5B's shape costs on the CPU, against the floors: loading, training with the shipped config,
//! evaluation, decoding, memory. `cargo bench --bench model`
//!
//! Weights are random (a folder of 1 GB, made under `target` once): their values don't change the time. Rows are as
//! long as those of the dataset, at 4.4 characters a token.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::backend::{Autodiff, Flex};
use burn::module::AutodiffModule;
use burn::tensor::{DType, Distribution, Tensor};
use burn::train::TrainStep;
use half::bf16;
use qwen_lora::data::batching::{Window, evaluation_batches};
use qwen_lora::data::encode::EncodedRow;
use qwen_lora::data::jsonl;
use qwen_lora::inference::generation::GenerationConfig;
use qwen_lora::inference::generator::Generator;
use qwen_lora::kernels::linear;
use qwen_lora::model::{LoraConfig, Qwen2Config, Qwen2ForCausalLm};
use qwen_lora::training::TrainingArguments;
use qwen_lora::training::arguments::PassDefaults;
use qwen_lora::training::evaluate::evaluate;
use qwen_lora::training::trainer::batch_plan;
use qwen_lora::weights::adapter::Adapter;
use qwen_lora::weights::adapter_config::AdapterConfig;
use qwen_lora::weights::model::{ModelFolder, expected_tensors};
use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

type B = Autodiff<Flex>;

const CONFIG: &str = r#"{"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
    "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
    "num_key_value_heads": 2, "vocab_size": 151936, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6,
    "rope_theta": 1000000.0, "tie_word_embeddings": true, "torch_dtype": "bfloat16"}"#;

fn main() {
    let (bandwidth, flops) = (memory_bandwidth(), product_flops());
    println!("floors: memory {:.1} GB/s, f32 products {:.0} GFLOP/s", bandwidth / 1e9, flops / 1e9);
    let folder = random_model();

    let started = Instant::now();
    let folder = ModelFolder::open(&folder).expect("it was just written");
    let model: Qwen2ForCausalLm<B> = folder.load(&Default::default(), DType::F32);
    let bytes = 2.0 * folder.config.multiplied_parameters() as f64;
    println!(
        "load: {:.2} s, {:.0} MiB of bf16 weights, peak memory {:.0} MiB",
        started.elapsed().as_secs_f64(),
        bytes / MIB,
        peak_memory()
    );

    decode(&model.valid(), bytes / bandwidth);

    let operations = folder.config.multiplied_parameters() as f64;
    let rows = rows();
    let lora = LoraConfig::default();
    let config = AdapterConfig {
        r: lora.r,
        lora_alpha: lora.lora_alpha,
        lora_dropout: lora.lora_dropout,
        target_modules: lora.targets().expect("the default names known modules"),
        use_rslora: false,
        base_model_name_or_path: None,
        record: None,
    };
    let model = Adapter::init(config, &folder.config, 42).attach(model, lora.lora_dropout);
    let passes = TrainingArguments::default().passes(8, PassDefaults::CPU);
    let batches = evaluation_batches(&rows[..64], passes);
    let labels: usize = batches.iter().map(|batch| batch.label_count()).sum();
    let started = Instant::now();
    evaluate(&model.valid(), batches, |_| true);
    report("evaluation", labels, started, 2.0 * operations, flops);

    let plan = Arc::new(batch_plan(&TrainingArguments::default(), rows.len(), PassDefaults::CPU));
    let windows: Vec<Window> = plan.windows(Arc::new(rows), 0).take(3).collect();
    for (number, window) in windows.into_iter().enumerate() {
        let (labels, started) = (window.label_count, Instant::now());
        TrainStep::step(&model, window);
        report(&format!("training, step {}", number + 1), labels, started, 4.0 * operations, flops);
    }
    println!("peak memory {:.0} MiB", peak_memory());
}

const MIB: f64 = 1024.0 * 1024.0;

fn report(what: &str, labels: usize, started: Instant, operations: f64, flops: f64) {
    let rate = labels as f64 / started.elapsed().as_secs_f64();
    println!("{what}: {rate:.0} label tokens/s, {:.0} % of the floor", 100.0 * rate * operations / flops);
}

/// Greedy decoding; the time of the prompt's pass is shown by itself.
fn decode(model: &Qwen2ForCausalLm<Flex>, floor: f64) {
    const STEPS: usize = 64;
    for rows in [1, 8] {
        let config = GenerationConfig {
            max_new_tokens: STEPS + 1,
            sampling: None,
            repetition_penalty: 1.0,
            eos_token_ids: Vec::new(),
            seed: 0,
        };
        let prompts: Vec<Vec<u32>> =
            (0..rows as u32).map(|row| (0..16).map(|i| 1000 * row + 37 * i).collect()).collect();
        let started = Instant::now();
        let mut generator = Generator::new(model, &prompts, &config);
        generator.next();
        let prompt = started.elapsed().as_secs_f64();
        let started = Instant::now();
        while generator.next().is_some() {}
        let step = started.elapsed().as_secs_f64() / STEPS as f64;
        println!(
            "decoding, batch {rows}: prompts of 16 tokens {:.0} ms, then {:.1} tokens/s; a step is {:.1} ms, reading the \
             weights once {:.1} ms ({:.0} %)",
            1e3 * prompt,
            rows as f64 / step,
            1e3 * step,
            1e3 * floor,
            100.0 * floor / step
        );
    }
}

/// Bytes a second that all cores read from memory together.
fn memory_bandwidth() -> f64 {
    let values = vec![1u64; 1 << 27];
    let measure = || {
        let started = Instant::now();
        let sum: u64 = values.par_chunks(1 << 20).map(|part| part.iter().sum::<u64>()).sum();
        assert_eq!(sum, 1 << 27);
        (values.len() * 8) as f64 / started.elapsed().as_secs_f64()
    };
    (0..5).map(|_| measure()).fold(0.0, f64::max)
}

/// Operations a second of the best f32 product at one of the model's shapes.
fn product_flops() -> f64 {
    let [tokens, rows, columns] = [704, 4864, 896];
    let random = |shape: [usize; 2]| Tensor::<Flex, 2>::random(shape, Distribution::Default, &Default::default());
    let (x, weight) = (random([tokens, columns]), random([rows, columns]));
    let measure = || {
        let started = Instant::now();
        linear(x.clone(), &weight, None);
        (2 * tokens * rows * columns) as f64 / started.elapsed().as_secs_f64()
    };
    (0..20).map(|_| measure()).fold(0.0, f64::max)
}

/// A model folder with Qwen2.5-0.5B's shapes.
fn random_model() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-model");
    let weights = folder.join("model.safetensors");
    if !weights.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), CONFIG).unwrap();
        let config = Qwen2Config::from_json(&serde_json::from_str(CONFIG).unwrap()).unwrap();
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = expected_tensors(&config)
            .into_iter()
            .enumerate()
            .map(|(seed, (name, shape))| {
                let count: usize = shape.iter().product();
                let value = |i: usize| {
                    let noise = ((i + 1) * (2 * seed + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
                    if name.contains("norm") { 1.0 } else { 0.04 * (noise as f32 / (1 << 24) as f32 - 0.5) }
                };
                let bytes = (0..count).flat_map(|i| bf16::from_f32(value(i)).to_le_bytes()).collect();
                (name, shape, bytes)
            })
            .collect();
        let views = tensors.iter().map(|(n, s, b)| (n, TensorView::new(Dtype::BF16, s.clone(), b).unwrap()));
        let partial = folder.join("partial");
        serialize_to_file(views.collect::<Vec<_>>(), None, &partial).unwrap();
        std::fs::rename(partial, weights).unwrap();
    }
    folder
}

/// Rows as long as the dataset's.
fn rows() -> Vec<EncodedRow> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("dataset/qa_fitness_nutrition_train.jsonl");
    let records = jsonl::read(&file).expect("the dataset is part of the project");
    let row = |(number, record): (usize, &jsonl::Record)| {
        let characters = "User: \nAssistant: ".len() + record.question.len() + record.answer.len();
        let tokens = (characters as f64 / 4.4) as usize;
        let input_ids: Vec<i32> = (0..tokens).map(|i| ((number * 7919 + i * 104_729) % 151_643) as i32).collect();
        EncodedRow { labelled: 0..input_ids.len() - 1, input_ids }
    };
    records.records.iter().enumerate().map(row).collect()
}

/// The process's largest resident size so far, in MiB.
fn peak_memory() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| usage.max_rss()) as f64 / 1024.0
}
