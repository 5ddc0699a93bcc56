//! A Gitea that is not one, for tests and demonstrations of programs that talk to a Gitea.
//!
//! It has users, organisations, teams, repositories with real git over HTTP, pull requests,
//! comments, statuses, permissions, signed webhooks and an OAuth2 provider, with the surprises the
//! real server has, and faults on demand. It must never be reachable from elsewhere (loopback
//! only), and never share a type or a line with a client: a client's mistake must show.
//!
//! The rule to know: if it lets something pass that Gitea refuses, that is a defect. What it does
//! not simulate it answers with 501.
//!
//! # By hand
//! [`serve`] starts it. Below `/_sim/` are controls that take and give JSON:
//! `GET|POST|DELETE faults` ([`Fault`]), `GET|DELETE requests`, `GET deliveries`,
//! `POST deliveries/{uuid}/redeliver`, `POST deliveries/release` (those held back), `GET|PATCH switches` ([`Switches`]),
//! `POST pull-refs/release`, `POST clock {"advance": seconds}`, `POST settle`,
//! `POST oauth-apps {"redirect_uris": […], "confidential": true}`, `POST blocks {"by", "blocked"}`.

mod api;
mod auth;
mod config;
mod control;
mod faults;
mod git;
mod git_http;
mod handle;
mod hook_events;
mod logs;
mod oauth;
mod payload;
mod perm;
mod refs;
mod render;
mod render_git;
mod render_issue;
mod reply;
mod server;
mod stage;
mod webhook;
mod world;

use std::sync::Arc;
use std::time::Duration;

pub use config::{Config, Flavour, PullRefs, Switches};
pub use faults::{ApiFault, DeliveryFault, Fault};
pub use git::GitError;
pub use handle::{PrRef, Sim, SimError};
pub use logs::{DeliveryLog, RequestLog};
pub use stage::RepoHandle;

use api::{NewUser, create_user};
use server::Shared;
use webhook::Outbox;
use world::World;

/// Starts a simulator in the current Tokio runtime.
///
/// # Errors
/// When the address is not loopback or taken, or the directory cannot be written.
pub async fn serve(config: Config) -> Result<Sim, SimError> {
    if !config.listen.ip().is_loopback() {
        return Err(SimError::NotLoopback(config.listen));
    }
    let http = http_client()?;
    let (data, temporary) = match config.data_dir {
        Some(dir) => (dir, None),
        None => {
            let dir = tempfile::Builder::new().prefix("forge-sim-").tempdir()?;
            (dir.path().to_owned(), Some(dir))
        }
    };
    let listener = tokio::net::TcpListener::bind(config.listen).await?;
    let root_url = config.root_url.unwrap_or(format!("http://{}/", listener.local_addr()?));
    let (jobs, queue) = tokio::sync::mpsc::unbounded_channel();
    let mut world = World::new(config.flavour, config.switches, root_url.clone(), data, Outbox::new(jobs));
    install_hooks(&world)?;
    let email = format!("{}@example.test", config.admin);
    let password = Some(config.admin_password);
    create_user(&mut world, NewUser { login: config.admin.clone(), email, password, admin: true });
    let shared = Arc::new(Shared::new(world, http));
    let deliveries = tokio::spawn(webhook::run(Arc::clone(&shared), queue));
    let server = tokio::spawn(server::run(Arc::clone(&shared), listener));
    Ok(Sim { shared, tasks: vec![deliveries, server], root_url, admin: config.admin, data: temporary })
}

/// The client that delivers webhooks.
#[expect(clippy::disallowed_methods, reason = "this crate stands alone; each delivery sets its own time-out")]
fn http_client() -> reqwest::Result<reqwest::Client> {
    // Whoever came first has chosen; any provider will do for loopback.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .no_proxy()
        .user_agent("Go-http-client/1.1")
        .connect_timeout(Duration::from_secs(5))
        .build()
}

/// Writes the hook all bare repositories share.
fn install_hooks(world: &World) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let dir = world.hooks_dir();
    std::fs::create_dir_all(&dir)?;
    let path = dir.join("pre-receive");
    std::fs::write(&path, git_http::PRE_RECEIVE)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
}
