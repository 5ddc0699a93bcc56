//! The moments at which the server is killed, and what must hold after the next start.

use std::fmt;

use cc_ci::swarm::Kind;
use forge_sim::{ApiFault, Fault};

use crate::common::{inventory, wait_until};
use crate::ends;
use crate::story::Story;

/// Longer than any story.
const FOREVER: u64 = 600_000;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Point {
    /// The comment is in the journal, and the gate is asking the forge about it.
    Asked,
    /// The run waits for its turn.
    Queued,
    /// The first comment has been made, and the server does not know it yet.
    Announced,
    /// The first object is on the swarm, while `docker stack deploy` still works.
    Deploying,
    /// The install stage is over, the upgrade goes on.
    Upgrading,
    /// The upgrade is over, the backup goes on.
    BackingUp,
    /// The stacks are gone, the end is perhaps not written yet.
    Removed,
    /// The end is written, the forge has not been told.
    Judged,
    /// The final status has been made, and the server does not know it.
    Status,
    /// The final comment has been made, and the server does not know it.
    Comment,
    /// Twice in the same run, which is then parked for a person.
    Parked,
    /// Not killed but stopped by SIGTERM, with a second server knocking meanwhile.
    Stopped,
    /// After so many effects, whatever they are.
    Effect(i64),
}

impl Point {
    const ALL: [Point; 12] = [
        Point::Parked,
        Point::BackingUp,
        Point::Stopped,
        Point::Removed,
        Point::Upgrading,
        Point::Deploying,
        Point::Announced,
        Point::Asked,
        Point::Queued,
        Point::Judged,
        Point::Status,
        Point::Comment,
    ];

    /// How many attempts there may be at the end, from and to.
    fn attempts(self) -> (usize, usize) {
        match self {
            Point::Asked | Point::Queued | Point::Judged | Point::Status | Point::Comment => (1, 1),
            Point::Deploying | Point::Upgrading | Point::BackingUp | Point::Stopped => (2, 2),
            Point::Announced | Point::Removed | Point::Effect(_) => (1, 2),
            Point::Parked => (2, 3),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Point::Asked => "asked",
            Point::Queued => "queued",
            Point::Announced => "announced",
            Point::Deploying => "deploying",
            Point::Upgrading => "upgrading",
            Point::BackingUp => "backing-up",
            Point::Removed => "removed",
            Point::Judged => "judged",
            Point::Status => "status",
            Point::Comment => "comment",
            Point::Parked => "parked",
            Point::Stopped => "stopped",
            Point::Effect(count) => return write!(f, "effect:{count}"),
        })
    }
}

/// The points that a comma-separated list names; all but the counted ones if there is none.
pub(crate) fn chosen(list: Option<&str>) -> Vec<Point> {
    let Some(list) = list else { return Point::ALL.to_vec() };
    let one = |name: &str| match name.strip_prefix("effect:") {
        Some(count) => Point::Effect(count.parse().unwrap()),
        None => *Point::ALL
            .iter()
            .find(|point| point.to_string() == name)
            .unwrap_or_else(|| panic!("there is no point {name}; there are {:?} and effect:N", Point::ALL)),
    };
    list.split(',').filter(|name| !name.is_empty()).map(one).collect()
}

/// Tells the story of a point. Gives what was seen, for the report.
pub(crate) fn tell(point: Point) -> String {
    let recipe = if point == Point::BackingUp { "custom-html" } else { "custom-html-tiny" };
    let mut story = Story::of(recipe);
    match point {
        Point::Parked => return ends::parked(&mut story),
        Point::Stopped => return ends::stopped(&mut story),
        Point::Queued => story.start_with("reserve_mb = 16777216\n"),
        _ => story.start(),
    }
    reach(point, &story);
    let at_kill = story.watch().run(1);
    story.kill();
    let left: usize = story.watch().attempts(1).iter().map(|attempt| inventory(None, &attempt.id).len()).sum();
    shows(point, &story, left);
    // What the forge was to do badly belongs to the life that is over.
    let met = story.fault_met();
    let before = story.states().len();
    story.start();
    let (least, most) = point.attempts();
    let seen = ends::answered(&mut story, 1, "GREEN", least..=most);
    let state = at_kill.map_or("no run".to_owned(), |run| format!("{} attempt {}", run.state, run.attempt));
    let fault = if met { ", forge at fault" } else { "" };
    format!("{state}, {left} objects, {before} statuses{fault} | {seen}")
}

