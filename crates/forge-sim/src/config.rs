//! What can be chosen before and while the simulator runs: which server it imitates, where it
//! listens, and the switches for behaviour that differs between versions or installations.
//!
//! A switch never makes the simulator more permissive than some real server is: each one selects
//! between two behaviours that both exist in the field.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which server family and age is imitated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flavour {
    /// Gitea 1.26: flat team permission `none`, `status` events, a warning counts as failed. The contract tests compare
    /// it with a real one.
    Gitea,
    /// A Gitea before 1.23: no `pull_request` key in comment payloads, no `status` event, old
    /// combined rule, team permission is the minimum over the units.
    OldGitea,
    /// A Forgejo 11: `X-Forgejo-*` headers, no `status` event, old combined rule, minimum over units.
    Forgejo,
}

impl Flavour {
    /// The text `GET /version` answers.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::Gitea => "1.26.0",
            Self::OldGitea => "1.22.6",
            Self::Forgejo => "11.0.3+gitea-1.22.0",
        }
    }

    /// Whether posting a commit status fires a `status` webhook.
    #[must_use]
    pub fn has_status_event(self) -> bool {
        match self {
            Self::Gitea => true,
            Self::OldGitea | Self::Forgejo => false,
        }
    }

    /// Whether an ordinary team's flat permission is only ever `none` (units carry the rights).
    #[must_use]
    pub fn flat_team_is_none(self) -> bool {
        match self {
            Self::Gitea => true,
            Self::OldGitea | Self::Forgejo => false,
        }
    }

    /// Whether the combined status follows the rule of Gitea 1.26.
    #[must_use]
    pub fn new_combined_rule(self) -> bool {
        self.is_current()
    }

    /// Whether it is a Gitea as of today, with all that older ones and Forgejo do not have yet.
    #[must_use]
    pub fn is_current(self) -> bool {
        match self {
            Self::Gitea => true,
            Self::OldGitea | Self::Forgejo => false,
        }
    }
}

/// When a push to a pull request's head branch reaches `refs/pull/N/head` of the base repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullRefs {
    /// Before the push is answered.
    Immediate,
    /// This many milliseconds after the push is answered.
    AfterMillis(u64),
    /// Not before [`crate::Sim::release_pull_refs`] is called.
    Held,
}

/// Behaviour that may be changed while the simulator runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Switches {
    /// Leave out the `pull_request` key of comment payloads, as servers before 1.23 do and as any
    /// server does when it fails to build it.
    pub omit_pull_request: bool,
    /// When `refs/pull/N/head` follows the head branch.
    pub pull_refs: PullRefs,
    /// The timeline tells of a push only when [`crate::Sim::release_pull_refs`] is called, though `refs/pull/N/head`
    /// has moved: the moment between the two, which every real server has.
    pub late_push_entries: bool,
    /// Write `<`, `>` and `&` in JSON as `\u003c`, `\u003e` and `\u0026`.
    pub html_escape: bool,
    /// `REQUIRE_SIGNIN_VIEW`: anonymous API calls are refused.
    pub require_signin: bool,
    /// `DISABLE_WEBHOOKS`: the hooks API refuses, nothing is delivered.
    pub webhooks_disabled: bool,
    /// Whether hooks may call loopback and private addresses (`ALLOWED_HOST_LIST`).
    pub local_hooks: bool,
    /// Whether migrations may read from loopback and private addresses.
    pub local_migrations: bool,
    /// Every open pull request answers `mergeable: false`, as while the check still runs.
    pub mergeable_checking: bool,
    /// Whether 500 answers carry their message to everybody (`RUN_MODE = dev`).
    pub dev_mode: bool,
    /// `DEFAULT_PAGING_NUM`.
    pub default_paging: usize,
    /// `MAX_RESPONSE_ITEMS`: larger `limit`s are silently clamped to it.
    pub max_items: usize,
    /// How many deliveries may be under way at once (`webhook_sender` workers). Read at the start;
    /// more than one gives up their order.
    pub hook_workers: usize,
    /// Milliseconds for one whole delivery (`DELIVER_TIMEOUT`).
    pub deliver_timeout_ms: u64,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            omit_pull_request: false,
            pull_refs: PullRefs::Immediate,
            late_push_entries: false,
            html_escape: true,
            require_signin: false,
            webhooks_disabled: false,
            local_hooks: true,
            local_migrations: true,
            mergeable_checking: false,
            dev_mode: false,
            default_paging: 30,
            max_items: 50,
            hook_workers: 1,
            deliver_timeout_ms: 5_000,
        }
    }
}

/// How a simulator is started.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one. Anything but a loopback address is refused.
    pub listen: SocketAddr,
    /// Prefix of all URLs in answers (`ROOT_URL`, ends in `/`); the listening address if `None`.
    pub root_url: Option<String>,
    /// Directory for the bare repositories; a temporary one, removed at the end, if `None`.
    pub data_dir: Option<PathBuf>,
    /// Which server is imitated.
    pub flavour: Flavour,
    /// Initial switches.
    pub switches: Switches,
    /// Login of the site administrator created at the start.
    pub admin: String,
    /// Password of the site administrator.
    pub admin_password: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            root_url: None,
            data_dir: None,
            flavour: Flavour::Gitea,
            switches: Switches::default(),
            admin: "root1".to_owned(),
            admin_password: "root1-password".to_owned(),
        }
    }
}
