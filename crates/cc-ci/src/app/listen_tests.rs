//! What becomes of peers that take their time, on real sockets.

use axum::routing::{get, post};
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;

/// Long enough for any step on a busy machine; reached only when something is wrong.
const BOUND: Duration = Duration::from_secs(60);

/// Nobody is cut off for being slow.
const PATIENT: Limits = Limits { connections: 64, first_head: BOUND, next_head: BOUND, body: BOUND, unread: BOUND };

struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn serving(router: Router, limits: Limits) -> Served {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let task = tokio::spawn(serve(listener, router, limits, stop.clone()));
    Served { address, stop, task }
}

fn routes() -> Router {
    Router::new().route("/", get(async || "here")).route("/", post(async |body: Bytes| body))
}

impl Served {
    /// Connects and sends something.
    async fn says(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }
}

/// Everything that comes until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A connection that is broken off may end with a reset.
    let _ = tokio::time::timeout(BOUND, stream.read_to_end(&mut text)).await.expect("the connection is closed");
    String::from_utf8(text).unwrap()
}

async fn until_answered(stream: &mut TcpStream) {
    let (mut text, mut piece) = (Vec::new(), [0; 256]);
    while !text.ends_with(b"here") {
        let count = tokio::time::timeout(BOUND, stream.read(&mut piece)).await.expect("an answer").unwrap();
        assert!(count > 0, "closed after {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&piece[..count]);
    }
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn who_sends_no_whole_request_is_cut_off() {
    let short = Duration::from_millis(50);
    let served = serving(routes(), Limits { first_head: short, ..PATIENT });
    for text in ["", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        assert_eq!(rest(served.says(text).await).await, "", "{text:?}");
    }
    let served = serving(routes(), Limits { next_head: short, ..PATIENT });
    let mut kept = served.says(ASK).await;
    until_answered(&mut kept).await;
    assert_eq!(rest(kept).await, "");
    let served = serving(routes(), Limits { body: short, ..PATIENT });
    let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\nhalf";
    let answer = rest(served.says(head).await).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    // Who sends all of it is served.
    let answer = rest(serving(routes(), PATIENT).says(&format!("{head} body")).await).await;
    assert!(answer.ends_with("\r\n\r\nhalf body"), "{answer}");
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let served = serving(routes(), PATIENT);
    let long = format!("GET / HTTP/1.1\r\nX-Long: {}", "x".repeat(HEAD));
    let answer = rest(served.says(&long).await).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn those_who_only_sit_there_make_room() {
    let served = serving(routes(), Limits { connections: 3, ..PATIENT });
    let mut idle = Vec::new();
    for _ in 0..10 {
        idle.push(served.says("").await);
    }
    let mut asking = served.says(ASK).await;
    until_answered(&mut asking).await;
    // It came last, so all but the two that came before it are gone.
    for gone in idle.drain(..8) {
        assert_eq!(rest(gone).await, "");
    }
    for mut there in idle {
        there.write_all(ASK.as_bytes()).await.unwrap();
        until_answered(&mut there).await;
    }
}

#[tokio::test]
async fn who_does_not_take_the_answer_is_cut_off() {
    let (gone, told) = oneshot::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(Some(gone)));
    let endless = get(move || {
        let gone = held.lock().unwrap().take();
        async move {
            let piece = Bytes::from(vec![b'x'; 64 * 1024]);
            Body::from_stream(stream::repeat_with(move || {
                let _kept = &gone;
                Ok::<_, Infallible>(piece.clone())
            }))
        }
    });
    let served = serving(Router::new().route("/", endless), Limits { unread: Duration::from_secs(1), ..PATIENT });
    let _stalled = served.says(ASK).await;
    // The body is dropped, so its other end hears of it.
    assert!(tokio::time::timeout(BOUND, told).await.expect("the connection is given up").is_err());
}

#[tokio::test]
async fn stopping_waits_for_answers_and_for_nobody_who_is_silent() {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (begun, go) = (begun.clone(), go.clone());
        get(async move || {
            begun.notify_one();
            go.notified().await;
            "late"
        })
    };
    let mut served = serving(routes().route("/slow", slow), PATIENT);
    let mut kept = served.says(ASK).await;
    until_answered(&mut kept).await;
    let silent = served.says("").await;
    let asking = served.says("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await;
    begun.notified().await;
    served.stop.cancel();
    assert_eq!((rest(kept).await.as_str(), rest(silent).await.as_str()), ("", ""));
    assert!(!served.task.is_finished(), "somebody still waits for an answer");
    go.notify_one();
    let answer = rest(asking).await;
    assert!(answer.ends_with("late"), "{answer}");
    tokio::time::timeout(BOUND, &mut served.task).await.expect("serving ends").unwrap();
    assert!(TcpStream::connect(served.address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_killed_server_takes_its_connections_along() {
    let served = serving(routes(), PATIENT);
    let mut kept = served.says(ASK).await;
    until_answered(&mut kept).await;
    served.task.abort();
    assert_eq!(rest(kept).await, "");
}
