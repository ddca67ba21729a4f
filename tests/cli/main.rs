//! The program by its binary, on the tiny golden model.

mod commands;
mod data;
mod errors;
mod faults;
mod hub;
mod resume;
mod support;
mod terminal;
