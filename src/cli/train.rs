//! `qwen-lora train`

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use burn::module::AutodiffModule;
use burn::tensor::DType;
use burn::tensor::backend::AutodiffBackend;
use burn::train::Interrupter;
use clap::Args;
use serde_json::json;

use super::comparison::{Answered, Questions, SCORED_ANSWERS, score_rows, side_by_side, table, test_records};
use super::fit::{refuse_what_cannot_fit, say_how_long_it_takes};
use super::progress::{RunFacts, Watcher};
use super::start::{Permissions, run_to_resume, start};
use super::{CommonArgs, Session, output, shell_quoted, signals};
use crate::backend::{Device, Job};
use crate::bad_input;
use crate::config::RunConfig;
use crate::data::check::{self, DataFile};
use crate::data::encode;
use crate::data::encode::EncodedRows;
use crate::data::jsonl::{self, Record, Rows};
use crate::data::tokenizer::{TOKENIZER_FILES, Tokenizer};
use crate::error::Interrupted;
use crate::files::copy_into;
use crate::inference::chat::{Mode, prompts};
use crate::inference::choice::generation;
use crate::inference::generation::GenerationConfig;
use crate::training::arguments::{IntervalStrategy, PassDefaults, Precision, SchedulerType};
use crate::training::lock::OutputLock;
use crate::training::strategy::Interruption;
use crate::training::trained::Trained;
use crate::training::trainer::{Start, StartWeights, Surroundings, TrainReport, TrainingData, batch_plan, train};
use crate::weights::generation_config::ModelGenerationConfig;
use crate::weights::hub;
use crate::weights::model::ModelFolder;

#[derive(Args)]
pub struct TrainArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Begin anew although training.output_dir holds a run: its checkpoints are removed
    #[arg(long)]
    overwrite: bool,
    /// Test questions that base and tuned model answer at the end, to be scored; 0: none
    #[arg(long, value_name = "N", default_value_t = SCORED_ANSWERS)]
    answers: usize,
    /// Resume although the config, the data or the base model has changed since the checkpoint
    #[arg(long)]
    accept_changes: bool,
    /// Start although the memory will probably not do
    #[arg(long)]
    ignore_memory: bool,
    /// Print lines even where the dashboard could be drawn
    #[arg(long)]
    no_dashboard: bool,
}

pub fn run(args: TrainArgs) -> Result<()> {
    let started = Instant::now();
    let session = Session::open(&args.common)?;
    let config = &session.config;
    // Where there is a folder already, before anything in it is looked at.
    let output_dir = &config.training.output_dir;
    let lock = if output_dir.is_dir() { Some(OutputLock::take(output_dir)?) } else { None };
    let saved = run_to_resume(&config.training)?;
    signals::install()?;
    let base = ModelFolder::open(&hub::resolve(&config.model_name, &session.hub)?)?;
    let tokenizer = Tokenizer::open(&base.path)?;
    let (train_records, eval_records) = checked_rows(config)?;
    let rows = |records: &Rows, path: &Path| -> Result<EncodedRows> {
        let rows = encode::encode(records, &tokenizer, config.encode_options(), path)?;
        rows.check_fits(base.config.vocab_size, base.config.max_position_embeddings, path)?;
        Ok(rows)
    };
    let train_rows = rows(&train_records, &config.train_file)?;
    let eval_rows = rows(&eval_records, &config.eval_file)?;
    let test_records = test_records(config, args.answers)?;
    let generation = how_to_answer(config, &base, &tokenizer, &test_records)?;
    describe_data(&session, &train_rows, &eval_rows);
    let permissions = Permissions { overwrite: args.overwrite, accept_changes: args.accept_changes };
    let start = start(&session, &base, &tokenizer, saved, permissions)?;

    let device = session.select_device();
    let precision = match config.lora {
        Some(_) => config.training.dtype,
        None => Precision::F32,
    };
    device.dtype(precision)?;
    let train_rows = Arc::new(train_rows.rows);
    let plan = Arc::new(batch_plan(&config.training, train_rows.len(), device.pass_defaults()));
    warn_about_short_runs(config, plan.total_steps());
    if device == Device::Cpu {
        say_how_long_it_takes(&plan, &base, &train_rows, &start);
    }
    if !args.ignore_memory {
        refuse_what_cannot_fit(&session, &device, &plan, &base, &start, &train_rows, precision)?;
    }
    let _lock = lock.map_or_else(|| OutputLock::take(output_dir), Ok)?;
    let mut facts = RunFacts::new(&session, &device, plan.total_steps());
    facts.dashboard = !args.no_dashboard;
    let data = TrainingData { train: train_rows, eval: eval_rows.rows };
    let job = Train {
        session: &session,
        base: &base,
        tokenizer: &tokenizer,
        start,
        data,
        test_records,
        generation,
        facts,
        pass_defaults: device.pass_defaults(),
    };
    let (report, comparison) = device.run(job, precision)?;
    summarise(&session, &report, comparison, started)
}

