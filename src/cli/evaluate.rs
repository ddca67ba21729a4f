//! `qwen-lora evaluate`

use anyhow::Result;
use burn::module::AutodiffModule;
use burn::tensor::DType;
use burn::tensor::backend::AutodiffBackend;
use serde_json::json;

use super::{ModeArgs, Session, output, signals};
use crate::backend::Job;
use crate::data::batching::{MicroBatch, evaluation_batches};
use crate::data::{encode, jsonl};
use crate::inference::chat::Mode;
use crate::inference::choice::ModelChoice;
use crate::training::evaluate::{EvalMetrics, evaluate};

pub fn run(args: ModeArgs) -> Result<()> {
    let session = Session::open(&args.common)?;
    signals::install()?;
    let config = &session.config;
    let mode = args.mode.map(Mode::from).unwrap_or(config.inference.mode);
    let choice = ModelChoice::open(config, mode, &session.hub)?;
    let data = encode::encode(
        &jsonl::read(&config.eval_file)?,
        &choice.tokenizer,
        config.encode_options(),
        &config.eval_file,
    )?;
    data.check_fits(choice.base.config.vocab_size, choice.base.config.max_position_embeddings, &config.eval_file)?;
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
    let metrics = device.run(Evaluate { choice: &choice, batches }, config.training.dtype)?;
    session.output.text(&format!(
        "loss {:.4}, perplexity {:.2}, token accuracy {:.1} % over {} tokens ({})\n",
        metrics.loss,
        metrics.perplexity,
        100.0 * metrics.token_accuracy,
        metrics.tokens,
        mode.as_str()
    ))?;
    session.output.object(&json!({
        "mode": mode.as_str(),
        "loss": metrics.loss,
        "perplexity": metrics.perplexity,
        "token_accuracy": metrics.token_accuracy,
        "tokens": metrics.tokens,
    }))
}

struct Evaluate<'a> {
    choice: &'a ModelChoice,
    batches: Vec<MicroBatch>,
}

impl Job for Evaluate<'_> {
    type Output = EvalMetrics;

    fn run<B: AutodiffBackend>(self, device: B::Device, dtype: DType) -> Result<EvalMetrics> {
        let model = self.choice.load::<B>(&device, dtype).valid();
        let bar = output::progress_bar(self.batches.len(), "evaluating");
        let metrics = evaluate(&model, self.batches, |done| {
            bar.set_position(done as u64);
            true
        });
        bar.finish_and_clear();
        Ok(metrics.expect("nothing stops the evaluation"))
    }
}
