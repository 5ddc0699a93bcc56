//! `cc-ci policy`: what a recipe asks for, what is refused and why, and the file that would be deployed. No Docker at all.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use recipe::{Adapt, Finding, Plan, PlanInput, Policy, Severity};
use tokio_util::sync::CancellationToken;

use crate::domain::{Lane, RunId, StackName, Stage};
use crate::harness::{self, Request, instance};
use crate::state::State;

use super::test::Catalogue;
use super::{Context, Exit, Failure, Outcome};

/// What the operator allows.
#[derive(Debug, Args)]
pub(super) struct PolicyFile {
    /// What is allowed to this recipe beyond the default: a TOML file, see docs/reference-policy.md
    #[arg(long = "policy", value_name = "FILE", env = "CC_CI_POLICY", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
}

impl PolicyFile {
    /// Reads it; the default, which allows nothing extra, if there is none.
    pub(super) fn read(&self) -> Result<Policy, Failure> {
        let Some(file) = &self.file else { return Ok(Policy::default()) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", file.display())))?;
        toml::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 it may be deployed, 1 it is refused, 2 usage or configuration.")]
pub(super) struct PolicyArgs {
    /// The recipe: a folder that is a git repository, a git URL, or a name from the catalogue
    #[arg(value_name = "RECIPE", value_hint = ValueHint::AnyPath)]
    recipe: String,
    /// Branch, tag or commit; HEAD unless given
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// Tests repository, for its compose.ccci.yml and the env of its profile
    #[arg(long, value_name = "PATH|URL", env = "CC_CI_TESTS", value_hint = ValueHint::AnyPath)]
    tests: Option<String>,
    /// Print the compose file that would be deployed, and nothing else
    #[arg(long, conflicts_with = "json")]
    compose: bool,
    /// Print JSON: decision, findings, compose file
    #[arg(long)]
    json: bool,
    /// Write it for a kernel without IPVS (services get `endpoint_mode: dnsrr`)
    #[arg(long)]
    dnsrr: bool,
    #[command(flatten)]
    policy: PolicyFile,
    #[command(flatten)]
    catalogue: Catalogue,
}

pub(super) async fn run(args: PolicyArgs, context: Context) -> Outcome {
    let state = State::locate();
    let tests = match &args.tests {
        Some(text) => Some(crate::git::Source::parse(text).map_err(|error| Failure::usage(error.to_string()))?),
        None => None,
    };
    let request = Request {
        recipe: args.catalogue.source(&args.recipe)?,
        name: None,
        reference: args.reference.clone(),
        base: Some("none".to_owned()),
        last_green: None,
        tests,
        tests_reference: None,
        stages: vec![Stage::Install],
        keep: false,
        sequential: true,
        ignore_load: false,
        timeout: Duration::ZERO,
        policy: args.policy.read()?,
        http_hosts: Vec::new(),
        out: None,
        screenshot: false,
        tools: Vec::new(),
    };
    let prepared = harness::prepare(&request, &state.git_cache(), &CancellationToken::new())
        .await
        .map_err(|error| Failure::usage(error.to_string()))?;
    // Any run id does: it only shows in names.
    let stack = StackName::of(&RunId::new(0, 0), Lane::Fresh, &prepared.recipe);
    let overlays = instance::overlays(prepared.suite.as_ref());
    let overrides = instance::operator_env(&stack, &prepared.profile());
    let (env, env_findings) = recipe::app_env(&prepared.head.tree, &overrides);
    let adapt = Adapt { endpoint_mode_dnsrr: args.dnsrr, app_env: env.clone(), ..Adapt::default() };
    let planned = recipe::plan(&PlanInput {
        tree: &prepared.head.tree,
        recipe: &prepared.recipe,
        stack: stack.as_str(),
        env: &env,
        overlays: &overlays,
        policy: &request.policy,
        adapt: &adapt,
    });
    let (plan, mut findings) = match planned {
        Ok(plan) => (Some(plan.clone()), plan.findings),
        Err(refusal) => (None, refusal.findings),
    };
    findings.extend(env_findings);
    let refused = plan.is_none();
    if args.json {
        let out = serde_json::json!({
            "recipe": prepared.recipe,
            "commit": prepared.head.commit,
            "decision": if refused { "refuse" } else { "allow" },
            "findings": findings,
            "plan": plan,
        });
        super::tools::print(format!("{out:#}\n").as_bytes())?;
    } else if args.compose {
        match &plan {
            Some(plan) => super::tools::print(plan.compose_yaml.as_bytes())?,
            None => {
                eprint!("{}", describe(&prepared.recipe, None, &findings, context.err));
                Exit::Red
            }
        };
    } else {
        super::tools::print(describe(&prepared.recipe, plan.as_ref(), &findings, context.out).as_bytes())?;
    }
    Ok(if refused { Exit::Red } else { Exit::Green })
}

/// The decision for people.
fn describe(recipe: &str, plan: Option<&Plan>, findings: &[Finding], colour: super::Colour) -> String {
    let mut out = match plan {
        Some(_) => format!("{recipe}: {}\n", colour.green("may be deployed")),
        None => format!("{recipe}: {}\n", colour.red("refused, nothing would be deployed")),
    };
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => colour.red("refused"),
            Severity::Warning => colour.yellow("warning"),
            _ => colour.dim("note"),
        };
        out.push_str(&format!("\n{severity} {} {}\n    {}\n", finding.code, finding.place(), finding.message));
        if !finding.remedy.is_empty() {
            out.push_str(&format!("    {} {}\n", colour.dim("try:"), finding.remedy));
        }
    }
    if let Some(plan) = plan {
        out.push_str(&format!(
            "\n{} services, {} volumes, {} secrets, {} configs; images: {}\n",
            plan.services.len(),
            plan.volumes.len(),
            plan.secrets.len(),
            plan.configs.len(),
            plan.images.join(", ")
        ));
        out.push_str("--compose prints the file that would be deployed.\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_reference_is_a_policy() {
        let page = recipe::policy::reference_markdown();
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
        let policy: Policy = toml::from_str(example).expect("it parses");
        assert!(policy.ports.contains(&993) && policy.max_stop_grace == Duration::from_secs(600), "{policy:?}");
        assert!(toml::from_str::<Policy>("port = [25]\n").is_err(), "a key that is not known is an error");
    }
}
