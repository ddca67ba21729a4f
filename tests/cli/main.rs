//! The program by its binary, on the tiny golden model.

mod commands;
mod data;
mod errors;
mod hub;
mod resume;
mod support;
