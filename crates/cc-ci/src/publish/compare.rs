//! What is missing between what is wanted and what the forge shows. Pure.

use super::forge::{SeenComment, SeenStatus, Status};

/// What to do about a comment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommentStep {
    /// The forge shows it, as this comment.
    Nothing(i64),
    /// This comment of ours says something else.
    Edit(i64),
    /// We have none.
    Create,
}

/// Whether the status has to be posted: not if the newest of its context, by id, says the same.
#[must_use]
pub fn must_post(wanted: &Status, seen: &[SeenStatus]) -> bool {
    seen.iter()
        .max_by_key(|status| status.id)
        .and_then(|newest| newest.status.as_ref())
        .is_none_or(|newest| !same_status(wanted, newest))
}

/// What to do about the comment with this marker. If there are several, which only an earlier mistake can have made, the
/// oldest is the one that is kept up to date.
#[must_use]
pub fn comment_step(marker: &str, body: &str, own_id: i64, seen: &[SeenComment]) -> CommentStep {
    // Anybody can write our marker into his own comment, or quote it further down.
    let ours = seen
        .iter()
        .filter(|comment| comment.author_id == own_id && comment.body.trim_start().starts_with(marker))
        .min_by_key(|comment| comment.id);
    match ours {
        None => CommentStep::Create,
        Some(comment) if same_text(&comment.body, body) => CommentStep::Nothing(comment.id),
        Some(comment) => CommentStep::Edit(comment.id),
    }
}

/// The forge trims texts and may make a relative link absolute.
fn same_status(wanted: &Status, seen: &Status) -> bool {
    wanted.state == seen.state
        && wanted.description.trim() == seen.description.trim()
        && seen.target_url.trim().ends_with(wanted.target_url.trim())
}

fn same_text(seen: &str, wanted: &str) -> bool {
    seen.replace("\r\n", "\n").trim() == wanted.replace("\r\n", "\n").trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::outbox::StatusState;

    fn status(state: StatusState, description: &str) -> Status {
        Status { state, description: description.into(), target_url: "/runs/7".into() }
    }

    #[test]
    fn a_status_is_posted_unless_the_newest_says_the_same() {
        let wanted = status(StatusState::Success, "GREEN");
        let seen = |id, state, text: &str| SeenStatus { id, status: Some(status(state, text)) };
        assert!(must_post(&wanted, &[]));
        assert!(!must_post(&wanted, &[seen(1, StatusState::Success, " GREEN ")]));
        assert!(must_post(&wanted, &[seen(1, StatusState::Success, "GREEN"), seen(2, StatusState::Pending, "again")]));
        assert!(!must_post(&wanted, &[seen(2, StatusState::Success, "GREEN"), seen(1, StatusState::Pending, "x")]));
        assert!(must_post(&wanted, &[SeenStatus { id: 3, status: None }]));
        let absolute = Status { target_url: "https://forge.test/runs/7".into(), ..wanted.clone() };
        assert!(!must_post(&wanted, &[SeenStatus { id: 1, status: Some(absolute) }]));
        let other = Status { target_url: "/runs/8".into(), ..wanted.clone() };
        assert!(must_post(&wanted, &[SeenStatus { id: 1, status: Some(other) }]));
    }

    #[test]
    fn only_our_own_comment_with_the_marker_in_front_is_ours() {
        let marker = "<!-- cc-ci:pull:1:2 -->";
        let body = format!("{marker}\nGREEN");
        let comment = |id, author_id, body: String| SeenComment { id, author_id, body };
        let step = |seen: &[SeenComment]| comment_step(marker, &body, 9, seen);
        assert_eq!(step(&[]), CommentStep::Create);
        assert_eq!(step(&[comment(1, 8, body.clone())]), CommentStep::Create, "somebody copied it");
        assert_eq!(step(&[comment(1, 9, format!("> {body}"))]), CommentStep::Create, "a quote");
        assert_eq!(step(&[comment(1, 9, format!("{marker}\r\nGREEN\r\n"))]), CommentStep::Nothing(1));
        assert_eq!(step(&[comment(1, 9, format!("{marker}\nrunning"))]), CommentStep::Edit(1));
        let two = [comment(5, 9, body.clone()), comment(3, 9, format!("{marker}\nold"))];
        assert_eq!(step(&two), CommentStep::Edit(3), "the oldest is kept");
        assert_eq!(step(&[comment(1, 9, "<!-- cc-ci:pull:1:21 -->\nGREEN".into())]), CommentStep::Create);
    }
}
