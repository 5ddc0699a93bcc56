use axum::http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const SECRET: &str = "s3cret";
const CREATED: &str = include_str!("../../../tests/data/forge/issue_comment-pr-created.json");
const EDITED: &str = include_str!("../../../tests/data/forge/issue_comment-pr-edited.json");
const DELETED: &str = include_str!("../../../tests/data/forge/issue_comment-pr-deleted.json");
const CREATED_HEADERS: &str = include_str!("../../../tests/data/forge/issue_comment-pr-created.headers");
const EDITED_HEADERS: &str = include_str!("../../../tests/data/forge/issue_comment-pr-edited.headers");
const DELETED_HEADERS: &str = include_str!("../../../tests/data/forge/issue_comment-pr-deleted.headers");

fn headers(text: &str) -> HeaderMap {
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value.trim()).unwrap())
        })
        .collect()
}

fn sign(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body);
    hex::encode(mac.finalize().into_bytes())
}

fn secrets(values: &[&str]) -> Vec<SecretValue> {
    values.iter().map(|value| SecretValue::new(*value)).collect()
}

fn json_headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = headers("Content-Type: application/json");
    for (name, value) in pairs {
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn event(body: &str) -> CommentEvent {
    match parse("pull_request_comment", body.as_bytes()) {
        Ok(Delivery::Comment(event)) => event,
        other => panic!("{other:?}"),
    }
}

/// The sample with one part of it changed.
fn changed(pointer: &str, value: serde_json::Value) -> String {
    let mut body: serde_json::Value = serde_json::from_str(CREATED).unwrap();
    *body.pointer_mut(pointer).unwrap() = value;
    body.to_string()
}

fn without(pointer: &str) -> String {
    let mut body: serde_json::Value = serde_json::from_str(CREATED).unwrap();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    body.to_string()
}

#[test]
fn recorded_deliveries_are_genuine_and_say_what_happened() {
    let samples = [
        (CREATED, CREATED_HEADERS, Action::Created),
        (EDITED, EDITED_HEADERS, Action::Edited),
        (DELETED, DELETED_HEADERS, Action::Deleted),
    ];
    for (body, head, action) in samples {
        let genuine = verify(&secrets(&[SECRET]), &headers(head), body.as_bytes()).unwrap();
        assert_eq!((genuine.event_type.as_str(), genuine.secret), ("pull_request_comment", 0));
        assert!(!genuine.delivery.is_empty());
        let Ok(Delivery::Comment(event)) = parse(&genuine.event_type, &genuine.payload) else { panic!("{action:?}") };
        assert_eq!((event.action, event.number, event.is_pull), (action, 5, true));
        assert_eq!(event.repo_name, "acme/app");
        assert!(event.signed_head.is_some() && event.sender_may_push.is_some());
        assert!(event.created <= event.updated);
    }
    let edited = event(EDITED);
    let trigger = edited.trigger(jiff::Timestamp::from_second(1).unwrap());
    assert_eq!((trigger.arrival, &trigger.sender, &trigger.author), (Arrival::Webhook, &edited.sender, &edited.author));
}

#[test]
fn secrets_and_signatures() {
    let body = b"{}";
    let (old, new) = (sign("old", body), sign("new", body));
    let hub = format!("sha256={new}");
    let upper = new.to_ascii_uppercase();
    let long = format!("{new}00");
    type Case<'a> = (&'a str, &'a [&'a str], Vec<(&'a str, &'a str)>, Result<usize, Rejected>);
    let table: Vec<Case<'_>> = vec![
        ("gitea", &["new"], vec![("X-Gitea-Signature", &new)], Ok(0)),
        ("forgejo", &["new"], vec![("X-Forgejo-Signature", &new)], Ok(0)),
        ("hub", &["new"], vec![("X-Hub-Signature-256", &hub)], Ok(0)),
        ("upper case", &["new"], vec![("X-Gitea-Signature", &upper)], Ok(0)),
        ("rotation, new", &["new", "old"], vec![("X-Gitea-Signature", &new)], Ok(0)),
        ("rotation, old", &["new", "old"], vec![("X-Gitea-Signature", &old)], Ok(1)),
        ("both agree", &["new"], vec![("X-Gitea-Signature", &new), ("X-Hub-Signature-256", &hub)], Ok(0)),
        (
            "one is wrong",
            &["new"],
            vec![("X-Gitea-Signature", &old), ("X-Hub-Signature-256", &hub)],
            Err(Rejected::WrongSignature),
        ),
        (
            "two secrets mixed",
            &["new", "old"],
            vec![("X-Gitea-Signature", &old), ("X-Hub-Signature-256", &hub)],
            Err(Rejected::WrongSignature),
        ),
        ("twice", &["new"], vec![("X-Gitea-Signature", &new), ("X-Gitea-Signature", &new)], Err(Rejected::BadHeaders)),
        ("retired secret", &["new"], vec![("X-Gitea-Signature", &old)], Err(Rejected::WrongSignature)),
        ("none", &["new"], vec![], Err(Rejected::Unsigned)),
        (
            "SHA-1 only",
            &["new"],
            vec![("X-Hub-Signature", "sha1=7440e223304daa635988b45a0877cb36a8b2b2d5")],
            Err(Rejected::Unsigned),
        ),
        ("hook without a secret", &["new"], vec![("X-Gitea-Signature", "")], Err(Rejected::Unsigned)),
        ("hub without a secret", &["new"], vec![("X-Hub-Signature-256", "sha256=")], Err(Rejected::Unsigned)),
        ("hub without its prefix", &["new"], vec![("X-Hub-Signature-256", &new)], Err(Rejected::WrongSignature)),
        ("prefix elsewhere", &["new"], vec![("X-Gitea-Signature", &hub)], Err(Rejected::WrongSignature)),
        ("another algorithm", &["new"], vec![("X-Hub-Signature-256", "md5=00")], Err(Rejected::WrongSignature)),
        ("too long", &["new"], vec![("X-Gitea-Signature", &long)], Err(Rejected::WrongSignature)),
        ("too short", &["new"], vec![("X-Gitea-Signature", &new[..62])], Err(Rejected::WrongSignature)),
        ("no hex", &["new"], vec![("X-Gitea-Signature", "zz")], Err(Rejected::WrongSignature)),
        ("no secret", &[], vec![("X-Gitea-Signature", &new)], Err(Rejected::NoSecret)),
        ("an empty secret", &["new", ""], vec![("X-Gitea-Signature", &new)], Err(Rejected::NoSecret)),
        ("three secrets", &["a", "b", "new"], vec![("X-Gitea-Signature", &new)], Err(Rejected::TooManySecrets)),
    ];
    for (name, known, signatures, want) in table {
        let got = verify(&secrets(known), &json_headers(&signatures), body).map(|verified| verified.secret);
        assert_eq!(got, want, "{name}");
    }
    let empty = sign("x", b"");
    let keyless = verify(&secrets(&[""]), &json_headers(&[("X-Gitea-Signature", &empty)]), b"");
    assert_eq!(keyless, Err(Rejected::NoSecret));
}

