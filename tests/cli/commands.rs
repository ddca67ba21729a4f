//! What each command writes and prints.

use std::process::Command;

use serde_json::Value;

use crate::support::{Ran, Workspace, copy_model, fixture, run};

fn number(object: &Value, key: &str) -> f64 {
    object[key].as_f64().unwrap_or_else(|| panic!("{key} is no number in {object}"))
}

#[test]
fn train_reports_and_leaves_adapter_tokenizer_state_logs_and_checkpoints() {
    let workspace = Workspace::new();
    let ran = workspace.run("train", &["--json"]);
    let objects = ran.objects();
    let report = objects.last().unwrap();
    for key in ["best_step", "best_eval_loss", "steps", "epochs", "label_tokens_per_s", "seconds", "peak_rss_mib"] {
        assert!(number(report, key) > 0.0, "{report}");
    }
    assert_eq!((number(report, "steps"), number(report, "epochs"), &report["adapter"]), (12.0, 1.5, &"out".into()));
    for file in [
        "out/adapter_config.json",
        "out/adapter_model.safetensors",
        "out/tokenizer.json",
        "out/tokenizer_config.json",
        "out/trainer_state.json",
        "out/checkpoint-12/adapter_model.safetensors",
        "out/checkpoint-12/trainer_state.json",
        "logs/train/epoch-1/Loss.log",
        "logs/valid/epoch-1/Loss.log",
    ] {
        assert!(workspace.file(file).exists(), "{file} is not there");
    }
    let state = workspace.json("out/trainer_state.json");
    let log = state["log_history"].as_array().unwrap();
    assert_eq!(log.iter().filter(|entry| entry["loss"].is_number()).count(), 6);
    assert_eq!(log.iter().filter(|entry| entry["eval_loss"].is_number()).count(), 3);
    assert_eq!(
        (&state["global_step"], &state["max_steps"], &state["best_global_step"]),
        (&12.into(), &12.into(), &report["best_step"])
    );
    assert_eq!(state["best_metric"], report["best_eval_loss"]);
    // Progress on stderr, a line per log entry and evaluation.
    assert!(ran.stderr.contains("step 2/12") && ran.stderr.contains("step 4/12  validation loss"), "{}", ran.stderr);
}

#[test]
fn the_config_keeps_to_pefts_old_keys() {
    let workspace = Workspace::new().trained();
    let config = workspace.json("out/adapter_config.json");
    assert_eq!(config["target_modules"], serde_json::json!(["q_proj", "v_proj"]));
    assert_eq!((&config["lora_alpha"], &config["r"], &config["peft_type"]), (&16.into(), &4.into(), &"LORA".into()));
    assert_eq!(config["base_model_name_or_path"], fixture("tiny-model").to_str().unwrap());
    assert_eq!(config.as_object().unwrap().len(), 18);
}

#[test]
fn training_ends_with_the_base_and_the_tuned_model_side_by_side() {
    let workspace = Workspace::new();
    let test_file = format!("test_file={}", fixture("golden/eval.jsonl").display());
    let options = ["--set", &test_file, "--set", "training.eval_on_start=true", "--answers", "5"];
    let ran = workspace.run("train", &options);
    for text in ["best step", "peak memory", "\nHow many sets?\n", "[base]", "[tuned]", "\nWhat is RPE?\n"] {
        assert!(ran.stdout.contains(text), "{text:?} is not in {}", ran.stdout);
    }
    let figures = |name: &str| -> Vec<String> {
        let line = ran.stdout.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
        line[name.len()..].replace('%', "").split_whitespace().map(str::to_string).collect()
    };
    assert_eq!(figures("token F1").len(), 2);
    let loss: Vec<f64> = figures("validation loss").iter().map(|figure| figure.parse().unwrap()).collect();
    assert!(loss[1] < loss[0], "{loss:?}");

    // The same figures as from `evaluate`.
    let evaluated = |mode: &str| {
        workspace
            .run("evaluate", &["--mode", mode, "--json", "--set", &test_file, "--answers", "5"])
            .objects()
            .remove(0)
    };
    let tuned = evaluated("lora");
    assert_eq!(
        (&tuned["answers"]["answers"], format!("{:.4}", number(&tuned, "loss"))),
        (&5.into(), format!("{:.4}", loss[1]))
    );
    let printed = [evaluated("base"), tuned].map(|object| format!("{:.3}", number(&object["answers"], "token_f1")));
    assert_eq!(figures("token F1"), printed);
}

