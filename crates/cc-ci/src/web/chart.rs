//! Where the bars and points of the charts go. Pure; the templates draw them.
//!
//! All charts stretch with the page, so they hold shapes only: words and numbers stand beside them as text, which does
//! not stretch, and every chart has a table with the same values.

use jiff::Timestamp;

use crate::domain::{HostLoad, Lane, Run, Stage, StageResult, Verdict};
use crate::results::words;
use crate::store::runs::RunRow;
use crate::store::views::StageTime;

use super::view::verdict_mark;

/// One column of a level chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    /// The run.
    pub run: i64,
    /// Left edge.
    pub x: usize,
    /// Upper edge.
    pub y: usize,
    /// Height.
    pub height: usize,
    /// Style class.
    pub class: &'static str,
    /// For whoever points at it.
    pub title: String,
}

/// Width of a column with the gap after it.
pub(super) const STEP: usize = 5;
/// Height of a level chart: a foot of 1 for level 0, and 5 for each level.
pub(super) const LEVELS_HEIGHT: usize = 26;

/// A column for each judged run, oldest first. `runs` are newest first.
pub(super) fn levels(runs: &[RunRow]) -> Vec<Column> {
    runs.iter()
        .rev()
        .enumerate()
        .map(|(at, run)| {
            let level = usize::try_from(run.level.unwrap_or(0).clamp(0, 5)).unwrap_or(0);
            let verdict = run.verdict.unwrap_or(Verdict::Error);
            let height = 1 + 5 * level;
            Column {
                run: run.number,
                x: at * STEP,
                y: LEVELS_HEIGHT - height,
                height,
                class: verdict_mark(verdict).class,
                title: match verdict {
                    Verdict::Error => format!("run {}: {verdict}", run.number),
                    Verdict::Green | Verdict::Red | Verdict::Pending => {
                        format!("run {}: {verdict}, level {level}", run.number)
                    }
                },
            }
        })
        .collect()
}

/// Where a duration of nothing stands in a curve's box, and how far above it the longest does. Half a unit stays free at
/// either edge, so that the line is not cut.
const CURVE_FOOT: f64 = 29.5;
const CURVE_HEIGHT: f64 = 29.0;

/// A line chart of one stage's durations.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    /// The stage.
    pub stage: Stage,
    /// `x,y` pairs, oldest first, in a box of 100 by 30 with the longest at the top and nothing at the foot.
    pub points: String,
    /// Height of the median in the same box.
    pub median_y: String,
    /// The longest, in milliseconds.
    pub longest: u64,
    /// The newest, in milliseconds.
    pub newest: u64,
    /// The median, in milliseconds.
    pub median: u64,
}

/// A curve for each stage that ran at least twice. `times` are in the order of the runs' numbers.
pub(super) fn curves(times: &[StageTime]) -> Vec<Curve> {
    Stage::ALL
        .into_iter()
        .filter_map(|stage| {
            let values: Vec<u64> = times
                .iter()
                .filter(|time| time.stage == stage)
                .filter_map(|time| time.duration_ms.and_then(|ms| u64::try_from(ms).ok()))
                .collect();
            let (longest, newest) = (*values.iter().max()?, *values.last()?);
            if values.len() < 2 {
                return None;
            }
            let last = (values.len() - 1) as f64;
            let points = values
                .iter()
                .enumerate()
                .map(|(at, value)| {
                    let share = *value as f64 / longest.max(1) as f64;
                    format!("{:.1},{:.1}", at as f64 / last * 100.0, CURVE_FOOT - share * CURVE_HEIGHT)
                })
                .collect::<Vec<_>>()
                .join(" ");
            let mut sorted = values;
            sorted.sort_unstable();
            let median = sorted[sorted.len() / 2];
            let median_y = format!("{:.1}", CURVE_FOOT - median as f64 / longest.max(1) as f64 * CURVE_HEIGHT);
            Some(Curve { stage, points, median_y, longest, newest, median })
        })
        .collect()
}

/// One row of a run's timeline.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    /// What it is.
    pub name: &'static str,
    /// Left edge in per mille of the whole.
    pub x: f64,
    /// Width in per mille, at least so much that it can be seen.
    pub width: f64,
    /// Style class.
    pub class: &'static str,
    /// When it began, in milliseconds from the run's start.
    pub from: u64,
    /// How long it took, in milliseconds.
    pub took: u64,
    /// The status in words.
    pub words: String,
}

impl Bar {
    pub(super) fn begin_words(&self) -> String {
        words::duration(self.from)
    }

    pub(super) fn took_words(&self) -> String {
        words::duration(self.took)
    }
}

/// A lane's part of a timeline.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LaneBars {
    /// The lane.
    pub lane: &'static str,
    /// What it holds.
    pub about: &'static str,
    /// Its stages that began, by time.
    pub bars: Vec<Bar>,
}

/// The timeline of a run that is over: each lane with its stages, and the removal at the end.
pub(super) fn timeline(run: &Run) -> Vec<LaneBars> {
    let whole = run.duration_ms.max(1);
    let mut lanes = lanes(run.started, whole, &run.stages, &[]);
    let took = run.teardown.duration_ms.min(whole);
    if took > 0 {
        let words = if run.clean_teardown { "✔ nothing left" } else { "✘ something left" };
        let class = if run.clean_teardown { "none" } else { "warn" };
        let bars = vec![bar("teardown", whole - took, took, whole, class, words.to_owned())];
        lanes.push(LaneBars { lane: "end", about: "removal, and the look whether anything is left", bars });
    }
    lanes
}

/// The timeline of a run that goes on: what has ended of its `stages` by `now`, and those that are `under_way`. When
/// these began is not written down yet, so they stand after what their lane has behind it.
pub(super) fn timeline_so_far(
    started: Timestamp,
    now: Timestamp,
    stages: &[StageResult],
    under_way: &[Stage],
) -> Vec<LaneBars> {
    lanes(started, since(started, now).max(1), stages, under_way)
}