#[test]
fn secrets_to_start_with() {
    let long = "x".repeat(MIN_SECRET);
    assert_eq!(check_secrets(&secrets(&[&long])), Ok(()));
    assert_eq!(check_secrets(&secrets(&[&long, SECRET])), Err(Rejected::ShortSecret));
    assert_eq!(check_secrets(&secrets(&[&long, ""])), Err(Rejected::NoSecret));
    assert_eq!(check_secrets(&[]), Err(Rejected::NoSecret));
    assert_eq!(check_secrets(&secrets(&[&long, &long, &long])), Err(Rejected::TooManySecrets));
}

#[test]
fn forms_are_signed_inside() {
    let inner = "{\"a\": \"b & c+d=e\"}";
    let form: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", inner).finish();
    let check = |kind: &str, body: &str, signed: &str| {
        let mut map = json_headers(&[("X-Gitea-Signature", &sign(SECRET, signed.as_bytes()))]);
        map.insert("content-type", HeaderValue::from_str(kind).unwrap());
        verify(&secrets(&[SECRET]), &map, body.as_bytes()).map(|verified| String::from_utf8(verified.payload).unwrap())
    };
    let form_type = "application/x-www-form-urlencoded";
    assert_eq!(check(form_type, &form, inner).as_deref(), Ok(inner));
    assert_eq!(check("Application/X-WWW-Form-Urlencoded; charset=utf-8", &form, inner).as_deref(), Ok(inner));
    assert_eq!(check(form_type, &form, &form), Err(Rejected::WrongSignature), "the body is not what is signed");
    assert_eq!(check(form_type, &format!("{form}&payload=x"), inner), Err(Rejected::BadContent));
    assert_eq!(check(form_type, "other=x", "x"), Err(Rejected::BadContent));
    assert_eq!(check(form_type, "", ""), Err(Rejected::BadContent));
    assert_eq!(check("application/json", &form, inner), Err(Rejected::WrongSignature));
    assert_eq!(check("application/json; charset=utf-8", inner, inner).as_deref(), Ok(inner));
    assert_eq!(check("text/plain", inner, inner), Err(Rejected::BadContent));
    let mut untyped = json_headers(&[("X-Gitea-Signature", &sign(SECRET, b"{}"))]);
    untyped.remove("content-type");
    assert_eq!(verify(&secrets(&[SECRET]), &untyped, b"{}"), Err(Rejected::BadContent));
}

