//! `/runs/{id}/events`: what a run does, as it does it (server-sent events).
//!
//! Nothing is queued for a viewer: his place is a [`Cursor`] into what is stored (log files, rows), sent along with
//! every event as its id. A browser that reconnects names the last id it has, and goes on after it, whether the
//! connection, the browser or this server was gone in between. A viewer who does not read is simply not sent anything.
//!
//! One task per watched run looks for news and reads it, once for all viewers ([`Story`]); it ends with the last of
//! them. The rule to know: it reads the run's state before anything else, so that what a run wrote before it ended is
//! certainly seen.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use crate::domain::{RunId, Stage, StageResult};
use crate::results::sanitise;
use crate::store::runs::{self, RunRow, RunState};
use crate::store::{StoreError, attempts, events as told, stage_rows, views};

use super::error::WebError;
use super::pages::run_number;
use super::state::WebState;
use super::view;

/// How often a watched run is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Most bytes of a log that are read at once.
const CHUNK: u64 = 64 * 1024;
/// Longest line that is sent, in characters.
const LINE_MAX: usize = 4_000;
/// Stored events that are read at once.
const EVENTS: i64 = 500;
/// Events on their way to one viewer.
const UNDERWAY: usize = 64;

/// A place in a run's story: everything before it has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    /// The attempt that the other numbers belong to.
    pub attempt: i64,
    /// Id of the last stored event.
    pub event: i64,
    /// Stages whose end was told.
    pub stages: usize,
    /// Bytes of each stage's log, in the order of the stages.
    pub bytes: [u64; 5],
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.attempt, self.event, self.stages)?;
        self.bytes.iter().try_for_each(|bytes| write!(f, ".{bytes}"))
    }
}

impl Cursor {
    /// Reads what [`Cursor`]'s `Display` wrote; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let attempt = parts.next()?.parse().ok()?;
        let event = parts.next()?.parse().ok()?;
        let stages = parts.next()?.parse().ok()?;
        let mut bytes = [0; 5];
        for place in &mut bytes {
            *place = parts.next()?.parse().ok()?;
        }
        parts.next().is_none().then_some(Self { attempt, event, stages, bytes })
    }
}

/// The log of a stage inside an attempt's folder.
pub(super) fn log_path(runs_dir: &FsPath, run: &RunId, stage: Stage) -> PathBuf {
    runs_dir.join(run.as_str()).join("logs").join(format!("{stage}.log"))
}

/// A run as it stood at one moment.
struct Story {
    run: RunRow,
    /// Its current or last attempt, whose logs are shown.
    newest: Option<RunId>,
    /// Ends of the current attempt's stages, in order.
    stages: Vec<StageResult>,
    /// Id of the newest stored event.
    event: i64,
    /// Bytes of each stage's log, in the order of the stages.
    bytes: [u64; 5],
    /// The run's count of changes.
    change: i64,
}

impl Story {
    /// Whether a viewer who knows `other` would see nothing new.
    fn equals(&self, other: &Self) -> bool {
        (self.event, self.bytes, self.change) == (other.event, other.bytes, other.change)
            && self.run.progress == other.run.progress
    }
}

type Told = Option<Arc<Story>>;

/// The runs that are being watched.
pub(super) struct Hub {
    runs: Mutex<HashMap<i64, watch::Sender<Told>>>,
    room: Arc<Semaphore>,
}

impl Hub {
    pub(super) fn new(viewers: usize) -> Self {
        Self { runs: Mutex::default(), room: Arc::new(Semaphore::new(viewers.clamp(1, Semaphore::MAX_PERMITS))) }
    }

    /// What is known of a run, from now on. Wakes up whenever there is something new.
    fn watch(&self, state: &WebState, number: i64) -> watch::Receiver<Told> {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = runs.get(&number) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(None);
        runs.insert(number, sender);
        tokio::spawn(look_out(state.clone(), number));
        receiver
    }

    /// Tells the viewers of a run, if there is news. False if none is left; then the run is no longer watched.
    fn tell(&self, number: i64, news: Told) -> bool {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = runs.get(&number) else { return false };
        // Viewers subscribe under the same lock, so none can slip in between this look and the removal.
        if sender.receiver_count() == 0 {
            runs.remove(&number);
            return false;
        }
        if news.is_some() {
            sender.send_replace(news);
        }
        true
    }
}

/// Looks at a run again and again, for all who watch it.
async fn look_out(state: WebState, number: i64) {
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last: Told = None;
    loop {
        ticks.tick().await;
        let news = match look(&state, number).await {
            Ok(Some(story)) if last.as_ref().is_some_and(|last| last.equals(&story)) => None,
            Ok(Some(story)) => Some(Arc::new(story)),
            // Runs are never removed; without a row its viewers wait, and go when they like.
            Ok(None) => None,
            Err(error) => {
                tracing::warn!("live log of run {number}: {error}");
                None
            }
        };
        if news.is_some() {
            last.clone_from(&news);
        }
        if !state.hub.tell(number, news) {
            return;
        }
    }
}

