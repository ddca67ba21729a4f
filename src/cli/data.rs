//! `qwen-lora data check` and `qwen-lora data show`

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::{CommonArgs, Session, output};
use crate::bad_input;
use crate::data::check::{DataFile, Findings, Lengths, check};
use crate::data::encode::{EncodeOptions, EncodedRow, encode};
use crate::data::jsonl::{self, Rows};
use crate::data::tokenizer::Tokenizer;
use crate::training::arguments::PassDefaults;
use crate::training::trainer::batch_plan;
use crate::weights::hub;

#[derive(Subcommand)]
pub enum DataCommand {
    /// Report lengths, duplicates and oddities; exit with 2 where training must not start
    Check(CheckArgs),
    /// Print one row as the model sees it: each token with its id, what is trained on, what is cut
    Show(ShowArgs),
}

#[derive(Args)]
pub struct CheckArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Files to check together, as splits of one dataset [default: the config's train_file and eval_file]
    files: Vec<PathBuf>,
}

#[derive(Args)]
pub struct ShowArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Number of the row in its file, from 1
    #[arg(long, value_name = "N")]
    row: usize,
    #[arg(long, value_enum, default_value = "train")]
    split: Split,
}

#[derive(Clone, Copy, ValueEnum)]
enum Split {
    Train,
    Val,
}

pub fn run(command: DataCommand) -> Result<()> {
    match command {
        DataCommand::Check(args) => run_check(args),
        DataCommand::Show(args) => run_show(args),
    }
}

/// How many findings of a kind are listed for people; `--json` has them all.
const LISTED: usize = 10;

fn run_check(args: CheckArgs) -> Result<()> {
    let session = Session::open(&args.common)?;
    let config = &session.config;
    let paths =
        if args.files.is_empty() { vec![config.train_file.clone(), config.eval_file.clone()] } else { args.files };
    let bar = output::progress_bar(paths.len() + 1, "checking");
    let mut files = Vec::new();
    for path in paths {
        files.push(DataFile { scan: jsonl::scan(&path)?, path });
    }
    let findings = check(&files);
    bar.inc(1);
    let tokenizer = Tokenizer::open(&hub::resolve(&config.model_name, &session.hub)?)?;
    let mut lengths = Vec::new();
    for file in &files {
        // Records uncut, so that what max_length would cut shows; documents are cut into blocks in any case.
        let whole = EncodeOptions { max_length: usize::MAX, completion_only_loss: false };
        let Rows { records, documents } = file.scan.rows.clone();
        let records = Rows { records, documents: Vec::new() };
        let mut rows = encode(&records, &tokenizer, whole, &file.path)?.rows;
        let documents = Rows { records: Vec::new(), documents };
        rows.extend(encode(&documents, &tokenizer, config.encode_options(), &file.path)?.rows);
        lengths.push(Lengths::new(rows.iter().map(|row| row.input_ids.len()).collect(), config.max_length));
        bar.inc(1);
    }
    bar.finish_and_clear();
    report(&session, &files, &lengths, &findings)?;
    if !findings.blocking.is_empty() {
        bad_input!("{} findings forbid training", findings.blocking.len());
    }
    Ok(())
}

fn report(session: &Session, files: &[DataFile], lengths: &[Lengths], findings: &Findings) -> Result<()> {
    let config = &session.config;
    let steps = batch_plan(&config.training, lengths[0].rows.max(1), PassDefaults::CPU).steps_per_epoch();
    let mut objects = Vec::new();
    for (file, lengths) in files.iter().zip(lengths) {
        session.output.text(&describe(file, lengths, config.max_length))?;
        objects.push(json!({"file": file.path, "lengths": lengths}));
    }
    session.output.text(&format!("{steps} optimizer steps an epoch of {}\n", files[0].path.display()))?;
    let blocking = std::iter::once(("forbids training", &findings.blocking)).filter(|(_, found)| !found.is_empty());
    for (kind, found) in blocking.chain(findings.warnings.iter().map(|(kind, found)| (*kind, found))) {
        let more = found.len().saturating_sub(LISTED);
        let listed = found[..found.len() - more].iter().map(|line| format!("  {line}\n")).collect::<String>();
        let more = if more > 0 { format!("  ... and {more} more (--json lists all)\n") } else { String::new() };
        session.output.text(&format!("\n{kind}: {}\n{listed}{more}", found.len()))?;
    }
    if findings.blocking.is_empty() && findings.warnings.is_empty() {
        session.output.text("nothing odd was found\n")?;
    }
    session.output.object(&json!({
        "files": objects,
        "steps_per_epoch": steps,
        "blocking": findings.blocking,
        "warnings": findings.warnings,
    }))
}