#[test]
fn what_is_too_long_is_not_looked_at() {
    let body = vec![b' '; MAX_BODY + 1];
    let signed = |body: &[u8]| {
        verify(&secrets(&[SECRET]), &json_headers(&[("X-Gitea-Signature", &sign(SECRET, body))]), body).map(drop)
    };
    assert_eq!(signed(&body), Err(Rejected::TooLong));
    assert_eq!(signed(&body[1..]), Ok(()));
}

/// Ten thousand mutations of the recorded bodies: none is genuine.
#[test]
fn a_changed_body_is_never_genuine() {
    let config = ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() };
    let (head, known) = (headers(CREATED_HEADERS), secrets(&[SECRET]));
    let mutation = (0..4_u8, any::<prop::sample::Index>(), any::<u8>());
    proptest!(config, |((kind, at, byte) in mutation)| {
        let mut body = CREATED.as_bytes().to_vec();
        let at = at.index(body.len());
        match kind {
            0 => body[at] ^= byte.max(1),
            1 => body.insert(at, byte),
            2 => { body.remove(at); }
            _ => body.truncate(at),
        }
        prop_assert_eq!(verify(&known, &head, &body).map(drop), Err(Rejected::WrongSignature));
        // A mutated body that were signed must not bring the reader down either.
        let _ = parse("pull_request_comment", &body);
    });
}

#[test]
fn a_changed_signature_is_never_genuine() {
    let known = secrets(&[SECRET]);
    let genuine = sign(SECRET, b"{}");
    for at in 0..genuine.len() {
        let mut digits: Vec<char> = genuine.chars().collect();
        digits[at] = if digits[at] == '0' { '1' } else { '0' };
        let wrong: String = digits.into_iter().collect();
        let got = verify(&known, &json_headers(&[("X-Gitea-Signature", &wrong)]), b"{}");
        assert_eq!(got, Err(Rejected::WrongSignature), "digit {at}");
    }
}

#[test]
fn what_may_be_missing() {
    let null = serde_json::Value::Null;
    assert_eq!(event(&without("/pull_request")).signed_head, None, "old servers");
    assert_eq!(event(&changed("/pull_request", null.clone())).signed_head, None);
    assert_eq!(event(&changed("/pull_request/head", null.clone())).signed_head, None);
    assert_eq!(event(&changed("/pull_request/head/sha", "main".into())).signed_head, None, "no commit");
    assert_eq!(event(&changed("/pull_request/number", 6.into())).signed_head, None, "another pull request's");
    assert_eq!(event(&changed("/pull_request/head/repo", null.clone())).number, 5, "the fork is gone");
    assert_eq!(event(&without("/repository/permissions")).sender_may_push, None);
    assert_eq!(event(&changed("/repository/permissions/push", false.into())).sender_may_push, Some(false));
    assert_eq!(event(&changed("/comment/user", null.clone())).author.id, 0);
    assert_eq!(event(&changed("/sender", null.clone())).sender.id, 0);
    assert_eq!(event(&changed("/comment/user/id", (-1).into())).author.id, -1, "Ghost");
    assert_eq!(event(&changed("/comment/body", "!testme\r\n".into())).body, "!testme\r\n", "line ends are kept");
    assert_eq!(event(&changed("/comment/body", null.clone())).body, "");
    assert!(event(&without("/is_pull")).is_pull, "the issue says so too");
    let mut issue: serde_json::Value = serde_json::from_str(&without("/is_pull")).unwrap();
    issue["issue"]["pull_request"] = null;
    assert!(!event(&issue.to_string()).is_pull);
    let plain = event(&changed("/is_pull", false.into()));
    assert_eq!((plain.is_pull, plain.signed_head), (false, None));
}

