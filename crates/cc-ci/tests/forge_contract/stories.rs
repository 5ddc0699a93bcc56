//! Repositories and what is in them.

use std::time::Duration;

use cc_ci::forge::model::{
    CommitState, Flavour, Happened, NewFile, NewPull, NewStatus, PullChange, PullFilter, PullState, Reach, RepoId,
    TimelineEntry,
};
use cc_ci::forge::{Error, ErrorKind, HookPlan, HookWanted};
use cc_ci::redact::SecretValue;
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{SCOPES, Stage};

fn kind<T: std::fmt::Debug>(answer: Result<T, Error>) -> ErrorKind {
    answer.unwrap_err().kind
}

fn status(state: CommitState, context: &str, description: &str) -> NewStatus {
    let target_url = "https://ci.example.test/runs/1".to_owned();
    NewStatus { state, context: context.to_owned(), description: description.to_owned(), target_url }
}

pub(crate) async fn the_server_and_what_the_token_may_do(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let someone = stage.user("someone").await;
    let client = stage.client(&stage.token(&someone, SCOPES).await);
    let version = client.version().await.unwrap();
    assert!(version.gitea.is_some(), "{version:?}");
    assert_eq!(version.text.contains("+gitea-"), version.flavour == Flavour::Forgejo);
    assert!(client.limits().await.unwrap().max_response_items > 0);
    let me = client.whoami().await.unwrap();
    assert_eq!((me.person.id, me.person.login.as_str(), me.is_admin), (someone.id, someone.login.as_str(), false));
    assert_eq!(client.user(&someone.login).await.unwrap().person.id, someone.id);
    assert_eq!(kind(client.user("nobody-of-that-name").await), ErrorKind::NotFound);
    assert!(client.scopes().await.unwrap().missing().is_empty());

    let narrow = stage.client(&stage.token(&someone, &["read:repository", "read:user"]).await);
    let scopes = narrow.scopes().await.unwrap();
    assert_eq!((scopes.repository, scopes.issue), (Reach::Read, Reach::Nothing));
    assert_eq!((scopes.organization, scopes.user), (Reach::Nothing, Reach::Read));
    let lacking = ErrorKind::Forbidden { missing_scope: Some("write:issue".to_owned()) };
    assert_eq!(kind(narrow.create_comment(repo.id, 1, "x").await), lacking);

    let wrong = stage.client(&"0".repeat(40));
    assert_eq!(kind(wrong.whoami().await), ErrorKind::Unauthorised);
    assert_eq!(kind(wrong.repo(repo.id).await), ErrorKind::Unauthorised, "public data too");
}

pub(crate) async fn a_repository_keeps_its_id_when_it_is_renamed(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (_, client) = stage.robot(&repo, "write").await;
    let found = client.repo_by_name(&stage.org, "app").await.unwrap();
    assert_eq!((found.id, found.owner.login.as_str()), (repo.id, stage.org.as_str()));
    assert_eq!(found.default_branch, "main");
    assert!(found.rights.is_some_and(|rights| rights.push && !rights.admin));
    assert!(!found.archived && !found.private && !found.empty && !found.fork && !found.mirror);
    assert_eq!(kind(client.repo_by_name(&stage.org, "none").await), ErrorKind::NotFound);
    assert_eq!(kind(client.repo(RepoId(i64::from(i32::MAX))).await), ErrorKind::NotFound);
    client.create_branch(repo.id, "before", "main").await.unwrap();

    stage.admin(Method::PATCH, &format!("repos/{}", repo.full_name), json!({ "name": "renamed" })).await;
    client.create_branch(repo.id, "after", "main").await.unwrap();
    assert_eq!(client.branch(repo.id, "after").await.unwrap().name, "after", "a POST was not lost in a redirect");
    let names: Vec<String> = client.branches(repo.id).await.unwrap().into_iter().map(|b| b.name).collect();
    assert!(names.contains(&"before".to_owned()), "{names:?}");
    assert_eq!(client.repo_by_name(&stage.org, "app").await.unwrap().name, "renamed");

    stage.admin(Method::PATCH, &format!("repos/{}/renamed", stage.org), json!({ "name": "third" })).await;
    let usurper = stage.repo("renamed").await;
    stage.clock.advance(Duration::from_secs(61));
    assert_eq!(client.branch(repo.id, "after").await.unwrap().name, "after", "not looked for in the new repository");
    assert_ne!(usurper.id, repo.id);
}

