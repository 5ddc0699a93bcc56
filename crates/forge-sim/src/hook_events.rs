//! The webhook event names: what may be asked for, what is stored, what a delivery is called.
//!
//! The trap to know: `issue_comment` covers comments on issues only; comments on pull requests
//! need `pull_request_comment`, or a group that contains it. And `pull_request_only` is read back
//! as `pull_request`, so writing back what was read widens the hook.

use std::collections::BTreeSet;

use crate::config::Flavour;

/// One kind of event a hook can listen to, named by its `X-Gitea-Event-Type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum HookEvent {
    Create,
    Delete,
    Fork,
    Push,
    Issues,
    IssueAssign,
    IssueLabel,
    IssueMilestone,
    IssueComment,
    PullRequest,
    PullRequestAssign,
    PullRequestLabel,
    PullRequestMilestone,
    PullRequestComment,
    PullRequestReviewApproved,
    PullRequestReviewRejected,
    PullRequestReviewComment,
    PullRequestSync,
    PullRequestReviewRequest,
    Wiki,
    Repository,
    Release,
    Package,
    Status,
}

impl HookEvent {
    const ALL: [Self; 24] = [
        Self::Create,
        Self::Delete,
        Self::Fork,
        Self::Push,
        Self::Issues,
        Self::IssueAssign,
        Self::IssueLabel,
        Self::IssueMilestone,
        Self::IssueComment,
        Self::PullRequest,
        Self::PullRequestAssign,
        Self::PullRequestLabel,
        Self::PullRequestMilestone,
        Self::PullRequestComment,
        Self::PullRequestReviewApproved,
        Self::PullRequestReviewRejected,
        Self::PullRequestReviewComment,
        Self::PullRequestSync,
        Self::PullRequestReviewRequest,
        Self::Wiki,
        Self::Repository,
        Self::Release,
        Self::Package,
        Self::Status,
    ];

    /// The fine name.
    pub(crate) fn event_type(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Fork => "fork",
            Self::Push => "push",
            Self::Issues => "issues",
            Self::IssueAssign => "issue_assign",
            Self::IssueLabel => "issue_label",
            Self::IssueMilestone => "issue_milestone",
            Self::IssueComment => "issue_comment",
            Self::PullRequest => "pull_request",
            Self::PullRequestAssign => "pull_request_assign",
            Self::PullRequestLabel => "pull_request_label",
            Self::PullRequestMilestone => "pull_request_milestone",
            Self::PullRequestComment => "pull_request_comment",
            Self::PullRequestReviewApproved => "pull_request_review_approved",
            Self::PullRequestReviewRejected => "pull_request_review_rejected",
            Self::PullRequestReviewComment => "pull_request_review_comment",
            Self::PullRequestSync => "pull_request_sync",
            Self::PullRequestReviewRequest => "pull_request_review_request",
            Self::Wiki => "wiki",
            Self::Repository => "repository",
            Self::Release => "release",
            Self::Package => "package",
            Self::Status => "status",
        }
    }

    /// How a hook's list of events names it: a current Gitea has one name for all reviews.
    pub(crate) fn listed(self, flavour: Flavour) -> &'static str {
        match self {
            Self::PullRequestReviewApproved | Self::PullRequestReviewRejected | Self::PullRequestReviewComment
                if flavour.is_current() =>
            {
                "pull_request_review"
            }
            other => other.event_type(),
        }
    }

    /// The coarse name, `X-Gitea-Event`.
    pub(crate) fn event(self) -> &'static str {
        match self {
            Self::Issues | Self::IssueAssign | Self::IssueLabel | Self::IssueMilestone => "issues",
            Self::IssueComment | Self::PullRequestComment => "issue_comment",
            Self::PullRequest
            | Self::PullRequestAssign
            | Self::PullRequestLabel
            | Self::PullRequestMilestone
            | Self::PullRequestSync
            | Self::PullRequestReviewRequest => "pull_request",
            Self::PullRequestReviewApproved => "pull_request_approved",
            Self::PullRequestReviewRejected => "pull_request_rejected",
            Self::PullRequestReviewComment => "pull_request_comment",
            Self::Create
            | Self::Delete
            | Self::Fork
            | Self::Push
            | Self::Wiki
            | Self::Repository
            | Self::Release
            | Self::Package
            | Self::Status => self.event_type(),
        }
    }

    /// Whether `branch_filter` applies.
    pub(crate) fn is_branch_filtered(self) -> bool {
        matches!(self, Self::Push | Self::Create | Self::Delete)
    }
}

