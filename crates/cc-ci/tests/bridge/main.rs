//! The bridge's durable heart: comments, gate, store, queue and publishing, without a network and without Docker.

#![allow(clippy::unwrap_used)]

mod comments;
mod echo;
mod gate;
mod model;
mod publish;
mod queue;
mod store;
mod support;

/// A time, in seconds after an arbitrary beginning.
fn at(seconds: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}