/// `"lora": null` leaves a model folder, which every mode finds.
#[test]
fn all_weights_can_be_trained_and_then_answer_in_either_mode() {
    let workspace = Workspace::new();
    let options = ["--set", "lora=null", "--set", "training.learning_rate=1e-3", "--json"];
    let report = workspace.run("train", &options).objects().pop().unwrap();
    assert_eq!(report["model"], "out");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "trainer_state.json"] {
        assert!(workspace.file(&format!("out/{file}")).exists(), "{file} is not there");
    }
    assert!(!workspace.file("out/adapter_model.safetensors").exists());
    let loss = |mode: &str| number(&workspace.run("evaluate", &["--mode", mode, "--json"]).objects()[0], "loss");
    let scored = workspace.run("evaluate", &["--mode", "lora"]);
    assert!(scored.stdout.contains("(all weights tuned)"), "{}", scored.stdout);
    assert_eq!(loss("lora"), number(&report, "best_eval_loss"));
    assert_eq!(loss("merged"), loss("lora"));
    assert!(loss("lora") < loss("base"));
    let inferred = workspace.run("infer", &["--mode", "merged"]);
    assert!(inferred.stderr.contains("using the fully fine-tuned model out"), "{}", inferred.stderr);
    workspace.run("merge", &[]).refuses(2, &["nothing to merge", "out"]);
    // Never over another run, nor over the base.
    workspace.run("train", &options).refuses(2, &["holds the results of a run"]);
    copy_model(&workspace.file("base"));
    let own = ["--set", "lora=null", "--set", "model_name=base", "--set", "training.output_dir=base", "--overwrite"];
    workspace.run("train", &own).refuses(2, &["base model's own folder"]);
    assert!(workspace.file("base/model.safetensors").exists());
    // An adapter's checkpoint cannot be gone on with.
    let adapter = Workspace::new().trained();
    let resume = ["--set", "lora=null", "--set", "training.resume_from_checkpoint=true"];
    adapter.run("train", &resume).refuses(2, &["holds an adapter", "\"lora\": null"]);
}

#[test]
fn a_new_model_is_made_from_a_shape_and_a_corpus_and_trained_on_text() {
    let workspace = Workspace::new();
    let shape = serde_json::json!({"model_type": "qwen2", "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 270,
        "max_position_embeddings": 128, "tie_word_embeddings": true, "torch_dtype": "bfloat16"});
    workspace.write("shape.json", shape.to_string());
    let sentences: Vec<String> = (1..80).map(|i| format!("Walk {i} km a day and sleep {} hours.", i % 9)).collect();
    let rows: Vec<String> =
        sentences.chunks(4).map(|some| serde_json::json!({"text": some.join(" ")}).to_string()).collect();
    workspace.write("text.jsonl", rows.join("\n"));
    let init = |output: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_qwen-lora"));
        command.current_dir(workspace.path());
        run(command.args(["init", "--shape", "shape.json", "--tokenizer-corpus", "text.jsonl", "--output", output]))
    };
    assert!(init("new").stdout.contains("270 tokens"));
    init("again");
    for file in ["model.safetensors", "tokenizer.json", "config.json"] {
        let read = |folder: &str| std::fs::read(workspace.file(folder).join(file)).unwrap();
        assert_eq!(read("new"), read("again"), "{file}");
    }
    init("new").refuses(2, &["new holds other files"]);

    let options = [
        "lora=null",
        "model_name=new",
        "train_file=text.jsonl",
        "eval_file=text.jsonl",
        "max_length=32",
        "training.eval_on_start=true",
        "training.learning_rate=0.01",
        "training.max_steps=30",
    ];
    let options: Vec<&str> = options.iter().flat_map(|option| ["--set", *option]).chain(["--json"]).collect();
    let report = workspace.run("train", &options).objects().pop().unwrap();
    assert!(number(&report, "best_eval_loss") < 0.5 * number(&report, "base_eval_loss"), "{report}");
}

