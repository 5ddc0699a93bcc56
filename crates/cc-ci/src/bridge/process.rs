//! From the journal to decisions: reads a delivery, gathers facts, asks the gate, and writes what follows from it.
//!
//! Everything that follows (the trigger, its run, what the forge shall show, the end of the delivery) is one transaction,
//! so that a crash leaves the delivery either undecided or decided. If the forge is down, nothing is decided: the
//! delivery waits, and nobody is refused for what is our own trouble. The race to know: a comment that has to wait must
//! not be overtaken by a later one of its pull request, or a `!cancel` would find nothing to cancel.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::context::{Bridge, Enrolment};
use super::facts::Trigger;
use super::gate::{self, Decision, Job, Reaction, Refusal, Visible};
use super::gather::{Asking, gather_facts};
use super::webhook;
use crate::publish::{self, hint_marker};
use crate::queue::accept::{Accepted, accept};
use crate::queue::cancel::cancel_pull;
use crate::reconcile::Next;
use crate::store::deliveries::{self, Arrival, Delivery, DeliveryState};
use crate::store::hints::{self, HintKind};
use crate::store::outbox::{self, Version, Wanted};
use crate::store::runs::NewRun;
use crate::store::triggers::{self, Cause, Decided, NewTrigger};
use crate::store::{StoreError, Write};

/// Deliveries of one pass.
const BATCH: i64 = 50;

/// How soon the forge is asked again whether it has settled.
const SETTLING: SignedDuration = SignedDuration::from_secs(2);

/// How long a comment waits that found the forge down.
const OUTAGE: SignedDuration = SignedDuration::from_secs(5);

/// A delivery that cannot be decided for this long is given up.
const PATIENCE: SignedDuration = SignedDuration::from_hours(24 * 7);

/// Why a pass ends early.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the forge does not answer: {0}")]
    Forge(crate::forge::Error),
}

