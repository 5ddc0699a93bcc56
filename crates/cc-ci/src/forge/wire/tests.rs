use super::answers::permission;
use super::*;

fn read<W: Wire>(text: &str) -> Result<W::Model, Lacks> {
    serde_json::from_str::<W>(text).unwrap().model()
}

#[test]
fn versions_of_both_families() {
    let of = |text: &str| read::<Version>(&format!(r#"{{"version":"{text}"}}"#)).unwrap();
    let forgejo = of("11.0.3+gitea-1.22.0");
    assert_eq!(
        (forgejo.flavour, forgejo.number, forgejo.gitea),
        (model::Flavour::Forgejo, Some((11, 0)), Some((1, 22)))
    );
    assert_eq!(of("1.26.0+dev-5-g87d670c96b").gitea, Some((1, 26)));
    assert_eq!(of("development").number, None);
    assert!(read::<Version>("{}").is_err());
}

#[test]
fn nulls_and_ghosts_do_not_hurt_but_missing_ids_do() {
    let ghost = r#"{"id":7,"user":null,"body":null,"created_at":"2026-01-01T00:00:00+02:00","updated_at":"2026-01-01T00:00:00+02:00","issue_url":"","pull_request_url":"https://f.test/a/b/pulls/12","new_key":{}}"#;
    let comment = read::<Comment>(ghost).unwrap();
    assert_eq!((comment.author.id, comment.number, comment.is_pull), (0, Some(12), true));
    assert_eq!(comment.created.to_string(), "2025-12-31T22:00:00Z");
    assert!(read::<Comment>(r#"{"body":"x","created_at":"2026-01-01T00:00:00Z"}"#).is_err());
    assert!(read::<Comment>(r#"{"id":7,"created_at":""}"#).is_err());
}

#[test]
fn a_pull_request_whose_fork_is_gone() {
    let text = |head: &str| {
        format!(
            r#"{{"number":3,"state":"closed","merged":true,"head":{head},
            "base":{{"ref":"main","sha":"{}","repo_id":5}},"user":{{"id":-1,"login":"Ghost"}},
            "created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-01T00:00:00Z"}}"#,
            "B".repeat(40)
        )
    };
    let gone = format!(r#"{{"ref":"refs/pull/3/head","sha":"{}","repo_id":-1,"repo":null}}"#, "a".repeat(40));
    let pull = read::<Pull>(&text(&gone)).unwrap();
    assert_eq!((pull.state, pull.head.repo, pull.base.repo), (PullState::Merged, None, Some(RepoId(5))));
    assert_eq!((pull.author.id, pull.base.sha), (-1, "b".repeat(40)));
    assert!(read::<Pull>(&text("null")).is_err());
    assert!(read::<Pull>(&text(r#"{"ref":"x","sha":"main","repo_id":1}"#)).is_err(), "a branch is no commit");
}

#[test]
fn only_a_teams_units_tell_what_it_may_do() {
    let writes = |permission: &str, code: &str| {
        read::<Team>(&format!(
            r#"{{"id":1,"permission":"{permission}","units_map":{{"repo.code":"{code}","repo.wiki":null}}}}"#
        ))
        .unwrap()
        .writes_code
    };
    assert!(writes("none", "write") && writes("read", "admin") && writes("owner", "none") && writes("admin", ""));
    assert!(!writes("write", "read") && !writes("none", "none"));
    assert!(!read::<Team>(r#"{"id":1,"permission":"write","units_map":null}"#).unwrap().writes_code);
}

#[test]
fn states_survive_a_round_trip() {
    for word_ in ["pending", "success", "error", "failure", "warning", "skipped", "", "typo"] {
        assert_eq!(word(&state(word_)), word_);
    }
}

#[test]
fn unknown_permissions_are_no_permission() {
    assert!(permission("maintain").is_err());
    assert!(permission("write").unwrap() > permission("read").unwrap());
}
