//! The server's side of its connections: how many, and how long each may take over what.
//!
//! Every wait for a peer ends. One that connects and sends no whole request in time is cut off, and so is one that drips a
//! body, or does not take its answer; a kept connection may rest longer than proxies keep theirs, so that it is them who
//! close it and no delivery meets a door that is just being shut. Who leaves when there are too many is decided in
//! [`super::crowd`]. Nothing here knows what is served.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::crowd::{Crowd, Phase, Place};

/// Connections that the kernel keeps until they are accepted: a burst of deliveries comes on as many connections.
const BACKLOG: u32 = 4096;

/// Connections beyond those of viewers.
const CONNECTIONS: usize = 4096;

/// Open files that are kept for everything else: database, logs, children.
const OTHER_FILES: u64 = 512;

/// Longest head of a request, in bytes.
const HEAD: usize = 16 * 1024;

/// How long peers may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Connections at the same time.
    pub(super) connections: usize,
    /// From connecting to the end of the first request's head.
    pub(super) first_head: Duration,
    /// From an answer to the end of the next request's head. Proxies keep a connection for 60 to 90 seconds.
    pub(super) next_head: Duration,
    /// From the head to the end of the body.
    pub(super) body: Duration,
    /// How long an answer may lie around without the peer taking any of it.
    pub(super) unread: Duration,
}

impl Limits {
    /// The usual ones, with room for so many viewers of live logs, as far as the process may have files open.
    pub(super) fn with_viewers(viewers: usize) -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        let files = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX);
        Self {
            connections: viewers.saturating_add(CONNECTIONS).min(files).max(64),
            first_head: Duration::from_secs(10),
            next_head: Duration::from_secs(120),
            body: Duration::from_secs(30),
            unread: Duration::from_secs(30),
        }
    }
}

/// Lets the process have as many files open as it may. Services begin with 1024, for the sake of old programs.
pub(crate) fn allow_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(u64::MAX).min(65_536);
    if limit.current.is_some_and(|current| current < wanted) {
        let more = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, more) {
            tracing::warn!("no more than {:?} files can be open: {error}", limit.current);
        }
    }
}

/// Listens at an address.
pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // After a restart the address may be taken again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until it is told to stop, and then until the answers on their way are out. Dropped, all connections break off.
pub(super) async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let crowd = Crowd::new(limits.connections);
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    not_accepted(&error).await;
                    continue;
                }
            },
        };
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = crowd.enter() => place,
        };
        connections.spawn(connection(stream, Arc::new(place), router.clone(), limits, stop.clone()));
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn not_accepted(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    // The peer has gone again already.
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    // Mostly too many open files, of this process or of the host; others will close theirs.
    tracing::warn!("connections cannot be accepted: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection(stream: TcpStream, place: Arc<Place>, router: Router, limits: Limits, stop: CancellationToken) {
    let socket = socket2::SockRef::from(&stream);
    // The kernel breaks off if data is not taken for that long, whether the peer has vanished or just does not read.
    let set = socket.set_tcp_user_timeout(Some(limits.unread)).and_then(|()| socket.set_tcp_nodelay(true));
    if let Err(error) = set {
        tracing::debug!("a connection was gone before it began: {error}");
        return;
    }
    let service = service_fn(|request| answer(request, router.clone(), place.clone(), limits.body));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.next_head)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let first_head = tokio::time::sleep(limits.first_head);
    tokio::pin!(first_head);
    let (mut first, mut stopping) = (true, false);
    loop {
        tokio::select! {
            outcome = connection.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!("a connection broke off: {error}");
                }
                return;
            }
            () = place.told_to_leave() => return,
            () = first_head.as_mut(), if first => {
                first = false;
                if place.phase() == Some(Phase::Mute) {
                    return;
                }
            }
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                if matches!(place.phase(), Some(Phase::Mute | Phase::Resting)) {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn answer(
    request: hyper::Request<Incoming>,
    router: Router,
    place: Arc<Place>,
    time: Duration,
) -> Result<hyper::Response<Leaving>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = if body.is_end_stream() {
        place.at(Phase::Working);
        Body::empty()
    } else {
        place.at(Phase::Asking);
        Body::new(Arriving { body, until: Box::pin(tokio::time::sleep(time)), place: Some(place.clone()) })
    };
    let response: Response = router.oneshot(Request::from_parts(parts, body)).await?;
    place.at(Phase::Answering);
    Ok(response.map(|body| Leaving { body, place }))
}

/// The body of a request, which must be here in time.
struct Arriving {
    body: Incoming,
    until: Pin<Box<Sleep>>,
    /// Taken when all of it is here.
    place: Option<Arc<Place>>,
}

impl Arriving {
    fn is_here(&mut self) {
        if let Some(place) = self.place.take() {
            place.at(Phase::Working);
        }
    }
}

impl HttpBody for Arriving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if frame.is_none() || self.body.is_end_stream() {
                self.is_here();
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)));
        }
        if self.until.as_mut().poll(cx).is_ready() {
            let late = io::Error::new(io::ErrorKind::TimedOut, "the body did not arrive in time");
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        // Whoever has stopped reading knows enough.
        self.is_here();
    }
}

/// The body of an answer; the connection rests when it is out.
struct Leaving {
    body: Body,
    place: Arc<Place>,
}

impl HttpBody for Leaving {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.place.at(Phase::Resting);
    }
}

#[cfg(test)]
#[path = "listen_tests.rs"]
mod tests;
