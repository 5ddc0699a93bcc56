//! Time. The one place that asks the machine what time it is.
//!
//! Wall time ([`Clock::now`]) is for records that people read; it may jump. Durations are always differences of
//! [`Clock::monotonic`], never of wall times. Tests hand in a [`ManualClock`], which moves only when it is told to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Where the time comes from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Wall time, for records.
    fn now(&self) -> Timestamp;

    /// Time that never goes back, for durations.
    fn monotonic(&self) -> Instant;

    /// Time since `start`, which came from [`Clock::monotonic`] of the same clock; zero if `start` lies ahead.
    fn since(&self, start: Instant) -> Duration {
        self.monotonic().saturating_duration_since(start)
    }
}

/// A clock that can be handed to tasks.
pub type SharedClock = Arc<dyn Clock>;

/// Wall time by the machine's clock, for records where no other clock was handed in.
#[must_use]
pub fn now() -> Timestamp {
    SystemClock.now()
}

/// The machine's monotonic clock, for durations where no other clock was handed in.
#[must_use]
pub fn monotonic() -> Instant {
    SystemClock.monotonic()
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The machine's clock, ready to be handed around.
    #[must_use]
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the wrapper that everything else uses")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    #[expect(clippy::disallowed_methods, reason = "the wrapper that everything else uses")]
    fn monotonic(&self) -> Instant {
        Instant::now()
    }
}

/// A clock for tests: stands still until it is moved.
#[derive(Debug)]
pub struct ManualClock {
    start: Instant,
    wall: Timestamp,
    moved: Mutex<Duration>,
}

impl ManualClock {
    /// A clock that shows `wall`.
    #[must_use]
    pub fn at(wall: Timestamp) -> Self {
        Self { start: SystemClock.monotonic(), wall, moved: Mutex::new(Duration::ZERO) }
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        let mut moved = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        *moved = moved.saturating_add(by);
    }

    fn moved(&self) -> Duration {
        *self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        jiff::SignedDuration::try_from(self.moved())
            .ok()
            .and_then(|moved| self.wall.checked_add(moved).ok())
            .unwrap_or(Timestamp::MAX)
    }

    fn monotonic(&self) -> Instant {
        self.start.checked_add(self.moved()).unwrap_or(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told() {
        let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
        let start = clock.monotonic();
        assert_eq!((clock.now(), clock.since(start)), (Timestamp::UNIX_EPOCH, Duration::ZERO));
        clock.advance(Duration::from_millis(1500));
        assert_eq!(clock.since(start), Duration::from_millis(1500));
        assert_eq!(clock.now().as_millisecond(), 1500);
    }

    #[test]
    fn time_does_not_run_backwards() {
        let clock = SystemClock;
        let later = clock.monotonic() + Duration::from_secs(3600);
        assert_eq!(clock.since(later), Duration::ZERO);
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
    }
}
