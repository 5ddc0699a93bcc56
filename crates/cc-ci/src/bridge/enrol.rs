//! Which repositories are served: the names of the configuration become the forge's ids, organisations their recipes.
//!
//! Ids are what everything else goes by, so that a repository keeps being served when it is renamed, and a new one under
//! an old name is not taken for it. If the forge does not answer, what was known stays in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::SignedDuration;

use super::context::{Bridge, Enrolment, Served};
use super::facts::{Enrolled, GateConfig};
use super::gate::Ignored;
use super::process::note;
use super::pulls::Pulls;
use crate::forge::model::Repo;
use crate::forge::{Client, Error, HookPlan, HookWanted};
use crate::reconcile::Next;
use crate::store::{StoreError, deliveries};

/// Comments that came in this time before a repository was served are looked at again when it is.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(1);

/// What is remembered between looks.
#[derive(Debug, Default)]
pub struct Known {
    /// Repositories of organisations that were found to be recipes.
    recipes: BTreeSet<i64>,
    /// Repositories whose hook was seen to be right.
    hooked: BTreeSet<i64>,
}

/// Looks everything up and publishes it. What goes wrong with one repository is its own trouble, and keeps nobody else
/// from being served.
///
/// # Errors
/// If the forge does not answer; then nothing changed.
pub async fn pass(bridge: &Bridge, known: &mut Known, pulls: &Pulls) -> Result<Next, String> {
    let client = bridge.client.as_ref();
    let own = client.whoami().await.map_err(|error| error.to_string())?;
    let before = bridge.enrolled();
    let found = repositories(bridge, known, before.as_deref()).await.map_err(|error| error.to_string())?;
    let mut bots = BTreeSet::new();
    for login in &bridge.config.forge.bots {
        match client.user(login).await {
            Ok(user) => drop(bots.insert(user.person.id)),
            Err(error) if error.is_withheld() => tracing::warn!("forge.bots: {login} is not known to the forge"),
            Err(error) => return Err(error.to_string()),
        }
    }
    let mut served = found.unclear;
    for repo in &found.repos {
        let looked = async {
            let trouble = look_after(bridge, repo, known).await?;
            pulls.read(bridge, repo.id, &repo.full_name).await?;
            Ok::<_, Error>(trouble)
        };
        let trouble = match looked.await {
            Ok(trouble) => trouble,
            Err(error) if error.is_outage() => return Err(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(trouble) = &trouble {
            tracing::warn!("{}: {trouble}", repo.full_name);
        }
        served.insert(repo.id.0, Served { full_name: repo.full_name.clone(), trouble });
    }
    let enrolled = served.iter().map(|(id, repo)| (*id, enrolled(&repo.full_name))).collect();
    let gate = GateConfig { bots, ..GateConfig::new(own.person.id, enrolled) };
    let enrolment = Arc::new(Enrolment { own: own.person, gate, repositories: served });
    let new = |id: &i64| before.as_ref().is_none_or(|before| !before.repositories.contains_key(id));
    let new: Vec<i64> = enrolment.repositories.keys().copied().filter(new).collect();
    pulls.keep(|repo| enrolment.repositories.contains_key(&repo)).await;
    let changed = bridge.enrolment.send_if_modified(|now| {
        let changed = now.as_ref() != Some(&enrolment);
        *now = Some(enrolment);
        changed
    });
    if changed {
        look_again(bridge, &new).await.map_err(|error| error.to_string())?;
        // Whoever waited for names, or skipped what was not served, looks again.
        bridge.signals.deliveries.wake();
        bridge.signals.poll.wake();
    }
    Ok(Next::Idle)
}

/// What was commented shortly before a repository was known to be served has been passed over for that alone.
async fn look_again(bridge: &Bridge, repos: &[i64]) -> Result<(), StoreError> {
    let since = bridge.clock.now() - REMEMBERED;
    let mut write = bridge.store.begin_immediate().await?;
    for repo in repos {
        deliveries::reopen(&mut write, *repo, &note(&Ignored::OtherRepository), since).await?;
    }
    write.commit().await
}

/// The recipe of a repository is called like it.
fn enrolled(full_name: &str) -> Enrolled {
    let name = full_name.split_once('/').map_or(full_name, |(_, name)| name);
    Enrolled { recipe: name.to_owned(), suite: name.to_owned() }
}

/// What came of looking for repositories.
#[derive(Default)]
struct Found {
    repos: Vec<Repo>,
    /// Served until now, and this time the forge stumbled over them.
    unclear: BTreeMap<i64, Served>,
}

/// All repositories that are to be served, each once.
async fn repositories(bridge: &Bridge, known: &mut Known, before: Option<&Enrolment>) -> Result<Found, Error> {
    let (client, config) = (bridge.client.as_ref(), &bridge.config.forge);
    let mut repos: BTreeMap<i64, Repo> = BTreeMap::new();
    let mut unclear = BTreeMap::new();
    for full_name in &config.repositories {
        let (owner, name) = full_name.split_once('/').unwrap_or((full_name, ""));
        match client.repo_by_name(owner, name).await {
            Ok(repo) => drop(repos.insert(repo.id.0, repo)),
            Err(error) if error.is_outage() => return Err(error),
            Err(error) => {
                tracing::warn!("{full_name} is not looked at: {error}");
                let last = before.iter().flat_map(|before| &before.repositories);
                let last = last.filter(|(_, served)| !error.is_withheld() && served.full_name == *full_name);
                unclear.extend(last.map(|(id, served)| {
                    (*id, Served { full_name: served.full_name.clone(), trouble: Some(error.to_string()) })
                }));
            }
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
            let is_recipe = match known.recipes.contains(&repo.id.0) {
                true => Ok(true),
                false => is_recipe(client, &repo).await,
            };
            match is_recipe {
                Ok(true) => {
                    known.recipes.insert(repo.id.0);
                    repos.insert(repo.id.0, repo);
                }
                Ok(false) => {}
                Err(error) if error.is_outage() => return Err(error),
                Err(error) => tracing::warn!("{} is not looked at: {error}", repo.full_name),
            }
        }
    }
    Ok(Found { repos: repos.into_values().collect(), unclear })
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
