//! Who is connected, and who has to leave when there is no room for one more.
//!
//! A bound on connections alone would be a way to lock out the forge: open so many, say nothing, and its deliveries find
//! the door shut. So the door is never shut; somebody leaves instead. The rule: connections are grouped by what they are
//! at, and the largest group loses the one that has been at it longest. A flood therefore pushes out itself, whatever it
//! does: the forge's few connections are never in the largest group, or else among its youngest. Requests that are being
//! worked on are never broken off.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// It has never sent the head of a request.
    Mute,
    /// Its last request was answered, and there is no other one yet.
    Resting,
    /// It is sending the body of a request.
    Asking,
    /// Its request is here, and the answer is being made.
    Working,
    /// The answer is on its way, or is a live log.
    Answering,
}

#[derive(Debug)]
struct Seat {
    phase: Phase,
    /// Rises with every change of phase, of all connections.
    since: u64,
    leave: CancellationToken,
}

#[derive(Debug, Default)]
struct Seats {
    count: u64,
    taken: HashMap<u64, Seat>,
}

/// All connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Crowd {
    most: usize,
    seats: Arc<Mutex<Seats>>,
    changed: Arc<Notify>,
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    crowd: Crowd,
    number: u64,
    leave: CancellationToken,
}

impl Crowd {
    /// Room for so many, at least one.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), seats: Arc::default(), changed: Arc::default() }
    }

    /// A place for a new connection. If there is none, somebody is told to leave; if everybody is being worked for, it waits.
    pub(super) async fn enter(&self) -> Place {
        loop {
            let changed = self.changed.notified();
            if let Some(place) = self.try_enter() {
                return place;
            }
            changed.await;
        }
    }

    fn try_enter(&self) -> Option<Place> {
        let mut seats = self.lock();
        if seats.taken.len() >= self.most {
            let number = who_leaves(seats.taken.iter().map(|(number, seat)| (*number, seat.phase, seat.since)))?;
            // Its task ends by itself; the place is free now.
            if let Some(seat) = seats.taken.remove(&number) {
                seat.leave.cancel();
            }
        }
        seats.count += 1;
        let (number, leave) = (seats.count, CancellationToken::new());
        seats.taken.insert(number, Seat { phase: Phase::Mute, since: number, leave: leave.clone() });
        Some(Place { crowd: self.clone(), number, leave })
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Notes what the connection is at now.
    pub(super) fn at(&self, phase: Phase) {
        let mut seats = self.crowd.lock();
        seats.count += 1;
        let since = seats.count;
        if let Some(seat) = seats.taken.get_mut(&self.number) {
            (seat.phase, seat.since) = (phase, since);
        }
        drop(seats);
        if phase != Phase::Working {
            self.crowd.changed.notify_one();
        }
    }

    /// What the connection is at; nothing if it has to leave.
    pub(super) fn phase(&self) -> Option<Phase> {
        self.crowd.lock().taken.get(&self.number).map(|seat| seat.phase)
    }

    /// Ready when the connection has to leave.
    pub(super) async fn told_to_leave(&self) {
        self.leave.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.lock().taken.remove(&self.number);
        self.crowd.changed.notify_one();
    }
}

/// Who leaves, of connections given as number, phase and since when.
fn who_leaves(all: impl Iterator<Item = (u64, Phase, u64)>) -> Option<u64> {
    // For each phase how many, and the oldest with its number.
    let mut groups: BTreeMap<Phase, (usize, (u64, u64))> = BTreeMap::new();
    for (number, phase, since) in all.filter(|(_, phase, _)| *phase != Phase::Working) {
        let (size, oldest) = groups.entry(phase).or_insert((0, (since, number)));
        *size += 1;
        *oldest = (*oldest).min((since, number));
    }
    let largest = groups.into_iter().max_by_key(|(phase, (size, _))| (*size, Reverse(*phase)));
    largest.map(|(_, (_, (_, number)))| number)
}

#[cfg(test)]
mod tests {
    use super::Phase::{Answering, Asking, Mute, Resting, Working};
    use super::*;

    #[test]
    fn the_largest_group_loses_the_one_that_is_at_it_longest() {
        let leaves = |all: &[(Phase, u64)]| who_leaves((1..).zip(all).map(|(n, (phase, since))| (n, *phase, *since)));
        for (all, expected) in [
            (&[][..], None),
            (&[(Working, 1), (Working, 2)], None),
            (&[(Mute, 9), (Mute, 4), (Working, 1)], Some(2)),
            // Idle ones push out neither viewers nor the connection that the forge's proxy keeps.
            (&[(Answering, 1), (Resting, 2), (Mute, 5), (Mute, 3)], Some(4)),
            // Slow readers, and those who drip a body, do not push out who has just come.
            (&[(Answering, 2), (Answering, 1), (Mute, 8)], Some(2)),
            (&[(Asking, 2), (Asking, 1), (Mute, 8)], Some(2)),
            // Nor do those who asked once and stay.
            (&[(Resting, 7), (Resting, 6), (Mute, 1)], Some(2)),
            (&[(Answering, 1), (Mute, 2)], Some(2)),
        ] {
            assert_eq!(leaves(all), expected, "{all:?}");
        }
    }

    #[tokio::test]
    async fn the_door_opens_for_everybody_but_work_is_not_broken_off() {
        let crowd = Crowd::new(2);
        let (first, second) = (crowd.enter().await, crowd.enter().await);
        assert_eq!(first.phase(), Some(Mute));
        second.at(Working);
        first.at(Answering);
        let third = crowd.enter().await;
        first.told_to_leave().await;
        assert!(!second.leave.is_cancelled() && !third.leave.is_cancelled());
        third.at(Working);
        assert_eq!((first.phase(), third.phase()), (None, Some(Working)));
        // Leaving frees no second place for one that was pushed out.
        drop(first);
        assert!(crowd.try_enter().is_none(), "both are being worked for");
        let (fourth, ()) = tokio::join!(crowd.enter(), async { second.at(Asking) });
        second.told_to_leave().await;
        assert!(!fourth.leave.is_cancelled() && !third.leave.is_cancelled());
    }
}
