//! From what people write on a pull request to what cc-ci does about it.
//!
//! `commands` reads a comment's text, `gate` decides whether its author may have what it asks for. Both are pure: they
//! take plain data and give plain data; facts are gathered, and decisions carried out, by their callers.
//! Text is read once, by [`commands::explain`]; nobody looks at the raw body a second time to decide.

pub mod commands;
pub mod facts;
pub mod gate;
mod lookalike;
mod markdown;
pub mod rights;
pub mod webhook;
