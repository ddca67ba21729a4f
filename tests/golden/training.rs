//! Training against SFTTrainer. Gates: gradients 1e-4 relative, loss per step 1e-5 relative, learning rate 1e-9, final
//! adapter 1e-5 absolute.

use std::any::TypeId;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, Tensor};
use burn::train::{Interrupter, TrainStep};
use burn_ndarray::NdArray;
use qwen_lora::data::batching::{MicroBatch, Passes, Window, evaluation_batches};
use qwen_lora::data::encode::{EncodeOptions, EncodedRow, encode};
use qwen_lora::data::tokenizer::Tokenizer;
use qwen_lora::model::Qwen2ForCausalLm;
use qwen_lora::training::TrainingArguments;
use qwen_lora::training::arguments::{BestMetric, IntervalStrategy, MicroBatching, PassDefaults};
use qwen_lora::training::checkpoint::{Checkpoints, SavedRun};
use qwen_lora::training::clipping::clip_grad_norm;
use qwen_lora::training::evaluate::evaluate;
use qwen_lora::training::manifest;
use qwen_lora::training::metrics::{IntoScalarF64, TrainItem};
use qwen_lora::training::monitor::{Monitor, NoRenderer, Phase, Unwatched};
use qwen_lora::training::optimizer::SharedAdamW;
use qwen_lora::training::state::{LogEntry, TrainerState};
use qwen_lora::training::strategy::Interruption;
use qwen_lora::training::trained::Trained;
use qwen_lora::training::trainer::{Start, Surroundings, TrainReport, TrainingData, batch_plan, train};
use qwen_lora::weights::adapter::Adapter;
use qwen_lora::weights::model::ModelFolder;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::fixtures::{
    Golden, adapter, assert_close, base, golden, golden_rows, json, max_difference, path, rows, values, with_adapter,
};

/// The golden run's settings.
pub fn arguments(folder: &Path) -> TrainingArguments {
    TrainingArguments {
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 4,
        learning_rate: golden()["train"]["lr"].as_f64().unwrap(),
        max_steps: Some(20),
        warmup_steps: 5,
        shuffle: false,
        logging_steps: 1,
        eval_steps: 10,
        save_steps: 10,
        output_dir: folder.join("out"),
        logging_dir: folder.join("logs"),
        load_best_model_at_end: false,
        ..TrainingArguments::default()
    }
}

fn run<B: AutodiffBackend>(args: &TrainingArguments, rows: Vec<EncodedRow>, start: Start, dropout: f64) -> TrainReport {
    let data = TrainingData { train: Arc::new(rows), eval: golden_rows("eval") };
    train::<B, _>(base(), start, dropout, args, data, "tiny".into(), unwatched()).unwrap()
}

pub fn unwatched() -> Surroundings<NoRenderer> {
    Surroundings {
        renderer: NoRenderer,
        monitor: Arc::new(Unwatched),
        interrupter: Interrupter::new(),
        pass_defaults: PassDefaults::CPU,
    }
}

fn fresh() -> Start {
    Start::fresh(adapter("adapter_init"))
}

fn adapter_of(report: &TrainReport) -> Adapter {
    match &report.outcome.trained {
        Trained::Adapter(adapter) => adapter.clone(),
        Trained::Model(_) => panic!("an adapter was trained"),
    }
}

fn latest_checkpoint(output_dir: &Path) -> Option<PathBuf> {
    Checkpoints::of(output_dir).latest_complete().0
}

fn resumed(checkpoint: &Path) -> Start {
    Start::resumed(SavedRun::read(checkpoint).unwrap()).unwrap()
}

pub fn check_log(state: &TrainerState, expected: &Value) {
    check_log_within(state, expected, 1e-5, 1e-4);
}

fn check_log_within(state: &TrainerState, expected: &Value, loss_gate: f64, norm_gate: f64) {
    let mut entries = state.log_history.iter().filter_map(|entry| match entry {
        LogEntry::Train { grad_norm, learning_rate, loss, step, .. } => {
            Some((*step, *loss, *grad_norm, *learning_rate))
        }
        LogEntry::Evaluation { .. } => None,
    });
    for line in expected.as_array().unwrap() {
        let (step, loss, grad_norm, rate) = entries.next().expect("an entry for each step");
        let number = |key: &str| line[key].as_f64().unwrap();
        assert_eq!(step as f64, number("step"));
        assert_close(&format!("loss of step {step}"), loss, number("loss"), loss_gate);
        assert_close(&format!("gradient norm of step {step}"), grad_norm, number("grad_norm"), norm_gate);
        assert!((rate - number("learning_rate")).abs() < 1e-9, "rate of step {step}: {rate}");
    }
    assert!(entries.next().is_none());
}

