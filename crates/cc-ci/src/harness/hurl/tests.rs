//! With the real hurl against a small HTTP server of our own.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers every request with its path as body, and keeps the request's text.
async fn server() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut request = Vec::new();
                let mut buffer = [0; 4096];
                while !request.windows(4).any(|window| window == b"\r\n\r\n") {
                    match stream.read(&mut buffer).await {
                        Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
                        Ok(_) | Err(_) => return,
                    }
                }
                let text = String::from_utf8_lossy(&request).into_owned();
                let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
                log.lock().unwrap().push(text);
                if path == "/hang" {
                    std::future::pending::<()>().await;
                }
                let head = match path.as_str() {
                    "/away" => "302 Found\r\nLocation: http://elsewhere.example:8080/landed",
                    "/missing" => "404 Not Found",
                    _ => "200 OK",
                };
                let length = path.len();
                let answer = format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{path}");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, seen)
}

async fn hurl() -> Hurl {
    let home = ["/var/lib/cc-ci/tools/bin"].map(PathBuf::from);
    Hurl::find(&home).await.unwrap()
}

fn job<'a>(content: &'a str, files: &'a Files, address: SocketAddr) -> HurlJob<'a> {
    HurlJob {
        name: "custom/a.hurl",
        content,
        files,
        domain: "app.ccci.test",
        routes: vec![("app.ccci.test".to_owned(), address)],
        variables: BTreeMap::from([("token".to_owned(), "t0k".to_owned())]),
        secrets: BTreeMap::from([("pw".to_owned(), SecretValue::new("hunter2 = hunter2"))]),
        timeout: Duration::from_secs(20),
        cancel: CancellationToken::new(),
    }
}

async fn run(content: &str) -> Result<HurlOutcome, HurlError> {
    let (address, _) = server().await;
    hurl().await.run(&job(content, &Files::new(), address)).await
}

#[tokio::test]
async fn a_good_file_passes_and_is_counted() {
    let (address, seen) = server().await;
    let files = Files::from([("files/body.txt".to_owned(), b"the body".to_vec())]);
    let content = "GET {{base_url}}/{{token}}\nHTTP 200\n[Asserts]\nbody == \"/t0k\"\n\nPOST http://{{domain}}/x\nAuthorization: {{pw}}\nfile,files/body.txt;\nHTTP 200\n";
    let outcome = hurl().await.run(&job(content, &files, address)).await.unwrap();
    assert!(outcome.passed, "{outcome:?}");
    assert_eq!((outcome.entries, outcome.assertions, outcome.failures.len()), (2, 3, 0));
    let seen = seen.lock().unwrap().join("\n");
    assert!(seen.contains("Host: app.ccci.test") && seen.contains("Authorization: hunter2 = hunter2"), "{seen}");
}

#[tokio::test]
async fn what_does_not_hold_is_said() {
    let content = "GET {{base_url}}/missing\nHTTP 200\n\nGET {{base_url}}/b\nHTTP 200\n[Asserts]\nbody == \"{{pw}}\"\nbody == \"/b\"";
    let outcome = run(content).await.unwrap();
    assert!(!outcome.passed && !outcome.unreachable);
    assert_eq!((outcome.entries, outcome.assertions, outcome.failures.len()), (2, 4, 2), "{outcome:?}");
    assert!(outcome.failures[0].contains("404") && outcome.failures[1].contains("string </b>"), "{outcome:?}");
    assert!(!outcome.log.contains("hunter2 = hunter2"), "{}", outcome.log);
}

#[tokio::test]
async fn every_request_and_redirect_leads_to_the_app() {
    let (address, seen) = server().await;
    let content = "GET {{base_url}}/away\n[Options]\nlocation: true\nHTTP 200\n\nGET http://169.254.169.254/meta\nHTTP 200\n\nGET http://127.0.0.1:2375/info\nHTTP 200\n";
    let outcome = hurl().await.run(&job(content, &Files::new(), address)).await.unwrap();
    assert!(outcome.passed, "{outcome:?}");
    let seen: Vec<String> = seen.lock().unwrap().iter().map(|text| text.lines().next().unwrap().to_owned()).collect();
    assert_eq!(seen, ["GET /away HTTP/1.1", "GET /landed HTTP/1.1", "GET /meta HTTP/1.1", "GET /info HTTP/1.1"]);
}

#[tokio::test]
async fn what_proves_nothing_is_an_error() {
    for (content, wanted) in [
        ("", "it holds no request"),
        ("# nothing\n", "it holds no request"),
        ("GET {{base_url}}/\n", "it asserts nothing"),
        ("GET {{base_url}}/\nHTTP *\n", "it asserts nothing"),
        ("GEET {{base_url", "it does not parse"),
        (
            "GET {{base_url}}/\n[Options]\nunix-socket: /var/run/docker.sock\nHTTP 200",
            "line 3: the option `unix-socket` is not allowed",
        ),
        ("GET {{base_url}}/\n[Options]\n  connect-to: a:1:b:2\nHTTP 200", "the option `connect-to` is not allowed"),
        ("GET {{base_url}}/\n[Options]\nproxy: x:1\nHTTP 200", "the option `proxy` is not allowed"),
        ("GET {{base_url}}/\n[Options] # x\noutput: /etc/x\nHTTP 200", "the option `output` is not allowed"),
        ("GET {{base_url}}/\n[Options]\nskip: true\nHTTP 200", "the option `skip` is not allowed"),
    ] {
        let error = run(content).await.unwrap_err();
        assert!(matches!(error, HurlError::Invalid { .. }) && error.to_string().contains(wanted), "{wanted}: {error}");
    }
}

#[tokio::test]
async fn files_outside_the_suite_cannot_be_sent() {
    for path in ["/etc/hostname", "../secrets", "files/../../secrets"] {
        let outcome = run(&format!("POST {{{{base_url}}}}/\nfile,{path};\nHTTP 200\n")).await.unwrap();
        assert!(!outcome.passed && !outcome.unreachable, "{path}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_app_that_does_not_answer_is_unreachable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let files = Files::new();
    let outcome = hurl().await.run(&job("GET {{base_url}}/\nHTTP 200\n", &files, address)).await.unwrap();
    assert!(!outcome.passed && outcome.unreachable && outcome.failures[0].contains("HTTP connection"), "{outcome:?}");

    let (address, _) = server().await;
    let mut slow = job("GET {{base_url}}/hang\nHTTP 200\n", &files, address);
    slow.timeout = Duration::from_millis(1500);
    let outcome = hurl().await.run(&slow).await.unwrap();
    assert!(!outcome.passed && outcome.unreachable && outcome.duration < Duration::from_secs(10), "{outcome:?}");

    let cancelled = job("GET {{base_url}}/hang\nHTTP 200\n", &files, address);
    cancelled.cancel.cancel();
    assert!(matches!(hurl().await.run(&cancelled).await, Err(HurlError::Cancelled(_))));
}

#[test]
fn variables_that_hurl_cannot_be_given_are_refused() {
    assert_eq!(lines([("a", "b=c"), ("d", "")].into_iter()), Ok("a=b=c\nd=\n".to_owned()));
    assert!(lines([("a b", "c")].into_iter()).is_err());
    assert!(lines([("a", "b\nc=d")].into_iter()).is_err());
}