/// Lets the maintainer ask, and waits for the moment.
fn reach(point: Point, story: &Story) {
    let hang = || ApiFault::Hang { millis: FOREVER };
    let done_but_silent = || ApiFault::CommitThenHang { millis: FOREVER };
    let fault = match point {
        Point::Asked => Some(Fault::request("GET", "/permission", 1, hang())),
        Point::Announced => Some(Fault::request("POST", "/issues/1/comments", 1, done_but_silent())),
        Point::Judged => Some(Fault::request("POST", "/statuses/", 1, hang()).saying("\"success\"")),
        Point::Status => Some(Fault::request("POST", "/statuses/", 1, done_but_silent()).saying("\"success\"")),
        Point::Comment => {
            Some(Fault::request("PATCH", "/issues/comments/", 1, done_but_silent()).saying("verdict=GREEN"))
        }
        _ => None,
    };
    let awaits_fault = fault.is_some();
    fault.into_iter().for_each(|fault| story.sim.fault(fault));
    story.comment("!testme");
    let watch = story.watch();
    let objects = || watch.live(1).map_or(0, |id| inventory(None, &id).len());
    let ended = |stage: &str| watch.stages(1).iter().any(|ended| ended == stage);
    wait_until(&format!("{point}: the moment\n{}", story.journal()), || match point {
        Point::Queued => watch.run(1).is_some_and(|run| run.state == "queued") && watch.told(),
        Point::Deploying => objects() > 0,
        Point::Upgrading => ended("install"),
        Point::BackingUp => ended("upgrade"),
        Point::Removed => {
            watch.count("events WHERE kind = 'teardown'") == 2
                && watch.attempts(1).iter().all(|attempt| inventory(None, &attempt.id).is_empty())
        }
        Point::Effect(count) => watch.effects() >= count || watch.run(1).is_some_and(|run| run.state == "finished"),
        Point::Asked | Point::Announced | Point::Judged | Point::Status | Point::Comment => {
            awaits_fault && story.fault_met()
        }
        Point::Parked | Point::Stopped => true,
    });
    if matches!(point, Point::Status | Point::Comment | Point::Announced) {
        // The forge does what it is asked and only then falls silent.
        wait_until("the forge has done it", || match point {
            Point::Status => story.states().last().is_some_and(|last| last == "success"),
            Point::Announced => !story.answers().is_empty(),
            _ => story.answers().iter().any(|answer| answer.contains("verdict=GREEN")),
        });
    }
}

/// What must be so at the moment of death, or the story would show nothing.
fn shows(point: Point, story: &Story, left: usize) {
    let watch = story.watch();
    let run = watch.run(1);
    let state = run.as_ref().map(|run| run.state.as_str());
    match point {
        Point::Asked => {
            assert_eq!(watch.count("deliveries WHERE state = 'new' AND arrival = 'webhook'"), 1, "journalled");
            assert_eq!((watch.count("triggers"), state), (0, None), "and not decided");
        }
        Point::Queued => assert_eq!((state, watch.attempts(1).len()), (Some("queued"), 0)),
        Point::Announced => assert_eq!(watch.count("outbox WHERE forge_id IS NOT NULL AND target LIKE 'comment%'"), 0),
        Point::Deploying => assert!(left > 0, "nothing was left: the test shows nothing"),
        Point::Upgrading | Point::BackingUp => {
            let id = watch.live(1).unwrap();
            let services = inventory(None, &id).iter().filter(|object| object.kind == Kind::Service).count();
            assert!(services > 0 && state == Some("running"), "{services} services, {state:?}");
        }
        Point::Removed => assert_eq!(left, 0),
        Point::Judged => {
            assert_eq!((state, left), (Some("finished"), 0));
            assert!(story.states().iter().all(|state| state == "pending"), "{:?}", story.states());
        }
        Point::Status | Point::Comment => assert_eq!((state, left), (Some("finished"), 0)),
        Point::Parked | Point::Stopped | Point::Effect(_) => {}
    }
}
