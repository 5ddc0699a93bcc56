//! What there is room for on this host, from what it has, what others took, and what runs were promised. Pure.
//!
//! The rule to know: a run takes its share only bit by bit. What it was promised and has yet to take is in no figure of the
//! host, so it is taken off here, or two runs that start together would each be shown the same free room.

use jiff::{SignedDuration, Timestamp};

use super::HostRoom;
use crate::domain::RunId;
use crate::queue::choose::Room;
use crate::store::runs::{RunRow, RunState};

/// For how long a run is taken to have used none of its memory yet: it reads, pulls and deploys.
const YOUNG: SignedDuration = SignedDuration::from_mins(2);

/// The operator's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Most runs side by side.
    pub(super) slots: i64,
    /// Memory that runs must leave free, in bytes.
    pub(super) reserve: i64,
}

/// What another run may have.
pub(super) fn room(host: &HostRoom, open: &[RunRow], limits: Limits, now: Timestamp) -> Room {
    let running: Vec<&RunRow> = open.iter().filter(|run| run.state == RunState::Running).collect();
    let sum = |share: &dyn Fn(&RunRow) -> i64| running.iter().fold(0_i64, |sum, run| sum.saturating_add(share(run)));
    let total_memory = host.memory_total - limits.reserve;
    let promised = sum(&|run| run.what.need_memory);
    let to_come = sum(&|run| match run.started {
        Some(at) if now.duration_since(at) >= YOUNG => 0,
        Some(_) | None => run.what.need_memory,
    });
    let ids: Vec<&RunId> = running.iter().filter_map(|run| Some(&run.lease.as_ref()?.run_id)).collect();
    // Runs of the command line, and what is left of dead ones.
    let of_others = host.networks_of_runs.iter().filter(|(run, _)| !ids.contains(run));
    let of_others = of_others.fold(host.networks_foreign, |sum, (_, count)| sum.saturating_add(*count));
    let taken = sum(&|run| {
        let has = run.lease.as_ref().and_then(|lease| host.networks_of_runs.get(&lease.run_id)).copied();
        run.what.need_networks.max(has.unwrap_or(0))
    });
    Room {
        memory: (total_memory - promised).min(host.memory_available - limits.reserve - to_come),
        networks: host.networks_total.saturating_sub(of_others).saturating_sub(taken),
        slots: limits.slots - i64::try_from(running.len()).unwrap_or(i64::MAX),
        total_memory,
        total_networks: host.networks_total.saturating_sub(host.networks_foreign),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::store::runs::{LeaseCells, NewRun};
    use crate::store::triggers::Cause;

    const LIMITS: Limits = Limits { slots: 3, reserve: 2 };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + seconds).unwrap()
    }

    fn id(n: u32) -> RunId {
        RunId::new(1_795_000_000, n)
    }

    /// A run that needs 4 of memory and 4 networks, claimed at this second.
    fn running(n: u32, started: i64) -> RunRow {
        let what = NewRun {
            repo_id: 1,
            repo_name: "recipes/app".into(),
            recipe: "app".into(),
            suite: "app".into(),
            pull: None,
            commit: "a".repeat(40),
            person_id: 7,
            person_login: "anna".into(),
            cause: Cause::Web,
            priority: 0,
            need_memory: 4,
            need_networks: 4,
        };
        RunRow {
            number: i64::from(n),
            what,
            state: RunState::Running,
            outcome: None,
            verdict: None,
            level: None,
            why: String::new(),
            flaky: false,
            attempt: 1,
            retries: 0,
            crashes: 0,
            lease: Some(LeaseCells { token: String::new(), expires: at(999), holder: String::new(), run_id: id(n) }),
            progress: String::new(),
            cancel: None,
            not_before: at(0),
            queued: at(0),
            started: Some(at(started)),
            finished: None,
            deadline: None,
            change: 1,
            published: 0,
        }
    }

    fn host(foreign: i64, of_runs: &[(u32, i64)]) -> HostRoom {
        HostRoom {
            memory_total: 22,
            memory_available: 22,
            networks_total: 16,
            networks_foreign: foreign,
            networks_of_runs: of_runs.iter().map(|(n, count)| (id(*n), *count)).collect::<BTreeMap<_, _>>(),
        }
    }

    #[test]
    fn networks_are_those_that_nobody_has_or_was_promised() {
        let table: [(&str, HostRoom, Vec<RunRow>, i64); 8] = [
            ("an empty swarm", host(0, &[]), vec![], 16),
            ("others' stacks", host(7, &[]), vec![], 9),
            ("a run that has deployed nothing yet", host(7, &[]), vec![running(1, 0)], 5),
            ("one that has deployed a part", host(7, &[(1, 2)]), vec![running(1, 0)], 5),
            ("one that took more than it was to", host(7, &[(1, 6)]), vec![running(1, 0)], 3),
            ("a run of the command line", host(7, &[(9, 2)]), vec![running(1, 0)], 3),
            ("two that start together", host(7, &[]), vec![running(1, 0), running(2, 0)], 1),
            ("more than there are", host(15, &[]), vec![running(1, 0)], -3),
        ];
        for (name, host, open, want) in table {
            assert_eq!(room(&host, &open, LIMITS, at(0)).networks, want, "{name}");
        }
        assert_eq!(
            room(&host(7, &[(9, 2)]), &[running(1, 0)], LIMITS, at(0)).total_networks,
            9,
            "runs end, others stay"
        );
    }

    #[test]
    fn memory_that_a_young_run_has_yet_to_take_is_not_free() {
        let memory = |available: i64, open: &[RunRow], seconds: i64| {
            room(&HostRoom { memory_available: available, ..host(0, &[]) }, open, LIMITS, at(seconds)).memory
        };
        assert_eq!(memory(22, &[], 0), 20);
        assert_eq!(memory(10, &[], 0), 8, "others use memory too");
        assert_eq!(memory(10, &[running(1, 0)], 0), 4, "and the run will");
        assert_eq!(memory(10, &[running(1, 0), running(2, 0)], 0), 0);
        assert_eq!(memory(10, &[running(1, 0)], 120), 8, "by now it has");
        assert_eq!(memory(22, &[running(1, 0)], 120), 16, "or may yet");
    }

    #[test]
    fn slots_count_what_runs_not_what_waits() {
        let queued = RunRow { state: RunState::Queued, lease: None, ..running(2, 0) };
        let room = room(&host(0, &[]), &[running(1, 0), queued], LIMITS, at(0));
        assert_eq!((room.slots, room.networks, room.total_memory), (2, 12, 20));
    }
}
