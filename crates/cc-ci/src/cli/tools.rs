//! `cc-ci completions`, `cc-ci man`, and the hidden `cc-ci dev`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Subcommand};

use super::{Cli, Context, Exit, Failure, Outcome};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write one page per command into this folder instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum DevCommand {
    /// Start a simulated forge to try the bridge on
    Forge(super::forge_sim::ForgeArgs),
    /// Show the results pages on made-up history
    Pages(super::pages::PagesArgs),
    /// Print the JSON Schema of results.json
    Schema,
    /// Print the reference of results.json
    ReferenceResults,
    /// Print the reference of profile.toml
    ReferenceProfile,
    /// Print the reference of the policy and its findings
    ReferencePolicy,
}

pub(super) fn completions(args: &CompletionsArgs) -> Outcome {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cc-ci", &mut out);
    print(&out)
}

pub(super) fn man(args: &ManArgs) -> Outcome {
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
            .map_err(|error| Failure::usage(format!("cannot write manual pages to {}: {error}", dir.display())))?;
        return Ok(Exit::Green);
    }
    let mut out = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut out)
        .map_err(|error| Failure::usage(format!("cannot make the manual page: {error}")))?;
    print(&out)
}

pub(super) async fn dev(command: DevCommand, context: Context) -> Outcome {
    match command {
        DevCommand::Forge(args) => super::forge_sim::run(args, context).await,
        DevCommand::Pages(args) => super::pages::run(args, context).await,
        DevCommand::Schema => {
            let schema = serde_json::to_string_pretty(&crate::results::schema::json_schema())
                .map_err(|error| Failure::usage(error.to_string()))?;
            print(format!("{schema}\n").as_bytes())
        }
        DevCommand::ReferenceResults => print(crate::results::reference::markdown().as_bytes()),
        DevCommand::ReferenceProfile => print(crate::harness::profile::reference_markdown().as_bytes()),
        DevCommand::ReferencePolicy => print(recipe::policy::reference_markdown().as_bytes()),
    }
}

/// Writes to standard output; a reader that went away (`| head`) is fine.
pub(super) fn print(bytes: &[u8]) -> Outcome {
    match std::io::stdout().write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(Exit::Green),
    }
}
