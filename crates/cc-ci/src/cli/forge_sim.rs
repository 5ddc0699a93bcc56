//! `cc-ci dev forge`: a simulated forge to try the bridge on, with people and recipes in it.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueHint};
use forge_sim::{Config, Sim, SimError};

use super::{Context, Exit, Failure, Outcome};

#[derive(Debug, Args)]
#[command(
    after_help = "Prints what a configuration needs, one NAME=value a line, and serves until it is stopped. People: `alice` \
    may write, `bob` is a stranger, `ccci` is the bot. Passwords are <login>-password. Controls are below /_sim/."
)]
pub(super) struct ForgeArgs {
    /// Where to listen; loopback only, port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// A git repository to serve as recipes/<folder name>; may be given several times
    #[arg(long = "recipe", value_name = "DIR", value_hint = ValueHint::DirPath)]
    recipes: Vec<PathBuf>,
    /// Folder for its repositories; a temporary one unless given
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    data: Option<PathBuf>,
}

pub(super) async fn run(args: ForgeArgs, context: Context) -> Outcome {
    let config = Config { listen: args.listen, data_dir: args.data.clone(), ..Config::default() };
    let failed = |error: SimError| Failure::error(error.to_string());
    let sim = forge_sim::serve(config).await.map_err(failed)?;
    let lines = furnish(&sim, &args.recipes).map_err(failed)?;
    super::tools::print(lines.as_bytes())?;
    if !context.quiet {
        eprintln!("a simulated forge listens on {}; Ctrl-C ends it", sim.url());
    }
    let stopped = super::stopped().map_err(|error| Failure::error(format!("signals cannot be waited for: {error}")))?;
    // Ended here and not by the signal, so that its temporary folder goes.
    tokio::select! {
        () = sim.wait() => {}
        () = stopped => {}
    }
    Ok(Exit::Green)
}

/// People, rights and recipes. Gives the lines to print.
fn furnish(sim: &Sim, recipes: &[PathBuf]) -> Result<String, SimError> {
    for login in ["alice", "bob"] {
        sim.user(login)?;
    }
    sim.user("ccci")?;
    sim.org("recipes")?;
    let mut out = format!("FORGE_URL={}\n", sim.url());
    for dir in recipes {
        let named = |error| SimError::Io(std::io::Error::other(format!("{}: {error}", dir.display())));
        let full = dir.canonicalize().map_err(named)?;
        let name = full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let repo = sim.repo(&format!("recipes/{name}"))?.seed_git(&full)?;
        let repo = repo.collaborator("alice", "write")?.collaborator("ccci", "admin")?;
        out.push_str(&format!("RECIPE={}\n", repo.full_name()));
    }
    for (name, login) in
        [("BOT_TOKEN", "ccci"), ("ALICE_TOKEN", "alice"), ("BOB_TOKEN", "bob"), ("ADMIN_TOKEN", sim.admin())]
    {
        out.push_str(&format!("{name}={}\n", sim.token(login, &["all"])?));
    }
    Ok(out)
}
