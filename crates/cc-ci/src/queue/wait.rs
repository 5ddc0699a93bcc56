//! Position in the queue and how long it will take, from what past runs took. Pure.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use jiff::SignedDuration;

/// What a run takes if nothing of the kind has run yet.
pub const FIRST_GUESS: SignedDuration = SignedDuration::from_mins(10);

/// When a queued run's turn may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// 1 for the next.
    pub position: usize,
    /// Until it starts.
    pub until_start: SignedDuration,
    /// Until it has a verdict.
    pub until_verdict: SignedDuration,
}

/// What a run of a recipe takes: the median of its past durations (milliseconds), else of all recipes', else a guess.
#[must_use]
pub fn expected_duration(of_recipe: &[i64], of_all: &[i64]) -> SignedDuration {
    median(of_recipe).or_else(|| median(of_all)).map_or(FIRST_GUESS, SignedDuration::from_millis)
}

/// When each of the queued runs, in their order, may start: `running` are the times that the running ones still need,
/// `queued` what the waiting ones will take, `slots` how many run side by side (at least one is assumed).
#[must_use]
pub fn waits(running: &[SignedDuration], queued: &[SignedDuration], slots: usize) -> Vec<Wait> {
    let mut free_at: BinaryHeap<Reverse<SignedDuration>> =
        running.iter().map(|left| Reverse((*left).max(SignedDuration::ZERO))).collect();
    while free_at.len() < slots.max(1) {
        free_at.push(Reverse(SignedDuration::ZERO));
    }
    // More may run than there are slots now, if the operator lowered the limit: then the first to end free nothing.
    while free_at.len() > slots.max(1) {
        free_at.pop();
    }
    (1..)
        .zip(queued)
        .map(|(position, duration)| {
            let until_start = free_at.pop().map_or(SignedDuration::ZERO, |Reverse(at)| at);
            let until_verdict = until_start.saturating_add(*duration);
            free_at.push(Reverse(until_verdict));
            Wait { position, until_start, until_verdict }
        })
        .collect()
}

fn median(millis: &[i64]) -> Option<i64> {
    let mut sorted: Vec<i64> = millis.iter().copied().filter(|ms| *ms >= 0).collect();
    sorted.sort_unstable();
    sorted.get(sorted.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_come_from_the_recipe_then_from_all_then_from_a_guess() {
        assert_eq!(expected_duration(&[9_000, 1_000, 2_000], &[5]), SignedDuration::from_millis(2_000));
        assert_eq!(expected_duration(&[], &[4_000, 3_000]), SignedDuration::from_millis(3_000));
        assert_eq!(expected_duration(&[-5], &[]), FIRST_GUESS);
    }

    #[test]
    fn slots_free_one_after_the_other() {
        let s = SignedDuration::from_secs;
        let starts = |running: &[_], queued: &[_], slots| -> Vec<(usize, i64, i64)> {
            waits(running, queued, slots)
                .iter()
                .map(|w| (w.position, w.until_start.as_secs(), w.until_verdict.as_secs()))
                .collect()
        };
        assert_eq!(starts(&[], &[s(60)], 1), [(1, 0, 60)]);
        assert_eq!(starts(&[s(30)], &[s(60), s(60)], 1), [(1, 30, 90), (2, 90, 150)]);
        assert_eq!(starts(&[s(30), s(100)], &[s(60), s(60)], 2), [(1, 30, 90), (2, 90, 150)]);
        assert_eq!(starts(&[s(30), s(100)], &[s(60)], 1), [(1, 100, 160)]);
        assert_eq!(starts(&[s(-5)], &[s(60)], 0), [(1, 0, 60)]);
    }
}
