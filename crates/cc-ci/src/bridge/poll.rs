//! The look at the forge's comments that finds what webhooks missed, on the same path as they go.
//!
//! One durable cursor for each repository: the time of the newest comment seen, by the forge's clock. Each look reaches
//! back a little behind it, since comments may become visible out of order; the journal keeps each comment once. The rule
//! to know: the cursor moves only after everything before it is in the journal, and never beyond our own clock, or one
//! comment from a forge whose clock was wrong would hide all that follow.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use super::context::{Bridge, Enrolment};
use super::facts::{Action, Arrival, Trigger};
use super::gate::passed_over;
use crate::forge::model::{Comment, RepoId};
use crate::reconcile::Next;
use crate::store::cursors;
use crate::store::deliveries::{Appended, NewDelivery};

/// How far the first look at a repository reaches back.
const FIRST_LOOK: SignedDuration = SignedDuration::from_mins(10);

/// Repositories that are looked at side by side.
const SIDE_BY_SIDE: usize = 4;

/// Looks at all served repositories.
///
/// # Errors
/// If any of them could not be read; the others were.
pub async fn pass(bridge: &Bridge) -> Result<Next, String> {
    let Some(enrolment) = bridge.enrolled() else { return Ok(Next::Idle) };
    let mut looks = Vec::with_capacity(enrolment.repositories.len());
    for (id, served) in &enrolment.repositories {
        looks.push(look_named(bridge, Arc::clone(&enrolment), RepoId(*id), served.full_name.clone()));
    }
    let mut failed = None;
    let mut looks = stream::iter(looks).buffer_unordered(SIDE_BY_SIDE);
    while let Some(outcome) = looks.next().await {
        if let Err(why) = outcome {
            failed.get_or_insert(why);
        }
    }
    failed.map_or(Ok(Next::Idle), Err)
}

async fn look_named(bridge: &Bridge, enrolment: Arc<Enrolment>, repo: RepoId, name: String) -> Result<(), String> {
    look(bridge, &enrolment, repo).await.map_err(|why| format!("comments of {name}: {why}"))
}

async fn look(bridge: &Bridge, enrolment: &Enrolment, repo: RepoId) -> Result<(), String> {
    let name = format!("comments:{}", repo.0);
    let text = |error: crate::store::StoreError| error.to_string();
    let now = bridge.clock.now();
    let stored = cursors::get(&mut *bridge.store.read().await.map_err(text)?, &name).await.map_err(text)?;
    let cursor: Timestamp = stored.as_deref().and_then(|text| text.parse().ok()).unwrap_or(now - FIRST_LOOK);
    let since = cursor - bridge.config.forge.poll_overlap;
    let comments = match bridge.client.comments_since(repo, since).await {
        Ok(comments) => comments,
        Err(error) if error.is_withheld() => {
            // Gone or hidden since the last look at names; the next one says so.
            return Ok(());
        }
        Err(error) => return Err(error.to_string()),
    };
    let newest = comments.iter().map(|comment| comment.updated).max();
    let mut found = false;
    for comment in comments {
        let Some(trigger) = trigger(repo, comment, now) else { continue };
        if passed_over(&trigger, &enrolment.gate).is_some() {
            continue;
        }
        let payload = serde_json::to_string(&trigger).map_err(|error| error.to_string())?;
        let new = NewDelivery {
            repo_id: repo.0,
            pull: trigger.number,
            comment_id: trigger.comment_id,
            action: Action::Created,
            arrival: Arrival::Poll,
            delivery: String::new(),
            payload,
            received: now,
        };
        found |= matches!(bridge.journal.append(new).await.map_err(text)?, Appended::New(_));
    }
    if found {
        bridge.signals.deliveries.wake();
    }
    let reached = newest.unwrap_or(cursor).max(cursor).min(now);
    if stored.is_none() || reached != cursor {
        let mut write = bridge.store.begin_immediate().await.map_err(text)?;
        cursors::set(&mut write, &name, &reached.to_string(), now).await.map_err(text)?;
        write.commit().await.map_err(text)?;
    }
    Ok(())
}

/// A comment as the gate takes it; nothing if the forge does not say what it belongs to.
fn trigger(repo: RepoId, comment: Comment, received: Timestamp) -> Option<Trigger> {
    Some(Trigger {
        arrival: Arrival::Poll,
        action: Action::Created,
        repo_id: repo.0,
        number: comment.number?,
        is_pull: comment.is_pull,
        comment_id: comment.id,
        body: comment.body,
        sender: comment.author.clone(),
        author: comment.author,
        created: comment.created,
        updated: comment.updated,
        received,
        signed_head: None,
    })
}
