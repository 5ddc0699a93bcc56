//! Webhooks of a repository, and their repair.
//!
//! The traps: a hook is made asleep and for pushes only unless the request says otherwise; a change that does not repeat
//! events and filter resets them; the secret can be set but never read or changed. So every change sends everything, and
//! a new secret means a new hook.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::model::{Hook, RepoId};
use super::transport::Call;
use super::{Client, Error, wire};
use crate::redact::SecretValue;

/// Events that are asked for. `issue_comment` would only tell of issues; `pull_request` alone would also tell of labels,
/// assignments and reviews.
pub const REQUIRED_EVENTS: [&str; 4] = ["pull_request_comment", "pull_request_only", "pull_request_sync", "push"];

/// How the forge lists them.
const LISTED_EVENTS: [&str; 4] = ["pull_request_comment", "pull_request", "pull_request_sync", "push"];

/// The hook that should be there.
#[derive(Debug, Clone)]
pub struct HookWanted {
    /// Where it delivers to.
    pub url: String,
    /// What it signs with.
    pub secret: SecretValue,
}

/// What is to be done about a repository's hooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookPlan {
    /// There is none that delivers to us.
    Create,
    /// One is as it should be.
    Keep {
        /// It.
        hook: i64,
        /// Others that deliver to the same address.
        doubles: Vec<i64>,
    },
    /// One is there but would miss something.
    Repair {
        /// It.
        hook: i64,
        /// What is wrong with it, for people.
        wrong: Vec<String>,
        /// Others that deliver to the same address.
        doubles: Vec<i64>,
    },
}

/// What was done about a repository's hooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRepair {
    /// The plan that was carried out.
    pub plan: HookPlan,
    /// The hook that delivers now.
    pub hook: i64,
}

/// What is to be done so that one hook delivers all events to an address. Hooks to other addresses are others' business.
#[must_use]
pub fn plan_hook(hooks: &[Hook], url: &str) -> HookPlan {
    let mut ours: Vec<(Vec<String>, &Hook)> =
        hooks.iter().filter(|hook| hook.url == url).map(|hook| (faults(hook), hook)).collect();
    ours.sort_by_key(|(wrong, hook)| (wrong.len(), hook.id));
    let mut ours = ours.into_iter();
    let Some((wrong, best)) = ours.next() else { return HookPlan::Create };
    let doubles = ours.map(|(_, hook)| hook.id).collect();
    if wrong.is_empty() {
        HookPlan::Keep { hook: best.id, doubles }
    } else {
        HookPlan::Repair { hook: best.id, wrong, doubles }
    }
}

fn faults(hook: &Hook) -> Vec<String> {
    let mut wrong = Vec::new();
    if !hook.active {
        wrong.push("not active".to_owned());
    }
    if hook.content_type != "json" {
        wrong.push(format!("sends {} instead of json", hook.content_type));
    }
    if !matches!(hook.branch_filter.as_str(), "" | "*") {
        wrong.push("leaves out branches".to_owned());
    }
    let wanted: BTreeSet<&str> = LISTED_EVENTS.into();
    let has: BTreeSet<&str> = hook.events.iter().map(String::as_str).collect();
    let missing: Vec<&str> = wanted.difference(&has).copied().collect();
    if !missing.is_empty() {
        wrong.push(format!("does not tell of {}", missing.join(", ")));
    }
    wrong
}

fn body(url: &str) -> Value {
    json!({
        "active": true,
        "events": REQUIRED_EVENTS,
        "branch_filter": "*",
        "config": { "url": url, "content_type": "json" },
    })
}

impl Client {
    /// All hooks of a repository. Its organisation's and the site's are not among them.
    ///
    /// # Errors
    /// [`super::ErrorKind::Forbidden`] unless this account administers the repository; else see [`Error`].
    pub async fn hooks(&self, repo: RepoId) -> Result<Vec<Hook>, Error> {
        self.list_in_repo::<wire::Hook, _>(repo, Call::get(&["hooks"]), |hook| hook.id).await
    }

    /// Makes a hook with all events that are needed.
    ///
    /// # Errors
    /// As [`Self::hooks`].
    pub async fn create_hook(&self, repo: RepoId, wanted: &HookWanted) -> Result<Hook, Error> {
        let mut body = body(&wanted.url);
        body["type"] = json!("gitea");
        body["config"]["secret"] = json!(wanted.secret.expose());
        self.in_repo(repo, Call::new(Method::POST, &["hooks"]).body(body)).await?.read::<wire::Hook>()
    }

