//! When to try again. Pure; chance is given.
//!
//! Two kinds of failure are kept apart. An *outage* concerns the whole forge: everything waits, with at most one call a
//! second, and no row is blamed. A *refusal* concerns one row: it waits alone, or is given up when asking again is
//! pointless.

use jiff::SignedDuration;

use super::PATIENCE;
use super::forge::Failure;
use crate::store::outbox::Wanted;

/// What to do after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Nothing more until this much later: the forge is down.
    AllAfter(SignedDuration),
    /// This row again, this much later.
    After(SignedDuration),
    /// Never.
    Never,
}

/// What to do after a failed call. `tries` is how often this row was refused before, `outages` how many calls in a row
/// found the forge down, `age` for how long this has been wanted, `chance` a number from 0 to 1.
#[must_use]
pub fn again(wanted: &Wanted, failure: Failure, tries: i64, outages: u32, age: SignedDuration, chance: f64) -> Again {
    match failure {
        Failure::Throttled(Some(asked)) => {
            Again::AllAfter(asked.clamp(SignedDuration::from_secs(1), SignedDuration::from_hours(1)))
        }
        Failure::Unreachable | Failure::Throttled(None) | Failure::Unauthorized => {
            Again::AllAfter(growing(1, i64::from(outages), 60, chance))
        }
        _ if age > PATIENCE => Again::Never,
        Failure::Internal => Again::After(growing(5, tries, 120, chance)),
        Failure::Forbidden => match wanted {
            // A right may be granted; the status is what branch protection waits for.
            Wanted::Status { .. } => Again::After(growing(30, tries, 600, chance)),
            // Locked, or we are blocked by the author: the status has to do.
            Wanted::Comment { .. } | Wanted::Reaction { .. } => Again::Never,
        },
        Failure::NotFound if tries < 2 => Again::After(growing(5, tries, 120, chance)),
        Failure::NotFound | Failure::Rejected => Again::Never,
    }
}

/// `first` seconds, doubled for each earlier failure, at most `most`; then between that and half as much more.
fn growing(first: i64, failures: i64, most: i64, chance: f64) -> SignedDuration {
    let doublings = u32::try_from(failures.clamp(0, 20)).unwrap_or(20);
    let seconds = first.saturating_mul(2_i64.saturating_pow(doublings)).min(most);
    let chance = if chance.is_finite() { chance.clamp(0.0, 1.0) } else { 0.0 };
    // At most 600 seconds and half as much more, so the conversions are exact.
    let millis = (seconds as f64 * 1000.0 * (1.0 + chance / 2.0)) as i64;
    SignedDuration::from_millis(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: SignedDuration = SignedDuration::ZERO;

    fn status() -> Wanted {
        Wanted::Status {
            commit: String::new(),
            context: String::new(),
            state: crate::store::outbox::StatusState::Pending,
            description: String::new(),
            target_url: String::new(),
        }
    }

    fn comment() -> Wanted {
        Wanted::Comment { pull: 1, marker: String::new(), body: String::new() }
    }

    #[test]
    fn outages_pause_everything_from_a_second_to_a_minute() {
        let secs = |outages, chance| match again(&status(), Failure::Unreachable, 0, outages, NEW, chance) {
            Again::AllAfter(pause) => pause.as_secs_f64(),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            [secs(0, 0.0), secs(1, 0.0), secs(5, 0.0), secs(6, 0.0), secs(99, 0.0)],
            [1.0, 2.0, 32.0, 60.0, 60.0]
        );
        assert_eq!(secs(99, 1.0), 90.0);
        assert_eq!(secs(99, f64::NAN), 60.0);
    }

    #[test]
    fn the_forge_may_say_when() {
        let asked = |seconds| Failure::Throttled(Some(SignedDuration::from_secs(seconds)));
        let pause = |failure| again(&status(), failure, 0, 0, NEW, 0.5);
        assert_eq!(pause(asked(17)), Again::AllAfter(SignedDuration::from_secs(17)));
        assert_eq!(pause(asked(-3)), Again::AllAfter(SignedDuration::from_secs(1)));
        assert_eq!(pause(asked(1_000_000)), Again::AllAfter(SignedDuration::from_hours(1)));
    }

    #[test]
    fn a_refusal_concerns_its_row_only() {
        let after = |wanted: &Wanted, failure, tries| again(wanted, failure, tries, 9, NEW, 0.0);
        let seconds = |s| Again::After(SignedDuration::from_secs(s));
        assert_eq!(after(&status(), Failure::Internal, 0), seconds(5));
        assert_eq!(after(&status(), Failure::Internal, 9), seconds(120));
        assert_eq!(after(&status(), Failure::Forbidden, 0), seconds(30));
        assert_eq!(after(&comment(), Failure::Forbidden, 0), Again::Never);
        assert_eq!(after(&comment(), Failure::NotFound, 1), seconds(10));
        assert_eq!(after(&comment(), Failure::NotFound, 2), Again::Never);
        assert_eq!(after(&comment(), Failure::Rejected, 0), Again::Never);
        let week = PATIENCE + SignedDuration::from_secs(1);
        assert_eq!(again(&status(), Failure::Internal, 0, 0, week, 0.0), Again::Never);
        assert!(matches!(again(&status(), Failure::Unreachable, 0, 0, week, 0.0), Again::AllAfter(_)));
    }
}