/// What `train` and `merge` offer to type next does what they say.
#[test]
fn the_commands_that_are_offered_work() {
    let workspace = Workspace::new();
    let offered = |ran: Ran, mode: &str| {
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let command = ran.stderr.lines().find_map(|line| line.strip_prefix("ask it: ")).expect("it offers a command");
        let asked = workspace.bash(command);
        assert_eq!(asked.code, Some(0), "{}", asked.stderr);
        assert!(asked.stderr.contains(mode) && asked.stdout.contains("How many sets?"), "{}", asked.stderr);
    };
    offered(workspace.run("train", &[]), "with the adapter out");
    offered(workspace.run("train", &["--set", "training.output_dir=it's here"]), "with the adapter it's here");
    offered(workspace.run("merge", &[]), "the merged model merged");
    offered(workspace.run("merge", &["--output", "elsewhere"]), "the merged model elsewhere");
}

/// The commands of the quickstart base's card give its tokenizer, byte for byte.
#[test]
fn the_committed_corpus_gives_the_committed_tokenizer() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_qwen-lora"));
    command.current_dir(root).args(["init", "--shape", "configurations/pretrain/shape.json", "--tokenizer-corpus"]);
    command.args(["dataset/articles_train.jsonl", "dataset/qa_fitness_nutrition_train.jsonl", "--output"]);
    let ran = run(command.arg(folder.path().join("new")));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        let committed = std::fs::read(root.join("configurations/quickstart-base").join(file)).unwrap();
        assert!(std::fs::read(folder.path().join("new").join(file)).unwrap() == committed, "{file} is another one");
    }
}

#[test]
fn the_same_config_gives_the_same_adapter() {
    let (one, other) = (Workspace::new().trained(), Workspace::new().trained());
    assert_eq!(one.adapter_bytes(), other.adapter_bytes());
    let seeded = Workspace::new();
    assert_eq!(seeded.run("train", &["--set", "training.seed=7"]).code, Some(0));
    assert_ne!(one.adapter_bytes(), seeded.adapter_bytes());
}

#[test]
fn evaluate_scores_each_mode_and_merged_equals_lora() {
    let workspace = Workspace::new().trained();
    workspace.run("merge", &[]);
    let score = |mode: &str| workspace.run("evaluate", &["--mode", mode, "--json"]).objects().remove(0);
    let (base, lora, merged) = (score("base"), score("lora"), score("merged"));
    assert!(number(&lora, "loss") < number(&base, "loss"));
    assert!((number(&lora, "loss") - number(&merged, "loss")).abs() < 1e-5);
    assert_eq!((number(&lora, "tokens"), &lora["mode"], &base["mode"]), (760.0, &"lora".into(), &"base".into()));
    assert!((number(&base, "perplexity") / number(&base, "loss").exp() - 1.0).abs() < 1e-9);
    assert_eq!(workspace.json("out/trainer_state.json")["best_metric"], lora["loss"]);
}

