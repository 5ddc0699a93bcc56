//! Work that is done again and again until the world is as it should be.
//!
//! A reconciler takes no input: a signal or its period only wakes it, and it looks for itself what there is to do. So a
//! restart, a lost signal and normal operation run the same lines. One pass at a time; a signal that comes during a pass
//! causes another one right after it. Errors and panics of a pass are kept for the health page and tried again later;
//! nothing here gives up.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;

/// Longest pause after failed passes.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// When the next pass is due, unless a signal comes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// After the period.
    Idle,
    /// After this long, or the period if that is shorter.
    After(Duration),
    /// At once.
    Again,
}

/// Wakes a reconciler. Cheap to clone; a signal that nobody waits for is kept.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<Notify>);

impl Signal {
    /// Wakes it, now or when it has finished its pass.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    async fn woken(&self) {
        self.0.notified().await;
    }
}

/// Counts things that happened, for whoever waits until something has come about.
#[derive(Debug, Clone)]
pub struct News(watch::Sender<u64>);

impl Default for News {
    fn default() -> Self {
        Self(watch::channel(0).0)
    }
}

impl News {
    /// Something happened.
    pub fn tell(&self) {
        self.0.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// To be woken by what happens from now on.
    #[must_use]
    pub fn listen(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// How a reconciler is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// Passes that ended well.
    pub passes: u64,
    /// When the last one did.
    pub last_well: Option<Timestamp>,
    /// Since when a pass has been going on.
    pub since: Option<Timestamp>,
    /// What went wrong in the last pass, if it did.
    pub error: Option<String>,
    /// Failed passes since the last good one.
    pub failures: u32,
}

/// How all reconcilers are doing, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<&'static str, Status>>>);

impl Board {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, Status> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, name: &'static str, change: impl FnOnce(&mut Status)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default());
    }
}

/// What reconcilers have in common.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Where their state is shown.
    pub board: Board,
    /// Told after each pass.
    pub news: News,
    /// For records.
    pub clock: SharedClock,
    /// Ends them between passes.
    pub stop: CancellationToken,
}

/// Runs passes until it is stopped. A pass that is going on is finished first.
pub async fn run<F>(
    frame: Frame,
    name: &'static str,
    signal: Signal,
    period: Duration,
    mut pass: impl FnMut() -> F + Send,
) where
    F: Future<Output = Result<Next, String>> + Send,
{
    while !frame.stop.is_cancelled() {
        let wait = one_pass(&frame, name, period, &mut pass).await;
        if wait.is_zero() {
            // Even work without an end lets others have their turn.
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = frame.stop.cancelled() => {}
            () = signal.woken() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One pass, noted on the board. Gives how long to wait.
async fn one_pass<F>(frame: &Frame, name: &'static str, period: Duration, pass: &mut impl FnMut() -> F) -> Duration
where
    F: Future<Output = Result<Next, String>> + Send,
{
    frame.board.change(name, |status| status.since = Some(frame.clock.now()));
    let outcome = AssertUnwindSafe(async { pass().await }).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|_| Err("a mistake of cc-ci's own; see the log".to_owned()));
    let now = frame.clock.now();
    let mut failures = 0;
    frame.board.change(name, |status| {
        status.since = None;
        match &outcome {
            Ok(_) => {
                *status = Status { passes: status.passes + 1, last_well: Some(now), ..Status::default() };
            }
            Err(why) => {
                status.error = Some(why.clone());
                status.failures = status.failures.saturating_add(1);
                failures = status.failures;
            }
        }
    });
    frame.news.tell();
    tracing::debug!("{name}: {outcome:?}");
    match outcome {
        Ok(Next::Again) => Duration::ZERO,
        Ok(Next::Idle) => period,
        Ok(Next::After(wait)) => wait.min(period).max(Duration::from_millis(1)),
        Err(why) => {
            tracing::warn!("{name}: {why}");
            pause(failures).min(period)
        }
    }
}

/// A second, doubled for each further failure, at most a minute.
fn pause(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.saturating_sub(1).min(6)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::SystemClock;

    fn frame() -> Frame {
        Frame {
            board: Board::default(),
            news: News::default(),
            clock: SystemClock::shared(),
            stop: CancellationToken::new(),
        }
    }

    async fn until(news: &mut watch::Receiver<u64>, mut met: impl FnMut() -> bool) {
        while !met() {
            tokio::time::timeout(Duration::from_secs(10), news.changed()).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_signal_during_a_pass_is_not_lost_and_passes_never_overlap() {
        let (frame, signal) = (frame(), Signal::default());
        let (inside, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let mut news = frame.news.listen();
        let task = {
            let (signal, inside, done) = (signal.clone(), inside.clone(), done.clone());
            tokio::spawn(run(frame.clone(), "test", signal.clone(), Duration::from_secs(3600), move || {
                let (signal, inside, done) = (signal.clone(), inside.clone(), done.clone());
                async move {
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two passes at once");
                    tokio::task::yield_now().await;
                    if done.fetch_add(1, Ordering::SeqCst) < 3 {
                        signal.wake();
                    }
                    inside.fetch_sub(1, Ordering::SeqCst);
                    Ok(Next::Idle)
                }
            }))
        };
        until(&mut news, || done.load(Ordering::SeqCst) == 4).await;
        frame.stop.cancel();
        task.await.unwrap();
        assert_eq!(frame.board.all()["test"].passes, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn errors_and_panics_are_kept_and_tried_again() {
        let frame = frame();
        let mut news = frame.news.listen();
        let tries = Arc::new(AtomicU32::new(0));
        let counted = tries.clone();
        let task = tokio::spawn(run(frame.clone(), "test", Signal::default(), Duration::from_secs(3600), move || {
            let count = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                match count {
                    0 => Err("no luck".to_owned()),
                    1 => panic!("on purpose"),
                    _ => Ok(Next::Idle),
                }
            }
        }));
        let board = frame.board.clone();
        until(&mut news, || board.all().get("test").is_some_and(|status| status.failures == 2)).await;
        assert!(board.all()["test"].error.as_ref().unwrap().contains("mistake"));
        until(&mut news, || board.all()["test"].passes == 1).await;
        assert_eq!(board.all()["test"].error, None);
        frame.stop.cancel();
        task.await.unwrap();
    }

    #[test]
    fn pauses_grow_to_a_minute() {
        let secs: Vec<u64> = (1..=8).map(|n| pause(n).as_secs()).collect();
        assert_eq!(secs, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