fn check_adapter(found: &Adapter, golden: &str) {
    let expected = adapter(golden);
    assert_eq!(found.weights.keys().collect::<Vec<_>>(), expected.weights.keys().collect::<Vec<_>>());
    for (place, weights) in &found.weights {
        let expected = &expected.weights[place];
        let difference = max_difference(&weights.a, &expected.a).max(max_difference(&weights.b, &expected.b));
        assert!(difference < 1e-5, "{place:?}: {difference:e}");
    }
}

pub fn window(rows: &[EncodedRow], passes: Passes) -> Window {
    let rows: Vec<(u64, &EncodedRow)> = rows.iter().enumerate().map(|(i, row)| (i as u64, row)).collect();
    let micro_batches = passes.split(&rows);
    let label_count = micro_batches.iter().map(MicroBatch::label_count).sum();
    let rows = (0..rows.len()).collect();
    Window { seed: 42, step: 0, rows, micro_batches, label_count }
}

/// Loss and gradients of one optimizer step, the gradients in the model's order.
fn loss_and_gradients<B: AutodiffBackend>(model: &Qwen2ForCausalLm<B>, window: Window) -> (f64, Vec<Vec<f32>>) {
    let output = TrainStep::step(model, window);
    let gradients = model
        .linears()
        .filter_map(|(_, _, linear)| linear.lora.as_ref())
        .flat_map(|lora| [lora.lora_a.id, lora.lora_b.id])
        .map(|id| values(output.grads.get::<B::InnerBackend, 2>(id).expect("every parameter has a gradient")))
        .collect();
    let TrainItem::Step(loss) = output.item else { panic!("a step gives its loss") };
    (loss.into_scalar_f64(), gradients)
}

pub fn gradients_of_the_first_step_equal_peft<B: AutodiffBackend>() {
    let model = with_adapter::<B>("adapter_init");
    let (loss, gradients) = loss_and_gradients(&model, window(&golden_rows("train")[..8], Passes::Rows(2)));
    assert_close("loss", loss, golden()["train"]["hand_log"][0]["loss"].as_f64().unwrap(), 1e-5);
    let expected = Golden::open("grads_step1_before_clip.safetensors");
    let names: Vec<String> = model
        .linears()
        .filter(|(_, _, linear)| linear.lora.is_some())
        .flat_map(|(layer, target, _)| ["A", "B"].map(|m| format!("model.layers.{layer}.{}.lora_{m}.", target.path())))
        .collect();
    assert_eq!((names.len(), expected.names().len()), (8, 8));
    for (name, gradient) in names.iter().zip(&gradients) {
        let key = expected.names().into_iter().find(|key| key.contains(name.as_str())).unwrap();
        let expected = expected.f32(&key);
        let scale = expected.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        let difference = max_difference(gradient, &expected) / scale;
        assert!(difference < 1e-4, "{name}: {difference:e} of the largest");
    }
}

pub fn twenty_clipped_steps_follow_sft_trainer<B: AutodiffBackend>() {
    for micro_batching in [MicroBatching::AsConfigured, MicroBatching::Auto] {
        let folder = tempfile::tempdir().unwrap();
        let args = TrainingArguments { micro_batching, tokens_per_pass: Some(150), ..arguments(folder.path()) };
        clipped_run::<B>(&args);
    }
}

fn clipped_run<B: AutodiffBackend>(args: &TrainingArguments) {
    let report = run::<B>(args, golden_rows("train"), fresh(), 0.0);
    let expected = &golden()["train"];
    check_log(&report.outcome.state, &expected["hand_log"]);
    check_adapter(&Adapter::read(&report.output_dir).unwrap(), "adapter_final_hand");
    check_adapter(&Adapter::read(&report.output_dir).unwrap(), "adapter_final_trl");
    let eval = report.outcome.state.evaluation_at(20).unwrap();
    assert_close("validation loss", eval, expected["eval_after"]["4"]["token_mean"].as_f64().unwrap(), 1e-5);
}

