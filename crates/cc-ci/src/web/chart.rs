//! Where the bars and points of the charts go. Pure; the templates draw them.
//!
//! All charts stretch with the page, so they hold shapes only: words and numbers stand beside them as text, which does
//! not stretch, and every chart has a table with the same values.

use jiff::Timestamp;

use crate::domain::{Lane, Run, Stage, Verdict};
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
                title: format!("run {}: {verdict}, level {level}", run.number),
            }
        })
        .collect()
}

/// A line chart of one stage's durations.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Curve {
    /// The stage.
    pub stage: Stage,
    /// `x,y` pairs, oldest first, in a box of 100 by 30 with the longest at the top.
    pub points: String,
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
                    format!("{:.1},{:.1}", at as f64 / last * 100.0, 29.0 - share * 28.0)
                })
                .collect::<Vec<_>>()
                .join(" ");
            let mut sorted = values;
            sorted.sort_unstable();
            Some(Curve { stage, points, longest, newest, median: sorted[sorted.len() / 2] })
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

/// The timeline of a run: each lane with its stages, and the removal at the end.
pub(super) fn timeline(run: &Run) -> Vec<LaneBars> {
    let whole = run.duration_ms.max(1);
    let mut lanes: Vec<LaneBars> = [Lane::Fresh, Lane::Data]
        .into_iter()
        .map(|lane| {
            let mut bars: Vec<Bar> = run
                .stages
                .iter()
                .filter(|stage| stage.lane == lane)
                .filter_map(|stage| {
                    let mark = super::view::stage_mark(stage.status);
                    let from = since(run.started, stage.started?);
                    Some(bar(stage.stage.as_str(), from, stage.duration_ms?, whole, mark.class, mark.to_string()))
                })
                .collect();
            bars.sort_by_key(|bar| bar.from);
            let about = match lane {
                Lane::Fresh => "a fresh deploy of the commit",
                Lane::Data => "the base with data, upgraded, saved and brought back",
            };
            LaneBars { lane: lane.as_str(), about, bars }
        })
        .filter(|lane| !lane.bars.is_empty())
        .collect();
    let took = run.teardown.duration_ms.min(whole);
    if took > 0 {
        let words = if run.clean_teardown { "✔ nothing left" } else { "✘ something left" };
        let class = if run.clean_teardown { "none" } else { "warn" };
        let bars = vec![bar("teardown", whole - took, took, whole, class, words.to_owned())];
        lanes.push(LaneBars { lane: "end", about: "removal, and the look whether anything is left", bars });
    }
    lanes
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
        assert_eq!(curves[0].points, "0.0,15.0 50.0,1.0 100.0,22.0");
        assert_eq!((curves[0].longest, curves[0].newest, curves[0].median), (20, 5, 10));
    }

    #[test]
    fn bars_stay_inside_the_timeline() {
        for (from, took) in [(0, 0), (0, 2_000), (999, 1), (5_000, 5_000)] {
            let bar = bar("install", from, took, 1_000, "good", String::new());
            assert!(bar.x >= 0.0 && bar.width >= 4.0 && bar.x + bar.width <= 1000.0, "{bar:?}");
        }
    }
}
