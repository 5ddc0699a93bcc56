//! What a Co-op Cloud recipe says, and what may be deployed of it.
//!
//! A recipe is untrusted text. This crate reads it as docker/cli and abra would, judges it by a policy, and writes a compose file of its
//! own ([`plan`]). It has no network, no Docker, no async and no file access: whoever calls it brings the files as a [`Tree`].

pub mod abra_sh;
mod app_env;
pub mod compose;
pub mod duration;
pub mod env;
mod finding;
pub mod image;
pub mod interpolate;
pub mod labels;
mod plan;
pub mod policy;
pub mod secrets;
pub mod traefik;
mod tree;
pub mod version;
pub mod yaml;

pub use app_env::{app_env, compose_files, stack_name};
pub use finding::{Finding, Place, Severity};
pub use interpolate::Env;
pub use plan::*;
pub use policy::Policy;
pub use tree::{Entry, Tree, TreeError, normalise};
pub use version::RecipeVersion;