/// The events a list of requested names turns on. Unknown names are ignored, as Gitea does.
pub(crate) fn expand(names: &[String], has_status: bool) -> BTreeSet<HookEvent> {
    let asked = |name: &str| names.iter().any(|n| n == name);
    let on = |event: HookEvent| match event {
        HookEvent::Issues => asked("issues") || asked("issues_only"),
        HookEvent::IssueAssign | HookEvent::IssueLabel | HookEvent::IssueMilestone | HookEvent::IssueComment => {
            asked("issues") || asked(event.event_type())
        }
        HookEvent::PullRequest => asked("pull_request") || asked("pull_request_only"),
        HookEvent::PullRequestAssign
        | HookEvent::PullRequestLabel
        | HookEvent::PullRequestMilestone
        | HookEvent::PullRequestComment
        | HookEvent::PullRequestSync
        | HookEvent::PullRequestReviewRequest => asked("pull_request") || asked(event.event_type()),
        HookEvent::PullRequestReviewApproved
        | HookEvent::PullRequestReviewRejected
        | HookEvent::PullRequestReviewComment => asked("pull_request") || asked("pull_request_review"),
        HookEvent::Status => has_status && asked("status"),
        HookEvent::Create
        | HookEvent::Delete
        | HookEvent::Fork
        | HookEvent::Push
        | HookEvent::Wiki
        | HookEvent::Repository
        | HookEvent::Release
        | HookEvent::Package => asked(event.event_type()),
    };
    HookEvent::ALL.into_iter().filter(|e| on(*e)).collect()
}

/// Matches a name against a glob of `*`, `?` and `{a,b}`; empty and `*` match everything.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    if pattern.is_empty() || pattern == "*" {
        return true;
    }
    if let Some((before, rest)) = pattern.split_once('{')
        && let Some((list, after)) = rest.split_once('}')
    {
        return list.split(',').any(|alt| glob(&format!("{before}{alt}{after}"), name));
    }
    glob_bytes(pattern.as_bytes(), name.as_bytes())
}

fn glob_bytes(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => glob_bytes(&pattern[1..], name) || (!name.is_empty() && glob_bytes(pattern, &name[1..])),
        (Some(b'?'), Some(_)) => glob_bytes(&pattern[1..], &name[1..]),
        (Some(p), Some(n)) if p == n => glob_bytes(&pattern[1..], &name[1..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &[&str]) -> Vec<&'static str> {
        let asked: Vec<String> = asked.iter().map(|s| (*s).to_owned()).collect();
        expand(&asked, true).into_iter().map(HookEvent::event_type).collect()
    }

    #[test]
    fn groups_and_their_traps() {
        assert_eq!(names(&["issue_comment"]), ["issue_comment"]);
        assert_eq!(names(&["pull_request_only"]), ["pull_request"]);
        assert_eq!(names(&["pull_request"]).len(), 10);
        assert!(names(&["pull_request"]).contains(&"pull_request_comment"));
        assert_eq!(names(&["issues"]), ["issues", "issue_assign", "issue_label", "issue_milestone", "issue_comment"]);
        assert_eq!(names(&["nonsense"]), [""; 0]);
        assert_eq!(names(&["status"]), ["status"]);
        assert!(expand(&["status".to_owned()], false).is_empty());
    }

    #[test]
    fn branch_globs() {
        for (pattern, name, matches) in [
            ("", "x", true),
            ("*", "a/b", true),
            ("main", "main", true),
            ("main", "main2", false),
            ("rel-*", "rel-1", true),
            ("{main,dev}", "dev", true),
            ("{main,dev}", "prod", false),
            ("f?o", "foo", true),
        ] {
            assert_eq!(glob(pattern, name), matches, "{pattern} on {name}");
        }
    }
}