#[test]
fn infer_answers_the_configs_questions_or_those_given_and_logs_them() {
    let workspace = Workspace::new().trained();
    let answers = workspace.run("infer", &["--json"]).objects();
    assert_eq!(answers.len(), 2);
    for answer in &answers {
        let ids = answer["token_ids"].as_array().unwrap();
        assert!(!ids.is_empty() && ids.len() <= 12);
        let reason = answer["finish_reason"].as_str().unwrap();
        assert_eq!(reason == "length", ids.len() == 12, "{answer}");
        assert!(number(answer, "tokens_per_second") > 0.0);
        assert!(!answer["prompt_token_ids"].as_array().unwrap().is_empty());
    }
    let given = workspace.run("infer", &["--question", "What is RPE?"]);
    let expected = format!("Question: What is RPE?\nAnswer: {}\n\n", answers[1]["answer"].as_str().unwrap());
    assert_eq!(given.stdout, expected);
    let log = std::fs::read_to_string(workspace.file("logs/inference.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 3);
}

#[test]
fn sampling_repeats_itself_with_the_same_seed() {
    let workspace = Workspace::new().trained();
    let sample = |seed: &str| {
        let set = ["--set", "inference.generation.temperature=1.5", "--set", seed];
        let arguments = [&["--json", "--question", "How many sets?"][..], &set].concat();
        workspace.run("infer", &arguments).objects().remove(0)["token_ids"].clone()
    };
    let seed = "inference.generation.seed";
    assert_eq!(sample(&format!("{seed}=42")), sample(&format!("{seed}=42")));
    assert_ne!(sample(&format!("{seed}=42")), sample(&format!("{seed}=43")));
}

#[test]
fn merge_writes_a_model_folder_that_answers_like_base_and_adapter() {
    let workspace = Workspace::new().trained();
    let merged = workspace.run("merge", &["--output", "elsewhere", "--json"]).objects();
    assert_eq!(merged[0]["output"], "elsewhere");
    for file in
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
    {
        assert!(workspace.file("elsewhere").join(file).exists(), "{file}");
    }
    let ids = |arguments: &[&str]| -> Vec<Value> {
        let answers = workspace.run("infer", &[arguments, &["--json"]].concat()).objects();
        answers.iter().map(|answer| answer["token_ids"].clone()).collect()
    };
    let from_merged = ids(&["--mode", "merged", "--set", "inference.merged_model_path=elsewhere"]);
    assert_eq!(from_merged, ids(&["--mode", "lora"]));
}

#[test]
fn an_adapter_of_another_base_is_used_with_a_warning() {
    let workspace = Workspace::new().trained();
    let mut config = workspace.json("out/adapter_config.json");
    config["base_model_name_or_path"] = "someone/else".into();
    workspace.write("out/adapter_config.json", config.to_string());
    let ran = workspace.run("evaluate", &[]);
    assert_eq!(ran.code, Some(0));
    assert!(ran.stderr.contains("warning: the adapter was trained on someone/else"), "{}", ran.stderr);
}

#[test]
fn an_adapter_of_zeros_is_warned_about() {
    let workspace = Workspace::new();
    workspace.run("train", &["--set", "training.learning_rate=1e-30", "--set", "training.max_steps=1"]);
    let ran = workspace.run("evaluate", &[]);
    // AdamW's first step with warm-up has rate 0: B is still zero.
    assert!(ran.stderr.contains("zero everywhere"), "{}", ran.stderr);
}

#[test]
fn training_goes_on_from_a_given_adapter() {
    let workspace = Workspace::new();
    let init = fixture("golden/adapter_init");
    let set = format!("lora.init_adapter={}", init.display());
    assert_eq!(workspace.run("train", &["--set", &set]).code, Some(0));
    let wrong = workspace.run("train", &["--overwrite", "--set", &set, "--set", "lora.r=8"]);
    wrong.refuses(2, &["lora.init_adapter", "r 4", "r 8"]);
}

#[test]
fn a_closed_stdout_ends_the_program_quietly() {
    let workspace = Workspace::new().trained();
    let mut child = workspace
        .command("infer")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !stderr.contains("panicked") && !stderr.contains("error"), "{stderr}");
}