/// The rows to train on and to validate on (none where nothing evaluates), if nothing about them forbids training.
fn checked_rows(config: &RunConfig) -> Result<(Rows, Rows)> {
    let read =
        |path: &Path| -> Result<DataFile> { Ok(DataFile { path: path.to_path_buf(), scan: jsonl::scan(path)? }) };
    let mut files: Vec<DataFile> = vec![read(&config.train_file)?];
    if config.training.evaluation_strategy != IntervalStrategy::No {
        files.push(read(&config.eval_file)?);
    }
    let problems = check::blocking(&files);
    if !problems.is_empty() {
        bad_input!("{}", jsonl::list_problems(&problems));
    }
    let mut rows = files.into_iter().map(|file| file.scan.rows);
    Ok((rows.next().unwrap_or_default(), rows.next().unwrap_or_default()))
}

/// How base and tuned model will answer; refuses questions that they could not take, before hours are spent.
fn how_to_answer(
    config: &RunConfig,
    base: &ModelFolder,
    tokenizer: &Tokenizer,
    test_records: &[Record],
) -> Result<GenerationConfig> {
    let asked = test_records.iter().map(|record| record.question.clone());
    for questions in [config.inference.questions.clone(), asked.collect()] {
        prompts(tokenizer, &questions, base.config.vocab_size, base.config.max_position_embeddings)?;
    }
    generation(base, tokenizer, &config.inference)
}

fn describe_data(session: &Session, train: &EncodedRows, eval: &EncodedRows) {
    let config = &session.config;
    for (rows, path) in [(train, &config.train_file), (eval, &config.eval_file)] {
        if rows.rows.is_empty() {
            continue;
        }
        let count = rows.rows.len();
        output::inform(&format!("{}: {count} rows, {} labels", path.display(), rows.label_count()));
        if rows.truncated > 0 {
            output::warn(&format!(
                "{} of its rows are longer than max_length {} and lose their end, the end-of-sequence token included",
                rows.truncated, config.max_length
            ));
        }
    }
}

/// Settings made for a longer run than this one.
fn warn_about_short_runs(config: &RunConfig, steps: usize) {
    let args = &config.training;
    if args.lr_scheduler_type != SchedulerType::Constant && args.warmup_steps >= steps {
        output::warn(&format!(
            "all {steps} steps are within training.warmup_steps {}: the learning rate never reaches {:e}",
            args.warmup_steps, args.learning_rate
        ));
    }
    if args.logging_steps > steps {
        output::warn(&format!(
            "training.logging_steps {} is more than the {steps} steps there are: no training loss will be shown",
            args.logging_steps
        ));
    }
}

/// The command that this process was started with, made to resume.
fn resume_command() -> String {
    const RESUME: &str = "training.resume_from_checkpoint=";
    let mut words: Vec<String> = Vec::new();
    for word in std::env::args() {
        if word.starts_with(RESUME) {
            words.pop(); // its --set
        } else if !word.starts_with(&format!("--set={RESUME}")) && word != "--overwrite" {
            words.push(shell_quoted(&word));
        }
    }
    format!("{} --set {RESUME}true", words.join(" "))
}

struct Train<'a> {
    session: &'a Session,
    base: &'a ModelFolder,
    tokenizer: &'a Tokenizer,
    start: Start,
    data: TrainingData,
    test_records: Vec<Record>,
    generation: GenerationConfig,
    facts: RunFacts,
    pass_defaults: PassDefaults,
}

