//! The picture of an app's first page, made by headless Chromium as a child process.
//!
//! The page is hostile: it sees no host but its own (every other name and address is mapped to "not found"), no file,
//! no profile of a person, and nothing it downloads outlives the call. JavaScript runs. A picture that cannot be made
//! is a warning to the caller, never a verdict. The rule to know: what leaves Chromium's process group (its
//! crash handler does) is found by the name of the temporary folder, which is its alone.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::picture::{Picture, PictureError};
use super::sanitise;
use crate::clock::{Clock, SystemClock};
use crate::domain::Screenshot;
use crate::process::{Command, ProcessError, Status, look_up, path_folders};

/// Time that a picture may take, tries on a blank page included.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Milliseconds of the page's own time before the picture is taken, by try. Idle time passes at once.
const BUDGETS_MS: [u32; 3] = [4_000, 12_000, 30_000];

const PICTURE: &str = "picture.png";

/// How much of Chromium's messages is kept, in bytes.
const OUTPUT_MAX: usize = 64 << 10;

const WINDOW: (u32, u32) = (1280, 800);

/// Where the page's host name leads; no DNS is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolve {
    /// The host name in the URL.
    pub domain: String,
    /// Where it answers.
    pub address: SocketAddr,
}

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum ScreenshotError {
    /// No Chromium on this host.
    #[error("no Chromium was found in PATH, so there is no screenshot; install the package `chromium`")]
    NoBrowser,
    /// Not a page that may be opened.
    #[error("`{0}` is not an http or https URL with the expected host")]
    Url(String),
    /// Chromium cannot be started.
    #[error(transparent)]
    Start(#[from] ProcessError),
    /// The time was up before there was a picture.
    #[error("no screenshot after {0:?}; the page may never finish loading, or the host is busy")]
    TimedOut(Duration),
    /// The run was stopped.
    #[error("the screenshot was cancelled")]
    Cancelled,
    /// Chromium ended without a picture.
    #[error("Chromium ended ({status}) without a picture: {output}")]
    NoPicture {
        /// How it ended.
        status: Status,
        /// The end of what it wrote.
        output: String,
    },
    /// What Chromium wrote is not a picture that can be read.
    #[error("the screenshot cannot be read: {0}")]
    Picture(#[from] PictureError),
    /// A thread of our own broke off.
    #[error("the screenshot was not finished: {0}")]
    Thread(#[from] tokio::task::JoinError),
    /// The file system refused.
    #[error("cannot write the screenshot: {0}")]
    Io(#[from] io::Error),
}

/// A Chromium and the time it may take.
#[derive(Debug, Clone)]
pub struct Browser {
    /// The program.
    pub program: PathBuf,
    /// Time for one [`Browser::capture`].
    pub limit: Duration,
}

/// Opens `url` in headless Chromium and writes a picture of 1280×800 pixels to `out`.
///
/// # Errors
/// If there is no Chromium, the URL is not fit, the limit of 20 s is reached, or the run is cancelled.
pub async fn capture(
    url: &str,
    resolve: Option<&Resolve>,
    out: &Path,
    cancel: &CancellationToken,
) -> Result<Screenshot, ScreenshotError> {
    Browser::find().ok_or(ScreenshotError::NoBrowser)?.capture(url, resolve, out, cancel).await
}

impl Browser {
    /// The first Chromium in `PATH`.
    #[must_use]
    pub fn find() -> Option<Self> {
        let path = path_folders();
        ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
            .iter()
            .find_map(|name| look_up(name, path.iter().map(PathBuf::as_path)))
            .map(|program| Self { program, limit: LIMIT })
    }

    /// Like the function [`capture`], with this program and limit.
    ///
    /// # Errors
    /// As [`capture`].
    pub async fn capture(
        &self,
        url: &str,
        resolve: Option<&Resolve>,
        out: &Path,
        cancel: &CancellationToken,
    ) -> Result<Screenshot, ScreenshotError> {
        let rules = host_rules(url, resolve)?;
        let started = SystemClock.monotonic();
        let mut taken = None;
        for budget in BUDGETS_MS {
            let left = self.limit.saturating_sub(SystemClock.since(started));
            let shot = match self.shoot(url, &rules, budget, left, cancel).await {
                // A blank picture is better than none when time runs out in a later try.
                Err(ScreenshotError::TimedOut(_)) if taken.is_some() => break,
                shot => shot?,
            };
            let blank = shot.blank;
            taken = Some(shot);
            if !blank {
                break;
            }
        }
        let shot = taken.ok_or(ScreenshotError::TimedOut(self.limit))?;
        let file = out.file_name().unwrap_or(out.as_os_str()).to_string_lossy().into_owned();
        let screenshot = Screenshot { file, url: url.to_owned(), blank: shot.blank };
        let out = out.to_owned();
        off_the_reactor(move || shot.write(&out)).await?;
        Ok(screenshot)
    }

    /// One start of Chromium, one picture.
    async fn shoot(
        &self,
        url: &str,
        rules: &str,
        budget_ms: u32,
        limit: Duration,
        cancel: &CancellationToken,
    ) -> Result<Picture, ScreenshotError> {
        let folder = Folder::new()?;
        let output = self.command(url, rules, budget_ms, folder.0.path()).timeout(limit).cancel(cancel).run().await?;
        match output.status {
            Status::TimedOut => Err(ScreenshotError::TimedOut(self.limit)),
            Status::Cancelled => Err(ScreenshotError::Cancelled),
            Status::Exited(_) | Status::Signalled(_) => match File::open(folder.picture()) {
                Ok(file) => off_the_reactor(move || Picture::read(file)).await,
                Err(_) => Err(ScreenshotError::NoPicture { status: output.status, output: last_words(&output.tail()) }),
            },
        }
    }

    fn command(&self, url: &str, rules: &str, budget_ms: u32, folder: &Path) -> Command {
        let mut command = Command::new(&self.program)
            .args(["--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-extensions", "--disable-breakpad", "--disable-dev-shm-usage", "--mute-audio"])
            .args(["--no-default-browser-check", "--ignore-certificate-errors", "--no-proxy-server"])
            .args(["--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--password-store=basic"])
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .arg(format!("--host-resolver-rules={rules}"))
            .arg(format!("--window-size={},{}", WINDOW.0, WINDOW.1))
            .arg(format!("--virtual-time-budget={budget_ms}"))
            .arg(format!("--screenshot={}", folder.join(PICTURE).display()))
            .env("HOME", folder)
            .env("LANG", "C.UTF-8")
            .inherit("PATH")
            .cwd(folder)
            .capture_limit(OUTPUT_MAX);
        if rustix::process::geteuid().is_root() {
            // Chromium refuses to start as root with its own sandbox.
            command = command.arg("--no-sandbox");
        }
        command.arg(url)
    }
}

/// The home of one Chromium. Dropping it ends what is left of that Chromium and removes the folder.
struct Folder(TempDir);

impl Folder {
    fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("cc-ci-chromium-").tempdir()?;
        let profile = folder.path().join("profile/Default");
        fs::create_dir_all(&profile)?;
        // 3: no download at all.
        fs::write(profile.join("Preferences"), r#"{"download_restrictions":3}"#)?;
        Ok(Self(folder))
    }

    fn picture(&self) -> PathBuf {
        self.0.path().join(PICTURE)
    }

    /// Whether a process was started for this folder, by its arguments or environment.
    fn named_in(&self, process: &Path) -> bool {
        let folder = self.0.path().as_os_str().as_encoded_bytes();
        ["cmdline", "environ"].iter().any(|file| {
            fs::read(process.join(file)).is_ok_and(|bytes| bytes.windows(folder.len()).any(|part| part == folder))
        })
    }
}

impl Drop for Folder {
    /// The group has been ended by then; this ends what left the group.
    fn drop(&mut self) {
        let Ok(processes) = fs::read_dir("/proc") else { return };
        for process in processes.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()).and_then(Pid::from_raw) else {
                continue;
            };
            // Opened before looking, so that the signal cannot hit a later process with the same number.
            let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if self.named_in(&process.path()) {
                // It may have ended just now.
                let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
            }
        }
    }
}

/// Chromium's `--host-resolver-rules`: the page's own host leads where we say, everything else nowhere.
fn host_rules(url: &str, resolve: Option<&Resolve>) -> Result<String, ScreenshotError> {
    let bad = || ScreenshotError::Url(sanitise::line(url, 200));
    let parsed = Url::parse(url).map_err(|_| bad())?;
    let host = parsed.host_str().filter(|_| matches!(parsed.scheme(), "http" | "https")).ok_or_else(bad)?;
    match resolve {
        None => Ok(format!("MAP * ~NOTFOUND, EXCLUDE {host}")),
        Some(resolve) if resolve.domain == host => Ok(format!("MAP {host} {}, MAP * ~NOTFOUND", resolve.address)),
        Some(_) => Err(bad()),
    }
}

/// What Chromium says of its failure: why the page could not be loaded, or else the end of its messages.
fn last_words(messages: &str) -> String {
    let failed = messages.lines().rev().find_map(|line| line.find("Page load failed").map(|at| &line[at..]));
    sanitise::line(failed.or_else(|| messages.lines().last()).unwrap_or("no message"), 300)
}

/// Decoding and encoding take some 100 ms, too long for a thread that serves others.
async fn off_the_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PictureError> + Send + 'static,
) -> Result<T, ScreenshotError> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A page server that keeps the request lines it got.
    struct Pages {
        address: SocketAddr,
        seen: Arc<Mutex<Vec<String>>>,
    }

    impl Pages {
        async fn serve(html: String) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let seen = Arc::new(Mutex::new(Vec::new()));
            let log = Arc::clone(&seen);
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let (html, log) = (html.clone(), Arc::clone(&log));
                    tokio::spawn(async move {
                        let mut buffer = vec![0; 4096];
                        let n = stream.read(&mut buffer).await.unwrap_or(0);
                        let request = String::from_utf8_lossy(&buffer[..n]);
                        log.lock().unwrap().push(request.lines().next().unwrap_or_default().to_owned());
                        if html == "never" {
                            std::future::pending::<()>().await;
                        }
                        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\nconnection: close";
                        let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{html}", html.len());
                        let _ = stream.write_all(answer.as_bytes()).await;
                    });
                }
            });
            Self { address, seen }
        }

        fn seen(&self) -> Vec<String> {
            self.seen.lock().unwrap().clone()
        }

        fn resolve(&self) -> Resolve {
            Resolve { domain: "app.ccci.test".into(), address: self.address }
        }
    }

    const URL: &str = "http://app.ccci.test/";

    /// A Chromium, or a word on why the test is not made.
    fn browser() -> Option<Browser> {
        let found = Browser::find();
        if found.is_none() {
            eprintln!("not tested: no Chromium on this host (Debian: apt-get install chromium)");
        }
        // Tests share the machine with others, so they may take longer than a run would allow.
        found.map(|browser| Browser { limit: Duration::from_secs(120), ..browser })
    }

    async fn shoot(html: &str) -> Option<(Screenshot, u64)> {
        let browser = browser()?;
        let pages = Pages::serve(html.into()).await;
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("screenshot.png");
        let shot = browser.capture(URL, Some(&pages.resolve()), &out, &CancellationToken::new()).await.unwrap();
        Some((shot, fs::metadata(out).unwrap().len()))
    }

    #[tokio::test]
    async fn a_page_is_pictured() {
        let Some((shot, bytes)) = shoot("<body style='background:#fff'><h1>It works</h1>").await else { return };
        assert_eq!(shot, Screenshot { file: "screenshot.png".into(), url: URL.into(), blank: false });
        assert!(bytes > 1_000, "{bytes}");
    }

    #[tokio::test]
    async fn a_page_that_paints_late_is_waited_for() {
        let late = "<body><script>setTimeout(() => document.body.innerHTML = '<h1>Here at last</h1>', 7000)</script>";
        let Some((shot, _)) = shoot(late).await else { return };
        assert!(!shot.blank);
    }

    #[tokio::test]
    async fn a_blank_page_is_said_to_be_blank() {
        let Some((shot, _)) = shoot("<body style='background:#f4f6f8'></body>").await else { return };
        assert!(shot.blank);
    }

    #[tokio::test]
    async fn the_page_reaches_no_other_host() {
        let Some(browser) = browser() else { return };
        let other = Pages::serve("secret".into()).await;
        let html = format!(
            "<h1>Thief</h1><img src='http://{0}/by-address'><img src='http://localhost:{1}/by-name'>\
             <iframe src='http://{0}/by-frame'></iframe><iframe src='file:///etc/passwd'></iframe>\
             <script>fetch('http://{0}/by-script',{{mode:'no-cors'}});fetch('/own')</script>",
            other.address,
            other.address.port()
        );
        let pages = Pages::serve(html).await;
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("s.png");
        browser.capture(URL, Some(&pages.resolve()), &out, &CancellationToken::new()).await.unwrap();
        assert_eq!(other.seen(), Vec::<String>::new());
        assert!(pages.seen().iter().any(|line| line.contains("/own")), "scripts did not run: {:?}", pages.seen());
    }

    #[tokio::test]
    async fn time_out_and_cancel_leave_no_picture() {
        let Some(browser) = browser() else { return };
        let pages = Pages::serve("never".into()).await;
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("s.png");
        let quick = Browser { limit: Duration::from_millis(1_500), ..browser.clone() };
        let error = quick.capture(URL, Some(&pages.resolve()), &out, &CancellationToken::new()).await.unwrap_err();
        assert!(matches!(error, ScreenshotError::TimedOut(_)), "{error}");

        let cancel = CancellationToken::new();
        let opened = pages.seen().len();
        let resolve = pages.resolve();
        let capture = browser.capture(URL, Some(&resolve), &out, &cancel);
        let stop = async {
            while pages.seen().len() == opened {
                tokio::task::yield_now().await;
            }
            cancel.cancel();
        };
        let (result, ()) = tokio::join!(capture, stop);
        assert!(matches!(result, Err(ScreenshotError::Cancelled)), "{result:?}");
        assert!(!out.exists());
    }

    #[tokio::test]
    async fn what_left_the_group_is_ended_with_its_folder() {
        let folder = Folder::new().unwrap();
        let place = folder.0.path().display().to_string();
        let pid_file = folder.0.path().join("pid");
        // setsid leaves the process group, as Chromium's crash handler does.
        let script = "setsid sh -c 'echo $$ > pid.new; mv pid.new pid; exec sleep 600' </dev/null >/dev/null 2>&1 &";
        let shell = Command::new("sh").args(["-c", script]).env("HOME", &place).cwd(&place).inherit("PATH");
        shell.run_ok().await.unwrap();
        while !pid_file.exists() {
            tokio::task::yield_now().await;
        }
        let pid: i32 = fs::read_to_string(pid_file).unwrap().trim().parse().unwrap();
        let alive = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
        assert!(alive());
        drop(folder);
        // Without the kill this would last ten minutes.
        let ended = async {
            while alive() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    }

    #[test]
    fn rules_let_only_the_page_through() {
        let resolve = Resolve { domain: "app.ccci.test".into(), address: "127.0.0.1:8080".parse().unwrap() };
        assert_eq!(host_rules(URL, Some(&resolve)).unwrap(), "MAP app.ccci.test 127.0.0.1:8080, MAP * ~NOTFOUND");
        assert_eq!(host_rules(URL, None).unwrap(), "MAP * ~NOTFOUND, EXCLUDE app.ccci.test");
        for bad in ["file:///etc/passwd", "javascript:1", "http://", "not a url", "http://other.test/"] {
            assert!(matches!(host_rules(bad, Some(&resolve)), Err(ScreenshotError::Url(_))), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_page_that_cannot_be_loaded_gives_the_cause_and_no_picture() {
        let Some(browser) = browser() else { return };
        // Bound and let go: nothing listens there.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let resolve = Resolve { domain: "app.ccci.test".into(), address };
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("s.png");
        let error = browser.capture(URL, Some(&resolve), &out, &CancellationToken::new()).await.unwrap_err();
        assert!(error.to_string().ends_with("Page load failed: net::ERR_CONNECTION_REFUSED"), "{error}");
        assert!(!out.exists());
    }

    #[tokio::test]
    async fn a_program_that_makes_no_picture_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let browser = |program: &str| Browser { program: program.into(), limit: LIMIT };
        let resolve = Resolve { domain: "app.ccci.test".into(), address: "127.0.0.1:9".parse().unwrap() };
        let (out, cancel) = (dir.path().join("s.png"), CancellationToken::new());
        let error = browser("/bin/false").capture(URL, Some(&resolve), &out, &cancel).await.unwrap_err();
        assert_eq!(error.to_string(), "Chromium ended (exit code 1) without a picture: no message");
        let error = browser("/no/chromium").capture(URL, Some(&resolve), &out, &cancel).await.unwrap_err();
        assert!(matches!(error, ScreenshotError::Start(_)), "{error}");
    }
}