#[test]
fn what_must_be_there() {
    let bodies = [
        ("action", changed("/action", "reviewed".into())),
        ("no action", without("/action")),
        ("no comment", without("/comment")),
        ("no comment id", without("/comment/id")),
        ("no issue", without("/issue")),
        ("no number", changed("/issue/number", 0.into())),
        ("no repository", changed("/repository", serde_json::Value::Null)),
        ("no repository id", changed("/repository/id", 0.into())),
        ("no time", changed("/comment/created_at", "yesterday".into())),
        ("a text for an id", changed("/comment/id", "7".into())),
        ("too large an id", changed("/comment/id", 1e30.into())),
        ("an array", "[]".to_owned()),
        ("nothing", String::new()),
        ("half", CREATED[..CREATED.len() / 2].to_owned()),
    ];
    for (name, body) in bodies {
        let error = parse("issue_comment", body.as_bytes()).expect_err(name);
        assert!(error.to_string().contains("issue_comment"), "{name}: {error}");
    }
}

#[test]
fn a_body_under_another_events_name_is_not_believed() {
    assert!(parse("push", CREATED.as_bytes()).is_err(), "no ref");
    let Ok(Delivery::Pull(event)) = parse("pull_request", CREATED.as_bytes()) else { panic!() };
    assert_eq!(event.action, PullAction::Other("created".into()), "a comment opens, closes and pushes nothing");
    let pull = r#"{"action":"opened","number":5,"pull_request":{"number":5},"repository":{"id":1,"permissions":{"push":true}},"sender":{"id":3,"login":"m"}}"#;
    assert!(parse("issue_comment", pull.as_bytes()).is_err(), "rights of a pull request event are not the sender's");
}

#[test]
fn other_events() {
    let hash = "AB".repeat(20);
    let pull = |action: &str, merged: bool| {
        format!(
            r#"{{"action":"{action}","number":5,"pull_request":{{"number":5,"merged":{merged},"head":{{"sha":"{hash}","repo":null}}}},
            "repository":{{"id":1,"full_name":"a/b"}},"sender":{{"id":3,"login":"m"}}}}"#
        )
    };
    let table = [
        ("pull_request", pull("opened", false), PullAction::Opened),
        ("pull_request", pull("reopened", false), PullAction::Reopened),
        ("pull_request", pull("closed", false), PullAction::Closed { merged: false }),
        ("pull_request", pull("closed", true), PullAction::Closed { merged: true }),
        ("pull_request_sync", pull("synchronized", false), PullAction::Synchronized),
        ("pull_request", pull("edited", false), PullAction::Edited),
        ("pull_request", pull("deleted", false), PullAction::Other("deleted".into())),
    ];
    for (name, body, action) in table {
        let Ok(Delivery::Pull(event)) = parse(name, body.as_bytes()) else { panic!("{name} {action:?}") };
        assert_eq!((event.action, event.number, event.repo_id, event.sender.id), (action, 5, 1, 3));
        assert_eq!(event.head, Some(hash.to_ascii_lowercase()));
    }
    let push = |before: &str, after: &str| {
        let body = format!(
            r#"{{"ref":"refs/heads/main","before":"{before}","after":"{after}","repository":{{"id":1}},"commits":null,"head_commit":null}}"#
        );
        parse("push", body.as_bytes())
    };
    let zeros = "0".repeat(40);
    let Ok(Delivery::Push(new)) = push(&zeros, &hash) else { panic!() };
    assert_eq!((new.before, new.after.is_some(), new.reference.as_str()), (None, true, "refs/heads/main"));
    let Ok(Delivery::Push(gone)) = push(&hash, &zeros) else { panic!() };
    assert_eq!((gone.before.is_some(), gone.after), (true, None));
    assert!(push("", &hash).is_err());
    for name in ["status", "pull_request_review_comment", "pull_request_approved", "issues", "", "x\u{1b}"] {
        assert_eq!(parse(name, b"not even JSON"), Ok(Delivery::Ignored { event: name.to_owned() }));
    }
    let review = r#"{"action":"reviewed","review":{"type":"x"},"repository":{"id":1}}"#;
    assert_eq!(parse("pull_request_comment", review.as_bytes()), Ok(Delivery::Ignored { event: "review".into() }));
}
