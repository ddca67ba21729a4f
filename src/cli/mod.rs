//! The command line: one verb per file. The only code that reads arguments and the environment, prints and exits.

mod comparison;
mod dashboard;
mod data;
mod evaluate;
mod fit;
mod gpu_memory;
mod infer;
mod init;
mod merge;
mod output;
mod progress;
mod signals;
mod start;
mod train;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::backend::{self, Device, Selection};
use crate::config::RunConfig;
use crate::error::{BadInput, Interrupted};
use crate::files::is_same_folder;
use crate::inference::chat::Mode;
use crate::inference::choice::ModelChoice;
use crate::weights::hub::HubSettings;
use output::Output;

/// Fine-tune Qwen2.5 with LoRA on questions and answers, and answer with the result.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fine-tune the model and write the adapter to training.output_dir
    Train(train::TrainArgs),
    /// Score the validation file (loss, perplexity, token accuracy) and answers to the test file's questions
    Evaluate(evaluate::EvaluateArgs),
    /// Answer questions: those given, or the config's
    Infer(infer::InferArgs),
    /// Fold the adapter into its base and write a model folder that transformers and vLLM load
    Merge(merge::MergeArgs),
    /// Write a new model: a tokenizer trained on files, and initial weights of a shape
    Init(init::InitArgs),
    /// Look at data files: check them all, or show one row as the model sees it
    #[command(subcommand)]
    Data(data::DataCommand),
}

/// What every command takes.
#[derive(Args)]
struct CommonArgs {
    /// The file that drives everything
    #[arg(long, value_name = "FILE", default_value = "configurations/config.json")]
    config: PathBuf,
    /// Override a key of the config; VALUE is JSON, or else a string. Repeatable
    #[arg(long = "set", value_name = "path.to.key=VALUE")]
    set: Vec<String>,
    /// Print JSON on stdout, one object a line
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ModeArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Which weights: the base, the base with the adapter, or the merged model [default: inference.mode]
    #[arg(long)]
    mode: Option<ModeChoice>,
    /// Use an adapter although it was trained on other weights or with another template
    #[arg(long)]
    allow_mismatch: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ModeChoice {
    Base,
    Lora,
    Merged,
}

impl From<ModeChoice> for Mode {
    fn from(choice: ModeChoice) -> Self {
        match choice {
            ModeChoice::Base => Self::Base,
            ModeChoice::Lora => Self::Lora,
            ModeChoice::Merged => Self::Merged,
        }
    }
}

/// A command's surroundings: the config, where to print, where models come from.
struct Session {
    config: RunConfig,
    output: Output,
    hub: HubSettings,
    /// What follows a verb to use the same config again.
    same_config: Vec<String>,
}

impl Session {
    fn open(args: &CommonArgs) -> Result<Self> {
        let config = RunConfig::load(&args.config, &args.set)?;
        let hub = HubSettings::from_variables(|name| std::env::var(name).ok(), true);
        let mut same_config = vec!["--config".to_string(), args.config.display().to_string()];
        same_config.extend(args.set.iter().flat_map(|set| ["--set".to_string(), set.clone()]));
        Ok(Self { config, output: Output::new(args.json), hub, same_config })
    }

    /// The command that asks what lies in a folder, as it would be typed: the same config, in which `key` names the folder.
    fn ask_command(&self, key: &str, configured: &Path, folder: &Path) -> String {
        let program = std::env::args().next().unwrap_or_else(|| "qwen-lora".into());
        let mut words = vec![program, "infer".to_string()];
        words.extend(self.same_config.iter().cloned());
        if !is_same_folder(configured, folder) {
            // What reads as JSON has to be a JSON string.
            let text = folder.display().to_string();
            let is_json = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            let value = if is_json { serde_json::Value::from(text).to_string() } else { text };
            words.extend(["--set".to_string(), format!("{key}={value}")]);
        }
        words.iter().map(|word| shell_quoted(word)).collect::<Vec<_>>().join(" ")
    }

    /// Finds the device; says loudly why it is not the GPU where the config asks for one.
    fn select_device(&self) -> Device {
        let Selection { device, fallback } = backend::select(self.config.device);
        if let Some(why) = fallback {
            output::warn(&format!("the config asks for the GPU, but {why}. Using the CPU, which is many times slower"));
        }
        if device.is_new() {
            let name = device.name();
            output::inform(&format!("the first run on {name} compiles its kernels; the first steps take minutes"));
        }
        gpu_memory::exit_when_it_runs_out(&device);
        device
    }

    /// Says what will answer.
    fn announce(&self, choice: &ModelChoice) {
        for warning in &choice.warnings {
            output::warn(warning);
        }
        output::inform(&format!("using {}", choice.description));
    }
}

/// A word as a shell reads it back.
fn shell_quoted(word: &str) -> String {
    let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c));
    if plain && !word.is_empty() { word.to_string() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// Runs the program; the exit code is 0, 1, 2 (the user's input) or 130 (interrupted).
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Train(args) => train::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Infer(args) => infer::run(args),
        Command::Merge(args) => merge::run(args),
        Command::Init(args) => init::run(args),
        Command::Data(command) => data::run(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &anyhow::Error) -> ExitCode {
    if output::is_closed_pipe(error) {
        return ExitCode::SUCCESS; // the reader (`| head`) has what it wanted
    }
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        output::complain(&interrupted.to_string());
        return ExitCode::from(130);
    }
    output::complain(&format!("error: {error:#}"));
    let bad_input = error.chain().any(|cause| cause.is::<BadInput>());
    ExitCode::from(if bad_input { 2 } else { 1 })
}
