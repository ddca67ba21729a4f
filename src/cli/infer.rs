//! `qwen-lora infer`

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use burn::module::AutodiffModule;
use burn::tensor::DType;
use burn::tensor::backend::{AutodiffBackend, Backend};
use clap::Args;
use serde_json::{Value, json};

use super::output::{self, Output};
use super::{ModeArgs, Session, signals};
use crate::backend::Job;
use crate::bad_input;
use crate::data::tokenizer::Tokenizer;
use crate::inference::chat::{Mode, Progress, answer};
use crate::inference::choice::ModelChoice;
use crate::inference::generation::GenerationConfig;
use crate::model::Qwen2ForCausalLm;

#[derive(Args)]
pub struct InferArgs {
    #[command(flatten)]
    mode: ModeArgs,
    /// A question to answer instead of the config's. Repeatable
    #[arg(long, value_name = "TEXT")]
    question: Vec<String>,
}

pub fn run(args: InferArgs) -> Result<()> {
    let session = Session::open(&args.mode.common)?;
    signals::install()?;
    let config = &session.config;
    let questions = if args.question.is_empty() { &config.inference.questions } else { &args.question };
    if questions.is_empty() {
        bad_input!("there is nothing to answer: give --question TEXT, or fill inference.questions");
    }
    if questions.iter().any(|question| question.trim().is_empty()) {
        bad_input!("--question must not be empty");
    }
    let mode = args.mode.mode.map(Mode::from).unwrap_or(config.inference.mode);
    let choice = ModelChoice::open(config, mode, &session.hub, args.mode.allow_mismatch)?;
    let generation = choice.generation(&config.inference)?;
    session.announce(&choice);
    warn_about_ignored_sampling(&session, &generation);
    let log = open_log(&config.training.logging_dir)?;
    let device = session.select_device();
    let job = Infer { session: &session, choice: &choice, generation: &generation, questions, mode, log };
    device.run(job, config.training.dtype)
}

/// A temperature that has no effect should not go unnoticed.
fn warn_about_ignored_sampling(session: &Session, generation: &GenerationConfig) {
    let asked = &session.config.inference.generation;
    let wants = asked.temperature.is_some_and(|t| t > 0.0) || asked.top_p.is_some() || asked.top_k.is_some();
    if generation.sampling.is_none() && asked.do_sample.is_none() && asked.temperature != Some(0.0) && wants {
        output::warn(
            "the model's generation_config.json does not sample, so temperature, top_p and top_k have no effect; set \
             inference.generation.do_sample to true to use them",
        );
    }
}

/// `logging_dir/inference.jsonl`, opened before the first answer is computed.
fn open_log(folder: &Path) -> Result<File> {
    let path = folder.join("inference.jsonl");
    let what = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder).with_context(what)?;
    OpenOptions::new().create(true).append(true).open(&path).with_context(what)
}

struct Infer<'a> {
    session: &'a Session,
    choice: &'a ModelChoice,
    generation: &'a GenerationConfig,
    questions: &'a [String],
    mode: Mode,
    log: File,
}

impl Job for Infer<'_> {
    type Output = ();

    fn run<B: AutodiffBackend>(mut self, device: B::Device, dtype: DType) -> Result<()> {
        let model = self.choice.load::<B>(&device, dtype).valid();
        let output = self.session.output;
        print_answers(&model, &self.choice.tokenizer, self.generation, self.questions, output, |object| {
            output.object(&object)?;
            self.log(&object)
        })
    }
}

impl Infer<'_> {
    /// Appends question and answer to the log.
    fn log(&mut self, object: &Value) -> Result<()> {
        let mut entry = object.clone();
        entry["mode"] = json!(self.mode.as_str());
        entry["model"] = json!(self.choice.description);
        writeln!(self.log, "{entry}").context("cannot write the log of answers")
    }
}

/// Prints each question and, as it comes, its answer; `on_answer` gets both with the ids behind them. Questions are
/// answered side by side but printed one after the other.
pub fn print_answers<B: Backend>(
    model: &Qwen2ForCausalLm<B>,
    tokenizer: &Tokenizer,
    generation: &GenerationConfig,
    questions: &[String],
    output: Output,
    on_answer: impl FnMut(Value) -> Result<()>,
) -> Result<()> {
    let mut printer = InOrder {
        questions,
        output,
        on_answer,
        begun: false,
        current: 0,
        waiting: vec![Waiting::default(); questions.len()],
    };
    let mut printed = Ok(());
    answer(model, tokenizer, generation, questions, |progress| {
        printed = printer.hear(progress);
        printed.is_ok()
    })?;
    printed
}

/// Prints one answer at a time and keeps the others until their turn.
struct InOrder<'a, F> {
    questions: &'a [String],
    output: Output,
    on_answer: F,
    /// Whether anything was printed.
    begun: bool,
    /// The question whose answer is being printed.
    current: usize,
    waiting: Vec<Waiting>,
}

/// What is known of an answer that is not printed yet.
#[derive(Clone, Default)]
struct Waiting {
    text: String,
    finished: Option<Value>,
}

impl<F: FnMut(Value) -> Result<()>> InOrder<'_, F> {
    /// Prints the current question, if there is one more, and what is known of its answer.
    fn begin(&self) -> Result<()> {
        let Some(question) = self.questions.get(self.current) else { return Ok(()) };
        let text = &self.waiting[self.current].text;
        self.output.text(&format!("Question: {question}\nAnswer: {text}"))
    }

    fn hear(&mut self, progress: Progress) -> Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.begin()?;
        }
        match progress {
            Progress::Text(number, piece) if number == self.current => self.output.text(piece)?,
            Progress::Text(number, piece) => self.waiting[number].text.push_str(piece),
            Progress::Finished(number, answer) => {
                self.waiting[number].finished = Some(json!({
                    "question": self.questions[number],
                    "answer": answer.text,
                    "prompt_token_ids": answer.prompt_token_ids,
                    "token_ids": answer.token_ids,
                    "finish_reason": answer.finish_reason.as_str(),
                    "tokens_per_second": answer.tokens_per_second,
                }));
            }
        }
        while let Some(object) = self.waiting.get_mut(self.current).and_then(|waiting| waiting.finished.take()) {
            self.output.text("\n\n")?;
            (self.on_answer)(object)?;
            self.current += 1;
            self.begin()?;
        }
        Ok(())
    }
}