async fn look(state: &WebState, number: i64) -> Result<Option<Story>, StoreError> {
    let mut connection = state.store.read().await?;
    let Some((change, event)) = views::mark(&mut connection, number).await? else { return Ok(None) };
    let Some(run) = runs::get(&mut connection, number).await? else { return Ok(None) };
    // Not simply the last one: another attempt may have begun since the line above.
    let tries = attempts::of_run(&mut connection, number).await?;
    let newest = tries.into_iter().find(|attempt| attempt.attempt == run.attempt).map(|attempt| attempt.run_id);
    let stages = stage_rows::of_attempt(&mut connection, number, run.attempt).await?;
    drop(connection);
    let mut bytes = [0; 5];
    if let Some(newest) = &newest {
        for (bytes, stage) in bytes.iter_mut().zip(Stage::ALL) {
            *bytes = tokio::fs::metadata(log_path(&state.runs_dir, newest, stage)).await.map_or(0, |file| file.len());
        }
    }
    Ok(Some(Story { run, newest, stages, event, bytes, change }))
}

/// Where a viewer wants to go on if his browser has not been told any id yet.
#[derive(Debug, Deserialize)]
pub(super) struct From {
    after: Option<String>,
}

/// `/runs/{id}/events`
pub(super) async fn events(
    State(state): State<WebState>,
    Path(id): Path<String>,
    Query(from): Query<From>,
    headers: HeaderMap,
) -> Result<Response, WebError> {
    let number = run_number(&state, &id).await?;
    let room = state.hub.room.clone().try_acquire_owned().map_err(|_| {
        WebError::Unavailable("too many live logs are being watched; reload the page from time to time instead".into())
    })?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned).or(from.after);
    let cursor = last.as_deref().and_then(Cursor::parse).unwrap_or_default();
    let news = state.hub.watch(&state, number);
    let (sender, receiver) = mpsc::channel(UNDERWAY);
    let viewer = Viewing { state: state.clone(), number, cursor, progress: None, sender, _room: room };
    tokio::spawn(viewer.follow(news));
    let stream = ReceiverStream::new(receiver);
    let alive = KeepAlive::new().interval(Duration::from_secs(15));
    let mut response = Sse::new(stream).keep_alive(alive).into_response();
    // Proxies that collect answers before they pass them on would make the log anything but live.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    Ok(response)
}

/// One viewer.
struct Viewing {
    state: WebState,
    number: i64,
    cursor: Cursor,
    progress: Option<String>,
    sender: mpsc::Sender<Result<Event, Infallible>>,
    _room: OwnedSemaphorePermit,
}

/// Why following ends early.
enum Stop {
    Gone,
    Failed(StoreError),
}

impl std::convert::From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Stop::Failed(error)
    }
}

impl Viewing {
    async fn follow(mut self, mut news: watch::Receiver<Told>) {
        self.state.metrics.viewers.inc();
        loop {
            let story = news.borrow_and_update().clone();
            let over = match story {
                Some(story) => self.catch_up(&story).await,
                None => Ok(false),
            };
            match over {
                Ok(true) | Err(Stop::Gone) => break,
                Ok(false) => {}
                Err(Stop::Failed(error)) => {
                    tracing::warn!("live log of run {}: {error}", self.number);
                    break;
                }
            }
            tokio::select! {
                changed = news.changed() => if changed.is_err() { break },
                () = self.sender.closed() => break,
                () = self.state.stop.cancelled() => break,
            }
        }
        self.state.metrics.viewers.dec();
    }

