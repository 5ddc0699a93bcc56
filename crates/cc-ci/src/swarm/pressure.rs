//! How loaded the host is while a run goes on, from `/proc`.
//!
//! Never judges; it only measures. The rule to know: pressure means time in which somebody waited, so it says more than
//! load, but a kernel without PSI has none, and then the field stays empty instead of zero.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::{HostLoad, Pressure};

/// Time between two samples.
const PERIOD: Duration = Duration::from_secs(1);

/// How many samples are kept for [`Sampler::recent`]: an hour.
const KEPT: usize = 3600;

/// Samples the host's pressure each second until it is dropped.
#[derive(Debug)]
pub struct Sampler {
    samples: Arc<Mutex<Samples>>,
    stop: CancellationToken,
}

impl Sampler {
    /// Starts. Must be called within a Tokio runtime. Only says something about runs if the engine is on this host.
    #[must_use]
    pub fn start() -> Self {
        let samples = Arc::new(Mutex::new(Samples::default()));
        let stop = CancellationToken::new();
        let (kept, stopped) = (Arc::clone(&samples), stop.clone());
        // The first one at once, so that even the shortest run has figures.
        take(&kept, Sample::read());
        let work = async move {
            let mut ticks = tokio::time::interval_at(Instant::now() + PERIOD, PERIOD);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                ticks.tick().await;
                take(&kept, Sample::read());
            }
        };
        tokio::spawn(async move { stopped.run_until_cancelled_owned(work).await });
        Self { samples, stop }
    }

    /// Figures since the start. `disk_free` is left to the caller, who knows the engine's disk.
    #[must_use]
    pub fn load(&self) -> HostLoad {
        self.with(|samples| {
            let mut load = load_of(samples.kept.iter());
            // Older samples may have been let go; the extremes and the totals are kept apart.
            if let (Some(first), Some(last)) = (&samples.first, samples.kept.back()) {
                load.cpu = mean_over(load.cpu, samples.worst.cpu, first.cpu, last.cpu, first, last);
                load.io = mean_over(load.io, samples.worst.io, first.io, last.io, first, last);
                load.memory = mean_over(load.memory, samples.worst.memory, first.memory, last.memory, first, last);
                load.load_max = samples.worst.load;
                load.memory_available_min = samples.worst.available;
            }
            load
        })
    }

    /// Figures of the last `window`, for the judgement of one failure.
    #[must_use]
    pub fn recent(&self, window: Duration) -> HostLoad {
        self.with(|samples| {
            let newest = samples.kept.back().map(|sample| sample.at);
            let from = newest.and_then(|at| at.checked_sub(window));
            load_of(samples.kept.iter().filter(|sample| from.is_none_or(|from| sample.at >= from)))
        })
    }

    fn with<T>(&self, look: impl FnOnce(&Samples) -> T) -> T {
        look(&self.samples.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[derive(Debug, Default)]
struct Samples {
    kept: VecDeque<Sample>,
    first: Option<Sample>,
    worst: Worst,
}

#[derive(Debug, Default)]
struct Worst {
    cpu: f64,
    io: f64,
    memory: f64,
    load: f64,
    available: u64,
}

/// One reading of `/proc`.
#[derive(Debug, Clone)]
struct Sample {
    at: Instant,
    cpu: Option<Stall>,
    io: Option<Stall>,
    memory: Option<Stall>,
    load: f64,
    available: u64,
}

/// The `some` line of a pressure file.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Stall {
    /// Share of the last ten seconds, in per cent.
    avg10: f64,
    /// Stalled time since boot, in microseconds.
    total_us: u64,
}

impl Sample {
    fn read() -> Self {
        let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            at: Instant::now(),
            cpu: parse_stall(&text("/proc/pressure/cpu")),
            io: parse_stall(&text("/proc/pressure/io")),
            memory: parse_stall(&text("/proc/pressure/memory")),
            load: text("/proc/loadavg").split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
            available: parse_available(&text("/proc/meminfo")),
        }
    }
}

fn take(samples: &Mutex<Samples>, sample: Sample) {
    let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
    let worst = &mut samples.worst;
    let most = |worst: &mut f64, stall: Option<Stall>| *worst = worst.max(stall.map_or(0.0, |s| s.avg10));
    most(&mut worst.cpu, sample.cpu);
    most(&mut worst.io, sample.io);
    most(&mut worst.memory, sample.memory);
    worst.load = worst.load.max(sample.load);
    let is_first = samples.first.is_none();
    let worst = &mut samples.worst;
    worst.available = if is_first { sample.available } else { worst.available.min(sample.available) };
    samples.first.get_or_insert_with(|| sample.clone());
    if samples.kept.len() >= KEPT {
        samples.kept.pop_front();
    }
    samples.kept.push_back(sample);
}

