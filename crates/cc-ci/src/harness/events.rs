//! What a run tells while it goes: a closed list of events, consumed by reporters (terminal, log, server).
//!
//! Events are for watching. The truth is the [`Run`] that comes out at the end; an event may be lost without harm.

use tokio::sync::mpsc;

use crate::domain::{Lane, Run, RunId, Stage, StageResult};

/// One thing that happened in a run.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "events are few; boxing would only make matching harder to read")]
pub enum Event {
    /// The run has an id and a folder.
    Started {
        /// The run.
        run: RunId,
        /// Recipe name.
        recipe: String,
        /// What is tested, in words: version and short commit.
        head: String,
        /// What the upgrade starts from, in words; or why there is none.
        base: String,
        /// Stages that were asked for.
        stages: Vec<Stage>,
        /// Whether lanes run side by side.
        parallel: bool,
    },
    /// Something that takes a while before any stage starts: reading, pulling.
    Preparing(String),
    /// A stage begins.
    StageStarted(Stage),
    /// What a stage is busy with.
    Progress {
        /// The stage.
        stage: Stage,
        /// A few words, masked.
        doing: String,
    },
    /// A stage has ended.
    StageEnded(StageResult),
    /// A lane is being removed.
    TearingDown(Lane),
    /// Something to be said that is no failure.
    Warning(String),
    /// The run has ended and its folder is written.
    Ended(Run),
}

/// The sending side that the harness holds. A reporter that went away is no reason to stop.
#[derive(Debug, Clone)]
pub struct Reporter(Option<mpsc::UnboundedSender<Event>>);

impl Reporter {
    /// A reporter and the stream to read it from.
    #[must_use]
    pub fn channel() -> (Self, mpsc::UnboundedReceiver<Event>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// A reporter nobody listens to.
    #[must_use]
    pub fn silent() -> Self {
        Self(None)
    }

    /// Tells one event.
    pub fn tell(&self, event: Event) {
        if let Some(sender) = &self.0 {
            // The only error is that the reader is gone.
            let _ = sender.send(event);
        }
    }
}
