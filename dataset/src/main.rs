use std::path::Path;
use std::process::ExitCode;

use fitness_dataset::{Result, builder};

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built = builder::build(folder)?;
    for warning in &built.warnings {
        eprintln!("warning: {warning}");
    }
    built.write(folder)?;
    for (split, rows) in built.splits.each() {
        println!("{}: {} rows", split.file(), rows.len());
    }
    Ok(())
}
