//! cc-ci: the CI and upgrade robot for Co-op Cloud recipes.
//!
//! `ARCHITECTURE.md` says what is where and who may use whom.

pub mod domain;
