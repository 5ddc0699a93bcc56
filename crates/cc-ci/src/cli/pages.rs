//! `cc-ci dev pages`: the results pages on made-up history, to look at.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};

use crate::web::seed::served::{Wish, serve};

use super::{Context, Exit, Failure, Outcome};

#[derive(Debug, Args)]
#[command(
    after_help = "Prints where the pages are, the number of the run that runs, and a token to log in with, one NAME=value a \
    line, and serves until it is stopped. Nothing is executed: what is asked for stays in the queue."
)]
pub(super) struct PagesArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8421")]
    listen: SocketAddr,
    /// Finished runs to make up
    #[arg(long, value_name = "COUNT", default_value_t = 300)]
    runs: usize,
    /// Empty folder for database and files; a temporary one unless given
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    data: Option<PathBuf>,
}

pub(super) async fn run(args: PagesArgs, context: Context) -> Outcome {
    let folder = match &args.data {
        Some(dir) => empty(dir).map(|()| None),
        None => tempfile::tempdir().map(Some).map_err(|error| Failure::usage(format!("no temporary folder: {error}"))),
    }?;
    let temporary = folder.as_ref().map(tempfile::TempDir::path);
    let dir = args.data.as_deref().or(temporary).unwrap_or(Path::new("."));
    let token = format!("{:032x}", rand::random::<u128>());
    let wish = Wish { listen: args.listen, runs: args.runs, dir, token: &token };
    let stopped = super::stopped().map_err(|error| Failure::error(format!("signals cannot be waited for: {error}")))?;
    let served = serve(wish).await.map_err(|error| Failure::error(error.to_string()))?;
    super::tools::print(format!("PAGES_URL={}\nRUNNING={}\nTOKEN={token}\n", served.url, served.running).as_bytes())?;
    if !context.quiet {
        eprintln!("made-up pages are on {}; Ctrl-C ends them", served.url);
    }
    stopped.await;
    served.stop().await.map_err(|error| Failure::error(format!("the pages had ended: {error}")))?;
    Ok(Exit::Green)
}

/// Makes the folder; made-up runs never go among real ones.
fn empty(dir: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("{}: {error}", dir.display()));
    std::fs::create_dir_all(dir).map_err(failed)?;
    if std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
        return Err(Failure::usage(format!("{} is not empty", dir.display())).remedy("name a new folder"));
    }
    Ok(())
}
