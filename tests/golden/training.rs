//! Training against SFTTrainer. Gates: gradients 1e-4 relative, loss per step 1e-5 relative, learning rate 1e-9, final
//! adapter 1e-5 absolute.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::backend::AutodiffBackend;
use burn::train::{Interrupter, TrainStep};
use qwen_lora::data::batching::{MicroBatch, Window, evaluation_batches};
use qwen_lora::data::encode::EncodedRow;
use qwen_lora::model::Qwen2ForCausalLm;
use qwen_lora::training::TrainingArguments;
use qwen_lora::training::checkpoint::SavedRun;
use qwen_lora::training::evaluate::evaluate;
use qwen_lora::training::metrics::{IntoScalarF64, TrainItem};
use qwen_lora::training::monitor::{NoRenderer, Unwatched};
use qwen_lora::training::state::{LogEntry, TrainerState};
use qwen_lora::training::trainer::{
    Start, Surroundings, TrainReport, TrainingData, batch_plan, latest_checkpoint, train,
};
use qwen_lora::weights::adapter::Adapter;
use serde_json::Value;

use crate::fixtures::{
    Golden, adapter, assert_close, base, golden, golden_rows, json, max_difference, tokenizer, values, with_adapter,
};

const PAD: i32 = 509;

/// The golden run's settings.
fn arguments(folder: &Path) -> TrainingArguments {
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
    let data = TrainingData { train: Arc::new(rows), eval: golden_rows("eval"), pad_token_id: PAD };
    let surroundings =
        Surroundings { renderer: NoRenderer, monitor: Arc::new(Unwatched), interrupter: Interrupter::new() };
    train::<B, _>(base(), start, dropout, args, data, surroundings).unwrap()
}

fn fresh() -> Start {
    Start::Fresh(adapter("adapter_init"))
}

