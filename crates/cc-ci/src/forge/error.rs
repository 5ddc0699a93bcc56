//! What can go wrong with a call, in kinds that callers decide by.

use jiff::SignedDuration;

/// Characters of the forge's own words that are kept.
const LONGEST: usize = 300;

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {kind}{}", said(.message))]
pub struct Error {
    /// The kind.
    pub kind: ErrorKind,
    /// Method and path, without query, host or token.
    pub call: String,
    /// The forge's own words, on one line and shortened; often empty. Foreign text.
    pub message: String,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// 401: the token is wrong, or there is none. A wrong one fails on every call, also on public data.
    #[error("the forge does not know this token; make a new one and put it into the token file")]
    Unauthorised,
    /// 403: a right or a scope is missing, or the account is blocked or the conversation locked.
    #[error("forbidden{}", scope_hint(.missing_scope))]
    Forbidden {
        /// The scope that the forge says the token lacks, such as `write:issue`.
        missing_scope: Option<String>,
    },
    /// 404: not there, or hidden from this account.
    #[error("not found, or not visible to this account")]
    NotFound,
    /// 405: this thing cannot have what was asked for, as a person's repository has no teams.
    #[error("does not apply here")]
    NotApplicable,
    /// 409: it exists already, or something moved meanwhile.
    #[error("conflict with what is there")]
    Conflict,
    /// 400, 412 or 422: the forge will not take these values.
    #[error("the forge refuses these values")]
    Validation,
    /// 410: gone for good.
    #[error("gone")]
    Gone,
    /// 423: archived or a mirror; nothing can be written.
    #[error("locked: archived, or a mirror")]
    Locked,
    /// 413: the account's quota is used up, or the request is too large.
    #[error("too large, or over quota")]
    TooLarge,
    /// 429: too many calls. Sent by proxies; the forge itself has no such limit.
    #[error("too many calls")]
    RateLimited {
        /// How long to wait, if it says so in seconds.
        retry_after: Option<SignedDuration>,
    },
    /// 5xx. What was asked may have been done. A plain 500 also answers some questions about what does not exist, such
    /// as the status of an unknown commit.
    #[error("the forge failed with status {status}")]
    Server {
        /// The status.
        status: u16,
    },
    /// A redirect that was not followed: the thing has another name now.
    #[error("it has another address now")]
    Moved {
        /// Where to, as the forge says it.
        location: String,
    },
    /// No answer in time. What was asked may have been done.
    #[error("no answer in time")]
    Timeout,
    /// No connection, or it broke before an answer came. What was asked may have been done.
    #[error("no connection to the forge")]
    Connect,
    /// The answer broke off. What was asked may have been done.
    #[error("the answer broke off")]
    Truncated,
    /// The answer is larger than is read.
    #[error("the answer is larger than {} MiB", super::MAX_ANSWER / (1024 * 1024))]
    AnswerTooLarge,
    /// The answer is whole but not what this call answers. What was asked was done, if something else than the forge did
    /// not answer.
    #[error("the answer cannot be read")]
    Decode,
    /// Any other status.
    #[error("unexpected status {status}")]
    Unexpected {
        /// The status.
        status: u16,
    },
    /// The call was not made: something in it cannot be part of a path or of a request.
    #[error("not sent")]
    NotSent,
}