pub(crate) async fn pull_requests_from_branch_and_fork(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "write").await;
    let sha = stage.push(&robot, &repo, "upgrade/1.2", "services: {}\n").await;
    let new = NewPull {
        head: "upgrade/1.2".to_owned(),
        base: "main".to_owned(),
        title: "Upgrade <app> & \"more\"".to_owned(),
        body: "Because".to_owned(),
    };
    let opened = client.open_pull(repo.id, &new).await.unwrap();
    let pull = client.pull(repo.id, opened.number).await.unwrap();
    assert_eq!((pull.title.as_str(), pull.body.as_str(), pull.state), (new.title.as_str(), "Because", PullState::Open));
    assert_eq!(
        (pull.author.id, pull.head.sha.as_str(), pull.head.reference.as_str()),
        (robot.id, sha.as_str(), "upgrade/1.2")
    );
    assert_eq!((pull.head.repo, pull.base.reference.as_str()), (Some(repo.id), "main"));
    assert_eq!(kind(client.open_pull(repo.id, &new).await), ErrorKind::Conflict);
    let nowhere = NewPull { head: "no-such-branch".to_owned(), ..new.clone() };
    assert_eq!(kind(client.open_pull(repo.id, &nowhere).await), ErrorKind::NotFound);

    let outsider = stage.user("outsider").await;
    let fork = stage.fork(&repo, &outsider).await;
    let theirs = stage.push(&outsider, &fork, "patch", "services: {a: {}}\n").await;
    let number = stage.open(&outsider, &repo, &format!("{}:patch", outsider.login)).await;
    stage.agreed(&client, repo.id, number, &theirs).await;
    assert_eq!(client.pull(repo.id, number).await.unwrap().head.repo, Some(fork.id));
    stage.must(&outsider.token, Method::DELETE, &format!("repos/{}", fork.full_name), Value::Null).await;
    let orphan = client.pull(repo.id, number).await.unwrap();
    assert_eq!(
        (orphan.head.repo, orphan.head.sha.as_str()),
        (None, theirs.as_str()),
        "the fork is gone, its head is not"
    );

    assert_eq!(orphan.state, PullState::Closed, "its pull request was closed with it");
    assert_eq!(client.pull_ref(repo.id, number).await.unwrap().as_deref(), Some(theirs.as_str()));

    let list = |filter| client.pulls(repo.id, filter);
    assert_eq!(list(PullFilter::Open).await.unwrap().len(), 1);
    let change = PullChange { title: Some("Other".to_owned()), ..PullChange::default() };
    assert_eq!(client.change_pull(repo.id, pull.number, &change).await.unwrap().title, "Other");
    assert_eq!(client.close_pull(repo.id, pull.number).await.unwrap().state, PullState::Closed);
    assert_eq!(client.close_pull(repo.id, pull.number).await.unwrap().state, PullState::Closed, "twice");
    let closed: Vec<i64> = list(PullFilter::Closed).await.unwrap().iter().map(|p| p.number).collect();
    assert_eq!(closed, [number, pull.number], "newest first");
    assert_eq!(list(PullFilter::All).await.unwrap().len(), 2);
    let again = PullChange { open: Some(true), ..PullChange::default() };
    assert_eq!(client.change_pull(repo.id, pull.number, &again).await.unwrap().state, PullState::Open);
    assert_eq!(kind(client.pull(repo.id, 999).await), ErrorKind::NotFound);
    assert_eq!(client.pull_ref(repo.id, 999).await.unwrap(), None);
}

