//! The doctor's look at what `cc-ci serve` needs: the forge, its token and hooks, clocks, tests, address and,
//! by the files beside this one, secrets and database.
//!
//! [`look`] asks and, only if it is told to, creates and repairs hooks; the judgements are the plain functions below it.
//! Nothing here shows a secret. The rule to know: hooks of a repository are the only thing that is ever changed.

use std::io::ErrorKind as IoKind;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Check, Health, database, secrets};
use crate::bridge::intake;
use crate::clock::SharedClock;
use crate::config::{Config, Tests};
use crate::forge::model::{Flavour, Hook, Repo, Scopes, User, Version};
use crate::forge::{Client, Error, ErrorKind, HookPlan, HookRepair, HookWanted, Settings, plan_hook};
use crate::git::{FetchOptions, GitError, Repository, Source};

/// Oldest Gitea whose answers cc-ci is tested against, and the one that Forgejo's API must follow at least.
const OLDEST: (u32, u32) = (1, 22);
/// A difference of clocks that is worth a word: the poll reaches back by minutes, so seconds do not matter.
const CLOCK_ODD: SignedDuration = SignedDuration::from_secs(30);
/// A difference that makes comments look stale or yet to come.
const CLOCK_WRONG: SignedDuration = SignedDuration::from_secs(120);

/// Looks at everything that the configuration names. With `fix`, hooks are created and repaired where the bot may.
/// Never fails: what cannot be looked at is a finding.
pub async fn look(config: &Config, clock: SharedClock, fix: bool) -> Vec<Check> {
    let mut checks = vec![
        listening(config.server.listen).await,
        tests(config).await,
        reachable(&config.server.public_url, &config.forge.url),
    ];
    checks.extend(secrets::look(&config.secret_files));
    checks.extend(database::look(&config.runs.dir.join("cc-ci.db")).await);
    let settings = Settings {
        base_url: config.forge.url.clone(),
        token: config.forge.token.clone(),
        timeout: config.forge.timeout,
        clock: clock.clone(),
    };
    let client = match Client::new(settings) {
        Ok(client) => Arc::new(client),
        Err(error) => {
            checks.push(Check::new("forge", Health::Bad, error.to_string(), "correct forge.url"));
            return checks;
        }
    };
    let (before, theirs, after) = (clock.now(), client.date().await, clock.now());
    let silent = matches!(&theirs, Err(error) if matches!(error.kind, ErrorKind::Connect | ErrorKind::Timeout));
    if let Err(error) = &theirs
        && silent
    {
        checks.push(answer(client.base_url(), Err(error)));
        return checks;
    }
    checks.push(clocks(theirs.as_ref().ok().copied().flatten(), before, after));
    let version = client.version().await;
    checks.push(answer(client.base_url(), version.as_ref()));
    if version.is_err() {
        return checks;
    }
    checks.push(token(client.whoami().await.as_ref(), client.scopes().await.as_ref()));
    repositories(config, &client, fix, &mut checks).await;
    checks
}

async fn repositories(config: &Config, client: &Client, fix: bool, checks: &mut Vec<Check>) {
    let url = format!("{}{}", config.server.public_url.as_str().trim_end_matches('/'), intake::PATH);
    for full_name in &config.forge.repositories {
        let (owner, name) = full_name.split_once('/').unwrap_or((full_name, ""));
        let found = client.repo_by_name(owner, name).await;
        checks.push(rights(full_name, found.as_ref()));
        if let Ok(repo) = found
            && repo.rights.unwrap_or_default().push
        {
            checks.push(hook(config, client, &repo, &url, fix).await);
        }
    }
    for org in &config.forge.organisations {
        match client.org_repos(org).await {
            Ok(repos) if repos.is_empty() => checks.push(Check::new(
                "repository",
                Health::Warning,
                format!("organisation {org} has no repositories that the bot can see"),
                "add the bot's account to a team of it",
            )),
            Ok(repos) => {
                for repo in repos.iter().filter(|repo| !repo.mirror && !repo.archived && !repo.empty) {
                    match client.file(repo.id, "compose.yml", &repo.default_branch).await {
                        Ok(_) => {}
                        // No recipe, so none of cc-ci's business.
                        Err(error) if error.is_withheld() => continue,
                        Err(error) => {
                            checks.push(failed("repository", &repo.full_name, &error));
                            continue;
                        }
                    }
                    checks.push(rights(&repo.full_name, Ok(repo)));
                    if repo.rights.unwrap_or_default().push {
                        checks.push(hook(config, client, repo, &url, fix).await);
                    }
                }
            }
            Err(error) => checks.push(failed("repository", &format!("organisation {org}"), &error)),
        }
    }
}

