//! From what is wanted to what the forge shows, one row at a time: look, compare, do the one thing that is missing.

use jiff::Timestamp;

use crate::store::outbox::{self, OutboxRow, Wanted};
use crate::store::{Store, StoreError};

use super::backoff::{Again, again};
use super::compare::{CommentStep, comment_step, must_post};
use super::forge::{Forge, ForgeError, Repository, SeenComment, Status};

/// Rows of one pass.
const BATCH: i64 = 100;

/// What is remembered between passes. Lost at a restart without harm: then the forge is simply tried at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    outages: u32,
    paused_until: Option<Timestamp>,
}

impl Line {
    /// Until when nothing is sent, because the forge was down.
    #[must_use]
    pub fn paused_until(&self) -> Option<Timestamp> {
        self.paused_until
    }
}

/// What a pass came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pass {
    /// Rows that the forge now shows.
    pub settled: usize,
    /// Rows that will be tried again.
    pub postponed: usize,
    /// Rows that were given up.
    pub abandoned: usize,
    /// The forge was found down, or is being left alone.
    pub down: bool,
}

/// Tries all rows that are due. `chance` gives numbers from 0 to 1.
///
/// # Errors
/// If the database fails. What the forge refuses is noted in its row.
pub async fn deliver(
    store: &Store,
    forge: &impl Forge,
    line: &mut Line,
    now: Timestamp,
    chance: &mut (dyn FnMut() -> f64 + Send),
) -> Result<Pass, StoreError> {
    let mut pass = Pass::default();
    if line.paused_until.is_some_and(|until| now < until) {
        pass.down = true;
        return Ok(pass);
    }
    line.paused_until = None;
    let due = outbox::due(&mut *store.read().await?, now, BATCH).await?;
    for row in due {
        match show(forge, &row).await {
            Ok(forge_id) => {
                line.outages = 0;
                let mut write = store.begin_immediate().await?;
                outbox::settle(&mut write, &row, forge_id, now).await?;
                write.commit().await?;
                pass.settled += 1;
            }
            Err(error) => {
                let age = now.duration_since(row.since);
                match again(&row.wanted, error.failure, row.tries, line.outages, age, chance()) {
                    Again::AllAfter(pause) => {
                        line.outages = line.outages.saturating_add(1);
                        line.paused_until = Some(now + pause);
                        // Should it be this row alone that the forge chokes on, the others must come first next time.
                        let mut write = store.begin_immediate().await?;
                        outbox::later(&mut write, &row, now + pause, &error.message).await?;
                        write.commit().await?;
                        pass.down = true;
                        return Ok(pass);
                    }
                    Again::After(pause) => {
                        fail(store, &row, Some(now + pause), &error).await?;
                        pass.postponed += 1;
                    }
                    Again::Never => {
                        fail(store, &row, None, &error).await?;
                        pass.abandoned += 1;
                    }
                }
            }
        }
    }
    Ok(pass)
}

/// Makes the forge show a row. Safe to repeat after any failure.
async fn show(forge: &impl Forge, row: &OutboxRow) -> Result<Option<i64>, ForgeError> {
    let repository = Repository { id: row.repo_id, name: row.repo_name.clone() };
    match &row.wanted {
        Wanted::Status { commit, context, state, description, target_url } => {
            let wanted = Status { state: *state, description: description.clone(), target_url: target_url.clone() };
            let seen = forge.statuses(&repository, commit, context).await?;
            if must_post(&wanted, &seen) {
                forge.post_status(&repository, commit, context, &wanted).await?;
            }
            Ok(None)
        }
        Wanted::Comment { pull, marker, body } => {
            let step = |seen: &[SeenComment]| comment_step(marker, body, forge.own_id(), seen);
            // All comments are looked through only until ours is known: others may write as many and as long ones as they like.
            let known = match row.forge_id {
                Some(id) => forge.comment(&repository, id).await?,
                None => None,
            };
            let missing = match known.as_slice() {
                [] => CommentStep::Create,
                ours => step(ours),
            };
            let missing = match missing {
                CommentStep::Create => step(&forge.comments(&repository, *pull).await?),
                CommentStep::Nothing(_) | CommentStep::Edit(_) => missing,
            };
            match missing {
                CommentStep::Nothing(id) => Ok(Some(id)),
                CommentStep::Edit(id) => forge.edit_comment(&repository, id, body).await.map(|()| Some(id)),
                CommentStep::Create => forge.create_comment(&repository, *pull, body).await.map(Some),
            }
        }
        Wanted::Reaction { comment_id, content } => forge.react(&repository, *comment_id, content).await.map(|()| None),
    }
}

async fn fail(store: &Store, row: &OutboxRow, next: Option<Timestamp>, error: &ForgeError) -> Result<(), StoreError> {
    let mut write = store.begin_immediate().await?;
    outbox::failed(&mut write, row, next, &error.message).await?;
    write.commit().await
}