pub(crate) async fn a_pushed_head_is_seen_both_ways(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "write").await;
    let first = stage.push(&robot, &repo, "upgrade", "a: 1\n").await;
    let number = stage.open(&robot, &repo, "upgrade").await;
    stage.agreed(&client, repo.id, number, &first).await;
    let pushes = || async {
        let timeline = client.timeline(repo.id, number).await.unwrap();
        let forced = |entry: TimelineEntry| match entry.happened {
            Happened::Push { forced, .. } => Some(forced),
            _ => None,
        };
        timeline.into_iter().filter_map(forced).collect::<Vec<bool>>()
    };
    assert_eq!(pushes().await, [false], "opening is the first push");
    let second = stage.push(&robot, &repo, "upgrade", "a: 2\n").await;
    assert_ne!(first, second);
    stage.agreed(&client, repo.id, number, &second).await;
    assert_eq!(pushes().await, [false, false]);
    let third = stage.force_push(&robot, &repo, "upgrade", "a: 3\n").await;
    stage.agreed(&client, repo.id, number, &third).await;
    assert_eq!(pushes().await.last(), Some(&true), "whatever becomes of the entries of commits that are gone");
    stage.comment(&robot, &repo, number, "said").await;
    client.close_pull(repo.id, number).await.unwrap();
    let kinds: Vec<Happened> =
        client.timeline(repo.id, number).await.unwrap().into_iter().map(|entry| entry.happened).collect();
    assert!(kinds.contains(&Happened::Comment) && kinds.contains(&Happened::Close), "{kinds:?}");
}

pub(crate) async fn statuses_newest_per_context(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "write").await;
    let sha = client.branch(repo.id, "main").await.unwrap().sha;
    assert!(client.statuses(repo.id, &sha).await.unwrap().is_empty());
    let none = client.combined_status(repo.id, "main").await.unwrap();
    assert!(matches!(none.state, None | Some(CommitState::Pending)) && none.statuses.is_empty(), "{none:?}");
    for (state, context, text) in [
        (CommitState::Pending, "cc-ci/testme", "queued"),
        (CommitState::Warning, "other", "hm"),
        (CommitState::Success, "cc-ci/testme", "GREEN"),
    ] {
        let posted = client.post_status(repo.id, &sha, &status(state.clone(), context, text)).await.unwrap();
        assert_eq!((posted.state, posted.description.as_str()), (state, text));
    }
    let all = client.statuses(repo.id, &sha).await.unwrap();
    assert_eq!(all.len(), 3, "a post adds, it never replaces");
    let newest = all.iter().filter(|s| s.context == "cc-ci/testme").max_by_key(|s| s.id).unwrap();
    assert_eq!((&newest.state, newest.creator.as_ref().unwrap().id), (&CommitState::Success, robot.id));
    assert_eq!(newest.target_url, "https://ci.example.test/runs/1");
    assert!(all.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first");
    let combined = client.combined_status(repo.id, &sha).await.unwrap();
    assert_eq!(combined.statuses.len(), 2, "one per context");
    assert!(combined.statuses.iter().any(|s| s.context == "cc-ci/testme" && s.state == CommitState::Success));
    // A warning is a failure to some, a warning to others: what counts is read from the contexts, never from this.
    assert!(matches!(combined.state, Some(CommitState::Failure | CommitState::Warning)), "{:?}", combined.state);

    let unknown = "1234567890".repeat(4);
    let posted = client.post_status(repo.id, &unknown, &status(CommitState::Pending, "c", "d")).await;
    let error = posted.unwrap_err();
    assert_eq!((error.is_transient(), error.kind), (true, ErrorKind::Server { status: 500 }));
    assert!(client.statuses(repo.id, &unknown).await.unwrap().is_empty());
    assert_eq!(
        kind(client.post_status(repo.id, "main", &status(CommitState::Pending, "c", "d")).await),
        ErrorKind::NotSent
    );
    let reader = stage.user("reader").await;
    let refused = stage.client(&reader.token).post_status(repo.id, &sha, &status(CommitState::Error, "c", "d")).await;
    assert_eq!(kind(refused), ErrorKind::Forbidden { missing_scope: None });
}

