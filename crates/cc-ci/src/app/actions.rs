//! What people can ask for on the pages: cancel, run again, run. Whether they may is asked of the forge each time.

use crate::bridge::context::Bridge;
use crate::bridge::facts;
use crate::bridge::gather::gather_rights;
use crate::forge::Error;
use crate::forge::model::RepoId;
use crate::queue::accept::{Accepted, accept, rerun};
use crate::queue::cancel::cancel_run;
use crate::store::StoreError;
use crate::store::runs::{self, NewRun, RunRow};
use crate::store::triggers::{Cause, NewTrigger};
use crate::web::{ActionError, Actions, Done, Enqueue, Later, Person};

/// Carries out what the pages are asked for.
#[derive(Debug)]
pub(super) struct FromPages(pub(super) Bridge);

impl Actions for FromPages {
    fn cancel<'a>(&'a self, run: i64, by: &'a Person) -> Later<'a, Result<Done, ActionError>> {
        Box::pin(self.do_cancel(run, by))
    }

    fn rerun<'a>(&'a self, run: i64, by: &'a Person) -> Later<'a, Result<Done, ActionError>> {
        Box::pin(self.do_rerun(run, by))
    }

    fn enqueue<'a>(&'a self, what: &'a Enqueue, by: &'a Person) -> Later<'a, Result<Done, ActionError>> {
        Box::pin(self.do_enqueue(what, by))
    }
}

impl FromPages {
    async fn do_cancel(&self, number: i64, by: &Person) -> Result<Done, ActionError> {
        let run = self.run(number).await?;
        self.allow(RepoId(run.what.repo_id), by).await?;
        let Bridge { store, clock, signals, .. } = &self.0;
        let mut write = store.begin_immediate().await.map_err(down)?;
        let cancelled = cancel_run(&mut write, number, &by.login, clock.now()).await.map_err(down)?;
        write.commit().await.map_err(down)?;
        signals.cancels.tell();
        signals.publish.wake();
        self.0.news.tell();
        let message = match (cancelled.ended.is_empty(), cancelled.asked.is_empty()) {
            (false, _) => format!("Run {number} is cancelled."),
            (true, false) => format!("Run {number} is being stopped and removed."),
            (true, true) => {
                return Err(ActionError::Refused(format!("run {number} is over, or being cancelled already")));
            }
        };
        Ok(Done { run: Some(number), message })
    }

    async fn do_rerun(&self, number: i64, by: &Person) -> Result<Done, ActionError> {
        let run = self.run(number).await?;
        self.allow(RepoId(run.what.repo_id), by).await?;
        let Bridge { store, clock, config, .. } = &self.0;
        let mut write = store.begin_immediate().await.map_err(down)?;
        let person = (by.id, by.login.as_str());
        let accepted = rerun(&mut write, number, person, &config.queue(), clock.now()).await.map_err(down)?;
        write.commit().await.map_err(down)?;
        self.told(accepted.ok_or_else(|| ActionError::NotFound(format!("run {number}")))?)
    }

    async fn do_enqueue(&self, what: &Enqueue, by: &Person) -> Result<Done, ActionError> {
        let enrolment =
            self.0.enrolled().ok_or_else(|| ActionError::Unavailable("the forge has not answered yet".into()))?;
        let unknown = || ActionError::NotFound(format!("a served recipe {}", what.recipe));
        let (id, served) = enrolment
            .repositories
            .iter()
            .find(|(id, served)| {
                served.full_name == what.recipe
                    || enrolment.gate.repositories.get(id).is_some_and(|enrolled| enrolled.recipe == what.recipe)
            })
            .ok_or_else(unknown)?;
        let enrolled = enrolment.gate.repositories.get(id).ok_or_else(unknown)?;
        self.allow(RepoId(*id), by).await?;
        let commit = self.commit(RepoId(*id), what).await?;
        let Bridge { store, clock, config, .. } = &self.0;
        let trigger = NewTrigger {
            cause: Cause::Web,
            repo_id: *id,
            pull: what.pull.unwrap_or(0),
            comment_id: None,
            person_id: by.id,
            person_login: by.login.clone(),
        };
        let run = NewRun {
            repo_id: *id,
            repo_name: served.full_name.clone(),
            recipe: enrolled.recipe.clone(),
            suite: enrolled.suite.clone(),
            pull: what.pull,
            commit,
            person_id: by.id,
            person_login: by.login.clone(),
            cause: Cause::Web,
            priority: 0,
            need_memory: config.runs.memory,
            need_networks: config.runs.networks,
        };
        let mut write = store.begin_immediate().await.map_err(down)?;
        let accepted = accept(&mut write, &trigger, &run, &config.queue(), clock.now()).await.map_err(down)?;
        write.commit().await.map_err(down)?;
        self.told(accepted)
    }

