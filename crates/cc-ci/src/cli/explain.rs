//! `cc-ci explain comment`: what cc-ci would understand of a comment, and why.

use std::io::Read;

use clap::{Args, Subcommand};

use crate::bridge::commands;

use super::{Exit, Failure, Outcome};

#[derive(Debug, Subcommand)]
pub(super) enum ExplainCommand {
    /// What a comment on a pull request asks for, line by line; the comment comes on standard input
    Comment(CommentArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  printf '%s\\n' '> !testme' '' '!testme' | cc-ci explain comment")]
pub(super) struct CommentArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &ExplainCommand) -> Outcome {
    let ExplainCommand::Comment(args) = command;
    let mut bytes = Vec::new();
    // One byte more than is read of a comment, so that a longer one is told as such.
    let most = u64::try_from(commands::LONGEST_BODY).unwrap_or(u64::MAX).saturating_add(1);
    std::io::stdin()
        .take(most)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    let body = String::from_utf8(bytes)
        .map_err(|_| Failure::usage("the comment is not UTF-8, which a forge would not accept"))?;
    let explanation = commands::explain(&body);
    let text = if args.json {
        let json = serde_json::to_string_pretty(&explanation).map_err(|error| Failure::error(error.to_string()))?;
        format!("{json}\n")
    } else {
        explanation.to_string()
    };
    super::tools::print(text.as_bytes())?;
    Ok(Exit::Green)
}
