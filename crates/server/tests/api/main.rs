//! The API of the running program: who may do what, what it changes, and what is kept.

mod client;
mod fuzzed;
mod guarded;
mod lists;
mod members;
mod settings;
mod tokens;
