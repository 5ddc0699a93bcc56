//! Who may do what, and what the gate and publishing make of the client.

use std::collections::BTreeMap;

use cc_ci::bridge::facts::{
    Action, Arrival, CommentNow, Enrolled, Facts, GateConfig, HintHistory, LastPush, MayWriteKnown, Person, Trigger,
};
use cc_ci::bridge::gate::{Decision, Refusal, decide};
use cc_ci::bridge::gather::{Asking, gather_facts};
use cc_ci::bridge::rights::{Asked, MayWrite, OwnerKind, Source};
use cc_ci::forge::model::{Happened, Membership, Permission, Repo, RepoId};
use cc_ci::forge::{Client, ErrorKind, Publisher};
use cc_ci::publish::forge::{Failure, Forge as _, Repository, Status};
use cc_ci::publish::{StatusState, compare};
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{Account, SCOPES, Stage};

fn person(account: &Account) -> Person {
    Person { id: account.id, login: account.login.clone() }
}

/// The comment as the poll brings it.
pub(crate) async fn polled(client: &Client, repo: &Repo, number: i64, comment: i64) -> Trigger {
    let comment = client.comment(repo.id, comment).await.unwrap();
    Trigger {
        arrival: Arrival::Poll,
        action: Action::Created,
        repo_id: repo.id.0,
        number,
        is_pull: comment.is_pull,
        comment_id: comment.id,
        body: comment.body,
        author: comment.author.clone(),
        sender: comment.author,
        created: comment.created,
        updated: comment.updated,
        received: comment.created,
        signed_head: None,
    }
}

pub(crate) async fn facts(client: &Client, trigger: &Trigger) -> Facts {
    let hints = HintHistory::default();
    let asking =
        Asking { trigger, signed_push: None, on_operators_list: false, edited: false, cancelled_since: false, hints };
    gather_facts(client, &asking).await.unwrap()
}

pub(crate) async fn who_may_write(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "admin").await;
    let [reader, writer, admin, stranger, in_team, reads_in_team] = [
        stage.user("reader").await,
        stage.user("writer").await,
        stage.user("admin").await,
        stage.user("stranger").await,
        stage.user("team").await,
        stage.user("rteam").await,
    ];
    for (who, permission) in [(&reader, "read"), (&writer, "write"), (&admin, "admin")] {
        stage.collaborator(&repo, who, permission).await;
    }
    let code = json!({ "repo.code": "write", "repo.pulls": "write", "repo.issues": "read", "repo.wiki": "read" });
    let team = stage.team("coders", code, &[&in_team, &robot]).await;
    let docs = json!({ "repo.code": "read", "repo.wiki": "write" });
    stage.team("writers", docs, &[&reads_in_team, &robot]).await;
    let flat = |account: &Account| {
        let login = account.login.clone();
        let client = &client;
        async move { client.permission(repo.id, &login).await.unwrap() }
    };
    for (who, want) in [
        (&reader, Permission::Read),
        (&writer, Permission::Write),
        (&admin, Permission::Admin),
        (&stranger, Permission::Read),
    ] {
        let answer = flat(who).await;
        assert_eq!((answer.permission, answer.person.id), (want, who.id), "{}", who.login);
    }
    assert!(flat(&in_team).await.permission < Permission::Write, "the trap: the flat mode hides the team's right");
    assert_eq!(client.permission(repo.id, "nobody-of-that-name").await.unwrap_err().kind, ErrorKind::NotFound);
    for (who, want) in [(&reader, true), (&writer, true), (&stranger, false), (&in_team, false)] {
        assert_eq!(client.is_collaborator(repo.id, &who.login).await.unwrap(), want, "{}", who.login);
    }
    assert!(!client.is_collaborator(repo.id, "nobody-of-that-name").await.unwrap());

    let teams = client.teams(repo.id).await.unwrap().unwrap();
    let of = |name: &str| teams.iter().find(|team| team.name == name).unwrap();
    assert!(of("coders").writes_code && !of("writers").writes_code);
    assert_eq!(client.team_membership(team, &person(&in_team)).await.unwrap(), Membership::Member);
    assert_eq!(client.team_membership(team, &person(&stranger)).await.unwrap(), Membership::NotMember);
    let impostor = Person { id: stranger.id, login: in_team.login.clone() };
    assert_eq!(client.team_membership(team, &impostor).await.unwrap(), Membership::NotMember, "the id counts");
    assert_eq!(client.org_membership(&stage.org, &in_team.login).await.unwrap(), Membership::Member);
    assert_eq!(client.org_membership(&stage.org, &stranger.login).await.unwrap(), Membership::NotMember);

    let administrator = stage.client(stage.world.token());
    assert!(administrator.rights_as(repo.id, &in_team.login).await.unwrap().push, "seen with his own eyes");
    assert!(!administrator.rights_as(repo.id, &stranger.login).await.unwrap().push);
    assert!(matches!(client.rights_as(repo.id, &in_team.login).await.unwrap_err().kind, ErrorKind::Forbidden { .. }));

    let own = stage.repo_of(&writer, "own").await;
    assert_eq!(stage.client(&writer.token).teams(own.id).await.unwrap(), None, "a person has no teams");
}

