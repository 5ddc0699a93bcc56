//! The gate over the whole cross product: kinds of people × what happened × state of the pull request × what was written.
//!
//! The expectation is a second, plainer statement of the rules, made of independent sentences.

use std::collections::BTreeMap;

use cc_ci::bridge::facts::{
    Action, Arrival, CommentNow, Enrolled, Facts, GateConfig, HintHistory, LastPush, MayWriteKnown, Person, PullFacts,
    PullState, Trigger,
};
use cc_ci::bridge::gate::{Decision, Ignored, Reaction, Refusal, decide};
use cc_ci::bridge::rights::{Account, Asked, OwnerKind, Permission, Rights};
use jiff::{SignedDuration, Timestamp};

const HEAD: &str = "1111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222";
const OWN_ID: i64 = 99;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

fn config() -> GateConfig {
    let enrolled = Enrolled { recipe: "gitea".into(), suite: "gitea".into() };
    let mut config = GateConfig::new(OWN_ID, BTreeMap::from([(11, enrolled)]));
    config.bots.insert(98);
    config
}

fn trigger(body: &str) -> Trigger {
    let person = Person { id: 7, login: "anna".into() };
    Trigger {
        arrival: Arrival::Webhook,
        action: Action::Created,
        repo_id: 11,
        number: 4,
        is_pull: true,
        comment_id: 501,
        body: body.into(),
        author: person.clone(),
        sender: person,
        created: at(0),
        updated: at(0),
        received: at(1),
        signed_head: Some(HEAD.into()),
    }
}

fn facts() -> Facts {
    Facts {
        rights: Rights { permission: Asked::Answer(Permission::Write), ..Rights::default() },
        cancelled_since: false,
        pull: Some(PullFacts {
            state: PullState::Open,
            live_head: HEAD.into(),
            pull_ref: Some(HEAD.into()),
            last_push: LastPush::At(at(-3600)),
            author_may_write: MayWriteKnown::NoOrUnknown,
        }),
        comment: CommentNow::Unchanged,
        hints: HintHistory::default(),
    }
}