pub(crate) async fn comments_live_and_die(stage: &Stage<'_>) {
    let (repo, other) = (stage.repo("app").await, stage.repo("other").await);
    let (robot, client) = stage.robot(&repo, "write").await;
    stage.push(&robot, &repo, "upgrade", "a: 1\n").await;
    let number = stage.open(&robot, &repo, "upgrade").await;
    let maintainer = stage.user("maintainer").await;
    stage.collaborator(&repo, &maintainer, "write").await;
    let stranger = stage.user("stranger").await;

    let text = "!testme\r\n<b>&amp; ünï\t";
    let id = stage.comment(&maintainer, &repo, number, text).await;
    let comment = client.comment(repo.id, id).await.unwrap();
    assert_eq!((comment.author.id, comment.body.as_str()), (maintainer.id, text), "kept to the letter");
    assert_eq!((comment.number, comment.is_pull), (Some(number), true));
    let edited = client.edit_comment(repo.id, id, "changed by the robot").await.unwrap();
    assert_eq!((edited.author.id, edited.body.as_str()), (maintainer.id, "changed by the robot"), "the author stays");
    let own = client.create_comment(repo.id, number, "hello").await.unwrap();
    assert_eq!(own.author.id, robot.id);
    let all = client.comments(repo.id, number).await.unwrap();
    assert_eq!(all.iter().map(|c| c.id).collect::<Vec<_>>(), [id, own.id], "oldest first");
    let since = client.comments_since(repo.id, own.updated).await.unwrap();
    assert!(since.iter().any(|c| c.id == own.id), "the very second counts");
    assert!(client.comments_since(repo.id, own.updated + Duration::from_secs(3600)).await.unwrap().is_empty());

    client.react(repo.id, id, "eyes").await.unwrap();
    client.react(repo.id, id, "eyes").await.unwrap();
    let reactions = client.reactions(repo.id, id).await.unwrap();
    assert_eq!(reactions.iter().map(|r| (r.person.id, r.content.as_str())).collect::<Vec<_>>(), [(robot.id, "eyes")]);
    client.unreact(repo.id, id, "eyes").await.unwrap();
    client.unreact(repo.id, id, "eyes").await.unwrap();
    assert!(client.reactions(repo.id, id).await.unwrap().is_empty());
    assert_eq!(kind(client.react(repo.id, id, "no-such-reaction").await), ErrorKind::Forbidden { missing_scope: None });

    let outside = stage.client(&stranger.token);
    assert_eq!(kind(outside.edit_comment(repo.id, id, "x").await), ErrorKind::Forbidden { missing_scope: None });
    assert_eq!(kind(client.comment(other.id, id).await), ErrorKind::NotFound, "another repository's comment");
    assert!(matches!(
        kind(client.create_comment(repo.id, 999, "x").await),
        ErrorKind::Server { .. } | ErrorKind::NotFound
    ));
    client.delete_comment(repo.id, own.id).await.unwrap();
    assert_eq!(kind(client.comment(repo.id, own.id).await), ErrorKind::NotFound);
    assert_eq!(kind(client.edit_comment(repo.id, own.id, "x").await), ErrorKind::NotFound);
    assert_eq!(client.comments(repo.id, number).await.unwrap().len(), 1);
}