pub(crate) async fn what_the_forge_does_not_tell(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "write").await;
    let someone = stage.user("someone").await;
    let code = json!({ "repo.code": "write", "repo.pulls": "write" });
    let team = stage.team("coders", code, &[&someone]).await;
    let asked = client.permission(repo.id, &someone.login).await.unwrap_err();
    assert_eq!((asked.is_withheld(), asked.kind), (true, ErrorKind::Forbidden { missing_scope: None }));
    assert_eq!(client.team_membership(team, &person(&someone)).await.unwrap(), Membership::Withheld);
    assert_eq!(client.team_membership(i64::from(i32::MAX), &person(&someone)).await.unwrap(), Membership::Withheld);

    // A team that we may not look into must not read as "not in it".
    stage.push(&robot, &repo, "upgrade", "a: 1\n").await;
    let number = stage.open(&robot, &repo, "upgrade").await;
    let comment = stage.comment(&someone, &repo, number, "!testme").await;
    let trigger = polled(&client, &repo, number, comment).await;
    let seen = facts(&client, &trigger).await;
    assert_eq!((seen.rights.permission, seen.rights.code_team), (Asked::Withheld, Asked::Withheld));
    assert_eq!((seen.rights.owner, seen.rights.may_write()), (OwnerKind::Organization, MayWrite::Unknown));

    // Private repositories are not there for strangers.
    stage.admin(Method::PATCH, &format!("repos/{}", repo.full_name), json!({ "private": true })).await;
    let stranger = stage.user("stranger").await;
    let outside = stage.client(&stage.token(&stranger, SCOPES).await);
    assert_eq!(outside.repo(repo.id).await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(outside.pull(repo.id, number).await.unwrap_err().kind, ErrorKind::NotFound);
    let unseen = facts(&outside, &trigger).await;
    assert_eq!((unseen.pull, unseen.comment, unseen.rights.may_write()), (None, CommentNow::Gone, MayWrite::Unknown));
}

pub(crate) async fn the_gate_gets_its_facts(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "admin").await;
    let (maintainer, stranger) = (stage.user("maintainer").await, stage.user("stranger").await);
    let code = json!({ "repo.code": "write", "repo.pulls": "write", "repo.issues": "write", "repo.wiki": "read" });
    stage.team("coders", code, &[&maintainer, &robot]).await;
    let fork = stage.fork(&repo, &stranger).await;
    let sha = stage.push(&stranger, &fork, "patch", "a: 1\n").await;
    let number = stage.open(&stranger, &repo, &format!("{}:patch", stranger.login)).await;
    stage.agreed(&client, repo.id, number, &sha).await;
    let by_maintainer = stage.comment(&maintainer, &repo, number, &format!("!testme {sha}")).await;
    let by_stranger = stage.comment(&stranger, &repo, number, "!testme").await;

    let enrolled = Enrolled { recipe: "app".to_owned(), suite: "default".to_owned() };
    let config = GateConfig::new(robot.id, BTreeMap::from([(repo.id.0, enrolled)]));
    let trigger = polled(&client, &repo, number, by_maintainer).await;
    let seen = facts(&client, &trigger).await;
    assert_eq!(seen.rights.may_write(), MayWrite::Yes(Source::Team));
    assert_eq!(seen.comment, CommentNow::Unchanged);
    let pull = seen.pull.clone().unwrap();
    assert_eq!((pull.live_head.as_str(), pull.pull_ref.as_deref()), (sha.as_str(), Some(sha.as_str())));
    assert_eq!(pull.author_may_write, MayWriteKnown::NoOrUnknown);
    let timeline = client.timeline(repo.id, number).await.unwrap();
    let opening = timeline.iter().find(|entry| matches!(entry.happened, Happened::Push { .. })).unwrap().created;
    assert_eq!(pull.last_push, LastPush::At(opening), "never pushed since");
    let Decision::Start(job) = decide(&trigger, &seen, &config, trigger.created) else { panic!("{seen:?}") };
    assert_eq!(job.commit, sha);

    let other = polled(&client, &repo, number, by_stranger).await;
    let seen = facts(&client, &other).await;
    assert_eq!(seen.rights.may_write(), MayWrite::No(Source::Team));
    let refused = decide(&other, &seen, &config, other.created);
    assert!(matches!(refused, Decision::Refuse { why: Refusal::NoWriteAccess, .. }), "{refused:?}");
    // Whoever has the login of a writer is not him.
    let impostor = Trigger { author: Person { id: stranger.id, login: maintainer.login.clone() }, ..other.clone() };
    assert!(!facts(&client, &impostor).await.rights.may_write().is_yes());

    let second = stage.push(&stranger, &fork, "patch", "a: 2\n").await;
    stage.agreed(&client, repo.id, number, &second).await;
    let seen = facts(&client, &trigger).await;
    let refused = decide(&trigger, &seen, &config, trigger.created);
    assert!(matches!(refused, Decision::Refuse { why: Refusal::NotTheHead { .. }, .. }), "{refused:?}");
    client.edit_comment(repo.id, by_maintainer, "!testme please").await.unwrap();
    assert_eq!(facts(&client, &trigger).await.comment, CommentNow::Changed);
    client.delete_comment(repo.id, by_maintainer).await.unwrap();
    assert_eq!(facts(&client, &trigger).await.comment, CommentNow::Gone);
    // As site administrator one sees what the person sees.
    let administrator = stage.client(stage.world.token());
    let seen = facts(&administrator, &trigger).await;
    assert_eq!(seen.rights.may_write(), MayWrite::Yes(Source::AsThePerson));
    let issue = Trigger { is_pull: false, ..trigger };
    assert_eq!(facts(&client, &issue).await.pull, None);
}