/// A kind of person: name, id, rights if the delivery is signed or not, and what the rules say of them.
struct Actor {
    name: &'static str,
    id: i64,
    rights: Rights,
    /// May write by a signed delivery's account, and by what can be asked live.
    writes: [Writes; 2],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writes {
    Yes,
    No,
    Unknown,
}

fn actors() -> Vec<Actor> {
    use Permission::{Admin, None as NoAccess, Owner, Read, Write};
    use Writes::{No, Unknown, Yes};
    let base = |name, permission, owner, code_team, writes| Actor {
        name,
        id: 7,
        rights: Rights { permission, owner, code_team, ..Rights::default() },
        writes,
    };
    let (answer, user, org) = (Asked::Answer, OwnerKind::User, OwnerKind::Organization);
    let signed = |push, actor: Actor| Actor { rights: Rights { signed_push: Some(push), ..actor.rights }, ..actor };
    let not_asked = Asked::NotAsked;
    vec![
        base("owner", answer(Owner), user, not_asked, [Yes; 2]),
        base("administrator", answer(Admin), user, not_asked, [Yes; 2]),
        base("collaborator with write", answer(Write), user, not_asked, [Yes; 2]),
        base("collaborator with read", answer(Read), user, not_asked, [No; 2]),
        base("stranger on a private repository", answer(NoAccess), user, not_asked, [No; 2]),
        base("team writer whom the permission call calls a reader", answer(Read), org, Asked::Answer(true), [Yes; 2]),
        base(
            "team writer whom the permission call does not know",
            answer(NoAccess),
            org,
            Asked::Answer(true),
            [Yes; 2],
        ),
        base("member of a team without code", answer(Read), org, Asked::Answer(false), [No; 2]),
        signed(true, base("writer whose rights are withheld", Asked::Withheld, org, Asked::Withheld, [Yes, Unknown])),
        signed(false, base("stranger whose rights are withheld", Asked::Withheld, org, Asked::Withheld, [No, Unknown])),
        signed(true, base("writer until a moment ago", answer(Read), user, not_asked, [No; 2])),
        Actor {
            rights: Rights { on_operators_list: true, permission: Asked::Withheld, ..Rights::default() },
            ..base("on the operator's list", Asked::Withheld, user, not_asked, [Yes; 2])
        },
        Actor {
            rights: Rights { account: Account::Locked, permission: answer(Owner), ..Rights::default() },
            ..base("locked owner", answer(Owner), user, not_asked, [No; 2])
        },
        Actor { id: OWN_ID, ..base("through cc-ci's account", answer(Write), user, not_asked, [Yes; 2]) },
        Actor {
            id: OWN_ID,
            ..base("through cc-ci's account, which only reads", answer(Read), user, not_asked, [No; 2])
        },
        Actor { id: 98, ..base("configured bot", answer(Write), user, not_asked, [Yes; 2]) },
        Actor { id: -1, ..base("ghost", answer(Write), user, not_asked, [Yes; 2]) },
        Actor { id: -2, ..base("the forge's actions", answer(Write), user, not_asked, [Yes; 2]) },
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Event {
    Created,
    CreatedForSomebodyElse,
    EditedByAuthor,
    EditedByAnother,
    Deleted,
    Polled,
    PolledEdited,
}

const EVENTS: [Event; 7] = [
    Event::Created,
    Event::CreatedForSomebodyElse,
    Event::EditedByAuthor,
    Event::EditedByAnother,
    Event::Deleted,
    Event::Polled,
    Event::PolledEdited,
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pull {
    Open,
    Closed,
    Merged,
    AnIssue,
}

const PULLS: [Pull; 4] = [Pull::Open, Pull::Closed, Pull::Merged, Pull::AnIssue];

const BODIES: [&str; 6] = ["!testme", "!retest", "!cancel", "!testmexyz", "!testme\n!cancel", "> !testme"];

fn set_up(actor: &Actor, event: Event, pull: Pull, body: &str) -> (Trigger, Facts) {
    let mut trigger = trigger(body);
    trigger.author.id = actor.id;
    trigger.sender.id = actor.id;
    let mut facts = Facts { rights: actor.rights.clone(), ..facts() };
    match event {
        Event::Created => {}
        Event::CreatedForSomebodyElse => trigger.author.id = 12,
        Event::EditedByAuthor => trigger.action = Action::Edited,
        Event::EditedByAnother => {
            trigger.action = Action::Edited;
            trigger.author.id = 12;
        }
        Event::Deleted => trigger.action = Action::Deleted,
        Event::Polled | Event::PolledEdited => {
            trigger.arrival = Arrival::Poll;
            trigger.signed_head = None;
            facts.rights.signed_push = None;
            if event == Event::PolledEdited {
                trigger.updated = at(30);
            }
        }
    }
    match pull {
        Pull::Open => {}
        Pull::Closed => facts.pull.as_mut().unwrap().state = PullState::Closed,
        Pull::Merged => facts.pull.as_mut().unwrap().state = PullState::Merged,
        Pull::AnIssue => {
            trigger.is_pull = false;
            facts.pull = None;
        }
    }
    (trigger, facts)
}

/// The rules, as words: the last sentence that applies wins.
fn expectation(actor: &Actor, event: Event, pull: Pull, body: &str) -> &'static str {
    let polled = matches!(event, Event::Polled | Event::PolledEdited);
    let writes = actor.writes[usize::from(polled)];
    let mut says = match body {
        "!testme" => "start",
        "!retest" => "retest",
        "!cancel" => "cancel",
        _ => "",
    };
    if matches!(pull, Pull::Closed | Pull::Merged) && body != "!cancel" {
        says = "refuse: not open";
    }
    if writes == Writes::Unknown {
        says = "refuse: unknown";
    }
    if event == Event::PolledEdited {
        says = "refuse: edited";
    }
    if body == "!testme\n!cancel" {
        says = "refuse: unclear";
    }
    if body == "!testmexyz" {
        says = "refuse: nearly";
    }
    if writes == Writes::No {
        says = "refuse: no rights";
    }
    if body == "!testmexyz" && writes != Writes::Yes {
        says = "ignore";
    }
    if body == "> !testme"
        || pull == Pull::AnIssue
        || !matches!(event, Event::Created | Event::Polled | Event::PolledEdited)
    {
        says = "ignore";
    }
    let alone = matches!(body, "!testme" | "!retest" | "!cancel");
    if actor.id != 7 && !(actor.id == OWN_ID && alone) {
        says = "ignore";
    }
    says
}

fn short(decision: &Decision) -> &'static str {
    match decision {
        Decision::Start(job) => {
            assert_eq!((job.commit.as_str(), job.repo_id, job.pull), (HEAD, 11, 4));
            "start"
        }
        Decision::Retest(_) => "retest",
        Decision::Cancel { .. } => "cancel",
        Decision::Wait { .. } => "wait",
        Decision::Ignore { .. } => "ignore",
        Decision::Refuse { why, visible } => {
            assert!(visible.reaction.is_some() && visible.hint.is_some(), "a first refusal is visible");
            match why {
                Refusal::NoWriteAccess => "refuse: no rights",
                Refusal::RightsUnknown => "refuse: unknown",
                Refusal::NearMiss { .. } => "refuse: nearly",
                Refusal::Unclear { .. } => "refuse: unclear",
                Refusal::Edited => "refuse: edited",
                Refusal::NotOpen => "refuse: not open",
                Refusal::Stale => "refuse: stale",
                Refusal::NotTheHead { .. } => "refuse: not the head",
                Refusal::PushedSince { .. } => "refuse: pushed since",
                Refusal::PushedJustBefore { .. } => "refuse: pushed just before",
                Refusal::NameTheCommit { .. } => "refuse: name it",
                Refusal::HeadUnsettled => "refuse: unsettled",
                Refusal::CancelledSince => "refuse: cancelled",
            }
        }
    }
}

#[test]
fn every_actor_event_and_state() {
    let mut cells = 0;
    let mut started = 0;
    for actor in actors() {
        for event in EVENTS {
            for pull in PULLS {
                for body in BODIES {
                    let (trigger, facts) = set_up(&actor, event, pull, body);
                    let got = short(&decide(&trigger, &facts, &config(), at(60)));
                    let want = expectation(&actor, event, pull, body);
                    assert_eq!(got, want, "{}, {event:?}, {pull:?}, {body:?}", actor.name);
                    cells += 1;
                    started += usize::from(got == "start");
                }
            }
        }
    }
    assert_eq!(cells, 18 * 7 * 4 * 6);
    // 7 kinds of people may write by either way, one more only by a signed delivery.
    assert_eq!(started, 7 * 2 + 1);
}

fn with(change: impl FnOnce(&mut Trigger, &mut Facts)) -> &'static str {
    let (mut trigger, mut facts) = (trigger("!testme"), facts());
    change(&mut trigger, &mut facts);
    short(&decide(&trigger, &facts, &config(), at(60)))
}

fn pull(facts: &mut Facts) -> &mut PullFacts {
    facts.pull.as_mut().unwrap()
}

#[test]
fn the_commit_is_the_one_that_the_commenter_saw() {
    let named = format!("!testme {}", &HEAD[..10]);
    let table: Vec<(&str, &str, &'static str)> = vec![
        ("as signed", "start", with(|_, _| {})),
        ("signed head differs from now", "refuse: pushed since", with(|t, _| t.signed_head = Some(OTHER.into()))),
        ("signed head in other case", "start", with(|t, _| t.signed_head = Some(HEAD.to_uppercase()))),
        ("unsigned, old push", "start", with(|t, _| t.signed_head = None)),
        (
            "unsigned, pushed later",
            "refuse: pushed since",
            with(|t, f| {
                t.signed_head = None;
                pull(f).last_push = LastPush::At(at(1));
            }),
        ),
        (
            "unsigned, pushed in the same second",
            "refuse: pushed since",
            with(|t, f| {
                t.signed_head = None;
                pull(f).last_push = LastPush::At(at(0));
            }),
        ),
        (
            "unsigned, push unknown",
            "refuse: name it",
            with(|t, f| {
                t.signed_head = None;
                pull(f).last_push = LastPush::Unknown;
            }),
        ),
        (
            "signed, push unknown, author a stranger",
            "refuse: name it",
            with(|_, f| pull(f).last_push = LastPush::Unknown),
        ),
        (
            "signed, push unknown, author writes",
            "start",
            with(|_, f| {
                pull(f).last_push = LastPush::Unknown;
                pull(f).author_may_write = MayWriteKnown::Yes;
            }),
        ),
        (
            "stranger pushed 119 s before",
            "refuse: pushed just before",
            with(|_, f| pull(f).last_push = LastPush::At(at(-119))),
        ),
        ("stranger pushed 120 s before", "start", with(|_, f| pull(f).last_push = LastPush::At(at(-120)))),
        (
            "writer pushed 1 s before",
            "start",
            with(|_, f| {
                pull(f).last_push = LastPush::At(at(-1));
                pull(f).author_may_write = MayWriteKnown::Yes;
            }),
        ),
        (
            "named, stranger pushed 1 s before",
            "start",
            with(|t, f| {
                t.body.clone_from(&named);
                pull(f).last_push = LastPush::At(at(-1));
            }),
        ),
        (
            "named, unsigned, push unknown",
            "start",
            with(|t, f| {
                t.body.clone_from(&named);
                t.signed_head = None;
                pull(f).last_push = LastPush::Unknown;
            }),
        ),
        (
            "unsigned, push not told yet",
            "wait",
            with(|t, f| {
                t.signed_head = None;
                pull(f).last_push = LastPush::NotYetTold;
            }),
        ),
        (
            "unsigned, push never told",
            "refuse: name it",
            with(|t, f| {
                t.signed_head = None;
                t.received = at(-3600);
                pull(f).last_push = LastPush::NotYetTold;
            }),
        ),
        ("signed, push not told yet, author a stranger", "wait", with(|_, f| pull(f).last_push = LastPush::NotYetTold)),
        (
            "signed, push not told yet, author writes",
            "start",
            with(|_, f| {
                pull(f).last_push = LastPush::NotYetTold;
                pull(f).author_may_write = MayWriteKnown::Yes;
            }),
        ),
        (
            "named, unsigned, push not told yet",
            "start",
            with(|t, f| {
                t.body = format!("!testme {HEAD}");
                t.signed_head = None;
                pull(f).last_push = LastPush::NotYetTold;
            }),
        ),
        ("named another", "refuse: not the head", with(|t, _| t.body = format!("!testme {OTHER}"))),
        (
            "the two views differ, just now",
            "wait",
            with(|t, f| {
                pull(f).pull_ref = Some(OTHER.into());
                t.received = at(0);
            }),
        ),
        (
            "the two views differ for long",
            "refuse: unsettled",
            with(|t, f| {
                pull(f).pull_ref = None;
                t.received = at(-60);
            }),
        ),
        (
            "named, the two views differ",
            "wait",
            with(|t, f| {
                t.body.clone_from(&named);
                pull(f).pull_ref = None;
            }),
        ),
        ("a head that is no commit", "refuse: unsettled", with(|_, f| pull(f).live_head = "refs/pull/4/head".into())),
    ];
    for (name, want, got) in table {
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn old_changed_and_foreign_comments() {
    let table: Vec<(&str, &str, &'static str)> = vec![
        ("other repository", "ignore", with(|t, _| t.repo_id = 12)),
        (
            "a day old delivery",
            "start",
            with(|t, f| {
                t.created = at(60 - 86_400);
                pull(f).last_push = LastPush::At(at(-90_000));
            }),
        ),
        ("an older delivery", "refuse: stale", with(|t, _| t.created = at(59 - 86_400))),
        (
            "polled after two days",
            "start",
            with(|t, f| {
                t.arrival = Arrival::Poll;
                t.created = at(-2 * 86_400);
                t.updated = t.created;
                pull(f).last_push = LastPush::At(at(-3 * 86_400));
            }),
        ),
        (
            "polled after eight days",
            "ignore",
            with(|t, _| {
                t.arrival = Arrival::Poll;
                t.created = at(-8 * 86_400);
                t.updated = t.created;
            }),
        ),
        ("deleted meanwhile", "ignore", with(|_, f| f.comment = CommentNow::Gone)),
        ("changed meanwhile", "refuse: edited", with(|_, f| f.comment = CommentNow::Changed)),
        ("not looked at again", "start", with(|_, f| f.comment = CommentNow::Unknown)),
        ("our marker in somebody's name", "ignore", with(|t, _| t.body = "<!-- cc-ci:pull:11:4 -->\n!testme".into())),
        ("cancelled by a later comment", "refuse: cancelled", with(|_, f| f.cancelled_since = true)),
        (
            "cancelling twice",
            "cancel",
            with(|t, f| {
                t.body = "!cancel".into();
                f.cancelled_since = true;
            }),
        ),
    ];
    for (name, want, got) in table {
        assert_eq!(got, want, "{name}");
    }
    let no_pull = decide(&trigger("!testme"), &Facts { pull: None, ..facts() }, &config(), at(60));
    assert_eq!(no_pull, Decision::Ignore { why: Ignored::NotAPullRequest });
}

#[test]
fn through_our_own_account_only_a_bare_command_counts() {
    let table = [
        ("!testme", "start"),
        ("!testme\r\n", "start"),
        ("\n  !retest  \n", "retest"),
        ("!cancel", "cancel"),
        ("!testme 1111111111", "start"),
        ("Please test.\n\n!testme", "ignore"),
        ("!testme\n\nThe new version is out.", "ignore"),
        ("!testme\n!testme", "ignore"),
        ("!testmexyz", "ignore"),
        ("    !testme", "ignore"),
        ("> !testme", "ignore"),
        ("`!testme`", "ignore"),
        ("<!-- cc-ci:pull:11:4 -->\n!testme", "ignore"),
        ("<!-- x -->\n!testme", "ignore"),
        ("", "ignore"),
    ];
    for (body, want) in table {
        let got = with(|t, _| {
            t.body = body.into();
            (t.author.id, t.sender.id) = (OWN_ID, OWN_ID);
        });
        assert_eq!(got, want, "{body:?}");
    }
    let of_another = with(|t, _| t.sender.id = OWN_ID);
    assert_eq!(of_another, "ignore", "our account changed somebody else's comment");
    let of_ours = with(|t, _| t.author.id = OWN_ID);
    assert_eq!(of_ours, "ignore", "somebody changed our comment");
}

#[test]
fn a_polled_comment_waits_a_moment_for_its_delivery_if_that_could_say_more() {
    let polled = |received: i64, change: fn(&mut Trigger, &mut Facts)| {
        with(|t, f| {
            t.arrival = Arrival::Poll;
            t.signed_head = None;
            t.received = at(received);
            change(t, f);
        })
    };
    let withheld = |_: &mut Trigger, f: &mut Facts| f.rights = Rights::default();
    let no_push = |_: &mut Trigger, f: &mut Facts| pull(f).last_push = LastPush::Unknown;
    let same_second = |_: &mut Trigger, f: &mut Facts| pull(f).last_push = LastPush::At(at(0));
    let closed = |_: &mut Trigger, f: &mut Facts| pull(f).state = PullState::Closed;
    assert_eq!(polled(51, |_, _| {}), "start", "everything is known");
    assert_eq!((polled(51, withheld), polled(50, withheld)), ("wait", "refuse: unknown"));
    assert_eq!((polled(51, no_push), polled(50, no_push)), ("wait", "refuse: name it"));
    assert_eq!((polled(51, same_second), polled(50, same_second)), ("wait", "refuse: pushed since"));
    assert_eq!(polled(51, closed), "refuse: not open", "no delivery changes that");
}

#[test]
fn refusals_are_visible_but_no_flood() {
    let show = |hints: HintHistory| {
        let facts = Facts { rights: Rights { signed_push: Some(false), ..Rights::default() }, hints, ..facts() };
        match decide(&trigger("!testme"), &facts, &config(), at(60)) {
            Decision::Refuse { visible, .. } => (visible.reaction, visible.hint.is_some()),
            other => panic!("{other:?}"),
        }
    };
    let none = HintHistory::default();
    let an_hour_ago = at(60) - SignedDuration::from_hours(1);
    assert_eq!(show(none), (Some(Reaction::No), true));
    assert_eq!(show(HintHistory { last_to_person: Some(at(0)), ..none }), (Some(Reaction::No), false));
    assert_eq!(show(HintHistory { last_to_person: Some(an_hour_ago), ..none }), (Some(Reaction::No), true));
    assert_eq!(show(HintHistory { on_pull_last_hour: 6, ..none }), (Some(Reaction::No), false));
    assert_eq!(show(HintHistory { on_pull_last_hour: 5, reactions_last_hour: 10, ..none }), (None, true));
}

#[test]
fn no_refusal_can_be_read_as_a_command() {
    let head = HEAD.to_owned();
    let all = [
        Refusal::NoWriteAccess,
        Refusal::RightsUnknown,
        Refusal::NearMiss { hint: "commands are written in lower case: `!testme`".into() },
        Refusal::Unclear { why: "two".into() },
        Refusal::Edited,
        Refusal::NotOpen,
        Refusal::Stale,
        Refusal::NotTheHead { head: head.clone() },
        Refusal::PushedSince { head: head.clone() },
        Refusal::PushedJustBefore { head: head.clone() },
        Refusal::NameTheCommit { head },
        Refusal::HeadUnsettled,
        Refusal::CancelledSince,
    ];
    for refusal in all {
        let understood = cc_ci::bridge::commands::understand(&refusal.text());
        assert_eq!(understood, cc_ci::bridge::commands::Understood::None, "{refusal:?}");
    }
}