impl Error {
    /// Whether the same call may succeed later without anybody's doing.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self.kind {
            ErrorKind::RateLimited { .. }
            | ErrorKind::Server { .. }
            | ErrorKind::Timeout
            | ErrorKind::Connect
            | ErrorKind::Truncated => true,
            ErrorKind::Unauthorised
            | ErrorKind::Forbidden { .. }
            | ErrorKind::NotFound
            | ErrorKind::NotApplicable
            | ErrorKind::Conflict
            | ErrorKind::Validation
            | ErrorKind::Gone
            | ErrorKind::Locked
            | ErrorKind::TooLarge
            | ErrorKind::Moved { .. }
            | ErrorKind::AnswerTooLarge
            | ErrorKind::Decode
            | ErrorKind::Unexpected { .. }
            | ErrorKind::NotSent => false,
        }
    }

    /// Whether it says that the thing is not there, or not for us.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, ErrorKind::NotFound | ErrorKind::Gone)
    }

    /// Whether it says something about the forge or the way there, so that every other call would fail as well. A plain 500
    /// is none: some things make the forge stumble each time they are asked for.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Unauthorised
                | ErrorKind::RateLimited { .. }
                | ErrorKind::Server { status: 502..=504 }
                | ErrorKind::Timeout
                | ErrorKind::Connect
                | ErrorKind::Truncated
        )
    }

    /// Whether the forge would not tell us: the right to ask is missing, or the thing is hidden from us.
    #[must_use]
    pub fn is_withheld(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Forbidden { .. } | ErrorKind::NotFound | ErrorKind::Gone | ErrorKind::Moved { .. }
        )
    }

    pub(super) fn new(kind: ErrorKind, call: &str, message: &str) -> Self {
        Self { kind, call: call.to_owned(), message: one_line(message) }
    }

    /// The error that a status means.
    pub(super) fn of_status(
        status: u16,
        retry_after: Option<&str>,
        location: Option<&str>,
        call: &str,
        message: &str,
    ) -> Self {
        let kind = match status {
            300..=399 => ErrorKind::Moved { location: one_line(location.unwrap_or_default()) },
            401 => ErrorKind::Unauthorised,
            403 => ErrorKind::Forbidden { missing_scope: missing_scope(message) },
            404 => ErrorKind::NotFound,
            405 => ErrorKind::NotApplicable,
            408 => ErrorKind::Timeout,
            409 => ErrorKind::Conflict,
            400 | 412 | 422 => ErrorKind::Validation,
            410 => ErrorKind::Gone,
            413 => ErrorKind::TooLarge,
            423 => ErrorKind::Locked,
            429 => ErrorKind::RateLimited {
                retry_after: retry_after
                    .and_then(|text| text.trim().parse::<u32>().ok())
                    .map(|s| SignedDuration::from_secs(i64::from(s))),
            },
            500..=599 => ErrorKind::Server { status },
            _ => ErrorKind::Unexpected { status },
        };
        Self::new(kind, call, message)
    }
}

/// `write:issue` out of `… required=[write:issue], token scope=…`.
fn missing_scope(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("required=[")?;
    let (scope, _) = rest.split_once(']')?;
    let plain = |c: char| c.is_ascii_lowercase() || matches!(c, ':' | '-' | ',' | ' ');
    (!scope.is_empty() && scope.len() <= 100 && scope.chars().all(plain)).then(|| scope.to_owned())
}

fn scope_hint(scope: &Option<String>) -> String {
    scope.as_ref().map(|scope| format!("; the token needs the scope {scope}")).unwrap_or_default()
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" (it says: {message})") }
}

fn one_line(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_kind() {
        let of = |status| Error::of_status(status, Some("7"), Some("/x"), "GET /x", "").kind;
        let table = [
            (301, ErrorKind::Moved { location: "/x".into() }),
            (307, ErrorKind::Moved { location: "/x".into() }),
            (400, ErrorKind::Validation),
            (401, ErrorKind::Unauthorised),
            (403, ErrorKind::Forbidden { missing_scope: None }),
            (404, ErrorKind::NotFound),
            (405, ErrorKind::NotApplicable),
            (408, ErrorKind::Timeout),
            (409, ErrorKind::Conflict),
            (410, ErrorKind::Gone),
            (412, ErrorKind::Validation),
            (413, ErrorKind::TooLarge),
            (418, ErrorKind::Unexpected { status: 418 }),
            (422, ErrorKind::Validation),
            (423, ErrorKind::Locked),
            (429, ErrorKind::RateLimited { retry_after: Some(SignedDuration::from_secs(7)) }),
            (500, ErrorKind::Server { status: 500 }),
            (502, ErrorKind::Server { status: 502 }),
        ];
        for (status, want) in table {
            assert_eq!(of(status), want, "{status}");
        }
        let dated = Error::of_status(429, Some("Fri, 01 Jan 2027 00:00:00 GMT"), None, "GET /x", "");
        assert_eq!(dated.kind, ErrorKind::RateLimited { retry_after: None });
    }

    #[test]
    fn the_missing_scope_is_named() {
        let said =
            "token does not have at least one of required scope(s), required=[write:issue], token scope=read:user";
        let error = Error::of_status(403, None, None, "POST /repos/a/b/issues/1/comments", said);
        assert_eq!(error.kind, ErrorKind::Forbidden { missing_scope: Some("write:issue".into()) });
        assert!(error.to_string().contains("the token needs the scope write:issue"), "{error}");
        assert_eq!(missing_scope("required=[<script>]"), None);
        assert_eq!(missing_scope("required=["), None);
    }

    #[test]
    fn the_forges_words_cannot_break_a_line_or_fill_a_log() {
        let error = Error::new(ErrorKind::Decode, "GET /x", &format!("a\r\nb\u{1b}[31m{}", "x".repeat(1000)));
        assert_eq!(error.message.chars().count(), LONGEST);
        assert!(!error.to_string().contains(['\n', '\r', '\u{1b}']));
    }
}