pub(crate) async fn publishing_never_doubles(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "write").await;
    let sha = stage.push(&robot, &repo, "upgrade", "a: 1\n").await;
    let number = stage.open(&robot, &repo, "upgrade").await;
    let forge = Publisher::new(&client).await.unwrap();
    let at = Repository { id: repo.id.0, name: repo.full_name.clone() };
    assert_eq!(forge.own_id(), robot.id);
    let wanted = Status {
        state: StatusState::Failure,
        description: "RED, level 2 <b>".to_owned(),
        target_url: "https://ci.example.test/runs/7".to_owned(),
    };
    assert!(compare::must_post(&wanted, &forge.statuses(&at, &sha, "cc-ci/testme").await.unwrap()));
    forge.post_status(&at, &sha, "cc-ci/testme", &wanted).await.unwrap();
    assert!(!compare::must_post(&wanted, &forge.statuses(&at, &sha, "cc-ci/testme").await.unwrap()));
    assert!(compare::must_post(&wanted, &forge.statuses(&at, &sha, "other").await.unwrap()));

    let marker = cc_ci::publish::pull_marker(repo.id.0, number);
    let body = format!("{marker}\nRED");
    let id = forge.create_comment(&at, number, &body).await.unwrap();
    let step = |seen: &[_]| compare::comment_step(&marker, &body, forge.own_id(), seen);
    assert_eq!(step(&forge.comments(&at, number).await.unwrap()), compare::CommentStep::Nothing(id));
    forge.edit_comment(&at, id, &format!("{marker}\nGREEN")).await.unwrap();
    assert_eq!(step(&forge.comments(&at, number).await.unwrap()), compare::CommentStep::Edit(id));
    forge.react(&at, id, "eyes").await.unwrap();
    forge.react(&at, id, "eyes").await.unwrap();
    assert_eq!(client.reactions(repo.id, id).await.unwrap().len(), 1);

    let unknown = "1234567890".repeat(4);
    let failed = forge.post_status(&at, &unknown, "cc-ci/testme", &wanted).await.unwrap_err();
    assert_eq!(failed.failure, Failure::Internal, "may be there in a moment");
    let gone = Repository { id: i64::from(i32::MAX), name: "a/b".to_owned() };
    assert_eq!(forge.comments(&gone, 1).await.unwrap_err().failure, Failure::NotFound);
    let path = format!("repos/{}/issues/comments/{id}", repo.full_name);
    stage.admin(Method::DELETE, &path, Value::Null).await;
    assert_eq!(forge.edit_comment(&at, id, "x").await.unwrap_err().failure, Failure::NotFound);
    assert_eq!(RepoId(at.id), repo.id);
}
