//! Bad input: exit code 2, and a message that says what, where and what to do.

use safetensors::SafeTensors;
use safetensors::tensor::{TensorView, serialize};
use serde_json::{Value, json};

use crate::support::{Workspace, copy_model, fixture};

fn train(workspace: &Workspace, set: &str) -> crate::support::Ran {
    workspace.run("train", &["--set", set])
}

#[test]
fn every_problem_of_a_config_is_named_at_once() {
    let workspace = Workspace::new();
    let ran = workspace.run(
        "train",
        &[
            "--set",
            "training.learning_rat=1",
            "--set",
            "lora.r=0",
            "--set",
            "training.eval_steps=\"x\"",
            "--set",
            "lora.bias=all",
        ],
    );
    ran.refuses(
        2,
        &[
            "training.learning_rat: unknown key; did you mean training.learning_rate?",
            "lora.r:",
            "training.eval_steps:",
            "lora.bias:",
        ],
    );
}

#[test]
fn a_missing_or_broken_config_is_named() {
    let workspace = Workspace::new();
    let run = |file: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_qwen-lora"));
        command.current_dir(workspace.path()).args(["evaluate", "--config", file]);
        crate::support::run(&mut command)
    };
    run("nowhere.json").refuses(2, &["nowhere.json"]);
    workspace.write("broken.json", "{\"device\": ");
    run("broken.json").refuses(2, &["broken.json", "not valid JSON"]);
    workspace.write("list.json", "[]");
    run("list.json").refuses(2, &["list.json", "JSON object"]);
}

#[test]
fn wrong_arguments_exit_with_2() {
    assert_eq!(Workspace::new().run("train", &["--nonsense"]).code, Some(2));
}

#[test]
fn a_bad_row_is_named_by_file_and_line() {
    let workspace = Workspace::new();
    let good = r#"{"question":"q","answer":"a"}"#;
    let data = workspace.write("data.jsonl", format!("{good}\n{{\"question\":\"q\"}}\n"));
    train(&workspace, &format!("train_file={data}")).refuses(2, &["data.jsonl:2:", "\"answer\" is missing"]);
    train(&workspace, &format!("eval_file={data}")).refuses(2, &["data.jsonl:2:"]);
    train(&workspace, "train_file=nowhere.jsonl").refuses(2, &["nowhere.jsonl"]);
    let empty = workspace.write("empty.jsonl", "\n");
    train(&workspace, &format!("train_file={empty}")).refuses(2, &["empty.jsonl", "no rows"]);
}

#[test]
fn truncated_rows_are_counted() {
    let ran = train(&Workspace::new(), "max_length=30");
    assert!(ran.stderr.contains("are longer than max_length 30"), "{}", ran.stderr);
}

#[test]
fn a_model_that_is_not_there_says_which_files_would_do() {
    let workspace = Workspace::new();
    train(&workspace, "model_name=./nowhere").refuses(2, &["./nowhere", "does not exist"]);
    train(&workspace, "model_name=Qwen/Qwen2.5-0.5B-Instruct")
        .refuses(2, &["HF_HUB_OFFLINE", "config.json", "model.safetensors", "hf/hub"]);
    train(&workspace, "model_name=.").refuses(2, &["config.json"]);
}

/// A copy of the tiny model whose config or weights a test changes.
fn damaged(workspace: &Workspace, damage: impl FnOnce(&std::path::Path)) -> crate::support::Ran {
    let model = workspace.file("model");
    copy_model(&model);
    damage(&model);
    train(workspace, "model_name=model")
}

fn edit_json(path: &std::path::Path, edit: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    edit(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

#[test]
fn unsupported_models_are_refused_by_name() {
    for (key, value, named) in [
        ("model_type", json!("llama"), "llama"),
        ("use_sliding_window", json!(true), "sliding"),
        ("rope_scaling", json!({"type": "yarn", "factor": 4.0}), "rope_scaling"),
    ] {
        let ran = damaged(&Workspace::new(), |model| edit_json(&model.join("config.json"), |json| json[key] = value));
        ran.refuses(2, &["config.json", named]);
    }
}

#[test]
fn every_wrong_tensor_is_listed() {
    let ran = damaged(&Workspace::new(), |model| {
        let path = model.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors: Vec<(String, TensorView)> = file.tensors();
        tensors.retain(|(name, _)| name != "model.norm.weight");
        for (name, tensor) in &mut tensors {
            if name == "model.layers.0.mlp.up_proj.weight" {
                *tensor = TensorView::new(tensor.dtype(), vec![64, 176], tensor.data()).unwrap();
            }
            if name == "model.layers.1.mlp.up_proj.weight" {
                *name = "model.layers.1.mlp.extra.weight".into();
            }
        }
        std::fs::write(&path, serialize(tensors, None).unwrap()).unwrap();
    });
    ran.refuses(
        2,
        &[
            "model.norm.weight is missing",
            "model.layers.0.mlp.up_proj.weight has shape [64, 176], expected [176, 64]",
            "model.layers.1.mlp.up_proj.weight is missing",
            "model.layers.1.mlp.extra.weight is not part of this model",
        ],
    );
}

#[test]
fn damaged_weight_files_are_refused() {
    let truncated = damaged(&Workspace::new(), |model| {
        let path = model.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 100]).unwrap();
    });
    truncated.refuses(2, &["model.safetensors", "truncated"]);
    let escaping = damaged(&Workspace::new(), |model| {
        std::fs::remove_file(model.join("model.safetensors")).unwrap();
        let index = json!({"weight_map": {"model.norm.weight": "../../etc/passwd"}});
        std::fs::write(model.join("model.safetensors.index.json"), index.to_string()).unwrap();
    });
    escaping.refuses(2, &["../../etc/passwd", "not a file name"]);
    let without_weights =
        damaged(&Workspace::new(), |model| std::fs::remove_file(model.join("model.safetensors")).unwrap());
    without_weights.refuses(2, &["model.safetensors"]);
}

