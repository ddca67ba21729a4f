//! Errors that decide the exit code; everything else travels as [`anyhow::Error`].

use std::fmt;

/// The user's input cannot be used: a bad config, data file, model, tokenizer or adapter, or a hub id out of reach.
/// The program exits with code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadInput(pub String);

/// Training was asked to stop, saved a checkpoint and did. The program exits with code 130.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Interrupted(pub String);

/// `bail!` for the user's input.
#[macro_export]
macro_rules! bad_input {
    ($($arg:tt)*) => { return Err($crate::error::BadInput(format!($($arg)*)).into()) };
}

/// Turns a failure to read or parse the user's files into [`BadInput`], keeping the cause in the text.
pub trait OrBadInput<T> {
    fn or_bad_input<D: fmt::Display>(self, what: impl FnOnce() -> D) -> anyhow::Result<T>;
}

impl<T, E: fmt::Display> OrBadInput<T> for Result<T, E> {
    fn or_bad_input<D: fmt::Display>(self, what: impl FnOnce() -> D) -> anyhow::Result<T> {
        self.map_err(|error| BadInput(format!("{}: {error}", what())).into())
    }
}