/// A repository's hook, repaired if that is wanted.
async fn hook(config: &Config, client: &Client, repo: &Repo, url: &str, fix: bool) -> Check {
    let hooks = client.hooks(repo.id).await;
    let plan = hooks.as_ref().map(|hooks| plan_hook(hooks, url));
    let todo = plan.as_ref().is_ok_and(needs_work);
    if let (true, true, Some(secret)) = (fix, todo, config.forge.webhook_secrets.first()) {
        let wanted = HookWanted { url: url.to_owned(), secret: secret.clone() };
        return repaired(&repo.full_name, client.repair_hook(repo.id, &wanted).await.as_ref());
    }
    hooked(&repo.full_name, hooks.as_deref(), url)
}

fn needs_work(plan: &HookPlan) -> bool {
    match plan {
        HookPlan::Create | HookPlan::Repair { .. } => true,
        HookPlan::Keep { doubles, .. } => !doubles.is_empty(),
    }
}

async fn listening(address: SocketAddr) -> Check {
    let bound = tokio::net::TcpListener::bind(address).await.map(drop).map_err(|error| error.kind());
    let ours = match bound {
        Err(IoKind::AddrInUse) => Some(answers_as_cc_ci(address).await),
        Ok(()) | Err(_) => None,
    };
    listen(address, bound, ours)
}

/// Whether what listens there says that it is well in cc-ci's own words.
async fn answers_as_cc_ci(address: SocketAddr) -> bool {
    let client = crate::http::builder().no_proxy().timeout(std::time::Duration::from_secs(5)).build();
    let Ok(client) = client else { return false };
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    match client.get(format!("http://{address}/healthz")).send().await {
        Ok(answer) => answer.status().is_success() && answer.text().await.is_ok_and(|text| text == "ok\n"),
        Err(_) => false,
    }
}

async fn tests(config: &Config) -> Check {
    let Some(text) = &config.tests.source else {
        return Check::new(
            "tests",
            Health::Warning,
            "no tests repository: recipes are tested without suites",
            "set tests.source",
        );
    };
    let looked = async {
        let source = Source::parse(text)?;
        let scratch = tempfile::tempdir().map_err(|error| GitError::BadSource(error.to_string()))?;
        let mut options = FetchOptions { cancel: CancellationToken::new(), ..FetchOptions::new(scratch.path()) };
        options.http_hosts.extend(config.forge.http_host());
        let shown = source.display();
        match source {
            Source::Local(folder) if !folder.join(".git").exists() && config.tests.reference.is_none() => {
                Ok((shown, folder.join("tests").is_dir().then(|| "files as they are".to_owned())))
            }
            source => {
                let repository = Repository::fetch(&source, &options).await?;
                let at = repository.resolve(config.tests.reference.as_deref()).await?;
                Ok((shown, Some(format!("commit {}", at.commit.get(..12).unwrap_or(&at.commit)))))
            }
        }
    };
    suites(&config.tests, looked.await.as_ref())
}

/// Whether the forge answers, and is one that cc-ci knows.
fn answer(base: &str, version: Result<&Version, &Error>) -> Check {
    let version = match version {
        Ok(version) => version,
        Err(error) => {
            let remedy = match error.kind {
                ErrorKind::Connect | ErrorKind::Timeout => "see whether forge.url is right and reached from this host",
                ErrorKind::Unauthorised => "make a new token for the bot's account and put it into forge.token_file",
                ErrorKind::NotFound | ErrorKind::Decode | ErrorKind::Moved { .. } => {
                    "see whether forge.url names a Gitea or Forgejo, with the folder it lives in"
                }
                _ => "try again later, or look into the forge's own log",
            };
            return Check::new("forge", Health::Bad, format!("{base}: {error}"), remedy);
        }
    };
    let family = match version.flavour {
        Flavour::Gitea => "Gitea",
        Flavour::Forgejo => "Forgejo",
    };
    let found = format!("{family} {} at {base}", version.text);
    match version.gitea {
        Some(number) if number < OLDEST => Check::new(
            "forge",
            Health::Warning,
            format!("{found}: older than what cc-ci is tested with"),
            format!("upgrade it to Gitea {}.{}, or a Forgejo that follows it, or later", OLDEST.0, OLDEST.1),
        ),
        Some(_) | None => Check::new("forge", Health::Good, found, ""),
    }
}

