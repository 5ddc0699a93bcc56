//! Which repositories are served: the names of the configuration become the forge's ids, organisations their recipes.
//!
//! Ids are what everything else goes by, so that a repository keeps being served when it is renamed, and a new one under
//! an old name is not taken for it. If the forge does not answer, what was known stays in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::context::{Bridge, Enrolment, Served};
use super::facts::{Enrolled, GateConfig};
use crate::forge::model::{PullFilter, Repo};
use crate::forge::{Client, Error, HookPlan, HookWanted};
use crate::reconcile::Next;

/// What is remembered between looks.
#[derive(Debug, Default)]
pub struct Known {
    /// Repositories of organisations that were found to be recipes.
    recipes: BTreeSet<i64>,
    /// Repositories whose hook was seen to be right.
    hooked: BTreeSet<i64>,
}

/// Open pull requests by repository name: number and title.
pub type OpenPulls = BTreeMap<String, Vec<(i64, String)>>;

/// Looks everything up and publishes it. `tell` gets the open pull requests.
///
/// # Errors
/// If the forge does not answer; then nothing changed.
pub async fn pass(
    bridge: &Bridge,
    known: &mut Known,
    tell: &(dyn Fn(OpenPulls) + Send + Sync),
) -> Result<Next, String> {
    let client = bridge.client.as_ref();
    let own = client.whoami().await.map_err(|error| error.to_string())?;
    let found = repositories(bridge, known).await.map_err(|error| error.to_string())?;
    let mut bots = BTreeSet::new();
    for login in &bridge.config.forge.bots {
        match client.user(login).await {
            Ok(user) => drop(bots.insert(user.person.id)),
            Err(error) if error.is_withheld() => tracing::warn!("forge.bots: {login} is not known to the forge"),
            Err(error) => return Err(error.to_string()),
        }
    }
    let mut served = BTreeMap::new();
    let mut pulls = OpenPulls::new();
    for repo in &found {
        let trouble = look_after(bridge, repo, known).await.map_err(|error| error.to_string())?;
        if let Some(trouble) = &trouble {
            tracing::warn!("{}: {trouble}", repo.full_name);
        }
        served.insert(repo.id.0, Served { full_name: repo.full_name.clone(), trouble });
        match client.pulls(repo.id, PullFilter::Open).await {
            Ok(open) => {
                pulls.insert(repo.full_name.clone(), open.into_iter().map(|pull| (pull.number, pull.title)).collect());
            }
            Err(error) if error.is_withheld() => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    let enrolled = found.iter().map(|repo| (repo.id.0, enrolled(repo))).collect();
    let gate = GateConfig { bots, ..GateConfig::new(own.person.id, enrolled) };
    let enrolment = Arc::new(Enrolment { own: own.person, gate, repositories: served });
    tell(pulls);
    let changed = bridge.enrolment.send_if_modified(|now| {
        let changed = now.as_ref() != Some(&enrolment);
        *now = Some(enrolment);
        changed
    });
    if changed {
        // Whoever waited for names, or skipped what was not served, looks again.
        bridge.signals.deliveries.wake();
        bridge.signals.poll.wake();
    }
    Ok(Next::Idle)
}

/// The recipe of a repository is called like it.
fn enrolled(repo: &Repo) -> Enrolled {
    Enrolled { recipe: repo.name.clone(), suite: repo.name.clone() }
}

/// All repositories that are to be served, each once.
async fn repositories(bridge: &Bridge, known: &mut Known) -> Result<Vec<Repo>, Error> {
    let (client, config) = (bridge.client.as_ref(), &bridge.config.forge);
    let mut found: BTreeMap<i64, Repo> = BTreeMap::new();
    for full_name in &config.repositories {
        let (owner, name) = full_name.split_once('/').unwrap_or((full_name, ""));
        match client.repo_by_name(owner, name).await {
            Ok(repo) => drop(found.insert(repo.id.0, repo)),
            Err(error) if error.is_withheld() => tracing::warn!("{full_name} is not served: {error}"),
            Err(error) => return Err(error),
        }
    }
    for org in &config.organisations {
        let all = match client.org_repos(org).await {
            Ok(all) => all,
            Err(error) if error.is_withheld() => {
                tracing::warn!("organisation {org} is not served: {error}");
                continue;
            }
            Err(error) => return Err(error),
        };
        for repo in all.into_iter().filter(|repo| !repo.mirror && !repo.archived && !repo.empty) {
            if known.recipes.contains(&repo.id.0) || is_recipe(client, &repo).await? {
                known.recipes.insert(repo.id.0);
                found.insert(repo.id.0, repo);
            }
        }
    }
    Ok(found.into_values().collect())
}

async fn is_recipe(client: &Client, repo: &Repo) -> Result<bool, Error> {
    match client.file(repo.id, "compose.yml", &repo.default_branch).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_withheld() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sees to a repository's hook, and says what is wrong with our rights.
async fn look_after(bridge: &Bridge, repo: &Repo, known: &mut Known) -> Result<Option<String>, Error> {
    if repo.mirror {
        return Ok(Some("it is a mirror: the forge allows no pull requests there".to_owned()));
    }
    let rights = repo.rights.unwrap_or_default();
    if !rights.push {
        return Ok(Some("the bot may not write there: no commit status can be set".to_owned()));
    }
    if !bridge.config.forge.repair_hooks || known.hooked.contains(&repo.id.0) {
        return Ok(None);
    }
    let Some(secret) = bridge.config.forge.webhook_secrets.first() else { return Ok(None) };
    let wanted = HookWanted { url: hook_url(bridge), secret: secret.clone() };
    match bridge.client.repair_hook(repo.id, &wanted).await {
        Ok(repair) => {
            known.hooked.insert(repo.id.0);
            match repair.plan {
                HookPlan::Keep { .. } => {}
                HookPlan::Create => tracing::info!("{}: made hook {}", repo.full_name, repair.hook),
                HookPlan::Repair { wrong, .. } => {
                    tracing::info!("{}: repaired hook {}: {}", repo.full_name, repair.hook, wrong.join(", "));
                }
            }
            Ok(None)
        }
        Err(error) if error.is_withheld() => Ok(Some(format!(
            "its hooks cannot be seen to; answers come only with the next look, every {} s",
            bridge.config.forge.poll_every.as_secs()
        ))),
        Err(error) => Err(error),
    }
}

/// Where the forge delivers to.
#[must_use]
pub fn hook_url(bridge: &Bridge) -> String {
    format!("{}{}", bridge.config.server.public_url.as_str().trim_end_matches('/'), super::intake::PATH)
}
