//! `qwen-lora evaluate`

use anyhow::Result;
use burn::module::AutodiffModule;
use burn::tensor::DType;
use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use serde_json::json;

use super::comparison::{SCORED_ANSWERS, test_records};
use super::{ModeArgs, Session, output, signals};
use crate::backend::Job;
use crate::data::batching::{MicroBatch, evaluation_batches};
use crate::data::jsonl::Record;
use crate::data::{encode, jsonl};
use crate::inference::chat::Mode;
use crate::inference::choice::ModelChoice;
use crate::inference::generation::GenerationConfig;
use crate::inference::scoring::{AnswerScores, score};
use crate::training::evaluate::{EvalMetrics, evaluate};

#[derive(Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    mode: ModeArgs,
    /// Questions of test_file to answer and score; 0: none
    #[arg(long, value_name = "N", default_value_t = SCORED_ANSWERS)]
    answers: usize,
}

pub fn run(args: EvaluateArgs) -> Result<()> {
    let session = Session::open(&args.mode.common)?;
    signals::install()?;
    let config = &session.config;
    let mode = args.mode.mode.map(Mode::from).unwrap_or(config.inference.mode);
    let choice = ModelChoice::open(config, mode, &session.hub, args.mode.allow_mismatch)?;
    let data = encode::encode(
        &jsonl::read(&config.eval_file)?,
        &choice.tokenizer,
        config.encode_options(),
        &config.eval_file,
    )?;
    data.check_fits(choice.base.config.vocab_size, choice.base.config.max_position_embeddings, &config.eval_file)?;
    let (records, generation) = (test_records(config, args.answers)?, choice.generation(&config.inference)?);
    session.announce(&choice);
    if data.truncated > 0 {
        output::warn(&format!(
            "{} of {} rows were cut at max_length {}",
            data.truncated,
            data.rows.len(),
            config.max_length
        ));
    }
    let device = session.select_device();
    let passes = config.training.passes(config.training.per_device_eval_batch_size, device.pass_defaults());
    let batches = evaluation_batches(&data.rows, passes);
    let job = Evaluate { choice: &choice, batches, records, generation };
    let what = match (mode, &choice.adapter) {
        (Mode::Lora, None) => "all weights tuned",
        _ => mode.as_str(),
    };
    let (metrics, scores) = device.run(job, config.training.dtype)?;
    session.output.text(&format!(
        "loss {:.4}, perplexity {:.2}, token accuracy {:.1} % over {} tokens ({})\n",
        metrics.loss,
        metrics.perplexity,
        100.0 * metrics.token_accuracy,
        metrics.tokens,
        what
    ))?;
    if let Some(scores) = scores {
        session.output.text(&format!(
            "{} answers: token F1 {:.3}, {:.1} % ended by the model\n",
            scores.answers,
            scores.token_f1,
            100.0 * scores.ended
        ))?;
    }
    session.output.object(&json!({
        "mode": mode.as_str(),
        "loss": metrics.loss,
        "perplexity": metrics.perplexity,
        "token_accuracy": metrics.token_accuracy,
        "tokens": metrics.tokens,
        "answers": scores,
    }))
}

struct Evaluate<'a> {
    choice: &'a ModelChoice,
    batches: Vec<MicroBatch>,
    /// To be answered; may be none.
    records: Vec<Record>,
    generation: GenerationConfig,
}

impl Job for Evaluate<'_> {
    type Output = (EvalMetrics, Option<AnswerScores>);

    fn run<B: AutodiffBackend>(self, device: B::Device, dtype: DType) -> Result<Self::Output> {
        let model = self.choice.load::<B>(&device, dtype).valid();
        let bar = output::progress_bar(self.batches.len(), "evaluating");
        let metrics = evaluate(&model, self.batches, |done| {
            bar.set_position(done as u64);
            true
        });
        bar.finish_and_clear();
        let metrics = metrics.expect("nothing stops the evaluation");
        if self.records.is_empty() {
            return Ok((metrics, None));
        }
        let bar = output::progress_bar(self.records.len(), "answering");
        let tokenizer = &self.choice.tokenizer;
        let scores = score(&model, tokenizer, &self.generation, &self.records, |done| bar.set_position(done as u64))?;
        bar.finish_and_clear();
        Ok((metrics, Some(scores)))
    }
}