    /// Sends everything that is stored and was not sent. True if there will never be more.
    async fn catch_up(&mut self, story: &Story) -> Result<bool, Stop> {
        let run = &story.run;
        if self.cursor.attempt != run.attempt {
            self.cursor = Cursor { attempt: run.attempt, event: self.cursor.event, ..Cursor::default() };
            self.send("attempt", &json!({ "attempt": run.attempt })).await?;
        }
        let over = run.state == RunState::Finished;
        if let Some(newest) = &story.newest {
            for (at, stage) in Stage::ALL.into_iter().enumerate() {
                if story.bytes[at] > self.cursor.bytes[at] {
                    let path = log_path(&self.state.runs_dir, newest, stage);
                    self.send_log(at, stage, &path, over).await?;
                }
            }
        }
        for result in story.stages.iter().skip(self.cursor.stages) {
            self.cursor.stages += 1;
            let mark = view::stage_mark(result.status);
            let took = view::millis(result.duration_ms);
            let data = json!({
                "stage": result.stage, "status": result.status, "sign": mark.sign, "word": mark.word,
                "class": mark.class, "took": took, "duration_ms": result.duration_ms,
            });
            self.send("stage", &data).await?;
        }
        while self.cursor.event < story.event {
            let mut connection = self.state.store.read().await?;
            let events = told::after(&mut connection, self.number, self.cursor.event, EVENTS).await?;
            drop(connection);
            if events.is_empty() {
                break;
            }
            for event in events {
                self.cursor.event = event.id;
                let data = json!({
                    "kind": view::line(&event.kind), "attempt": event.attempt, "body": view::block(&event.body),
                });
                self.send("told", &data).await?;
            }
        }
        let progress = if over { String::new() } else { view::line(&run.progress) };
        if self.progress.as_ref() != Some(&progress) {
            let mark = view::run_mark(run);
            self.send("progress", &json!({ "state": mark.word, "sign": mark.sign, "doing": progress })).await?;
            self.progress = Some(progress);
        }
        if over {
            let mark = view::run_mark(run);
            self.send("end", &json!({ "word": mark.word, "sign": mark.sign, "class": mark.class })).await?;
        }
        Ok(over)
    }

    async fn send_log(&mut self, at: usize, stage: Stage, path: &FsPath, over: bool) -> Result<(), Stop> {
        loop {
            let (lines, end) = match next_lines(path, self.cursor.bytes[at], over).await {
                Ok(found) => found,
                Err(error) => {
                    if error.kind() != std::io::ErrorKind::NotFound {
                        tracing::warn!("{}: {error}", path.display());
                    }
                    return Ok(());
                }
            };
            if end == self.cursor.bytes[at] {
                return Ok(());
            }
            for (text, after) in lines {
                self.cursor.bytes[at] = after;
                self.state.metrics.lines.inc();
                self.send("line", &json!({ "stage": stage, "text": text })).await?;
            }
            self.cursor.bytes[at] = end;
        }
    }

    async fn send(&self, kind: &str, data: &serde_json::Value) -> Result<(), Stop> {
        let event = Event::default().event(kind).id(self.cursor.to_string()).data(data.to_string());
        self.sender.send(Ok(event)).await.map_err(|_| Stop::Gone)
    }
}

/// Whole lines of a file from byte `from` on, each with the byte after it, and where to go on. If the file will not grow
/// any more (`over`), or a line does not fit into a chunk, a piece without its line end counts as a line.
async fn next_lines(path: &FsPath, from: u64, over: bool) -> std::io::Result<(Vec<(String, u64)>, u64)> {
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(std::io::SeekFrom::Start(from)).await?;
    let mut bytes = Vec::new();
    file.take(CHUNK).read_to_end(&mut bytes).await?;
    Ok(split(&bytes, from, over))
}

fn split(bytes: &[u8], from: u64, over: bool) -> (Vec<(String, u64)>, u64) {
    let mut lines = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at..].iter().position(|byte| *byte == b'\n') {
            Some(length) => at + length + 1,
            None if over || (at == 0 && bytes.len() as u64 >= CHUNK) => bytes.len(),
            None => break,
        };
        let text = String::from_utf8_lossy(&bytes[at..end]);
        at = end;
        let clean = sanitise::text(text.trim_end_matches(['\n', '\r']));
        lines.push((sanitise::clip(&clean, LINE_MAX), from + at as u64));
    }
    (lines, from + at as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_nothing_else_is_one() {
        let cursor = Cursor { attempt: 2, event: 1042, stages: 3, bytes: [8_123, 0, 1, 2, u64::MAX] };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for text in ["", "1", "1.2.3.4.5.6.7", "1.2.3.4.5.6.7.8.9", "1.2.-3.4.5.6.7.8", "a.2.3.4.5.6.7.8"] {
            assert_eq!(Cursor::parse(text), None, "{text}");
        }
    }

    #[test]
    fn lines_are_whole_and_their_places_are_right() {
        let lines = |text: &str, over| split(text.as_bytes(), 10, over);
        assert_eq!(lines("ab\nc\nrest", false), (vec![("ab".into(), 13), ("c".into(), 15)], 15));
        assert_eq!(lines("rest", true), (vec![("rest".into(), 14)], 14));
        assert_eq!(lines("rest", false), (vec![], 10));
        assert_eq!(lines("\u{1b}[2Jx\r\n", false), (vec![("x".into(), 17)], 17));
        let long = "x".repeat(usize::try_from(CHUNK).unwrap());
        let (cut, end) = lines(&long, false);
        assert_eq!((cut.len(), end), (1, 10 + CHUNK));
    }
}