#[test]
fn a_tokenizer_that_does_not_belong_to_the_model_is_refused() {
    let ran = damaged(&Workspace::new(), |model| {
        edit_json(&model.join("tokenizer_config.json"), |json| json["eos_token"] = json!(null))
    });
    ran.refuses(2, &["eos_token"]);
    let ran = damaged(&Workspace::new(), |model| std::fs::write(model.join("tokenizer.json"), "{}").unwrap());
    ran.refuses(2, &["tokenizer.json"]);
}

/// A trained adapter whose config or weights a test changes.
fn damaged_adapter(damage: impl FnOnce(&Workspace)) -> crate::support::Ran {
    let workspace = Workspace::new().trained();
    damage(&workspace);
    workspace.run("evaluate", &[])
}

#[test]
fn an_adapter_that_does_not_match_is_refused() {
    for (key, value, named) in [
        ("r", json!(8), "rank r = 8"),
        ("target_modules", json!(["q_proj"]), "v_proj is not in target_modules"),
        ("target_modules", json!(["q_proj", "v_proj", "k_proj"]), "k_proj has no adapter weights"),
        ("peft_type", json!("IA3"), "peft_type"),
        ("use_dora", json!(true), "use_dora"),
        ("modules_to_save", json!(["lm_head"]), "modules_to_save"),
        ("init_lora_weights", json!("pissa"), "init_lora_weights"),
    ] {
        let ran = damaged_adapter(|workspace| {
            edit_json(&workspace.file("out/adapter_config.json"), |json| json[key] = value)
        });
        ran.refuses(2, &[named]);
    }
}

#[test]
fn adapter_weights_that_are_missing_cut_or_not_finite_are_refused() {
    damaged_adapter(|w| std::fs::remove_file(w.file("out/adapter_model.safetensors")).unwrap())
        .refuses(2, &["adapter_model.safetensors"]);
    damaged_adapter(|w| {
        let bytes = w.adapter_bytes();
        w.write("out/adapter_model.safetensors", &bytes[..bytes.len() / 2]);
    })
    .refuses(2, &["truncated"]);
    damaged_adapter(|w| {
        let mut bytes = w.adapter_bytes();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        w.write("out/adapter_model.safetensors", bytes);
    })
    .refuses(2, &["not finite"]);
}

#[test]
fn what_was_not_made_yet_says_how_to_make_it() {
    let workspace = Workspace::new();
    workspace.run("infer", &[]).refuses(2, &["qwen-lora train"]);
    workspace.run("infer", &["--mode", "merged"]).refuses(2, &["qwen-lora merge"]);
    workspace.run("merge", &[]).refuses(2, &["qwen-lora train"]);
    workspace.run("infer", &["--mode", "base", "--set", "inference.questions=[]"]).refuses(2, &["--question"]);
}

/// What would end a run after hours ends it before the first step.
#[test]
fn what_training_would_stumble_over_is_refused_before_it() {
    let workspace = Workspace::new();
    let refused = |sets: &[&str], named: &[&str]| {
        let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        workspace.run("train", &arguments).refuses(2, named);
        assert!(!workspace.file("out").exists());
    };
    // Fine in f64, but not where it is computed with.
    refused(&["training.adam_beta2=0.99999999"], &["training.adam_beta2"]);
    refused(&["training.adam_epsilon=1e-50"], &["training.adam_epsilon"]);
    refused(&["training.learning_rate=1e39"], &["training.learning_rate"]);
    // Nothing to predict.
    workspace.write("empty.jsonl", "{\"text\": \"<|im_end|>\"}\n");
    refused(&["train_file=empty.jsonl"], &["empty.jsonl", "nothing to predict"]);
    refused(&["eval_file=empty.jsonl"], &["empty.jsonl", "nothing to predict"]);
    // What will be asked in the end.
    let long = serde_json::json!({"question": "long ".repeat(2000), "answer": "Yes."});
    workspace.write("test.jsonl", long.to_string());
    refused(&["test_file=test.jsonl"], &["question 1 (long long", "shorten it"]);
    copy_model(&workspace.file("base"));
    workspace.write("base/generation_config.json", "{\"do_sample\": true, \"temperature\": -3}");
    refused(&["model_name=base", "inference.generation={}"], &["generation_config.json", "temperature"]);
}

