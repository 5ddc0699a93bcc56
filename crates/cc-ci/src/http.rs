//! The one place that makes HTTP clients: TLS provider, time-outs, no proxies for addresses of the swarm.

use std::time::Duration;

/// How cc-ci names itself to servers.
pub const USER_AGENT: &str = concat!("cc-ci/", env!("CARGO_PKG_VERSION"));

/// A client builder with the project's defaults: our user agent, bounded connect time, no redirects followed.
///
/// rustls needs its crypto provider chosen once per process; doing it here means that no caller can forget it.
#[expect(clippy::disallowed_methods, reason = "this is the wrapper that the lint names")]
pub fn builder() -> reqwest::ClientBuilder {
    // The only error is that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(Duration::from_secs(5))
        .redirect(reqwest::redirect::Policy::none())
}