/// Decides what is due.
///
/// # Errors
/// If the database fails or the forge is down; what was not decided stays due.
pub async fn pass(bridge: &Bridge) -> Result<Next, String> {
    // Without names nothing can be told apart; the deliveries are safe meanwhile.
    let Some(enrolment) = bridge.enrolled() else { return Ok(Next::Idle) };
    let due = async { deliveries::due(&mut *bridge.store.read().await?, bridge.clock.now(), BATCH).await };
    let due = due.await.map_err(|error: StoreError| error.to_string())?;
    let many = i64::try_from(due.len()).unwrap_or(BATCH) >= BATCH;
    let mut held_back = BTreeSet::new();
    for delivery in &due {
        let pull = (delivery.what.repo_id, delivery.what.pull);
        if held_back.contains(&pull) {
            continue;
        }
        match decide(bridge, &enrolment, delivery).await.map_err(|trouble| trouble.to_string())? {
            Handled::Settled => {}
            Handled::Later => drop(held_back.insert(pull)),
        }
        bridge.news.tell();
    }
    if many {
        return Ok(Next::Again);
    }
    let now = bridge.clock.now();
    let next = async { deliveries::next_due(&mut *bridge.store.read().await?, now).await };
    let next = next.await.map_err(|error: StoreError| error.to_string())?;
    Ok(next.map_or(Next::Idle, |at| Next::After(Duration::try_from(at.duration_since(now)).unwrap_or_default())))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handled {
    Settled,
    Later,
}

async fn decide(bridge: &Bridge, enrolment: &Enrolment, delivery: &Delivery) -> Result<Handled, Trouble> {
    let (trigger, signed_push) = match read(delivery) {
        Ok(read) => read,
        Err(why) => {
            settle(bridge, delivery, DeliveryState::Bad, &why).await?;
            return Ok(Handled::Settled);
        }
    };
    if let Some(why) = gate::passed_over(&trigger, &enrolment.gate) {
        settle(bridge, delivery, DeliveryState::Done, &note(&why)).await?;
        return Ok(Handled::Settled);
    }
    let now = bridge.clock.now();
    let (repo, pull, comment, person) = (trigger.repo_id, trigger.number, trigger.comment_id, trigger.author.id);
    let mut connection = bridge.store.read().await?;
    let asking = Asking {
        trigger: &trigger,
        signed_push,
        on_operators_list: bridge.config.forge.trusted_ids.contains(&person),
        edited: deliveries::was_edited(&mut connection, repo, comment).await?,
        cancelled_since: triggers::cancelled_after(&mut connection, repo, pull, comment).await?,
        hints: hints::history(&mut connection, repo, pull, person, now).await?,
    };
    drop(connection);
    let facts = match gather_facts(&bridge.client, &asking).await {
        Ok(facts) => facts,
        // Concerns everything: no use in asking about the next one. Should it be this comment alone that the forge chokes
        // on, the others come first next time.
        Err(error) if error.is_outage() => {
            postpone(bridge, delivery, OUTAGE, &error.to_string()).await?;
            return Err(Trouble::Forge(error));
        }
        Err(error) => return put_off(bridge, delivery, &error.to_string(), now).await,
    };
    let decision = gate::decide(&trigger, &facts, &enrolment.gate, bridge.clock.now());
    tracing::info!(
        "comment {} on {}#{}: {}",
        trigger.comment_id,
        repo_name(enrolment, &trigger),
        trigger.number,
        note(&decision)
    );
    if let Decision::Wait { why } = &decision {
        postpone(bridge, delivery, SETTLING, why).await?;
        return Ok(Handled::Later);
    }
    let mut write = bridge.store.begin_immediate().await?;
    apply(&mut write, bridge, enrolment, &trigger, &decision).await?;
    deliveries::settle(&mut write, delivery.id, DeliveryState::Done, &note(&decision)).await?;
    write.commit().await?;
    match decision {
        Decision::Start(_) | Decision::Retest(_) => bridge.signals.queue.wake(),
        Decision::Cancel { .. } => bridge.signals.cancels.tell(),
        Decision::Wait { .. } | Decision::Refuse { .. } | Decision::Ignore { .. } => {}
    }
    bridge.signals.publish.wake();
    Ok(Handled::Settled)
}

/// The comment that a delivery tells of, and what it says of its sender's rights.
fn read(delivery: &Delivery) -> Result<(Trigger, Option<bool>), String> {
    match delivery.what.arrival {
        Arrival::Poll => serde_json::from_str(&delivery.what.payload)
            .map(|trigger| (trigger, None))
            .map_err(|error| format!("not as it was written: {error}")),
        // Only deliveries about comments are kept, and their two events have one form.
        Arrival::Webhook => match webhook::parse("pull_request_comment", delivery.what.payload.as_bytes()) {
            Ok(webhook::Delivery::Comment(event)) => {
                let signed_push = event.sender_may_push;
                Ok((event.trigger(delivery.what.received), signed_push))
            }
            Ok(_) => Err("it tells of no comment".to_owned()),
            Err(error) => Err(error.to_string()),
        },
    }
}

async fn apply(
    write: &mut Write,
    bridge: &Bridge,
    enrolment: &Enrolment,
    trigger: &Trigger,
    decision: &Decision,
) -> Result<(), StoreError> {
    let now = bridge.clock.now();
    let name = repo_name(enrolment, trigger);
    let show = Show { trigger, name, now };
    match decision {
        Decision::Start(job) => start(write, bridge, &show, job, Cause::Comment).await,
        Decision::Retest(job) => start(write, bridge, &show, job, Cause::Retest).await,
        Decision::Cancel { repo_id, pull } => {
            let (comment, by) = (trigger.comment_id, trigger.author.login.as_str());
            let cancelled = cancel_pull(write, *repo_id, *pull, comment, by, now).await?;
            let why = format!("{} ended, {} asked to stop", cancelled.ended.len(), cancelled.asked.len());
            let asked = show.asked(Cause::Comment);
            triggers::insert(write, &asked, Decided::Cancel, &why, None, now).await?;
            show.reaction(write, Reaction::Eyes).await
        }
        Decision::Refuse { why, visible } => refuse(write, &show, why, visible).await,
        Decision::Wait { .. } | Decision::Ignore { .. } => Ok(()),
    }
}

async fn start(write: &mut Write, bridge: &Bridge, show: &Show<'_>, job: &Job, cause: Cause) -> Result<(), StoreError> {
    let trigger = show.trigger;
    let asked = show.asked(cause);
    let run = NewRun {
        repo_id: job.repo_id,
        repo_name: show.name.to_owned(),
        recipe: job.recipe.clone(),
        suite: job.suite.clone(),
        pull: Some(job.pull),
        commit: job.commit.clone(),
        person_id: trigger.author.id,
        person_login: trigger.author.login.clone(),
        cause,
        priority: 0,
        need_memory: bridge.config.runs.memory,
        need_networks: bridge.config.runs.networks,
    };
    match accept(write, &asked, &run, &bridge.config.queue(), show.now).await? {
        Accepted::Queued { .. } | Accepted::Joined { .. } => show.reaction(write, Reaction::Eyes).await,
        Accepted::Known => Ok(()),
        Accepted::Full { why } => {
            show.reaction(write, Reaction::Confused).await?;
            show.hint(write, &format!("Nothing was started: {why}.")).await
        }
    }
}

async fn refuse(write: &mut Write, show: &Show<'_>, why: &Refusal, visible: &Visible) -> Result<(), StoreError> {
    let asked = show.asked(Cause::Comment);
    triggers::insert(write, &asked, Decided::Refused, &note(why), None, show.now).await?;
    if let Some(reaction) = visible.reaction {
        show.reaction(write, reaction).await?;
        show.noted(write, HintKind::Reaction).await?;
    }
    if let Some(hint) = &visible.hint {
        show.hint(write, hint).await?;
        show.noted(write, HintKind::Hint).await?;
    }
    Ok(())
}

/// What the person who commented gets to see.
struct Show<'t> {
    trigger: &'t Trigger,
    name: &'t str,
    now: Timestamp,
}

