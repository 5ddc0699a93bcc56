//! `cc-ci queue` and what it asks of the server: the client against the real router.

use cc_ci::redact::SecretValue;
use cc_ci::remote::{Remote, RemoteError, Wish};

use super::support::{ACT, LOOK, Served, served};

fn remote(served: &Served, token: Option<&str>) -> Remote {
    Remote::new(served.base.clone(), token.map(SecretValue::new)).unwrap()
}

#[tokio::test]
async fn the_queue_is_read_and_changed() {
    let served = served().await;
    let remote = remote(&served, Some(ACT));
    let (raw, queue) = remote.queue().await.unwrap();
    assert_eq!(raw["running"][0]["run"]["number"], served.running);
    assert_eq!((queue.running[0].run.number, queue.slots), (served.running, 1));
    let waits = queue.waiting[0].run.number;

    let done = remote.ask(&Wish::Cancel(waits)).await.unwrap();
    assert_eq!(done.run, Some(waits));
    let (_, queue) = remote.queue().await.unwrap();
    assert!(queue.waiting.iter().all(|waiting| waiting.run.number != waits), "{queue:?}");

    let again = remote.ask(&Wish::Rerun(waits)).await.unwrap().run.unwrap();
    let (_, queue) = remote.queue().await.unwrap();
    assert!(queue.waiting.iter().any(|waiting| waiting.run.number == again), "{queue:?}");

    let wish = Wish::Add { recipe: "gitea".into(), reference: Some("main".into()), pull: None };
    remote.ask(&wish).await.unwrap();
    let wishes = served.actions.wishes.lock().unwrap();
    assert_eq!((wishes[0].recipe.as_str(), wishes[0].reference.as_deref()), ("gitea", Some("main")));
}

#[tokio::test]
async fn what_the_server_refuses_is_told_by_kind() {
    let served = served().await;
    for token in [None, Some(LOOK), Some("no-such-token-0123456789abcdef0123456")] {
        let error = remote(&served, token).ask(&Wish::Cancel(served.running)).await.unwrap_err();
        assert!(matches!(error, RemoteError::NotAllowed { .. }), "{token:?}: {error}");
        assert!(!error.to_string().contains("token-0123"), "{error}");
    }
    let remote = remote(&served, Some(ACT));
    let unknown = Wish::Add { recipe: "nothing".into(), reference: None, pull: None };
    for wish in [Wish::Cancel(999_999), unknown] {
        let error = remote.ask(&wish).await.unwrap_err();
        assert!(matches!(error, RemoteError::Declined(_)), "{wish:?}: {error}");
    }
    let nobody = Remote::new("http://127.0.0.1:9/".parse().unwrap(), None).unwrap();
    assert!(matches!(nobody.queue().await, Err(RemoteError::Down { .. })));
    let page = Remote::new(served.base.join("assets").unwrap(), None).unwrap();
    assert!(matches!(page.queue().await, Err(RemoteError::Strange { .. } | RemoteError::Declined(_))));
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "the test is the person at the shell")]
async fn from_the_shell() {
    let served = served().await;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{ACT}\n")).unwrap();
    let server = served.base.to_string();
    let say = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cc-ci"));
        command.env_clear().arg("queue").args(args).args(["--server", &server]);
        let out = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (out.status.code(), text(out.stdout), text(out.stderr))
    };
    let (code, out, err) = say(&[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("RUN ") && out.contains("1 of 1 slots in use"), "{out}");

    let number = served.running.to_string();
    let (code, out, err) = say(&["cancel", &number]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("--token-file"), "{err}");

    let (code, out, err) = say(&["cancel", &number, "--token-file", token.to_str().unwrap(), "--json"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["run"], served.running);
}