/// Whose token it is, and what it may.
fn token(own: Result<&User, &Error>, scopes: Result<&Scopes, &Error>) -> Check {
    let who = match own {
        Ok(user) => user.person.login.clone(),
        Err(error) => return failed("token", "the bot's account", error),
    };
    let missing = match scopes {
        Ok(scopes) => scopes.missing(),
        Err(error) => return failed("token", "its scopes", error),
    };
    if !missing.is_empty() {
        return Check::new(
            "token",
            Health::Bad,
            format!("the token of {who} lacks {}", missing.join(", ")),
            "make a token with write:repository, write:issue, read:organization and read:user",
        );
    }
    if own.is_ok_and(|user| user.is_admin) {
        return Check::new(
            "token",
            Health::Warning,
            format!("{who} administers the whole forge: whoever gets this token has everything"),
            "use an account that has write access, or administrator's rights, on the served repositories only",
        );
    }
    Check::new("token", Health::Good, format!("{who}, with all scopes that are needed"), "")
}

/// How far the forge's clock is from ours. It answered between `before` and `after`, with whole seconds.
fn clocks(theirs: Option<Timestamp>, before: Timestamp, after: Timestamp) -> Check {
    let Some(theirs) = theirs else {
        return Check::new("clocks", Health::Warning, "the forge does not say what time it is", "");
    };
    let late = before.duration_since(theirs) - SignedDuration::from_secs(1);
    let early = theirs.duration_since(after);
    let apart = late.max(early);
    let health = match apart {
        _ if apart >= CLOCK_WRONG => Health::Bad,
        _ if apart >= CLOCK_ODD => Health::Warning,
        _ => Health::Good,
    };
    if health == Health::Good {
        return Check::new("clocks", health, "this host and the forge agree", "");
    }
    let word = if late > early { "behind" } else { "ahead of" };
    let found = format!("the forge's clock is {} s {word} this host's", apart.as_secs());
    Check::new("clocks", health, found, "run a time service (systemd-timesyncd, chrony) on both")
}

/// What the bot may do in a repository.
fn rights(full_name: &str, found: Result<&Repo, &Error>) -> Check {
    let repo = match found {
        Ok(repo) => repo,
        Err(error) => return failed("repository", full_name, error),
    };
    let rights = repo.rights.unwrap_or_default();
    let (health, found, remedy) = if repo.mirror {
        (Health::Bad, "is a mirror: there are no pull requests", "serve the repository that it mirrors")
    } else if repo.archived {
        (Health::Bad, "is archived: nothing can be written", "take it out of forge.repositories")
    } else if !rights.push {
        (Health::Bad, "the bot may not write: no commit status can be set", "give the bot's account write access")
    } else if !rights.admin {
        (
            Health::Warning,
            "the bot writes but does not administer: it cannot ask for everybody's rights, nor see hooks",
            "give it administrator's rights, or make the hook by hand and see forge.trusted_ids",
        )
    } else {
        (Health::Good, "the bot has the rights it needs", "")
    };
    Check::new("repository", health, format!("{full_name}: {found}"), remedy)
}

/// Whether one hook delivers everything to us.
fn hooked(full_name: &str, hooks: Result<&[Hook], &Error>, url: &str) -> Check {
    let by_hand = "`cc-ci doctor --fix` with this configuration, or see forge.repair_hooks";
    let hooks = match hooks {
        Ok(hooks) => hooks,
        Err(error) if error.is_withheld() => {
            return Check::new(
                "hook",
                Health::Warning,
                format!(
                    "{full_name}: its hooks are not shown to the bot; the poll finds comments all the same, but later"
                ),
                "give it administrator's rights there, or make the hook by hand",
            );
        }
        Err(error) => return failed("hook", full_name, error),
    };
    match plan_hook(hooks, url) {
        HookPlan::Keep { hook, doubles } if doubles.is_empty() => {
            Check::new("hook", Health::Good, format!("{full_name}: hook {hook} delivers to {url}"), "")
        }
        HookPlan::Keep { doubles, .. } => Check::new(
            "hook",
            Health::Warning,
            format!("{full_name}: {} more hooks deliver to {url}", doubles.len()),
            by_hand,
        ),
        HookPlan::Repair { hook, wrong, .. } => {
            Check::new("hook", Health::Bad, format!("{full_name}: hook {hook}: {}", wrong.join(", ")), by_hand)
        }
        HookPlan::Create => Check::new("hook", Health::Bad, format!("{full_name}: no hook delivers to {url}"), by_hand),
    }
}

