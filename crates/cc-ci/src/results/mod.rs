//! Everything that is made of a finished run: results.json, JUnit, badge, card, tables and the first page's picture.
//!
//! All of it is rendered from [`Run`] alone, so no two of them can disagree. This module knows neither harness nor
//! Docker nor forge. The rule to know: rendering never changes a verdict. results.json is written first, whole or not
//! at all; whatever goes wrong in a renderer afterwards, panics included, becomes a warning.

pub mod badge;
pub mod card;
pub mod junit;
pub mod markdown;
mod picture;
pub mod reference;
pub mod sanitise;
pub mod schema;
pub mod screenshot;
mod svg;
pub mod terminal;
pub mod words;
mod write;

#[cfg(test)]
mod sample;

pub use picture::PictureError;
pub use svg::{DrawError, to_png};
pub use write::{WriteError, Written, write_all, write_results_json};
