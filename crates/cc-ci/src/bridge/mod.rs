//! From what people write on a pull request to what cc-ci does about it.
//!
//! A delivery goes from `intake` (the door for webhooks) or `poll` (what webhooks missed) into the journal, and `process`
//! decides it. `commands` reads a comment's text, `gate` decides whether its author may have what it asks for. Both are pure: they
//! take plain data and give plain data; facts are gathered, and decisions carried out, by their callers.
//! Text is read once, by [`commands::explain`]; nobody looks at the raw body a second time to decide.

pub mod commands;
pub mod context;
pub mod enrol;
pub mod facts;
pub mod gate;
pub mod gather;
pub mod intake;
mod lookalike;
mod markdown;
pub mod poll;
pub mod process;
pub mod pulls;
pub mod rights;
pub mod webhook;