pub(crate) async fn lists_longer_than_a_page(stage: &Stage<'_>) {
    const MANY: usize = 53;
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "write").await;
    stage.push(&robot, &repo, "upgrade", "a: 1\n").await;
    let number = stage.open(&robot, &repo, "upgrade").await;
    let sha = client.branch(repo.id, "main").await.unwrap().sha;
    let start = client.pull(repo.id, number).await.unwrap().created;
    for n in 0..MANY {
        client.create_comment(repo.id, number, &format!("comment {n}")).await.unwrap();
        client.post_status(repo.id, &sha, &status(CommitState::Pending, "c", &format!("{n}"))).await.unwrap();
        client.create_branch(repo.id, &format!("b/{n}"), "main").await.unwrap();
    }
    assert_eq!(client.comments(repo.id, number).await.unwrap().len(), MANY);
    assert_eq!(client.comments_since(repo.id, start).await.unwrap().len(), MANY);
    assert_eq!(
        client.timeline(repo.id, number).await.unwrap().iter().filter(|e| e.happened == Happened::Comment).count(),
        MANY
    );
    let statuses = client.statuses(repo.id, &sha).await.unwrap();
    assert_eq!((statuses.len(), statuses[0].description.as_str()), (MANY, "52"));
    assert_eq!(client.branches(repo.id).await.unwrap().len(), MANY + 2, "main and the proposed one too");
}

pub(crate) async fn branches_files_and_tags(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (_, client) = stage.robot(&repo, "write").await;
    let main = client.branch(repo.id, "main").await.unwrap();
    let made = client.create_branch(repo.id, "upgrade/app-1.2", &main.sha).await.unwrap();
    assert_eq!((made.sha.as_str(), made.protected), (main.sha.as_str(), false));
    assert_eq!(kind(client.create_branch(repo.id, "upgrade/app-1.2", "main").await), ErrorKind::Conflict);
    let nowhere = kind(client.create_branch(repo.id, "x", "no-such-branch").await);
    assert!(matches!(nowhere, ErrorKind::Server { .. } | ErrorKind::NotFound), "{nowhere:?}");
    assert_eq!(kind(client.branch(repo.id, "no-such-branch").await), ErrorKind::NotFound);

    let file = |content: &[u8], replaces: Option<String>| NewFile {
        path: "deep/er/compose ü.yml".to_owned(),
        content: content.to_vec(),
        branch: "upgrade/app-1.2".to_owned(),
        message: "Write it".to_owned(),
        replaces,
    };
    let path = "deep/er/compose ü.yml";
    let written = client.write_file(repo.id, &file(b"a\r\n\xff\0", None)).await.unwrap();
    let read = client.file(repo.id, path, "upgrade/app-1.2").await.unwrap();
    assert_eq!((read.content.as_slice(), read.blob.as_str()), (&b"a\r\n\xff\0"[..], written.blob.as_str()));
    assert_eq!(client.branch(repo.id, "upgrade/app-1.2").await.unwrap().sha, written.commit);
    assert_eq!(kind(client.write_file(repo.id, &file(b"b", None)).await), ErrorKind::Validation);
    let stale = Some("1234567890".repeat(4));
    assert_eq!(kind(client.write_file(repo.id, &file(b"b", stale)).await), ErrorKind::Validation);
    let second = client.write_file(repo.id, &file(b"b", Some(written.blob))).await.unwrap();
    assert_eq!(client.file(repo.id, path, &second.commit).await.unwrap().content, b"b");
    assert_eq!(kind(client.file(repo.id, path, "main").await), ErrorKind::NotFound);
    assert_eq!(kind(client.file(repo.id, "deep", "upgrade/app-1.2").await), ErrorKind::Decode, "a folder");
    assert_eq!(kind(client.file(repo.id, "../../hooks", "main").await), ErrorKind::NotSent);

    let path = format!("repos/{}/tags", repo.full_name);
    stage
        .admin(Method::POST, &path, json!({ "tag_name": "1.0.0+1.2", "target": "main", "message": "annotated" }))
        .await;
    let tags = client.tags(repo.id).await.unwrap();
    assert_eq!(
        tags.iter().map(|t| (t.name.as_str(), t.sha.as_str())).collect::<Vec<_>>(),
        [("1.0.0+1.2", main.sha.as_str())]
    );

    client.delete_branch(repo.id, "upgrade/app-1.2").await.unwrap();
    assert_eq!(kind(client.delete_branch(repo.id, "upgrade/app-1.2").await), ErrorKind::NotFound);
    assert_eq!(kind(client.delete_branch(repo.id, "main").await), ErrorKind::Forbidden { missing_scope: None });
}