    /// Sets everything about a hook but its secret, which stays.
    ///
    /// # Errors
    /// As [`Self::hooks`].
    pub async fn update_hook(&self, repo: RepoId, hook: i64, url: &str) -> Result<Hook, Error> {
        let call = Call::new(Method::PATCH, &["hooks", &hook.to_string()]).body(body(url));
        self.in_repo(repo, call).await?.read::<wire::Hook>()
    }

    /// Deletes a hook.
    ///
    /// # Errors
    /// As [`Self::hooks`].
    pub async fn delete_hook(&self, repo: RepoId, hook: i64) -> Result<(), Error> {
        self.in_repo(repo, Call::new(Method::DELETE, &["hooks", &hook.to_string()])).await.map(drop)
    }

    /// Sees to it that exactly one hook delivers everything to the address. Its secret is not looked at, since nobody is
    /// shown it: after a change of the secret use [`Self::replace_hook`].
    ///
    /// # Errors
    /// As [`Self::hooks`].
    pub async fn repair_hook(&self, repo: RepoId, wanted: &HookWanted) -> Result<HookRepair, Error> {
        let plan = plan_hook(&self.hooks(repo).await?, &wanted.url);
        let (hook, doubles) = match &plan {
            HookPlan::Create => (self.create_hook(repo, wanted).await?.id, &[][..]),
            HookPlan::Keep { hook, doubles } => (*hook, doubles.as_slice()),
            HookPlan::Repair { hook, doubles, .. } => {
                (self.update_hook(repo, *hook, &wanted.url).await?.id, doubles.as_slice())
            }
        };
        for double in doubles {
            self.delete_hook(repo, *double).await?;
        }
        Ok(HookRepair { plan, hook })
    }

    /// Puts a new hook in place of all that deliver to the address, first the new one, so that nothing is missed: for a
    /// new secret, while the old one is still accepted.
    ///
    /// # Errors
    /// As [`Self::hooks`].
    pub async fn replace_hook(&self, repo: RepoId, wanted: &HookWanted) -> Result<i64, Error> {
        let old = self.hooks(repo).await?;
        let new = self.create_hook(repo, wanted).await?.id;
        for hook in old.iter().filter(|hook| hook.url == wanted.url) {
            self.delete_hook(repo, hook.id).await?;
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(id: i64) -> Hook {
        Hook {
            id,
            active: true,
            url: "https://ci.test/hook".into(),
            content_type: "json".into(),
            events: LISTED_EVENTS.into_iter().map(str::to_owned).collect(),
            branch_filter: String::new(),
        }
    }

    #[test]
    fn what_is_done_about_hooks() {
        let plan = |hooks: &[Hook]| plan_hook(hooks, "https://ci.test/hook");
        assert_eq!(plan(&[]), HookPlan::Create);
        assert_eq!(plan(&[Hook { url: "https://other.test".into(), ..hook(1) }]), HookPlan::Create);
        assert_eq!(plan(&[hook(1)]), HookPlan::Keep { hook: 1, doubles: vec![] });
        let extra = Hook { events: hook(1).events.into_iter().chain(["status".into()]).collect(), ..hook(1) };
        assert_eq!(plan(&[extra]), HookPlan::Keep { hook: 1, doubles: vec![] }, "more than needed is no fault");
        let asleep = Hook { active: false, ..hook(1) };
        assert_eq!(plan(&[asleep.clone(), hook(2), hook(3)]), HookPlan::Keep { hook: 2, doubles: vec![3, 1] });
        let HookPlan::Repair { hook: 1, wrong, .. } = plan(&[asleep]) else { panic!() };
        assert_eq!(wrong, ["not active"]);
    }

    #[test]
    fn each_fault_of_a_hook_is_told() {
        let comment_on_issues = Hook { events: ["issue_comment".to_owned(), "push".to_owned()].into(), ..hook(1) };
        assert_eq!(
            faults(&comment_on_issues),
            ["does not tell of pull_request, pull_request_comment, pull_request_sync"]
        );
        assert_eq!(faults(&Hook { content_type: "form".into(), ..hook(1) }), ["sends form instead of json"]);
        assert_eq!(faults(&Hook { branch_filter: "main".into(), ..hook(1) }), ["leaves out branches"]);
        assert!(faults(&Hook { branch_filter: "*".into(), ..hook(1) }).is_empty());
    }
}
