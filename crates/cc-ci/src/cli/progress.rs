//! Shows a run while it goes: a live list of the stages on a terminal, plain lines elsewhere. Always on standard error.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::mpsc;

use crate::domain::{Stage, StageResult, StageStatus};
use crate::harness::Event;

use super::Colour;

/// Whether standard error is a terminal that can redraw lines.
#[must_use]
fn is_live() -> bool {
    std::io::stderr().is_terminal() && crate::env::var("TERM").as_deref() != Some("dumb")
}

/// Reads events until the run is over.
pub(super) async fn show(mut events: mpsc::UnboundedReceiver<Event>, colour: Colour, quiet: bool) {
    let mut view: Box<dyn View + Send> = if quiet {
        Box::new(Quiet)
    } else if is_live() {
        Box::new(Live::new(colour))
    } else {
        Box::new(Plain)
    };
    while let Some(event) = events.recv().await {
        view.event(&event);
    }
    view.end();
}

trait View {
    fn event(&mut self, event: &Event);
    fn end(&mut self) {}
}

struct Quiet;

impl View for Quiet {
    fn event(&mut self, event: &Event) {
        if let Event::Warning(text) = event {
            eprintln!("warning: {text}");
        }
    }
}

/// One line per thing that ended; what CI logs want.
struct Plain;

impl View for Plain {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { run, recipe, head, base, parallel, .. } => {
                eprintln!("run {run}: {recipe} {head}");
                eprintln!("  upgrade from: {base}");
                eprintln!("  lanes: {}", if *parallel { "side by side" } else { "one after the other" });
            }
            Event::Preparing(what) => eprintln!("  {what}"),
            Event::StageStarted(stage) => eprintln!("{stage}: started"),
            Event::Progress { .. } | Event::Ended(_) => {}
            Event::StageEnded(result) => eprintln!("{}", ended(result)),
            Event::TearingDown(lane) => eprintln!("teardown of the {} lane", lane.as_str()),
            Event::Warning(text) => eprintln!("warning: {text}"),
        }
    }
}

/// A stage's end in a line: `install: pass 3.2 s`.
fn ended(result: &StageResult) -> String {
    let mut line = format!("{}: {}", result.stage, result.status.words());
    if let Some(ms) = result.duration_ms {
        line.push_str(&format!(" {}", super::seconds(ms)));
    }
    if let Some(why) = result.reason.as_ref().map(ToString::to_string).or_else(|| result.skip.clone()) {
        line.push_str(&format!(" – {why}"));
    }
    line
}

/// The live list.
struct Live {
    all: MultiProgress,
    header: ProgressBar,
    title: String,
    bars: HashMap<Stage, ProgressBar>,
    colour: Colour,
}

impl Live {
    fn new(colour: Colour) -> Self {
        let all = MultiProgress::new();
        let header = all.add(ProgressBar::new_spinner());
        header.set_style(style("{spinner} {msg}"));
        header.enable_steady_tick(Duration::from_millis(120));
        Self { all, header, title: String::new(), bars: HashMap::new(), colour }
    }

    fn bar(&self, stage: Stage) -> Option<&ProgressBar> {
        self.bars.get(&stage)
    }
}

impl View for Live {
    fn event(&mut self, event: &Event) {
        match event {
            Event::Started { run, recipe, head, base, stages, .. } => {
                let text = format!("{recipe} {head}   run {run}   upgrade from {base}");
                self.title = self.colour.bold(&text);
                self.header.set_message(self.title.clone());
                for stage in Stage::ALL.into_iter().filter(|stage| stages.contains(stage)) {
                    let bar = self.all.add(ProgressBar::new_spinner());
                    bar.set_style(style("  {prefix:<9} {msg}"));
                    bar.set_prefix(stage.as_str());
                    bar.set_message(self.colour.dim("waiting"));
                    self.bars.insert(stage, bar);
                }
            }
            Event::Preparing(what) => self.header.set_message(format!("{}   {what}", self.title)),
            Event::StageStarted(stage) => {
                if let Some(bar) = self.bar(*stage) {
                    bar.reset_elapsed();
                    bar.set_style(style("{spinner} {prefix:<9} {elapsed:>6}  {msg}"));
                    bar.set_message("");
                    bar.enable_steady_tick(Duration::from_millis(120));
                }
            }
            Event::Progress { stage, doing } => {
                if let Some(bar) = self.bar(*stage) {
                    bar.set_message(first_line(doing));
                }
            }
            Event::StageEnded(result) => {
                if let Some(bar) = self.bar(result.stage) {
                    bar.set_style(style("{msg}"));
                    bar.finish_with_message(self.end_line(result));
                }
            }
            Event::TearingDown(lane) => {
                self.header.set_message(format!("{}   removing the {} lane", self.title, lane.as_str()));
            }
            Event::Warning(text) => {
                // The only error is a closed terminal.
                let _ = self.all.println(format!("{} {text}", self.colour.yellow("warning:")));
            }
            Event::Ended(_) => self.header.finish_and_clear(),
        }
    }

    fn end(&mut self) {
        self.header.finish_and_clear();
        for bar in self.bars.values() {
            bar.finish_and_clear();
        }
    }
}

impl Live {
    fn end_line(&self, result: &StageResult) -> String {
        let (mark, word) = match result.status {
            StageStatus::Pass => (self.colour.green("✔"), self.colour.green("pass")),
            StageStatus::Fail => (self.colour.red("✘"), self.colour.red("fail")),
            StageStatus::Inconclusive => (self.colour.yellow("?"), self.colour.yellow("inconclusive")),
            StageStatus::NotApplicable => (self.colour.dim("–"), self.colour.dim("n/a")),
            StageStatus::NotRun => (self.colour.dim("·"), self.colour.dim("not run")),
        };
        let time = result.duration_ms.map(super::seconds).unwrap_or_default();
        let why = result
            .reason
            .as_ref()
            .map(|reason| format!("{}: {}", reason.code, reason.message))
            .or_else(|| result.skip.clone())
            .unwrap_or_default();
        format!("{mark} {:<9} {time:>6}  {word} {}", result.stage.as_str(), first_line(&why))
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
