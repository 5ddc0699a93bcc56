//! Whole stories of the bridge: a simulated forge with real HTTP and signed webhooks, the real server on loopback, and an
//! executor that follows a script. What is promised to people on a pull request is shown here.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the contract's scenarios use the rest of it")]
#[path = "../forge_contract/world.rs"]
mod forge;

mod answers;
mod browser;
mod buttons;
mod comments;
mod crashes;
mod disk;
mod login;
mod order;
mod real;
mod scripted;
mod served;
mod story;
mod world;
