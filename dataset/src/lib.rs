//! Builds the fitness and nutrition questions and answers, and checks them.
//!
//! # The map
//!
//! ```text
//! knowledge/*.jsonl ──> knowledge ──┐ verbatim rows
//!                                   ├──> splits ──> checker ──> three JSONL files
//!      (formulas) ──> computed ─────┘      │                    and the counts in the card
//!                                   overlaps.json
//! ```
//!
//! Read in this order: [`builder`], [`knowledge`], [`computed`], [`splits`], [`checker`].
//!
//! # What holds everywhere
//!
//! - The files are a function of `knowledge/`, `overlaps.json` and this code: every choice is made by [`dice`], whose
//!   hash and generator are fixed, and nothing depends on the order of a hash map.
//! - Nothing is written unless [`checker`] finds every bound kept.
//! - Only `main` prints.

use std::error::Error;

pub mod builder;
pub mod card;
pub mod checker;
pub mod computed;
pub mod dice;
pub mod knowledge;
pub mod overlaps;
pub mod row;
pub mod similarity;
pub mod splits;
pub mod wording;

/// Errors are sentences for whoever edits the knowledge: what, where, what to do. Nothing here matches on them.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;
