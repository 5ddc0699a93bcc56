//! Asks the app under test over HTTP, the way Traefik would: the host name and port that its labels declare.
//!
//! No Traefik is needed: the request goes to the container's address with the route's host name in it. An answer counts only
//! if the app gave it, so there is no default page of a proxy to be fooled by.

use std::net::SocketAddr;
use std::time::Duration;

use recipe::traefik::Route;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::domain::{Reason, ReasonCode};
use crate::http;

/// Longest part of a body that is kept as evidence, in bytes.
const EXCERPT: usize = 400;
/// Pause between two tries: HTTP gives no event to wait for.
const PAUSE: Duration = Duration::from_millis(50);
/// Time for one request.
const REQUEST: Duration = Duration::from_secs(10);

/// Where a request goes: the host name it carries and the address it is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Compose name of the service that is asked.
    pub service: String,
    /// Host name of the request.
    pub host: String,
    /// Path, beginning with `/`.
    pub path: String,
    /// Address of the container.
    pub address: SocketAddr,
}

impl Target {
    /// The URL a person would open.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{}", self.host, self.path)
    }
}

/// What an app answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Beginning of the body, as text.
    pub excerpt: String,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Try {
    /// The app answered.
    Answered(Answer),
    /// Nothing came back, and why.
    Silent(String),
}

/// Which statuses are accepted. Without a wish of the profile: success and redirects, and 401, which is how an app behind a login greets.
#[must_use]
pub fn accepts(wanted: &[u16], status: u16) -> bool {
    if wanted.is_empty() { (200..400).contains(&status) || status == 401 } else { wanted.contains(&status) }
}

/// The route to ask: of the routes for `domain`, the one with the shortest path, `app` first.
#[must_use]
pub fn main_route<'a>(routes: &'a [Route], domain: &str) -> Option<&'a Route> {
    routes
        .iter()
        .filter(|route| route.hosts.iter().any(|host| host == domain))
        .min_by_key(|route| (route.path_prefix.as_deref().map_or(0, str::len), route.service != "app"))
}

/// Sends one GET.
pub async fn once(target: &Target) -> Try {
    match request(target).await {
        Ok(answer) => Try::Answered(answer),
        Err(error) => Try::Silent(error),
    }
}

async fn request(target: &Target) -> Result<Answer, String> {
    let client = http::builder()
        .no_proxy()
        .timeout(REQUEST)
        .resolve(&target.host, target.address)
        .build()
        .map_err(|error| error.to_string())?;
    let url = format!("http://{}:{}{}", target.host, target.address.port(), target.path);
    let mut response =
        client.get(url).header(reqwest::header::HOST, &target.host).send().await.map_err(|error| root_cause(&error))?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while body.len() < EXCERPT {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break,
            Err(error) => return Err(format!("status {status}, then the body broke off: {}", root_cause(&error))),
        }
    }
    body.truncate(EXCERPT);
    Ok(Answer { status, excerpt: String::from_utf8_lossy(&body).into_owned() })
}

/// Asks until an accepted answer comes or `deadline` has passed.
///
/// `target` is asked for anew before each try, because a restarted container has another address.
///
/// # Errors
/// A reason with the last answers as evidence.
pub async fn until_accepted<F, Fut>(
    mut target: F,
    wanted: &[u16],
    deadline: Duration,
    cancel: &CancellationToken,
) -> Result<(Target, Answer), Box<Reason>>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<Target, Box<Reason>>>,
{
    let end = Instant::now() + deadline;
    let mut tries = 0_u32;
    loop {
        let target = target().await?;
        tries += 1;
        let last = once(&target).await;
        if let Try::Answered(answer) = &last
            && accepts(wanted, answer.status)
        {
            return Ok((target, answer.clone()));
        }
        if Instant::now() >= end {
            return Err(Box::new(refused(&target, &last, wanted, tries, deadline)));
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(Box::new(Reason::new(ReasonCode::Interrupted, "the run was stopped"))),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// The reason for a probe that never got an accepted answer.
fn refused(target: &Target, last: &Try, wanted: &[u16], tries: u32, deadline: Duration) -> Reason {
    let wanted = if wanted.is_empty() { "2xx, 3xx or 401".to_owned() } else { format!("{wanted:?}") };
    let (url, port, seconds) = (target.url(), target.address.port(), deadline.as_secs());
    match last {
        Try::Answered(answer) => Reason::new(
            ReasonCode::HttpStatus,
            format!("GET {url} answered {} for {seconds} s; wanted {wanted}", answer.status),
        )
        .service(target.service.clone())
        .evidence([
            format!("GET {url} (port {port}) -> {}", answer.status),
            format!("body begins: {}", answer.excerpt),
        ]),
        Try::Silent(error) => Reason::new(
            ReasonCode::HttpUnreachable,
            format!("nothing answered at port {port} of the container for {seconds} s"),
        )
        .service(target.service.clone())
        .evidence([format!("GET {url} (port {port}), {tries} tries, last: {error}")]),
    }
}

/// The innermost cause: `connection refused` says more than `error sending request`.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn server(answers: Vec<&'static str>) -> (SocketAddr, tokio::task::JoinHandle<Vec<String>>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let handle = tokio::spawn(async move {
            let mut seen = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("accept");
                let mut buffer = [0_u8; 4096];
                let n = stream.read(&mut buffer).await.expect("read");
                seen.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
                stream.write_all(answer.as_bytes()).await.expect("write");
            }
            seen
        });
        (address, handle)
    }

    fn target(address: SocketAddr) -> Target {
        Target { service: "app".into(), host: "x.ccci.test".into(), path: "/p".into(), address }
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi";
    const BAD: &str = "HTTP/1.1 502 Bad\r\ncontent-length: 4\r\nconnection: close\r\n\r\noops";

    #[tokio::test]
    async fn asks_again_until_the_answer_is_accepted() {
        let (address, seen) = server(vec![BAD, BAD, OK]).await;
        let cancel = CancellationToken::new();
        let (_, answer) = until_accepted(|| async { Ok(target(address)) }, &[], Duration::from_secs(20), &cancel)
            .await
            .expect("accepted");
        assert_eq!(answer, Answer { status: 200, excerpt: "hi".into() });
        let seen = seen.await.expect("server");
        assert_eq!(seen.len(), 3);
        let request = seen[0].to_lowercase();
        assert!(request.starts_with("get /p http/1.1\r\n") && request.contains("host: x.ccci.test\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_wrong_status_and_silence_are_told_apart() {
        let (address, _seen) = server(vec![BAD]).await;
        let cancel = CancellationToken::new();
        let reason =
            until_accepted(|| async { Ok(target(address)) }, &[], Duration::ZERO, &cancel).await.expect_err("502");
        assert_eq!(reason.code, ReasonCode::HttpStatus);
        assert!(reason.evidence.iter().any(|line| line.contains("oops")), "{reason:?}");

        let nobody = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let reason =
            until_accepted(|| async { Ok(target(nobody)) }, &[], Duration::ZERO, &cancel).await.expect_err("silent");
        assert_eq!(reason.code, ReasonCode::HttpUnreachable);
        assert!(reason.evidence[0].contains("refused"), "{reason:?}");
    }

    #[test]
    fn statuses() {
        for (wanted, status, want) in [
            (&[][..], 200, true),
            (&[], 302, true),
            (&[], 401, true),
            (&[], 404, false),
            (&[], 500, false),
            (&[404], 404, true),
            (&[404], 200, false),
        ] {
            assert_eq!(accepts(wanted, status), want, "{wanted:?} {status}");
        }
    }
}
