//! Figures and what they are held against.

use std::cell::Cell;
use std::time::Duration;

/// Most memory of the server at any time, in MiB.
pub(crate) const MEMORY: u64 = 256;

/// Times of many requests.
#[derive(Debug, Default)]
pub(crate) struct Times(pub(crate) Vec<Duration>);

impl Times {
    /// The time that `share` of all requests did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        // Rounded up: of a hundred, the 99th.
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// 99 of 100 took no longer, in milliseconds.
    pub(crate) fn p99(&self) -> f64 {
        millis(self.quantile(0.99))
    }
}

/// Prints rows and counts the goals that were missed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    missed: Cell<u32>,
}

impl Report {
    /// Begins a table.
    pub(crate) fn heading(&self, title: &str) {
        println!("\n{title:<40} {:>8} {:>9} {:>9} {:>9}", "count", "p50 ms", "p99 ms", "max ms");
    }

    /// Times without a goal.
    pub(crate) fn floor(&self, name: &str, times: &Times) {
        println!("{}", row(name, times));
    }

    /// Times whose 99th of a hundred must be within `goal` milliseconds.
    pub(crate) fn times(&self, name: &str, times: &Times, goal: f64) {
        let verdict = self.judged(times.p99() <= goal);
        println!("{}   goal {goal:.0}: {verdict}", row(name, times));
    }

    /// Memory of the server after a phase: now and at most, in MiB.
    pub(crate) fn memory(&self, name: &str, (now, most): (u64, u64)) {
        let verdict = self.judged(most <= MEMORY);
        println!("memory {name}: {now} MiB, at most {most}   goal {MEMORY}: {verdict}");
    }

    /// One time that must be within `goal` seconds.
    pub(crate) fn once(&self, name: &str, took: Duration, goal: f64) {
        let verdict = self.judged(took.as_secs_f64() <= goal);
        println!("{name}: {:.2} s   goal {goal:.0}: {verdict}", took.as_secs_f64());
    }

    /// How many goals were missed so far.
    pub(crate) fn missed(&self) -> u32 {
        self.missed.get()
    }

    fn judged(&self, met: bool) -> &'static str {
        self.missed.set(self.missed.get() + u32::from(!met));
        if met { "met" } else { "MISSED" }
    }
}

fn row(name: &str, times: &Times) -> String {
    let ms = |share| format!("{:>9.1}", millis(times.quantile(share)));
    format!("{name:<40} {:>8} {} {} {}", times.0.len(), ms(0.5), ms(0.99), ms(1.0))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
