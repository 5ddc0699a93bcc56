//! The program `cc-ci`: everything is in the library.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    cc_ci::cli::main().await
}