impl Show<'_> {
    fn asked(&self, cause: Cause) -> NewTrigger {
        NewTrigger {
            cause,
            repo_id: self.trigger.repo_id,
            pull: self.trigger.number,
            comment_id: Some(self.trigger.comment_id),
            person_id: self.trigger.author.id,
            person_login: self.trigger.author.login.clone(),
        }
    }

    async fn reaction(&self, write: &mut Write, reaction: Reaction) -> Result<(), StoreError> {
        let content = reaction.as_str().to_owned();
        self.want(write, &Wanted::Reaction { comment_id: self.trigger.comment_id, content }).await
    }

    async fn hint(&self, write: &mut Write, text: &str) -> Result<(), StoreError> {
        let marker = hint_marker(self.trigger.comment_id);
        let body = publish::hint(self.trigger.comment_id, &self.trigger.author.login, text);
        self.want(write, &Wanted::Comment { pull: self.trigger.number, marker, body }).await
    }

    async fn noted(&self, write: &mut Write, kind: HintKind) -> Result<(), StoreError> {
        let trigger = self.trigger;
        hints::note(write, trigger.repo_id, trigger.number, trigger.author.id, kind, self.now).await
    }

    /// Wanted once and never changed, so its version says nothing.
    async fn want(&self, write: &mut Write, wanted: &Wanted) -> Result<(), StoreError> {
        let version = Version { run: 0, attempt: 0, seq: 1 };
        outbox::want(write, self.trigger.repo_id, self.name, wanted, version, self.now).await.map(drop)
    }
}

async fn settle(bridge: &Bridge, delivery: &Delivery, state: DeliveryState, note: &str) -> Result<(), StoreError> {
    let mut write = bridge.store.begin_immediate().await?;
    deliveries::settle(&mut write, delivery.id, state, note).await?;
    write.commit().await
}

/// Later, ever more seldom; in the end never.
async fn put_off(bridge: &Bridge, delivery: &Delivery, why: &str, now: Timestamp) -> Result<Handled, Trouble> {
    let age = now.duration_since(delivery.what.received).max(SignedDuration::ZERO);
    if age > PATIENCE {
        settle(bridge, delivery, DeliveryState::Bad, why).await?;
        return Ok(Handled::Settled);
    }
    let pause = (age / 4).clamp(SETTLING, SignedDuration::from_mins(10));
    tracing::warn!("comment {} cannot be decided yet: {why}", delivery.what.comment_id);
    postpone(bridge, delivery, pause, why).await?;
    Ok(Handled::Later)
}

async fn postpone(bridge: &Bridge, delivery: &Delivery, pause: SignedDuration, why: &str) -> Result<(), StoreError> {
    let mut write = bridge.store.begin_immediate().await?;
    deliveries::postpone(&mut write, delivery.id, bridge.clock.now() + pause, why).await?;
    write.commit().await
}

fn repo_name<'e>(enrolment: &'e Enrolment, trigger: &Trigger) -> &'e str {
    enrolment.repositories.get(&trigger.repo_id).map_or("", |served| served.full_name.as_str())
}

/// A decision in one line, for the journal.
pub(super) fn note<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
