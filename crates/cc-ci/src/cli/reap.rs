//! `cc-ci reap`: removes what killed runs left on the swarm.

use std::time::Duration;

use clap::Args;

use crate::domain::RunId;
use crate::state::State;
use crate::swarm::{Object, Scope, plan_reap};

use super::{Context, Exit, Failure, Outcome, test};

/// How long the removal of one run may take.
const LIMIT: Duration = Duration::from_secs(180);

#[derive(Debug, Args)]
#[command(
    after_help = "Only objects labelled `cc-ci.run` are looked at. A run whose process is alive on this host is left alone."
)]
pub(super) struct ReapArgs {
    /// Only this run
    #[arg(long, value_name = "ID")]
    run: Option<RunId>,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: ReapArgs, context: Context) -> Outcome {
    let state = State::locate();
    let engine = test::connect()?;
    engine.facts().await.map_err(|error| Failure::error(error.to_string()))?;
    let error = |error: crate::swarm::EngineError| Failure::error(error.to_string());
    let scope = args.run.clone().map_or(Scope::AllOfCcCi, Scope::Run);
    let inventory = engine.inventory(&scope).await.map_err(error)?;
    let live = state.live_among(inventory.iter().map(Object::claim));
    let plan = plan_reap(&inventory, |run| live.contains(run));
    let mut reaped = Vec::new();
    let mut clean = true;
    for (run, objects) in &plan.dead {
        if args.dry_run {
            reaped.push(serde_json::json!({ "run": run, "objects": objects, "removed": 0, "leftovers": [] }));
            continue;
        }
        let removal = engine.remove(&Scope::Run(run.clone()), LIMIT).await.map_err(error)?;
        clean &= removal.is_clean();
        if removal.is_clean() {
            state.forget(run);
        }
        reaped.push(serde_json::json!({
            "run": run, "objects": objects, "removed": removal.removed, "leftovers": removal.leftovers,
        }));
    }
    if !args.dry_run {
        state.sweep_work();
    }
    if args.json {
        let out = serde_json::json!({ "reaped": reaped, "live": plan.live.keys().collect::<Vec<_>>(), "clean": clean });
        super::tools::print(format!("{out:#}\n").as_bytes())?;
    } else {
        let mut out = String::new();
        for (run, objects) in &plan.dead {
            let verb = if args.dry_run { "would remove" } else { "removed" };
            out.push_str(&format!("run {run}: {verb} {objects} objects\n"));
        }
        for entry in &reaped {
            for left in entry["leftovers"].as_array().into_iter().flatten() {
                let text = format!("  still there: {} {} {}\n", left["kind"], left["name"], left["why"]);
                out.push_str(&context.out.red(&text));
            }
        }
        for run in plan.live.keys() {
            out.push_str(&format!("run {run}: is going on, left alone\n"));
        }
        if plan.dead.is_empty() && !context.quiet {
            out.push_str("nothing to remove\n");
        }
        super::tools::print(out.as_bytes())?;
    }
    Ok(if clean { Exit::Green } else { Exit::Error })
}