fn load_of<'a>(samples: impl Iterator<Item = &'a Sample> + Clone) -> HostLoad {
    let Some(first) = samples.clone().next() else { return HostLoad::default() };
    let last = samples.clone().last().unwrap_or(first);
    let worst =
        |pick: fn(&Sample) -> Option<Stall>| samples.clone().filter_map(pick).map(|s| s.avg10).fold(0.0, f64::max);
    let figure = |pick: fn(&Sample) -> Option<Stall>| {
        let (a, b) = (pick(first)?, pick(last)?);
        Some(pressure(mean(a, b, first, last), worst(pick)))
    };
    HostLoad {
        cpu: figure(|s| s.cpu),
        io: figure(|s| s.io),
        memory: figure(|s| s.memory),
        load_max: samples.clone().map(|s| s.load).fold(0.0, f64::max),
        memory_available_min: samples.map(|s| s.available).min().unwrap_or(0),
        cpus: std::thread::available_parallelism().map_or(0, |n| n.get() as u64),
        disk_free: None,
    }
}

fn mean_over(
    figure: Option<Pressure>,
    worst: f64,
    a: Option<Stall>,
    b: Option<Stall>,
    first: &Sample,
    last: &Sample,
) -> Option<Pressure> {
    let (figure, a, b) = (figure?, a?, b?);
    Some(pressure(mean(a, b, first, last), figure.max.max(worst)))
}

/// The ten-second shares are sampled and lag behind; some ten seconds were at least as bad as the mean.
fn pressure(mean: f64, worst: f64) -> Pressure {
    Pressure { mean, max: worst.max(mean) }
}

/// Share of time between two samples, from the totals; the ten-second share while there is only one.
fn mean(a: Stall, b: Stall, first: &Sample, last: &Sample) -> f64 {
    let time = last.at.duration_since(first.at).as_secs_f64() * 1e6;
    if time < 1.0 {
        return b.avg10;
    }
    #[allow(clippy::cast_precision_loss, reason = "microseconds of stall stay far below 2^52")]
    let stalled = b.total_us.saturating_sub(a.total_us) as f64;
    (stalled / time * 100.0).min(100.0)
}

fn parse_stall(text: &str) -> Option<Stall> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    Some(Stall { avg10: field("avg10")?.parse().ok()?, total_us: field("total")?.parse().ok()? })
}

/// `MemAvailable` in bytes; 0 if it is not told.
fn parse_available(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Free bytes for ordinary users on the disk that holds `path`; none if it cannot be asked.
#[must_use]
pub fn disk_free(path: &std::path::Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, avg10: f64, total_us: u64, load: f64, available: u64) -> Sample {
        let stall = Some(Stall { avg10, total_us });
        Sample { at, cpu: stall, io: stall, memory: None, load, available }
    }

    #[test]
    fn proc_files_are_read_and_nonsense_is_nothing() {
        let text = "some avg10=12.50 avg60=1.00 avg300=0.10 total=123456\nfull avg10=99.00 avg60=0 avg300=0 total=9\n";
        assert_eq!(parse_stall(text), Some(Stall { avg10: 12.5, total_us: 123_456 }));
        for text in ["", "some", "some avg10=x total=1", "full avg10=1 total=1"] {
            assert_eq!(parse_stall(text), None, "{text}");
        }
        assert_eq!(parse_available("MemTotal: 8 kB\nMemAvailable:   4 kB\n"), 4096);
        assert_eq!(parse_available("MemTotal: 8 kB\n"), 0);
    }

    #[test]
    fn mean_is_over_time_and_max_is_the_worst() {
        let start = Instant::now();
        let samples = Mutex::new(Samples::default());
        for (second, avg10, total, load, available) in
            [(0, 0.0, 1_000_000, 0.5, 90), (5, 80.0, 5_000_000, 7.0, 10), (10, 20.0, 6_000_000, 3.0, 50)]
        {
            take(&samples, sample(start + Duration::from_secs(second), avg10, total, load, available));
        }
        let sampler = Sampler { samples: Arc::new(samples), stop: CancellationToken::new() };
        let load = sampler.load();
        assert_eq!(load.cpu, Some(Pressure { mean: 50.0, max: 80.0 }));
        assert_eq!((load.memory, load.load_max, load.memory_available_min), (None, 7.0, 10));
        let recent = sampler.recent(Duration::from_secs(1));
        assert_eq!(recent.io, Some(Pressure { mean: 20.0, max: 20.0 }));
        assert_eq!(recent.memory_available_min, 50);
    }

    #[test]
    fn the_worst_is_never_less_than_the_mean() {
        let start = Instant::now();
        let samples = Mutex::new(Samples::default());
        take(&samples, sample(start, 1.0, 0, 0.0, 0));
        take(&samples, sample(start + Duration::from_secs(2), 7.0, 1_000_000, 0.0, 0));
        let sampler = Sampler { samples: Arc::new(samples), stop: CancellationToken::new() };
        assert_eq!(sampler.load().cpu, Some(Pressure { mean: 50.0, max: 50.0 }));
        assert_eq!(sampler.recent(Duration::from_secs(60)).cpu, Some(Pressure { mean: 50.0, max: 50.0 }));
    }
}