pub fn twenty_unclipped_steps_follow_sft_trainer<B: AutodiffBackend>() {
    let folder = tempfile::tempdir().unwrap();
    let args = TrainingArguments { max_grad_norm: 0.0, ..arguments(folder.path()) };
    let report = run::<B>(&args, golden_rows("train"), fresh(), 0.0);
    check_log(&report.outcome.state, &json("noclip.json")["tiny"]["hand_log"]);
    check_adapter(&adapter_of(&report), "adapter_final_noclip_hand");
}

pub fn ragged_epochs_follow_sft_trainer<B: AutodiffBackend>() {
    let folder = tempfile::tempdir().unwrap();
    let args = TrainingArguments { max_steps: None, num_train_epochs: 3, ..arguments(folder.path()) };
    let report = run::<B>(&args, golden_rows("train")[..61].to_vec(), fresh(), 0.0);
    check_log(&report.outcome.state, &golden()["train_ragged61"]["hand_log"]);
    check_adapter(&adapter_of(&report), "adapter_final_ragged61_hand");
    assert_eq!(report.outcome.state.epoch, 3.0);
}

/// With the default sampler, the rows come in torch's order and the logged epochs are the Trainer's.
pub fn the_shuffled_run_follows_sft_trainer<B: AutodiffBackend>() {
    let folder = tempfile::tempdir().unwrap();
    let args = TrainingArguments { shuffle: true, ..arguments(folder.path()) };
    let report = run::<B>(&args, golden_rows("train"), fresh(), 0.0);
    let expected = &golden()["trl"]["random sampler (default), seed 42"]["log"];
    check_log(&report.outcome.state, expected);
    let epochs: Vec<f64> = report
        .outcome
        .state
        .log_history
        .iter()
        .filter_map(|entry| if let LogEntry::Train { epoch, .. } = entry { Some(*epoch) } else { None })
        .collect();
    let expected: Vec<f64> = expected.as_array().unwrap().iter().map(|line| line["epoch"].as_f64().unwrap()).collect();
    assert_eq!(epochs, expected);
}

pub fn loss_and_gradients_do_not_depend_on_the_micro_batch_or_padding<B: AutodiffBackend>() {
    // With dropout, whose masks must not depend on the split either.
    let model = adapter("adapter_init").attach(base::<B>(), 0.2);
    let rows = &golden_rows("train")[..8];
    let (loss, gradients) = loss_and_gradients(&model, window(rows, Passes::Rows(1)));
    let by_tokens = |budget, length_multiple| Passes::Tokens { budget, length_multiple };
    let splits =
        [2, 3, 8].map(Passes::Rows).into_iter().chain([by_tokens(60, 1), by_tokens(120, 8), by_tokens(999, 1)]);
    for passes in splits {
        let (other_loss, other_gradients) = loss_and_gradients(&model, window(rows, passes));
        assert_close("loss", other_loss, loss, 1e-6);
        for (a, b) in gradients.iter().zip(&other_gradients) {
            let scale = a.iter().fold(0.0f32, |max, v| max.max(v.abs()));
            let difference = max_difference(a, b) / scale;
            assert!(difference < 1e-4, "{passes:?}: {difference:e} of the largest");
        }
    }
}

/// Passes of as many tokens as a head, a layer's keys, a hidden state or a gate have features: square matrices, which
/// burn-fusion 0.21 takes for each other here and there.
pub fn passes_of_as_many_tokens_as_features_are_right<B: AutodiffBackend>() {
    let model = adapter("adapter_final_hand").attach(base::<B>(), 0.2);
    let longest = golden_rows("train").into_iter().max_by_key(|row| row.input_ids.len()).unwrap();
    for features in [16, 32, 64, 128] {
        let len = longest.input_ids.len().min(features - 1);
        let row = EncodedRow { input_ids: longest.input_ids[..len].to_vec(), labelled: 0..len - 1 };
        let [(loss, gradients), (square_loss, square_gradients)] = [1, features]
            .map(|length_multiple| Passes::Tokens { budget: 1, length_multiple })
            .map(|passes| loss_and_gradients(&model, window(std::slice::from_ref(&row), passes)));
        assert_close("loss", square_loss, loss, 1e-6);
        for (a, b) in gradients.iter().zip(&square_gradients) {
            let scale = a.iter().fold(0.0f32, |max, v| max.max(v.abs()));
            let difference = max_difference(a, b) / scale;
            assert!(difference < 1e-4, "{features} tokens: {difference:e} of the largest");
        }
    }
}