/// A folder that is written as a whole cannot be the one that the user stands in.
#[test]
fn the_current_folder_is_not_written_over() {
    let workspace = Workspace::new().trained();
    workspace.write("corpus.txt", "Squats and rows. ".repeat(50));
    let shape = fixture("tiny-model/config.json").display().to_string();
    let mut init = std::process::Command::new(env!("CARGO_BIN_EXE_qwen-lora"));
    let corpus = workspace.file("corpus.txt").display().to_string();
    let empty = workspace.file("empty");
    std::fs::create_dir(&empty).unwrap();
    init.current_dir(&empty).args(["init", "--shape", &shape, "--tokenizer-corpus", &corpus, "--output", "."]);
    crate::support::run(&mut init).refuses(2, &["name a new folder"]);
    let mut merge = std::process::Command::new(env!("CARGO_BIN_EXE_qwen-lora"));
    let config = workspace.file("config.json").display().to_string();
    let adapter = format!("inference.adapter_path={}", workspace.file("out").display());
    merge.current_dir(&empty).args(["merge", "--config", &config, "--set", &adapter, "--output", "."]);
    crate::support::run(&mut merge).refuses(2, &["name a new folder"]);
    assert!(empty.is_dir());
}

/// Told before anything is answered, by the question's number.
#[test]
fn a_question_that_is_too_long_is_named() {
    let workspace = Workspace::new();
    let ran = workspace.run("infer", &["--mode", "base", "--question", "Short?", "--question", &"long ".repeat(2000)]);
    ran.refuses(2, &["question 2 (long long", "shorten it"]);
    assert_eq!(ran.stdout, "");
}

/// What is learnt from a single row makes the validation loss rise.
pub const ONE_ROW: &str = "{\"text\": \"<|endoftext|>\"}\n";

/// Settings that suit a longer run, or that make the model worse, do not go unnoticed.
#[test]
fn settings_that_do_not_suit_the_run_are_warned_of() {
    let train = |sets: &[&str]| {
        let arguments: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let workspace = Workspace::new();
        workspace.write("one.jsonl", ONE_ROW);
        let ran = workspace.run("train", &arguments);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    let short = train(&["training.warmup_steps=12", "training.logging_steps=20"]);
    assert!(short.contains("warning: all 12 steps are within training.warmup_steps 12"), "{short}");
    assert!(short.contains("warning: training.logging_steps 20 is more than the 12 steps"), "{short}");
    let worse = train(&["training.eval_on_start=true", "train_file=one.jsonl"]);
    assert!(worse.contains("warning: the tuned model's validation loss"), "{worse}");
    let fine = train(&["training.eval_on_start=true"]);
    assert!(!fine.contains("warning"), "{fine}");
}

#[test]
fn merging_into_the_bases_own_folder_is_refused() {
    let workspace = Workspace::new().trained();
    let base = fixture("tiny-model").display().to_string();
    workspace.run("merge", &["--output", &base]).refuses(2, &["the base model's own folder"]);
}

#[test]
fn merging_into_a_folder_with_other_files_is_refused_and_an_earlier_merge_replaced() {
    let workspace = Workspace::new().trained();
    copy_model(&workspace.file("other-model"));
    workspace.run("merge", &["--output", "other-model"]).refuses(2, &["other-model", "other files"]);
    for _ in 0..2 {
        assert_eq!(workspace.run("merge", &[]).code, Some(0));
    }
}

#[test]
fn a_log_that_cannot_be_written_is_noticed_before_training() {
    let workspace = Workspace::new();
    workspace.write("logs/train", "not a folder");
    workspace.run("train", &[]).refuses(1, &["training.logging_dir"]);
    workspace.write("answers", "not a folder");
    let set = ["--mode", "base", "--set", "training.logging_dir=answers"];
    workspace.run("infer", &set).refuses(1, &["answers/inference.jsonl"]);
}

#[test]
fn the_base_answers_whatever_the_adapter_is_like() {
    let workspace = Workspace::new().trained();
    workspace.write("out/adapter_model.safetensors", "damaged");
    assert_eq!(workspace.run("evaluate", &["--mode", "base"]).code, Some(0));
}

#[test]
fn bf16_on_the_cpu_is_refused() {
    train(&Workspace::new(), "training.dtype=bf16").refuses(2, &["training.dtype", "GPU"]);
}

/// With the feature, a machine that has a GPU warns of nothing.
#[cfg(not(feature = "cuda"))]
#[test]
fn a_gpu_that_is_not_there_is_a_loud_warning() {
    let ran = train(&Workspace::new(), "device=cuda");
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("warning: the config asks for the GPU"), "{}", ran.stderr);
}