/// What was done about a hook.
fn repaired(full_name: &str, done: Result<&HookRepair, &Error>) -> Check {
    let repair = match done {
        Ok(repair) => repair,
        Err(error) => return failed("hook", full_name, error),
    };
    let what = match &repair.plan {
        HookPlan::Create => "made".to_owned(),
        HookPlan::Keep { doubles, .. } => format!("kept, {} doubles removed", doubles.len()),
        HookPlan::Repair { wrong, .. } => format!("repaired ({})", wrong.join(", ")),
    };
    Check::new("hook", Health::Good, format!("{full_name}: hook {} was {what}", repair.hook), "")
}

/// Whether a forge elsewhere can reach an address of ours.
fn reachable(public: &Url, forge: &str) -> Check {
    let here = |url: &Url| match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unspecified(),
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    };
    let forge_here = Url::parse(forge).is_ok_and(|forge| here(&forge));
    if here(public) && !forge_here {
        return Check::new(
            "public_url",
            Health::Bad,
            format!("{public} is an address of this host only: the forge cannot deliver, and links lead nowhere"),
            "set server.public_url to the address of the proxy in front",
        );
    }
    if public.scheme() == "http" && !here(public) {
        return Check::new(
            "public_url",
            Health::Warning,
            format!("{public} is not encrypted: sessions and tokens can be read on the way"),
            "put a proxy with TLS in front and set server.public_url to its https address",
        );
    }
    Check::new("public_url", Health::Good, public.to_string(), "")
}

/// Whether the address can be listened on, or is being listened on by us.
fn listen(address: SocketAddr, bound: Result<(), IoKind>, ours: Option<bool>) -> Check {
    let (health, found, remedy) = match (bound, ours) {
        (Ok(()), _) => (Health::Good, "is free".to_owned(), ""),
        (Err(IoKind::AddrInUse), Some(true)) => (Health::Good, "cc-ci serve answers there".to_owned(), ""),
        (Err(IoKind::AddrInUse), Some(false) | None) => {
            (Health::Bad, "another program has it".to_owned(), "`ss -ltnp` shows which; set server.listen")
        }
        (Err(IoKind::AddrNotAvailable), _) => {
            (Health::Bad, "is no address of this host".to_owned(), "set server.listen to one, or to 0.0.0.0")
        }
        (Err(IoKind::PermissionDenied), _) => {
            (Health::Bad, "may not be used".to_owned(), "set server.listen to a port above 1023")
        }
        (Err(kind), _) => (Health::Bad, format!("cannot be used: {kind}"), "set server.listen"),
    };
    Check::new("listen", health, format!("{address} {found}"), remedy)
}

/// Whether the tests repository can be read. The answer is its name and what would be used of it.
fn suites(settings: &Tests, looked: Result<&(String, Option<String>), &GitError>) -> Check {
    match looked {
        Ok((shown, Some(at))) => Check::new("tests", Health::Good, format!("{shown}, {at}"), ""),
        Ok((shown, None)) => Check::new(
            "tests",
            Health::Bad,
            format!("{shown} has no folder tests/"),
            "set tests.source to a folder or repository that has tests/<recipe>/",
        ),
        Err(error) => {
            let reference =
                settings.reference.as_deref().map(|name| format!(" and tests.ref ({name})")).unwrap_or_default();
            Check::new("tests", Health::Bad, error.to_string(), format!("correct tests.source{reference}"))
        }
    }
}

/// A question that the forge did not answer.
fn failed(name: &'static str, what: &str, error: &Error) -> Check {
    let (health, remedy) = match error.kind {
        ErrorKind::Unauthorised => (Health::Bad, "make a new token for the bot's account"),
        ErrorKind::Forbidden { .. } => (Health::Bad, "give the bot's account or its token that right"),
        ErrorKind::NotFound | ErrorKind::Gone => {
            (Health::Bad, "see whether it is written right, and whether the bot's account may see it")
        }
        _ if error.is_transient() => (Health::Warning, "try again later"),
        _ => (Health::Bad, "look into the forge's own log"),
    };
    Check::new(name, health, format!("{what}: {error}"), remedy)
}

#[cfg(test)]
mod tests;