fn lanes(started: Timestamp, whole: u64, stages: &[StageResult], under_way: &[Stage]) -> Vec<LaneBars> {
    [Lane::Fresh, Lane::Data]
        .into_iter()
        .map(|lane| {
            let mut bars: Vec<Bar> = stages
                .iter()
                .filter(|stage| stage.lane == lane)
                .filter_map(|stage| {
                    let mark = super::view::stage_mark(stage.status);
                    let from = since(started, stage.started?);
                    Some(bar(stage.stage.as_str(), from, stage.duration_ms?, whole, mark.class, mark.to_string()))
                })
                .collect();
            bars.sort_by_key(|bar| bar.from);
            let behind = bars.iter().map(|bar| bar.from + bar.took).max().unwrap_or(0).min(whole);
            bars.extend(
                under_way
                    .iter()
                    .filter(|stage| stage.lane() == lane)
                    .map(|stage| bar(stage.as_str(), behind, whole - behind, whole, "busy", "▶ running".to_owned())),
            );
            let about = match lane {
                Lane::Fresh => "a fresh deploy of the commit",
                Lane::Data => "the base with data, upgraded, saved and brought back",
            };
            LaneBars { lane: lane.as_str(), about, bars }
        })
        .filter(|lane| !lane.bars.is_empty())
        .collect()
}

/// A row of the chart of the host's pressure: each figure as text, and in per mille of the width.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PressureBar {
    /// What was waited for.
    pub name: &'static str,
    /// The mean over the run.
    pub mean: (String, f64),
    /// The worst ten seconds.
    pub worst: (String, f64),
}

/// The bars of the host's pressure, for the resources that the kernel tells of.
pub(super) fn pressure(host: &HostLoad) -> Vec<PressureBar> {
    let part = |share: f64| {
        let share = if share.is_finite() { share.clamp(0.0, 100.0) } else { 0.0 };
        (format!("{share:.1} %"), share * 10.0)
    };
    [("CPU", host.cpu), ("disk", host.io), ("memory", host.memory)]
        .into_iter()
        .filter_map(|(name, found)| found.map(|p| PressureBar { name, mean: part(p.mean), worst: part(p.max) }))
        .collect()
}

fn bar(name: &'static str, from: u64, took: u64, whole: u64, class: &'static str, words: String) -> Bar {
    let share = |ms: u64| ms.min(whole) as f64 / whole as f64 * 1000.0;
    let width = share(took).max(4.0);
    Bar { name, x: share(from).min(1000.0 - width), width, class, from, took, words }
}

fn since(start: Timestamp, at: Timestamp) -> u64 {
    u64::try_from(at.duration_since(start).as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::StageStatus;

    fn took(run_number: i64, stage: Stage, duration_ms: Option<i64>) -> StageTime {
        StageTime { run_number, stage, status: StageStatus::Pass, duration_ms }
    }

    #[test]
    fn curves_reach_from_edge_to_edge() {
        let times = [
            took(1, Stage::Install, Some(10)),
            took(1, Stage::Custom, Some(5)),
            took(2, Stage::Install, Some(20)),
            took(2, Stage::Backup, None),
            took(3, Stage::Install, Some(5)),
        ];
        let curves = curves(&times);
        assert_eq!(curves.len(), 1, "one point is no curve");
        assert_eq!(curves[0].points, "0.0,15.0 50.0,0.5 100.0,22.2");
        assert_eq!(curves[0].median_y, "15.0");
        assert_eq!((curves[0].longest, curves[0].newest, curves[0].median), (20, 5, 10));
    }

    #[test]
    fn what_is_under_way_stands_after_what_its_lane_has_behind_it() {
        let start = Timestamp::from_second(1_795_000_000).unwrap();
        let at = |s: i64| start + jiff::SignedDuration::from_secs(s);
        let mut install = StageResult::not_run(Stage::Install, "");
        (install.status, install.started, install.duration_ms) = (StageStatus::Pass, Some(at(1)), Some(9_000));
        let lanes = timeline_so_far(start, at(40), &[install], &[Stage::Upgrade, Stage::Custom]);
        let told: Vec<_> = lanes.iter().flat_map(|l| &l.bars).map(|b| (b.name, b.from, b.took)).collect();
        assert_eq!(told, [("install", 1_000, 9_000), ("custom", 10_000, 30_000), ("upgrade", 0, 40_000)]);
        // A clock that was set back makes no bar that is longer than the chart.
        assert!(timeline_so_far(start, at(-5), &[], &[Stage::Install])[0].bars[0].width <= 1000.0);
    }

    #[test]
    fn pressure_is_a_share_whatever_was_measured() {
        let host = HostLoad {
            cpu: Some(crate::domain::Pressure { mean: 12.34, max: f64::NAN }),
            memory: Some(crate::domain::Pressure { mean: -1.0, max: 400.0 }),
            ..HostLoad::default()
        };
        let told: Vec<_> = pressure(&host).into_iter().map(|b| (b.name, b.mean.0, b.worst.1)).collect();
        assert_eq!(told, [("CPU", "12.3 %".to_owned(), 0.0), ("memory", "0.0 %".to_owned(), 1000.0)]);
    }

    #[test]
    fn bars_stay_inside_the_timeline() {
        for (from, took) in [(0, 0), (0, 2_000), (999, 1), (5_000, 5_000)] {
            let bar = bar("install", from, took, 1_000, "good", String::new());
            assert!(bar.x >= 0.0 && bar.width >= 4.0 && bar.x + bar.width <= 1000.0, "{bar:?}");
        }
    }
}