impl Job for Train<'_> {
    type Output = (TrainReport, Option<Comparison>);

    fn run<B: AutodiffBackend>(self, device: B::Device, dtype: DType) -> Result<Self::Output> {
        let Self { session, base, tokenizer, start, data, test_records, generation, facts, pass_defaults } = self;
        let config = &session.config;
        let model = match (&start.trained, &start.saved) {
            (StartWeights::Adapter(_), _) => base.load::<B>(&device, dtype),
            (StartWeights::InModel(_), None) => base.load_trained(&device),
            (StartWeights::InModel(_), Some(saved)) => ModelFolder::open(&saved.folder)?.load_trained(&device),
        };
        let interrupter = Interrupter::new();
        let watcher = Watcher::start(facts, interrupter.clone())?;
        signals::stop_training_with(interrupter.clone(), watcher.prints_lines());
        let (renderer, monitor) = (watcher.renderer(), watcher.monitor());
        let surroundings = Surroundings { renderer, monitor, interrupter, pass_defaults };
        let dropout = config.lora.as_ref().map_or(0.0, |lora| lora.lora_dropout);
        let report = train(model, start, dropout, &config.training, data, base.fingerprint(), surroundings);
        signals::exit_at_once();
        watcher.finish();
        let report = report?;
        if report.outcome.interrupted.is_some() {
            return Ok((report, None));
        }
        for file in TOKENIZER_FILES {
            copy_into(&tokenizer.folder().join(file), &report.output_dir)?;
        }
        if config.lora.is_none() {
            ModelGenerationConfig::read(&base.path)?.write_with_eos_of(tokenizer, &report.output_dir)?;
        }
        let questions = Questions::new(&config.inference.questions, &test_records);
        let of_base = questions.ask(&base.load::<B>(&device, dtype).valid(), tokenizer, &generation, "base")?;
        let tuned = match &report.outcome.trained {
            Trained::Adapter(adapter) => adapter.attach(base.load::<B>(&device, dtype), 0.0),
            Trained::Model(_) => ModelFolder::open(&report.output_dir)?.load(&device, dtype),
        };
        let of_tuned = questions.ask(&tuned.valid(), tokenizer, &generation, "tuned")?;
        Ok((report, Some(Comparison { base: of_base, tuned: of_tuned })))
    }
}

/// What the base and the tuned model answered.
struct Comparison {
    base: Answered,
    tuned: Answered,
}

fn summarise(session: &Session, report: &TrainReport, comparison: Option<Comparison>, started: Instant) -> Result<()> {
    let state = &report.outcome.state;
    if let Some(interruption) = &report.outcome.interrupted {
        let text = match interruption {
            Interruption::BeforeFirstStep => "stopped before the first step; there was nothing to save".to_string(),
            Interruption::Saved(checkpoint) => format!(
                "stopped at step {} of {}; saved {}. To go on: {}",
                state.global_step,
                state.max_steps,
                checkpoint.display(),
                resume_command()
            ),
        };
        return Err(Interrupted(text).into());
    }
    // Without load_best_model_at_end, what was kept is the last step's.
    let (which, kept) = match state.best_global_step {
        Some(best) if session.config.training.load_best_model_at_end => ("best step", best),
        _ => ("last step", state.global_step),
    };
    let (base_loss, loss) = (state.evaluation_at(0), state.evaluation_at(kept));
    let (speed, peak) = (report.outcome.label_tokens_per_s, output::peak_rss_mib());
    let seconds = started.elapsed().as_secs_f64();
    let what = if session.config.lora.is_some() { "adapter" } else { "model" };
    session.output.text(&format!(
        "{which}   {kept} of {}\n{what:<12}{}\nspeed       {} label tokens/s\npeak memory {peak:.0} MiB\ntime        \
         {seconds:.0} s\n\n",
        state.global_step,
        report.output_dir.display(),
        speed.map_or("-".into(), |speed| format!("{speed:.0}")),
    ))?;
    let scores = comparison.as_ref().map(|c| (c.base.scores, c.tuned.scores));
    let (base_scores, tuned_scores) = scores.unwrap_or_default();
    let mut rows = vec![("validation loss", base_loss.map(in_full), loss.map(in_full))];
    rows.extend(score_rows(base_scores, tuned_scores));
    session.output.text(&table(&rows))?;
    if let (Some(file), Some(scores)) = (&session.config.test_file, base_scores) {
        session.output.text(&format!("(answers to {} questions of {})\n", scores.answers, file.display()))?;
    }
    if let Some(Comparison { base, tuned }) = &comparison {
        let questions = &session.config.inference.questions;
        session.output.text(&side_by_side(questions, &base.answers, &tuned.answers))?;
    }
    session.output.object(&json!({
        "best_step": kept,
        "best_eval_loss": loss,
        "base_eval_loss": base_loss,
        "steps": state.global_step,
        "epochs": state.epoch,
        what: report.output_dir.display().to_string(),
        "label_tokens_per_s": speed,
        "seconds": seconds,
        "peak_rss_mib": peak,
        "base": comparison.as_ref().map(|c| &c.base),
        "tuned": comparison.as_ref().map(|c| &c.tuned),
    }))?;
    if let (Some(base), Some(tuned)) = (base_loss, loss)
        && tuned > base
    {
        output::warn(&format!(
            "the tuned model's validation loss {tuned:.4} is above the base's {base:.4}: lower training.learning_rate"
        ));
    }
    let inference = &session.config.inference;
    let ask = session.ask_command("inference.adapter_path", &inference.adapter_path, &report.output_dir);
    let mode = if inference.mode == Mode::Lora { "" } else { " --mode lora" };
    output::inform(&format!("\nask it: {ask}{mode}"));
    Ok(())
}

fn in_full(loss: f64) -> String {
    format!("{loss:.4}")
}