fn check_log(state: &TrainerState, expected: &Value) {
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
        assert_close(&format!("loss of step {step}"), loss, number("loss"), 1e-5);
        assert_close(&format!("gradient norm of step {step}"), grad_norm, number("grad_norm"), 1e-4);
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

fn window(rows: &[EncodedRow], micro_batch: usize) -> Window {
    let rows: Vec<(u64, &EncodedRow)> = rows.iter().enumerate().map(|(i, row)| (i as u64, row)).collect();
    let micro_batches: Vec<MicroBatch> =
        rows.chunks(micro_batch).map(|rows| MicroBatch::new(rows.iter().copied(), PAD)).collect();
    let label_count = micro_batches.iter().map(MicroBatch::label_count).sum();
    Window { seed: 42, step: 0, micro_batches, label_count }
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
    let (loss, gradients) = loss_and_gradients(&model, window(&golden_rows("train")[..8], 2));
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
    let folder = tempfile::tempdir().unwrap();
    let report = run::<B>(&arguments(folder.path()), golden_rows("train"), fresh(), 0.0);
    let expected = &golden()["train"];
    check_log(&report.outcome.state, &expected["hand_log"]);
    check_adapter(&Adapter::read(&report.adapter).unwrap(), "adapter_final_hand");
    check_adapter(&Adapter::read(&report.adapter).unwrap(), "adapter_final_trl");
    let eval = report.outcome.state.evaluation_at(20).unwrap();
    assert_close("validation loss", eval, expected["eval_after"]["4"]["token_mean"].as_f64().unwrap(), 1e-5);
}

pub fn twenty_unclipped_steps_follow_sft_trainer<B: AutodiffBackend>() {
    let folder = tempfile::tempdir().unwrap();
    let args = TrainingArguments { max_grad_norm: 0.0, ..arguments(folder.path()) };
    let report = run::<B>(&args, golden_rows("train"), fresh(), 0.0);
    check_log(&report.outcome.state, &json("noclip.json")["tiny"]["hand_log"]);
    check_adapter(&report.outcome.adapter, "adapter_final_noclip_hand");
}

pub fn ragged_epochs_follow_sft_trainer<B: AutodiffBackend>() {
    let folder = tempfile::tempdir().unwrap();
    let args = TrainingArguments { max_steps: None, num_train_epochs: 3, ..arguments(folder.path()) };
    let report = run::<B>(&args, golden_rows("train")[..61].to_vec(), fresh(), 0.0);
    check_log(&report.outcome.state, &golden()["train_ragged61"]["hand_log"]);
    check_adapter(&report.outcome.adapter, "adapter_final_ragged61_hand");
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
    let (loss, gradients) = loss_and_gradients(&model, window(rows, 1));
    for micro_batch in [2, 3, 8] {
        let (other_loss, other_gradients) = loss_and_gradients(&model, window(rows, micro_batch));
        assert_close("loss", other_loss, loss, 1e-6);
        for (a, b) in gradients.iter().zip(&other_gradients) {
            let scale = a.iter().fold(0.0f32, |max, v| max.max(v.abs()));
            let difference = max_difference(a, b) / scale;
            assert!(difference < 1e-4, "micro batches of {micro_batch}: {difference:e} of the largest");
        }
    }
}

pub fn evaluation_does_not_depend_on_the_batch_size<B: AutodiffBackend>() {
    let model = with_adapter::<B::InnerBackend>("adapter_final_hand");
    let expected = &golden()["train"]["eval_after"];
    for size in [1, 4, 16] {
        let batches = evaluation_batches(&golden_rows("eval"), size, PAD);
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
        let resumed = run::<B>(&args, golden_rows("train"), Start::Resumed(Box::new(saved)), 0.1);
        assert_eq!(resumed.outcome.state, whole.outcome.state);
        assert_eq!(resumed.outcome.adapter, whole.outcome.adapter);
    }
    let last = latest_checkpoint(&args.output_dir).unwrap();
    assert!(last.ends_with("checkpoint-20"));
    let finished = run::<B>(&args, golden_rows("train"), Start::Resumed(Box::new(SavedRun::read(&last).unwrap())), 0.1);
    assert_eq!(finished.outcome.adapter, whole.outcome.adapter);
}

/// A learning rate that soon does harm: the best evaluation is an early one, and that adapter is what remains.
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
        ..arguments(folder.path())
    };
    let report = run::<B>(&args, golden_rows("train"), fresh(), 0.0);
    let state = &report.outcome.state;
    let best = state.best_global_step.unwrap();
    assert!(state.global_step < 40 && state.global_step == best + 6, "stopped at {} after {best}", state.global_step);
    assert_eq!(state.evaluation_at(best), state.best_metric);
    let losses: Vec<f64> = (1..=state.global_step).filter_map(|step| state.evaluation_at(step)).collect();
    assert_eq!(losses.iter().copied().reduce(f64::min), state.best_metric);

    // Best and latest stay, nothing else; the best one is at the root.
    let kept = |name: &str| args.output_dir.join(name).exists();
    assert!(kept(&format!("checkpoint-{best}")) && kept(&format!("checkpoint-{}", state.global_step)));
    let checkpoints = std::fs::read_dir(&args.output_dir).unwrap();
    let count = checkpoints.filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().starts_with("checkpoint-"));
    assert_eq!(count.count(), 2);
    assert!(state.best_model_checkpoint.as_ref().unwrap().ends_with(&format!("checkpoint-{best}")));
    let root = Adapter::read(&report.adapter).unwrap();
    assert_eq!(root, Adapter::read(&args.output_dir.join(format!("checkpoint-{best}"))).unwrap());
    let batches = evaluation_batches(&golden_rows("eval"), 8, PAD);
    let loss = evaluate(&root.attach(base::<B::InnerBackend>(), 0.0), batches, |_| true).unwrap().loss;
    assert_close("the root adapter's loss", loss, state.best_metric.unwrap(), 1e-9);
}

#[test]
fn the_plan_of_the_golden_run_is_the_trainers() {
    let args = TrainingArguments { num_train_epochs: 3, max_steps: None, ..arguments(Path::new("unused")) };
    assert_eq!(batch_plan(&args, 61).total_steps(), 24);
    assert_eq!(tokenizer().pad_token_id as i32, PAD);
}

#[test]
fn only_the_adapter_is_a_parameter() {
    type B = burn::backend::Autodiff<burn::backend::Flex>;
    let model = with_adapter::<B>("adapter_init");
    assert_eq!(Module::<B>::num_params(&model), 2 * (4 * 64 + 64 * 4 + 4 * 64 + 32 * 4));
}