    /// The commit that is meant.
    async fn commit(&self, repo: RepoId, what: &Enqueue) -> Result<String, ActionError> {
        let client = &self.0.client;
        if let Some(number) = what.pull {
            let pull = client.pull(repo, number).await.map_err(|error| told(&error, "that pull request"))?;
            return Ok(pull.head.sha.to_ascii_lowercase());
        }
        let found = client.repo(repo).await.map_err(|error| told(&error, "the repository"))?;
        let reference = what.reference.as_deref().unwrap_or(&found.default_branch);
        if matches!(reference.len(), 40 | 64) && reference.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(reference.to_ascii_lowercase());
        }
        match client.branch(repo, reference).await {
            Ok(branch) => return Ok(branch.sha.to_ascii_lowercase()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(told(&error, "that branch")),
        }
        let tags = client.tags(repo).await.map_err(|error| told(&error, "the tags"))?;
        let tag = tags.into_iter().find(|tag| tag.name == reference);
        tag.map(|tag| tag.sha.to_ascii_lowercase())
            .ok_or_else(|| ActionError::NotFound(format!("branch or tag {reference}")))
    }

    /// Whoever holds a configured token may everything that it allows; others what they may do with the code.
    async fn allow(&self, repo: RepoId, by: &Person) -> Result<(), ActionError> {
        if by.id == 0 {
            return Ok(());
        }
        let person = facts::Person { id: by.id, login: by.login.clone() };
        let trusted = self.0.config.forge.trusted_ids.contains(&by.id);
        let rights = gather_rights(&self.0.client, repo, &person, trusted).await;
        let rights = rights.map_err(|error| told(&error, "your rights"))?;
        if rights.may_write().is_yes() {
            return Ok(());
        }
        Err(ActionError::NotAllowed("only people who may write to the repository can do this".to_owned()))
    }

    async fn run(&self, number: i64) -> Result<RunRow, ActionError> {
        let mut connection = self.0.store.read().await.map_err(down)?;
        let run = runs::get(&mut connection, number).await.map_err(down)?;
        run.ok_or_else(|| ActionError::NotFound(format!("run {number}")))
    }

    fn told(&self, accepted: Accepted) -> Result<Done, ActionError> {
        self.0.signals.queue.wake();
        self.0.signals.publish.wake();
        self.0.news.tell();
        match accepted {
            Accepted::Queued { number, .. } => {
                Ok(Done { run: Some(number), message: format!("Run {number} is queued.") })
            }
            Accepted::Joined { number } => {
                Ok(Done { run: Some(number), message: format!("Run {number} waits already and will answer this too.") })
            }
            Accepted::Known => Ok(Done { run: None, message: "That was asked for before.".to_owned() }),
            Accepted::Full { why } => Err(ActionError::Refused(why)),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn down(error: StoreError) -> ActionError {
    tracing::warn!("{error}");
    ActionError::Unavailable("the database does not answer".to_owned())
}

fn told(error: &Error, what: &str) -> ActionError {
    if error.is_withheld() {
        return ActionError::NotFound(what.to_owned());
    }
    tracing::warn!("{error}");
    ActionError::Unavailable(format!("the forge does not tell {what}"))
}