pub fn layers_computed_again_give_the_same_gradients<B: AutodiffBackend>() {
    let mut model = adapter("adapter_init").attach(base::<B>(), 0.2);
    let window = || window(&golden_rows("train")[..8], Passes::Tokens { budget: 200, length_multiple: 1 });
    let (loss, gradients) = loss_and_gradients(&model, window());
    model.model.gradient_checkpointing = true;
    let (other_loss, other_gradients) = loss_and_gradients(&model, window());
    assert_close("loss", other_loss, loss, 1e-6);
    assert_eq!(gradients.len(), other_gradients.len());
    for (a, b) in gradients.iter().zip(&other_gradients) {
        let scale = a.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        assert!(max_difference(a, b) / scale < 1e-5);
    }
}

/// Any rows, in any order, in passes of any size.
#[test]
fn no_split_changes_loss_or_gradients() {
    type B = Autodiff<Flex>;
    let model = adapter("adapter_final_hand").attach(base::<B>(), 0.1);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for _ in 0..12 {
        let mut rows = golden_rows("train");
        rows.shuffle(&mut rng);
        rows.truncate(rng.random_range(1..12));
        let (loss, gradients) = loss_and_gradients(&model, window(&rows, Passes::Rows(1)));
        let passes = Passes::Tokens { budget: rng.random_range(1..400), length_multiple: rng.random_range(1..40) };
        let (other_loss, other_gradients) = loss_and_gradients(&model, window(&rows, passes));
        assert_close("loss", other_loss, loss, 1e-6);
        for (a, b) in gradients.iter().zip(&other_gradients) {
            let scale = a.iter().fold(0.0f32, |max, v| max.max(v.abs()));
            assert!(max_difference(a, b) / scale < 1e-4, "{} rows, {passes:?}", rows.len());
        }
    }
}

pub fn evaluation_does_not_depend_on_the_batch_size<B: AutodiffBackend>() {
    let model = with_adapter::<B::InnerBackend>("adapter_final_hand");
    let expected = &golden()["train"]["eval_after"];
    let splits = [1, 4, 16].map(Passes::Rows).into_iter().chain([Passes::Tokens { budget: 100, length_multiple: 1 }]);
    for passes in splits {
        let batches = evaluation_batches(&golden_rows("eval"), passes);
        let metrics = evaluate(&model, batches, |_| true).unwrap();
        assert_close("loss", metrics.loss, expected["16"]["token_mean"].as_f64().unwrap(), 1e-6);
        assert_eq!(metrics.tokens, 760);
        assert_close("perplexity", metrics.perplexity, metrics.loss.exp(), 1e-12);
    }
}

/// Bit for bit, with dropout and shuffling, in the middle of an epoch and between two log entries.
pub fn a_resumed_run_equals_an_uninterrupted_one<B: AutodiffBackend>() {
    let folder = tempfile::tempdir().unwrap();
    let args = TrainingArguments {
        shuffle: true,
        logging_steps: 3,
        eval_steps: 5,
        save_steps: 5,
        save_total_limit: None,
        load_best_model_at_end: true,
        early_stopping_patience: Some(10),
        ..arguments(folder.path())
    };
    let whole = run::<B>(&args, golden_rows("train"), fresh(), 0.1);
    for step in [5, 10] {
        let checkpoint = args.output_dir.join(format!("checkpoint-{step}"));
        let saved = SavedRun::read(&checkpoint).unwrap();
        assert_eq!(saved.state.global_step, step);
        let resumed = run::<B>(&args, golden_rows("train"), Start::resumed(saved).unwrap(), 0.1);
        assert_eq!(resumed.outcome.state, whole.outcome.state);
        assert_eq!(resumed.outcome.trained, whole.outcome.trained);
    }
    let last = latest_checkpoint(&args.output_dir).unwrap();
    assert!(last.ends_with("checkpoint-20"));
    let finished = run::<B>(&args, golden_rows("train"), resumed(&last), 0.1);
    assert_eq!(finished.outcome.trained, whole.outcome.trained);
}

