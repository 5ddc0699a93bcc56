//! `cc-ci serve` killed for real: the program as an operator starts it, the harness on the machine's swarm, a simulated
//! forge over HTTP, and SIGKILL at chosen moments. After the next start there must be one verdict, one comment, one final
//! status, and nothing left.
//!
//! The moments are told by what can be seen from outside (rows, objects on the swarm, what the forge was sent), never by
//! waiting for a time. `scripts/kill-everywhere` runs the same stories over more moments and prints the table.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the tests are the user: they start the program"
)]

#[path = "../common/mod.rs"]
mod common;

mod ends;
mod points;
mod story;
mod watch;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::sentinel::Sentinel;
use points::Point;

/// Stories that go on at the same time.
const AT_ONCE: usize = 4;

#[test]
fn killed_anywhere_there_is_one_verdict_one_comment_and_nothing_left() {
    if !common::docker() {
        return;
    }
    let sentinel = Sentinel::deploy();
    let points = points::chosen(std::env::var("CC_CI_KILL_POINTS").ok().as_deref());
    let (next, lines) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(point) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let line = told(*point);
                    eprintln!("{line}");
                    lines.lock().unwrap().push(line);
                }
            });
        }
    });
    let lines = lines.into_inner().unwrap();
    report(&lines);
    let failed: Vec<&String> = lines.iter().filter(|line| line.contains("FAILED")).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    sentinel.unchanged();
}

/// Tells one story; a line of the report, with FAILED in it if something was not as it must be.
fn told(point: Point) -> String {
    let begun = std::time::Instant::now();
    let line = catch_unwind(AssertUnwindSafe(|| points::tell(point))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        // The whole of it is on standard error.
        format!("FAILED: {}", text.unwrap_or_default().lines().next().unwrap_or_default())
    });
    format!("{:<13} | {line} | {:.0} s", point.to_string(), begun.elapsed().as_secs_f64())
}

/// Appends the lines to the file that `scripts/kill-everywhere` names.
fn report(lines: &[String]) {
    let Some(path) = std::env::var_os("CC_CI_KILL_REPORT") else { return };
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
}
