//! The simulator seen from outside: over HTTP, with a real git, and as a receiver of its webhooks.
//! Nothing here uses a forge client, so that no client's idea of a forge can creep in.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "the tests stand outside of everything that has wrappers"
)]

mod api;
mod faults;
mod git;
mod hooks;
mod oauth;
mod permissions;
mod pulls;
mod schema;
mod statuses;
mod support;
mod webhooks;
