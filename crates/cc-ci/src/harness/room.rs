//! Whether the host has room for both lanes at once.

use crate::domain::HostLoad;

use super::prepare::Version;
use super::shared::Shared;

/// Memory that one instance is assumed to need if the profile does not say, in bytes.
const USUAL_NEED: u64 = 512 * 1024 * 1024;
/// Memory that must stay free beside the lanes, in bytes.
const RESERVE: u64 = 512 * 1024 * 1024;

/// What is known of the host and the need.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room {
    /// CPUs of the engine's host.
    pub cpus: u64,
    /// Memory that is available, in bytes; none if the engine is elsewhere.
    pub available: Option<u64>,
    /// Share of the time in which tasks waited for memory lately, in per cent.
    pub memory_pressure: f64,
    /// Memory that one instance needs, in bytes.
    pub need: u64,
}

/// Decides. Waiting is most of a run, so one CPU for each lane is enough; memory is what hurts.
///
/// # Errors
/// Why the lanes should run one after the other.
pub fn decide(room: &Room) -> Result<(), String> {
    if room.cpus < 2 {
        return Err("the host has one CPU".to_owned());
    }
    if room.memory_pressure > 10.0 {
        return Err(format!("tasks wait for memory {:.0} % of the time", room.memory_pressure));
    }
    match room.available {
        Some(available) if available < 2 * room.need + RESERVE => Err(format!(
            "{} MiB of memory are available, two lanes need {} MiB",
            available >> 20,
            (2 * room.need + RESERVE) >> 20
        )),
        _ => Ok(()),
    }
}

/// Looks and decides.
///
/// # Errors
/// Why the lanes should run one after the other.
pub fn for_two(shared: &Shared, _head: &Version) -> Result<(), String> {
    let load: HostLoad = shared.sampler.load();
    let need = shared.profile.resources.memory_mb.map_or(USUAL_NEED, |mb| mb << 20);
    let decision = decide(&Room {
        cpus: shared.facts.info.cpus,
        available: shared.facts.local.then_some(load.memory_available_min).filter(|bytes| *bytes > 0),
        memory_pressure: load.memory.map_or(0.0, |pressure| pressure.max),
        need,
    });
    if let Err(why) = &decision {
        shared.warn(format!("the lanes run one after the other: {why}"));
    }
    decision
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lanes_need_two_cpus_and_memory_for_both() {
        let gib = 1 << 30;
        let room = Room { cpus: 2, available: Some(4 * gib), memory_pressure: 0.0, need: gib };
        assert!(decide(&room).is_ok());
        assert!(decide(&Room { cpus: 1, ..room }).is_err());
        assert!(decide(&Room { available: Some(2 * gib), ..room }).is_err());
        assert!(decide(&Room { available: None, ..room }).is_ok(), "another host's memory is unknown");
        assert!(decide(&Room { memory_pressure: 30.0, ..room }).is_err());
    }
}