/// With a threshold that no evaluation reaches, the first one counts and the next three use up the patience. A harmful
/// learning rate makes the best evaluation any of them; that adapter is what remains.
pub fn early_stopping_keeps_the_best_adapter<B: AutodiffBackend>() {
    let folder = tempfile::tempdir().unwrap();
    let args = TrainingArguments {
        learning_rate: 0.5,
        warmup_steps: 0,
        max_steps: Some(40),
        eval_steps: 2,
        save_steps: 4,
        save_total_limit: Some(1),
        load_best_model_at_end: true,
        early_stopping_patience: Some(3),
        early_stopping_threshold: 100.0,
        ..arguments(folder.path())
    };
    let report = run::<B>(&args, golden_rows("train"), fresh(), 0.0);
    let state = &report.outcome.state;
    let best = state.best_global_step.unwrap();
    assert_eq!(state.global_step, 8);
    assert_eq!(state.evaluation_at(best), state.best_metric);
    let losses: Vec<f64> = (1..=state.global_step).filter_map(|step| state.evaluation_at(step)).collect();
    assert_eq!(losses.iter().copied().reduce(f64::min), state.best_metric);

    // Resumed, the run is still at its end.
    let last = SavedRun::read(&latest_checkpoint(&args.output_dir).unwrap()).unwrap();
    let again = run::<B>(&args, golden_rows("train"), Start::resumed(last).unwrap(), 0.0);
    assert_eq!(again.outcome.state, *state);

    // Best and latest stay, nothing else; the best one is at the root.
    let kept = |name: &str| args.output_dir.join(name).exists();
    assert!(kept(&format!("checkpoint-{best}")) && kept(&format!("checkpoint-{}", state.global_step)));
    let checkpoints = std::fs::read_dir(&args.output_dir).unwrap();
    let count = checkpoints.filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().starts_with("checkpoint-"));
    assert_eq!(count.count(), if best == state.global_step { 1 } else { 2 });
    assert!(state.best_model_checkpoint.as_ref().unwrap().ends_with(&format!("checkpoint-{best}")));
    let root = Adapter::read(&report.output_dir).unwrap();
    assert_eq!(root, Adapter::read(&args.output_dir.join(format!("checkpoint-{best}"))).unwrap());
    let batches = evaluation_batches(&golden_rows("eval"), Passes::Rows(8));
    let loss = evaluate(&root.attach(base::<B::InnerBackend>(), 0.0), batches, |_| true).unwrap().loss;
    // A GPU's kernels for other shapes sum in another order; no other evaluation is that near.
    let on_cpu = [TypeId::of::<Autodiff<Flex>>(), TypeId::of::<Autodiff<NdArray>>()].contains(&TypeId::of::<B>());
    assert_close("the root adapter's loss", loss, state.best_metric.unwrap(), if on_cpu { 1e-9 } else { 1e-6 });
    let others = losses.iter().filter(|other| Some(**other) != state.best_metric);
    assert!(others.clone().count() > 0 && others.clone().all(|other| (other - loss).abs() > 1e-3));
}

