//! Answering: prompt ids in, token ids out ([`generator`]), and text around it ([`chat`]).

pub mod chat;
pub mod choice;
pub mod generation;
pub mod generator;
pub mod parity;
pub mod sampler;
pub mod scoring;
