//! The logs of a stack's services, from all their containers, dead ones too.
//!
//! Reads each container's log by itself; the engine's own log of a service has been seen to hang. Never follows, so it always ends. The rule to
//! know: a log belongs to a container, and is gone with it; read before removing.

use std::collections::{HashMap, HashSet};

use bollard::container::LogOutput;
use bollard::query_parameters::{ListContainersOptionsBuilder, LogsOptionsBuilder};
use futures_util::StreamExt;

use super::{Engine, EngineError, LABEL_NAMESPACE};
use crate::domain::StackName;

/// Most that is kept of one container's log, in bytes.
const LOG_CAP: usize = 4 * 1024 * 1024;

/// The log of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerLog {
    /// Service, by its compose name.
    pub service: String,
    /// The task.
    pub task: String,
    /// The container.
    pub container: String,
    /// When the container was made, in seconds since 1970.
    pub created: i64,
    /// Lines, oldest first.
    pub lines: Vec<LogLine>,
    /// True if older lines were left out, or the log was cut at 4 MiB.
    pub cut: bool,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Time as the engine writes it (RFC 3339, nanoseconds).
    pub time: String,
    /// From standard error.
    pub stderr: bool,
    /// The line without its end.
    pub text: String,
}

impl Engine {
    /// The last `tail` lines of every container of the stack, oldest container first.
    ///
    /// # Errors
    /// If the containers cannot be listed. A container that goes away meanwhile is left out.
    pub async fn logs(&self, stack: &StackName, tail: usize) -> Result<Vec<ContainerLog>, EngineError> {
        let filters = HashMap::from([("label", vec![format!("{LABEL_NAMESPACE}={stack}")])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers =
            self.docker.list_containers(Some(options)).await.map_err(self.error("the list of containers"))?;
        let mut logs = Vec::new();
        for container in containers {
            let labels = container.labels.unwrap_or_default();
            let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
            let id = container.id.unwrap_or_default();
            let full = label("com.docker.swarm.service.name");
            let service = full.strip_prefix(stack.as_str()).and_then(|name| name.strip_prefix('_')).unwrap_or(&full);
            let Ok((lines, cut)) = self.container_log(&id, tail).await else { continue };
            logs.push(ContainerLog {
                service: service.to_owned(),
                task: label("com.docker.swarm.task.id"),
                created: container.created.unwrap_or(0),
                container: id,
                lines,
                cut,
            });
        }
        logs.sort_by(|a, b| (a.created, &a.container).cmp(&(b.created, &b.container)));
        Ok(logs)
    }

    /// The last `tail` lines of one container, and whether there were more.
    ///
    /// # Errors
    /// If the container is gone or the engine does not answer.
    pub async fn container_log(&self, container: &str, tail: usize) -> Result<(Vec<LogLine>, bool), EngineError> {
        let lines = tail.saturating_add(1).to_string();
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).timestamps(true).tail(&lines).build();
        let mut stream = std::pin::pin!(self.docker.logs(container, Some(options)));
        let mut joiner = Joiner::default();
        let read = async {
            while let Some(part) = stream.next().await {
                if !joiner.take(&part.map_err(self.error(format!("the log of {container}")))?) {
                    break;
                }
            }
            Ok::<(), EngineError>(())
        };
        match tokio::time::timeout(super::engine::CALL_TIMEOUT, read).await {
            Ok(done) => done?,
            // What came until then is still evidence.
            Err(_) => joiner.cut = true,
        }
        Ok(joiner.finish(tail))
    }
}

/// Makes lines of the parts that the engine sends; a part may hold less than a line.
#[derive(Default)]
struct Joiner {
    lines: Vec<LogLine>,
    open: HashMap<bool, Vec<u8>>,
    bytes: usize,
    cut: bool,
}

impl Joiner {
    /// False once enough was read.
    fn take(&mut self, part: &LogOutput) -> bool {
        let stderr = matches!(part, LogOutput::StdErr { .. });
        for piece in part.as_ref().split_inclusive(|byte| *byte == b'\n') {
            self.bytes += piece.len();
            let open = self.open.entry(stderr).or_default();
            open.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(open);
                self.lines.push(line_of(&line, stderr));
            }
        }
        self.cut |= self.bytes > LOG_CAP;
        !self.cut
    }

    fn finish(mut self, tail: usize) -> (Vec<LogLine>, bool) {
        let streams: HashSet<bool> = self.open.keys().copied().collect();
        for stderr in streams {
            if let Some(rest) = self.open.remove(&stderr).filter(|rest| !rest.is_empty()) {
                self.lines.push(line_of(&rest, stderr));
            }
        }
        let more = self.lines.len().saturating_sub(tail);
        self.lines.drain(..more);
        (self.lines, self.cut || more > 0)
    }
}

fn line_of(line: &[u8], stderr: bool) -> LogLine {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    let (time, text) = match text.split_once(' ') {
        Some((time, text)) if time.ends_with('Z') && time.len() >= 20 => (time, text),
        _ => ("", text),
    };
    LogLine { time: time.to_owned(), stderr, text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_the_oldest_left_out() {
        let mut joiner = Joiner::default();
        for part in ["2026-01-01T00:00:00.1Z one\n", "2026-01-01T00:00:00.2Z t", "wo\n2026-01-01T00:00:00.3Z three"] {
            assert!(joiner.take(&LogOutput::StdOut { message: part.into() }));
        }
        joiner.take(&LogOutput::StdErr { message: "no time\r\n".into() });
        let (lines, cut) = joiner.finish(3);
        let texts: Vec<_> = lines.iter().map(|line| (line.stderr, line.text.as_str())).collect();
        assert_eq!(texts, [(false, "two"), (true, "no time"), (false, "three")]);
        assert!(cut, "`one` was left out");
    }

    #[test]
    fn a_flood_is_cut() {
        let mut joiner = Joiner::default();
        let part = LogOutput::StdOut { message: vec![b'x'; LOG_CAP + 1].into() };
        assert!(!joiner.take(&part));
        assert!(joiner.finish(10).1);
    }
}