/// transformers ignores the padding and truncation that a tokenizer.json may ask for; labels on pads would be wrong.
#[test]
fn a_tokenizer_that_pads_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(path("tiny-model").join(file), folder.path().join(file)).unwrap();
    }
    let file = folder.path().join("tokenizer.json");
    let mut json: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    json["padding"] = serde_json::json!({"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 509, "pad_type_id": 0, "pad_token": "<|endoftext|>"});
    json["truncation"] =
        serde_json::json!({"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0});
    std::fs::write(&file, json.to_string()).unwrap();
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    let options = EncodeOptions { max_length: 1024, completion_only_loss: false };
    let encoded = encode(&rows("train"), &tokenizer, options, Path::new("train")).unwrap();
    assert_eq!(encoded.rows, golden_rows("train"));
}

/// A bf16 base with f32 adapters, as peft trains one that was loaded in bf16. Rounding differs between
/// implementations; f32 and bf16 themselves differ by 6e-4 in the loss and 6e-3 in the gradient norm.
#[test]
fn a_bf16_base_follows_peft() {
    type B = Autodiff<Flex>;
    let folder = tempfile::tempdir().unwrap();
    let model = ModelFolder::open(&path("tiny-model")).unwrap().load::<B>(&Default::default(), DType::BF16);
    let data = TrainingData { train: Arc::new(golden_rows("train")), eval: golden_rows("eval") };
    let args = arguments(folder.path());
    let report = train::<B, _>(model, fresh(), 0.0, &args, data, "tiny".into(), unwatched()).unwrap();
    let expected = &json("extra.json")["tiny: bf16 base weights, f32 adapters, no autocast"]["log"];
    check_log_within(&report.outcome.state, expected, 1e-3, 2e-2);
}

/// Asks a run to stop at the first evaluation.
struct StopInEvaluation(Interrupter);

impl Monitor for StopInEvaluation {
    fn phase(&self, phase: Phase) {
        if matches!(phase, Phase::Evaluating { .. }) {
            self.0.stop(None);
        }
    }
    fn note(&self, _: String) {}
}

#[test]
fn a_run_stopped_while_it_evaluates_the_start_makes_no_step() {
    type B = Autodiff<Flex>;
    let folder = tempfile::tempdir().unwrap();
    let args = TrainingArguments { eval_on_start: true, ..arguments(folder.path()) };
    let interrupter = Interrupter::new();
    let monitor = Arc::new(StopInEvaluation(interrupter.clone()));
    let surroundings = Surroundings { monitor, interrupter, ..unwatched() };
    let data = TrainingData { train: Arc::new(golden_rows("train")), eval: golden_rows("eval") };
    let stopped = train::<B, _>(base(), fresh(), 0.0, &args, data, "tiny".into(), surroundings).unwrap();
    assert_eq!(stopped.outcome.interrupted, Some(Interruption::BeforeFirstStep));
    assert_eq!((stopped.outcome.state.global_step, stopped.outcome.state.evaluations()), (0, 0));
    assert_eq!(latest_checkpoint(&args.output_dir), None);
}

/// Asked to stop during an evaluation, a run evaluates first when it goes on, and ends as if nothing had happened.
#[test]
fn an_evaluation_cut_short_is_made_up_for() {
    type B = Autodiff<Flex>;
    {
        let folder = tempfile::tempdir().unwrap();
        let args = TrainingArguments {
            per_device_eval_batch_size: 4,
            load_best_model_at_end: true,
            ..arguments(folder.path())
        };
        let data = || TrainingData { train: Arc::new(golden_rows("train")), eval: golden_rows("eval") };
        let whole = train::<B, _>(base(), fresh(), 0.1, &args, data(), "tiny".into(), unwatched()).unwrap();
        let other = tempfile::tempdir().unwrap();
        let args = TrainingArguments { output_dir: other.path().join("out"), ..args };
        let interrupter = Interrupter::new();
        let monitor = Arc::new(StopInEvaluation(interrupter.clone()));
        let surroundings = Surroundings { monitor, interrupter, ..unwatched() };
        let stopped = train::<B, _>(base(), fresh(), 0.1, &args, data(), "tiny".into(), surroundings).unwrap();
        let Some(Interruption::Saved(checkpoint)) = stopped.outcome.interrupted else { panic!("it was asked to stop") };
        assert!(checkpoint.ends_with("checkpoint-10"), "{checkpoint:?}");
        let saved = SavedRun::read(&checkpoint).unwrap();
        assert_eq!(saved.state.evaluations(), 0);
        let start = Start::resumed(saved).unwrap();
        let resumed = train::<B, _>(base(), start, 0.1, &args, data(), "tiny".into(), unwatched()).unwrap();
        assert_eq!(resumed.outcome.trained, whole.outcome.trained);
        assert_eq!(resumed.outcome.state.log_history, whole.outcome.state.log_history);
        assert_eq!(resumed.outcome.state.best_metric, whole.outcome.state.best_metric);
    }
}

/// Numbers that are none are never saved, whatever the intervals of logging, evaluating and saving. Those of a training
/// step come with its rows.
#[test]
fn a_diverged_run_stops_before_it_saves() {
    type B = Autodiff<Flex>;
    for (evaluation_strategy, learning_rate, save_steps, named) in [
        (IntervalStrategy::Steps, 1e38, 2, "the validation loss is"),
        (IntervalStrategy::No, 1e40, 2, "a weight is not finite"),
        (
            IntervalStrategy::No,
            1e38,
            7,
            "That step was not made. Its rows in train_file: 17, 18, 19, 20, 21, 22, 23, 24",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let args = TrainingArguments {
            learning_rate,
            warmup_steps: 3,
            logging_steps: 50,
            evaluation_strategy,
            eval_steps: 2,
            save_steps,
            ..arguments(folder.path())
        };
        let data = TrainingData { train: Arc::new(golden_rows("train")), eval: golden_rows("eval") };
        let result = train::<B, _>(base(), fresh(), 0.0, &args, data, "tiny".into(), unwatched());
        let error = result.unwrap_err().to_string();
        assert!(error.contains("training has diverged") && error.contains(named), "{error}");
        for step in Checkpoints::of(&args.output_dir).steps() {
            let saved = Adapter::read(&args.output_dir.join(format!("checkpoint-{step}"))).unwrap();
            assert!(Trained::Adapter(saved).is_finite());
        }
    }
}

/// One step's gradients overflow: that step is not made, and the run stops at the next log with its number and rows.
pub fn a_step_without_finite_gradients_is_not_made<B: AutodiffBackend>() {
    let model = with_adapter::<B>("adapter_init");
    let args = TrainingArguments { learning_rate: 0.1, weight_decay: 0.1, ..TrainingArguments::default() };
    let mut optimizer = SharedAdamW::new(&args);
    let weights = |model: &Qwen2ForCausalLm<B>| Adapter::extract(model, adapter("adapter_init").config).weights;
    let gradients = |scale: f64| {
        let window = window(&golden_rows("train")[..4], Passes::Rows(4));
        let mut gradients = TrainStep::step(&model, window).grads;
        let mut visitor = Scaled::<B> { gradients: &mut gradients, scale, backend: std::marker::PhantomData };
        model.visit(&mut visitor);
        clip_grad_norm(&model, &mut gradients, 1.0);
        gradients
    };
    // The largest values become infinite, the others stay finite: all are masked.
    let unchanged = optimizer.step(0.1, model.clone(), gradients(1e42));
    assert_eq!(weights(&unchanged), weights(&model));
    let changed = optimizer.step(0.1, unchanged, gradients(1.0));
    assert_ne!(weights(&changed), weights(&model));
    let again = optimizer.step(0.1, changed.clone(), gradients(f64::NAN));
    assert_eq!(weights(&again), weights(&changed));
}

struct Scaled<'a, B: AutodiffBackend> {
    gradients: &'a mut GradientsParams,
    scale: f64,
    backend: std::marker::PhantomData<B>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scaled<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let gradient = self.gradients.remove::<B::InnerBackend, D>(param.id).unwrap();
        // In two goes: the factor alone would not fit an f32.
        let root = self.scale.sqrt();
        self.gradients.register(param.id, gradient.mul_scalar(root).mul_scalar(root));
    }
}

/// A checkpoint and a config that do not belong together are refused by what differs.
#[test]
fn a_run_with_other_data_or_settings_is_not_resumed() {
    type B = Autodiff<Flex>;
    let folder = tempfile::tempdir().unwrap();
    let args = arguments(folder.path());
    run::<B>(&args, golden_rows("train"), fresh(), 0.0);
    let refused = |args: TrainingArguments, rows: Vec<EncodedRow>, named: &str| {
        let saved = SavedRun::read(&args.output_dir.join("checkpoint-10")).unwrap();
        let data = TrainingData { train: Arc::new(rows), eval: golden_rows("eval") };
        let start = Start::resumed(saved).unwrap();
        let error = train::<B, _>(base(), start, 0.0, &args, data, "tiny".into(), unwatched()).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    };
    refused(TrainingArguments { seed: 7, ..args.clone() }, golden_rows("train"), "training.seed was 42, is 7");
    refused(args.clone(), golden_rows("train")[1..].to_vec(), "the training rows");
    let optimizer = args.output_dir.join("checkpoint-10/optimizer.safetensors");
    std::fs::copy(args.output_dir.join("checkpoint-20/optimizer.safetensors"), &optimizer).unwrap();
    let checkpoint = args.output_dir.join("checkpoint-10");
    assert!(SavedRun::read(&checkpoint).unwrap_err().to_string().contains("optimizer.safetensors is not what was"));
    manifest::write(&checkpoint).unwrap();
    refused(args.clone(), golden_rows("train"), "optimizer.safetensors");
    let empty: Vec<(String, safetensors::tensor::TensorView)> = Vec::new();
    std::fs::write(&optimizer, safetensors::serialize(empty, None).unwrap()).unwrap();
    manifest::write(&checkpoint).unwrap();
    refused(args, golden_rows("train"), "missing or damaged");
}

/// The best checkpoint is found beside the one that is resumed, and follows into another output_dir.
#[test]
fn a_run_resumed_elsewhere_keeps_its_best() {
    type B = Autodiff<Flex>;
    let folder = tempfile::tempdir().unwrap();
    let args = TrainingArguments { load_best_model_at_end: true, ..arguments(folder.path()) };
    run::<B>(&args, golden_rows("train"), fresh(), 0.0);
    let mut saved = SavedRun::read(&args.output_dir.join("checkpoint-20")).unwrap();
    // As if the evaluation at step 10 had been the best.
    (saved.state.best_global_step, saved.state.best_metric) = (Some(10), Some(0.1));
    let elsewhere = TrainingArguments { output_dir: folder.path().join("elsewhere"), ..args.clone() };
    let report = run::<B>(&elsewhere, golden_rows("train"), Start::resumed(saved).unwrap(), 0.0);
    let best = Adapter::read(&args.output_dir.join("checkpoint-10")).unwrap();
    assert_eq!(Adapter::read(&report.output_dir).unwrap(), best);
    assert!(elsewhere.output_dir.join("checkpoint-10").is_dir());
}

#[test]
fn evaluating_on_start_scores_the_adapter_that_training_begins_with() {
    type B = Autodiff<Flex>;
    let folder = tempfile::tempdir().unwrap();
    let args = TrainingArguments { eval_on_start: true, load_best_model_at_end: true, ..arguments(folder.path()) };
    let state = run::<B>(&args, golden_rows("train"), fresh(), 0.0).outcome.state;
    let before = golden()["train"]["eval_before"]["16"]["token_mean"].as_f64().unwrap();
    assert_close("validation loss", state.evaluation_at(0).unwrap(), before, 1e-5);
    assert_eq!(state.evaluations(), 3);
    assert_eq!(state.best_global_step, Some(20));
}

#[test]
fn epochs_can_be_the_interval_and_accuracy_the_measure() {
    type B = Autodiff<Flex>;
    let folder = tempfile::tempdir().unwrap();
    let args = TrainingArguments {
        max_steps: None,
        num_train_epochs: 2,
        evaluation_strategy: IntervalStrategy::Epoch,
        save_strategy: IntervalStrategy::Epoch,
        metric_for_best_model: BestMetric::TokenAccuracy,
        load_best_model_at_end: true,
        ..arguments(folder.path())
    };
    let state = run::<B>(&args, golden_rows("train")[..61].to_vec(), fresh(), 0.0).outcome.state;
    let evaluated: Vec<usize> = (1..=16).filter(|step| state.evaluation_at(*step).is_some()).collect();
    assert_eq!(evaluated, [8, 16]);
    let accuracies: Vec<f64> = state
        .log_history
        .iter()
        .filter_map(|entry| match entry {
            LogEntry::Evaluation { eval_token_accuracy, .. } => Some(*eval_token_accuracy),
            LogEntry::Train { .. } => None,
        })
        .collect();
    assert_eq!(accuracies.iter().copied().reduce(f64::max), state.best_metric);
}

#[test]
fn the_plan_of_the_golden_run_is_the_trainers() {
    let args = TrainingArguments { num_train_epochs: 3, max_steps: None, ..arguments(Path::new("unused")) };
    assert_eq!(batch_plan(&args, 61, PassDefaults::CPU).total_steps(), 24);
}

#[test]
fn only_the_adapter_is_a_parameter() {
    type B = burn::backend::Autodiff<burn::backend::Flex>;
    let model = with_adapter::<B>("adapter_init");
    assert_eq!(Module::<B>::num_params(&model), 2 * (4 * 64 + 64 * 4 + 4 * 64 + 32 * 4));
}

/// A disk that is full at one save and has room again at the next: here, a file stands where the folder should.
#[test]
fn a_failed_save_is_tried_again_while_training_goes_on() {
    /// Puts a file in the place of `output_dir` before step 10's save, and takes it away at the warning.
    struct Obstacle(PathBuf, Mutex<Vec<String>>);
    impl Monitor for Obstacle {
        fn phase(&self, phase: Phase) {
            if phase == (Phase::Training { step: 9 }) {
                std::fs::remove_dir_all(&self.0).unwrap();
                std::fs::write(&self.0, "in the way").unwrap();
            }
        }
        fn note(&self, text: String) {
            if text.starts_with("warning:") {
                std::fs::remove_file(&self.0).unwrap();
            }
            self.1.lock().unwrap().push(text);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let args = arguments(folder.path());
    let obstacle = Arc::new(Obstacle(args.output_dir.clone(), Mutex::default()));
    let data = TrainingData { train: Arc::new(golden_rows("train")), eval: golden_rows("eval") };
    let surroundings = Surroundings { monitor: obstacle.clone(), ..unwatched() };
    let report = train::<Autodiff<Flex>, _>(base(), fresh(), 0.0, &args, data, "tiny".into(), surroundings).unwrap();
    let notes = obstacle.1.lock().unwrap();
    assert!(notes[0].contains("cannot save") && notes[0].contains("checkpoint-10"), "{notes:?}");
    assert_eq!(Checkpoints::of(&args.output_dir).steps(), [20]);
    assert_eq!(Adapter::read(&args.output_dir).unwrap().weights, adapter_of(&report).weights);
}
