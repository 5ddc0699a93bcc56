//! Who is connected, and who has to leave when there is no room for one more.
//!
//! A bound on connections alone would be a way to lock out the forge: open so many, say nothing, and its deliveries find
//! the door shut. So the door is never shut; somebody leaves instead. The rule: of those who have still to ask and those
//! who are still reading their answer, the larger group loses the one that has been at it longest. A flood therefore
//! pushes out itself: a delivery takes milliseconds, and is always among the youngest of its group. Requests that are
//! being worked on are never broken off.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// What a connection is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not yet sent the head of a request, the first one or the next.
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
        seats.taken.insert(number, Seat { phase: Phase::Resting, since: number, leave: leave.clone() });
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

    /// Whether it is between two requests, or before the first.
    pub(super) fn is_resting(&self) -> bool {
        self.crowd.lock().taken.get(&self.number).is_none_or(|seat| seat.phase == Phase::Resting)
    }

    /// Whether it has never sent the head of a request.
    pub(super) fn is_mute(&self) -> bool {
        // It got its number when it entered, and another one with every change since.
        self.crowd.lock().taken.get(&self.number).is_none_or(|seat| seat.since == self.number)
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
    #[derive(Default)]
    struct Group {
        size: usize,
        oldest: Option<(u64, u64)>,
    }
    let (mut asking, mut answering) = (Group::default(), Group::default());
    for (number, phase, since) in all {
        let group = match phase {
            Phase::Resting | Phase::Asking => &mut asking,
            Phase::Answering => &mut answering,
            Phase::Working => continue,
        };
        group.size += 1;
        if group.oldest.is_none_or(|(oldest, _)| since < oldest) {
            group.oldest = Some((since, number));
        }
    }
    let larger = if answering.size > asking.size { answering } else { asking };
    larger.oldest.map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::Phase::{Answering, Asking, Resting, Working};
    use super::*;

    #[test]
    fn the_larger_group_loses_the_one_that_is_at_it_longest() {
        let leaves = |all: &[(Phase, u64)]| who_leaves((1..).zip(all).map(|(n, (phase, since))| (n, *phase, *since)));
        for (all, expected) in [
            (&[][..], None),
            (&[(Working, 1), (Working, 2)], None),
            (&[(Asking, 9), (Asking, 4), (Working, 1)], Some(2)),
            // Idle ones do not push out viewers.
            (&[(Answering, 1), (Resting, 5), (Asking, 3)], Some(3)),
            // Slow readers do not push out a delivery.
            (&[(Answering, 2), (Answering, 1), (Asking, 8)], Some(2)),
            (&[(Answering, 1), (Resting, 2)], Some(2)),
        ] {
            assert_eq!(leaves(all), expected, "{all:?}");
        }
    }

    #[tokio::test]
    async fn the_door_opens_for_everybody_but_work_is_not_broken_off() {
        let crowd = Crowd::new(2);
        let (first, second) = (crowd.enter().await, crowd.enter().await);
        assert!(first.is_mute() && first.is_resting());
        second.at(Working);
        first.at(Answering);
        let third = crowd.enter().await;
        first.told_to_leave().await;
        assert!(!second.leave.is_cancelled() && !third.leave.is_cancelled());
        third.at(Working);
        assert!(!third.is_mute() && !third.is_resting());
        // Leaving frees no second place for one that was pushed out.
        drop(first);
        assert!(crowd.try_enter().is_none(), "both are being worked for");
        let (fourth, ()) = tokio::join!(crowd.enter(), async { second.at(Asking) });
        second.told_to_leave().await;
        assert!(!fourth.leave.is_cancelled() && !third.leave.is_cancelled());
    }
}
