//! The results pages, over real HTTP on loopback, on made-up history: who may what, what hostile runs can do, the live
//! log, and what a browser makes of it with and without JavaScript.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod api;
mod browser;
mod content;
mod hostile;
mod live;
mod login;
mod remote;
mod style;
mod support;