fn describe(file: &DataFile, lengths: &Lengths, max_length: usize) -> String {
    let Lengths { rows, tokens, p5, p50, p95, p99, max, longer_than_max_length, histogram } = lengths;
    let widest = histogram.iter().map(|(_, rows)| *rows).max().unwrap_or(0).max(1);
    let bars: String = histogram
        .iter()
        .map(|(upto, rows)| format!("  up to {upto:>5}  {rows:>6}  {}\n", "#".repeat((rows * 40).div_ceil(widest))))
        .collect();
    let in_blocks = match file.scan.rows.documents.len() {
        0 => String::new(),
        documents => format!(" (texts, {documents} of them, in blocks)"),
    };
    format!(
        "{}: {rows} rows{in_blocks}, {tokens} tokens; 5 % have up to {p5} tokens, half {p50}, 95 % {p95}, 99 % {p99}, \
         all {max}; {longer_than_max_length} are longer than max_length {max_length}\n{bars}",
        file.path.display()
    )
}

fn run_show(args: ShowArgs) -> Result<()> {
    let session = Session::open(&args.common)?;
    let config = &session.config;
    let path = match args.split {
        Split::Train => &config.train_file,
        Split::Val => &config.eval_file,
    };
    let records = jsonl::read(path)?.records;
    if records.is_empty() {
        bad_input!("{} holds plain text only, which is cut into blocks: there are no rows to show", path.display());
    }
    let Some(record) = args.row.checked_sub(1).and_then(|index| records.get(index)) else {
        bad_input!("{} has rows 1 to {}; there is no row {}", path.display(), records.len(), args.row);
    };
    let tokenizer = Tokenizer::open(&hub::resolve(&config.model_name, &session.hub)?)?;
    let options = EncodeOptions { max_length: usize::MAX, ..config.encode_options() };
    let rows = Rows { records: vec![record.clone()], documents: Vec::new() };
    let row = encode(&rows, &tokenizer, options, path)?.rows.remove(0);
    let tokens = tokens(&row, &tokenizer, config.max_length)?;
    session.output.text(&format!("{}:{}\n", path.display(), record.line))?;
    let colour = std::io::stdout().is_terminal();
    for token in &tokens {
        session.output.text(&token.line(colour))?;
    }
    let trained = tokens.iter().filter(|token| token.fate == Fate::Trained).count();
    session.output.text(&format!("{} tokens, {trained} of them trained on\n", tokens.len()))?;
    let list: Vec<_> = tokens
        .iter()
        .map(|t| json!({"id": t.id, "text": t.text, "trained": t.fate == Fate::Trained, "cut": t.fate == Fate::Cut}))
        .collect();
    session.output.object(&json!({"file": path, "line": record.line, "tokens": list}))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Read, but its prediction isn't scored.
    Context,
    /// The model learns to predict it.
    Trained,
    /// Beyond `max_length`.
    Cut,
}

struct ShownToken {
    position: usize,
    id: i32,
    text: String,
    fate: Fate,
    is_eos: bool,
}

fn tokens(row: &EncodedRow, tokenizer: &Tokenizer, max_length: usize) -> Result<Vec<ShownToken>> {
    let shown = |(position, id): (usize, &i32)| {
        let fate = match position {
            p if p >= max_length => Fate::Cut,
            p if p > 0 && row.labelled.contains(&(p - 1)) => Fate::Trained,
            _ => Fate::Context,
        };
        let text = tokenizer.decode(&[*id as u32], false)?;
        Ok(ShownToken { position, id: *id, text, fate, is_eos: *id as u32 == tokenizer.eos_token_id })
    };
    row.input_ids.iter().enumerate().map(shown).collect()
}

impl ShownToken {
    fn line(&self, colour: bool) -> String {
        let (word, code) = match self.fate {
            Fate::Context => ("context", "2"),
            Fate::Trained => ("trained on", "32"),
            Fate::Cut => ("cut by max_length", "31"),
        };
        let eos = if self.is_eos { "  <- end of sequence" } else { "" };
        let line = format!("{:>5}  {:>6}  {:<20?}  {word}{eos}", self.position, self.id, self.text);
        if colour { format!("\x1b[{code}m{line}\x1b[0m\n") } else { format!("{line}\n") }
    }
}
