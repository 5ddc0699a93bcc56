//! Which of the waiting runs is next: fair between people and repositories, within the host's room. Pure.
//!
//! Whoever has fewest runs running goes first, then who was served longest ago; the same between repositories; then the
//! older run. So somebody who asks for five hundred runs delays others by one run at most. A run that does not fit lets
//! smaller ones pass, but only for so long: then nothing may start until it fits, or it would wait for ever.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::store::leases::Waiting;

/// What the host has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Memory that is free for another run, in bytes.
    pub memory: i64,
    /// Overlay networks that the swarm's pool still has.
    pub networks: i64,
    /// Runs that may start, by the operator's own limit.
    pub slots: i64,
    /// Memory when nothing runs, in bytes.
    pub total_memory: i64,
    /// Overlay networks that the pool has when nothing runs.
    pub total_networks: i64,
}

/// The choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// This run may start.
    Take(i64),
    /// Something waits, but nothing may start now.
    NoRoom,
    /// Nothing waits that could ever start here.
    Empty,
}

/// Chooses among the waiting runs.
#[must_use]
pub fn choose(waiting: &[Waiting], room: &Room, patience: SignedDuration, now: Timestamp) -> Choice {
    let mut possible: Vec<&Waiting> = waiting.iter().filter(|run| could_ever_run(run, room)).collect();
    possible.sort_by_key(|run| fairness(run));
    if room.slots < 1 {
        return if possible.is_empty() { Choice::Empty } else { Choice::NoRoom };
    }
    let impatient = now.as_millisecond().saturating_sub(i64::try_from(patience.as_millis()).unwrap_or(i64::MAX));
    for run in &possible {
        if run.need_memory <= room.memory && run.need_networks <= room.networks {
            return Choice::Take(run.number);
        }
        if run.queued_ms <= impatient {
            return Choice::NoRoom;
        }
    }
    if possible.is_empty() { Choice::Empty } else { Choice::NoRoom }
}

/// Whether a run needs less than the whole host; one that does not must be shown to the operator, or it waits for ever.
#[must_use]
pub fn could_ever_run(run: &Waiting, room: &Room) -> bool {
    run.need_memory <= room.total_memory && run.need_networks <= room.total_networks
}

/// The order in which waiting runs will start if each is served in turn: for showing positions.
#[must_use]
pub fn order(waiting: &[Waiting]) -> Vec<i64> {
    let mut left: Vec<Waiting> = waiting.to_vec();
    let mut served: i64 = left.iter().map(|run| run.person_served_ms.max(run.repo_served_ms)).max().unwrap_or(0);
    let mut started: BTreeMap<(bool, i64), i64> = BTreeMap::new();
    let mut order = Vec::with_capacity(left.len());
    while let Some(at) = (0..left.len()).min_by_key(|at| {
        let run = &left[*at];
        let times = |key| started.get(&key).copied().unwrap_or(0);
        let (priority, person_running, person_served, repo_running, repo_served, number) = fairness(run);
        // Counting turns instead of running runs: by the time the later ones start, the earlier ones have ended.
        let (person, repo) = (times((true, run.person_id)), times((false, run.repo_id)));
        (priority, person_running + person, person_served, repo_running + repo, repo_served, number)
    }) {
        let run = left.remove(at);
        served += 1;
        *started.entry((true, run.person_id)).or_default() += 1;
        *started.entry((false, run.repo_id)).or_default() += 1;
        for other in &mut left {
            if other.person_id == run.person_id {
                other.person_served_ms = served;
            }
            if other.repo_id == run.repo_id {
                other.repo_served_ms = served;
            }
        }
        order.push(run.number);
    }
    order
}

fn fairness(run: &Waiting) -> (i64, i64, i64, i64, i64, i64) {
    (-run.priority, run.person_running, run.person_served_ms, run.repo_running, run.repo_served_ms, run.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { memory: 4, networks: 10, slots: 1, total_memory: 8, total_networks: 20 };

    fn run(number: i64, person_id: i64, repo_id: i64) -> Waiting {
        Waiting {
            number,
            repo_id,
            person_id,
            priority: 0,
            need_memory: 1,
            need_networks: 1,
            queued_ms: 0,
            repo_served_ms: 0,
            person_served_ms: 0,
            repo_running: 0,
            person_running: 0,
        }
    }

    fn pick(waiting: &[Waiting], room: Room) -> Choice {
        choose(waiting, &room, SignedDuration::from_secs(60), Timestamp::from_millisecond(1_000).unwrap())
    }

    #[test]
    fn least_recently_served_person_then_repository_then_oldest() {
        assert_eq!(pick(&[], ROOM), Choice::Empty);
        assert_eq!(pick(&[run(2, 1, 1), run(1, 1, 1)], ROOM), Choice::Take(1));
        let served = Waiting { person_served_ms: 5, ..run(1, 1, 1) };
        assert_eq!(pick(&[served.clone(), run(2, 2, 1)], ROOM), Choice::Take(2));
        let busy = Waiting { person_running: 1, ..run(2, 2, 1) };
        assert_eq!(pick(&[served, busy], ROOM), Choice::Take(1));
        let repo_served = Waiting { repo_served_ms: 5, ..run(1, 1, 1) };
        assert_eq!(pick(&[repo_served, run(2, 1, 2)], ROOM), Choice::Take(2));
        let urgent = Waiting { priority: 1, person_running: 9, ..run(9, 9, 9) };
        assert_eq!(pick(&[run(1, 1, 1), urgent], ROOM), Choice::Take(9));
    }

    #[test]
    fn room_bounds_what_starts() {
        let big = Waiting { need_memory: 6, queued_ms: 900, ..run(1, 1, 1) };
        assert_eq!(pick(&[big.clone(), run(2, 2, 2)], ROOM), Choice::Take(2), "a smaller one passes");
        assert_eq!(pick(&[run(1, 1, 1)], Room { slots: 0, ..ROOM }), Choice::NoRoom);
        assert_eq!(pick(&[run(1, 1, 1)], Room { networks: 0, ..ROOM }), Choice::NoRoom);
        let waited = Waiting { queued_ms: -60_000, ..big };
        assert_eq!(pick(&[waited, run(2, 2, 2)], ROOM), Choice::NoRoom, "it has been passed over for too long");
        let impossible = Waiting { need_memory: 9, queued_ms: -60_000, ..run(1, 1, 1) };
        assert_eq!(pick(&[impossible.clone(), run(2, 2, 2)], ROOM), Choice::Take(2), "it must not block the others");
        assert_eq!(pick(&[impossible], ROOM), Choice::Empty);
    }

    #[test]
    fn five_hundred_runs_of_one_person_delay_five_others_by_one_turn() {
        let mut waiting: Vec<Waiting> = (1..=500).map(|n| run(n, 1, 1)).collect();
        waiting.extend((0..5).map(|n| run(501 + n, 2 + n, 2 + n)));
        let order = order(&waiting);
        assert_eq!(order.len(), 505);
        for number in 501..=505 {
            let at = order.iter().position(|n| *n == number).unwrap();
            assert!(at <= 5, "run {number} is at {at}");
        }
        let hogs_before_last = order.iter().take(6).filter(|n| **n <= 500).count();
        assert_eq!(hogs_before_last, 1);
    }
}