pub(crate) async fn hooks_are_made_and_repaired(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "admin").await;
    let wanted =
        HookWanted { url: "https://ci.example.test/hook".to_owned(), secret: SecretValue::new("x".repeat(32)) };
    let made = client.repair_hook(repo.id, &wanted).await.unwrap();
    assert_eq!(made.plan, HookPlan::Create);
    let keep = HookPlan::Keep { hook: made.hook, doubles: vec![] };
    assert_eq!(client.repair_hook(repo.id, &wanted).await.unwrap().plan, keep, "what we make is what we want");
    let hook = &client.hooks(repo.id).await.unwrap()[0];
    assert!(hook.active && hook.content_type == "json" && !hook.events.contains("pull_request_label"), "{hook:?}");

    // Somebody changes its address and back without repeating the events, and puts it to sleep.
    let path = format!("repos/{}/hooks/{}", repo.full_name, made.hook);
    stage.must(&robot.token, Method::PATCH, &path, json!({ "active": false })).await;
    let repaired = client.repair_hook(repo.id, &wanted).await.unwrap();
    let HookPlan::Repair { hook, wrong, .. } = &repaired.plan else { panic!("{repaired:?}") };
    assert_eq!((*hook, wrong.len()), (made.hook, 2), "{wrong:?}");
    assert_eq!(client.repair_hook(repo.id, &wanted).await.unwrap().plan, keep);

    // The trap: comments on issues only, and asleep by default.
    let body = json!({ "type": "gitea", "events": ["issue_comment"], "config": { "url": wanted.url, "content_type": "json" } });
    stage.must(&robot.token, Method::POST, &format!("repos/{}/hooks", repo.full_name), body).await;
    let after = client.repair_hook(repo.id, &wanted).await.unwrap();
    assert!(matches!(&after.plan, HookPlan::Keep { hook, doubles } if *hook == made.hook && doubles.len() == 1));
    assert_eq!(client.hooks(repo.id).await.unwrap().len(), 1, "the double is gone");
    let replaced = client.replace_hook(repo.id, &wanted).await.unwrap();
    assert_eq!(client.hooks(repo.id).await.unwrap().iter().map(|h| h.id).collect::<Vec<_>>(), [replaced]);
    client.delete_hook(repo.id, replaced).await.unwrap();
    assert!(client.hooks(repo.id).await.unwrap().is_empty());

    let writer = stage.user("writer").await;
    stage.collaborator(&repo, &writer, "write").await;
    assert_eq!(kind(stage.client(&writer.token).hooks(repo.id).await), ErrorKind::Forbidden { missing_scope: None });
}

pub(crate) async fn an_archived_repository_takes_nothing(stage: &Stage<'_>) {
    let repo = stage.repo("app").await;
    let (robot, client) = stage.robot(&repo, "write").await;
    stage.push(&robot, &repo, "upgrade", "a: 1\n").await;
    let number = stage.open(&robot, &repo, "upgrade").await;
    stage.admin(Method::PATCH, &format!("repos/{}", repo.full_name), json!({ "archived": true })).await;
    assert!(client.repo(repo.id).await.unwrap().archived);
    let error = client.create_comment(repo.id, number, "x").await.unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Locked | ErrorKind::Forbidden { .. }), "{error}");
    assert!(!error.is_transient());
    assert_eq!(client.pull(repo.id, number).await.unwrap().state, PullState::Open, "reading goes on");
}
