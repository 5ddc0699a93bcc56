//! The picture of an app's first page, made by headless Chromium as a child process.
//!
//! The page is hostile: it sees no host but its own (every other name and address is mapped to "not found"), no file,
//! no profile of a person, and nothing it downloads outlives the call. JavaScript runs. A picture that cannot be made
//! is a warning to the caller, never a verdict. The race to know: a process group may only be signalled while its
//! leader is not reaped; afterwards stragglers are found by the name of the temporary folder, which is theirs alone.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::sanitise;
use crate::domain::Screenshot;

/// Time that a picture may take, tries on a blank page included.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A page whose pixels are all of one colour but for less than this share counts as blank.
const BLANK_SHARE: f64 = 0.001;

/// Milliseconds of the page's own time before the picture is taken, by try. Idle time passes at once.
const BUDGETS_MS: [u32; 3] = [4_000, 12_000, 30_000];

const WINDOW: (u32, u32) = (1280, 800);

/// Largest picture that is read back, in pixels: Chromium makes no larger one of our window.
const PIXELS_MAX: u64 = 4096 * 4096;

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
    #[error("cannot start {program}: {source}")]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's word.
        source: io::Error,
    },
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
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// What Chromium wrote is not a picture that can be read.
    #[error("the screenshot cannot be read: {0}")]
    Picture(String),
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
        let path = std::env::var_os("PATH")?;
        let runs = |file: &Path| fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
        ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
            .iter()
            .flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)))
            .find(|file| runs(file))
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
        let deadline = Instant::now() + self.limit;
        let mut taken = None;
        for budget in BUDGETS_MS {
            let shot = match self.shoot(url, &rules, budget, deadline, cancel).await {
                // A blank picture is better than none when time runs out in a later try.
                Err(ScreenshotError::TimedOut(_)) if taken.is_some() => break,
                shot => shot?,
            };
            let blank = is_blank(&shot);
            taken = Some(shot);
            if !blank {
                break;
            }
        }
        let shot = taken.ok_or(ScreenshotError::TimedOut(self.limit))?;
        shot.write(out)?;
        let file = out.file_name().unwrap_or(out.as_os_str()).to_string_lossy().into_owned();
        Ok(Screenshot { file, url: url.to_owned(), blank: is_blank(&shot) })
    }

    /// One start of Chromium, one picture.
    async fn shoot(
        &self,
        url: &str,
        rules: &str,
        budget_ms: u32,
        deadline: Instant,
        cancel: &CancellationToken,
    ) -> Result<Picture, ScreenshotError> {
        let mut browser = Running::start(&self.program, url, rules, budget_ms)?;
        let status = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(ScreenshotError::Cancelled),
            status = browser.child.wait() => status.map_err(ScreenshotError::Io),
            () = tokio::time::sleep_until(deadline) => Err(ScreenshotError::TimedOut(self.limit)),
        };
        if status.is_err() {
            browser.kill().await;
        }
        let status = status?;
        let Ok(file) = File::open(browser.picture()) else {
            return Err(ScreenshotError::NoPicture { status: status.to_string(), output: browser.last_words() });
        };
        Picture::read(file)
    }
}

/// A Chromium at work. Dropping it ends every process of it and removes its folder.
struct Running {
    child: Child,
    folder: TempDir,
}

impl Running {
    fn start(program: &Path, url: &str, rules: &str, budget_ms: u32) -> Result<Self, ScreenshotError> {
        let folder = tempfile::Builder::new().prefix("cc-ci-chromium-").tempdir()?;
        let profile = folder.path().join("profile/Default");
        fs::create_dir_all(&profile)?;
        // 3: no download at all.
        fs::write(profile.join("Preferences"), r#"{"download_restrictions":3}"#)?;
        let output = File::create(folder.path().join("output"))?;
        let mut command = Command::new(program);
        command
            .args(["--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-extensions", "--disable-breakpad", "--disable-dev-shm-usage", "--mute-audio"])
            .args(["--no-default-browser-check", "--ignore-certificate-errors", "--no-proxy-server"])
            .args(["--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--password-store=basic"])
            .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
            .arg(format!("--host-resolver-rules={rules}"))
            .arg(format!("--window-size={},{}", WINDOW.0, WINDOW.1))
            .arg(format!("--virtual-time-budget={budget_ms}"))
            .arg(format!("--screenshot={}", folder.path().join("picture.png").display()));
        if rustix::process::geteuid().is_root() {
            // Chromium refuses to start as root with its own sandbox.
            command.arg("--no-sandbox");
        }
        command
            .arg(url)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder.path())
            .env("LANG", "C.UTF-8")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(|source| ScreenshotError::Start { program: program.to_owned(), source })?;
        Ok(Self { child, folder })
    }

    fn picture(&self) -> PathBuf {
        self.folder.path().join("picture.png")
    }

    /// The end of what Chromium wrote, as one line.
    fn last_words(&self) -> String {
        let text = fs::read(self.folder.path().join("output")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let tail: Vec<&str> = text.lines().rev().take(3).collect();
        sanitise::line(&tail.into_iter().rev().collect::<Vec<_>>().join(" "), 400)
    }

    async fn kill(&mut self) {
        self.kill_group();
        // Killed, so this cannot take long; the exit status is of no interest.
        let _ = self.child.wait().await;
    }

    /// Kills the group, if its leader is not reaped yet.
    fn kill_group(&self) {
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // Fails only if everything in the group has ended.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }

    /// Kills what left the group, recognised by our folder in its arguments or environment.
    fn kill_stragglers(&self) {
        let Ok(processes) = fs::read_dir("/proc") else { return };
        for process in processes.flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()).and_then(Pid::from_raw) else {
                continue;
            };
            // Opened before looking, so that the signal cannot hit a later process with the same number.
            let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { continue };
            if ["cmdline", "environ"].iter().any(|file| self.names_our_folder(&process.path().join(file))) {
                let _ = rustix::process::pidfd_send_signal(&handle, Signal::KILL);
            }
        }
    }

    fn names_our_folder(&self, file: &Path) -> bool {
        let folder = self.folder.path().as_os_str().as_encoded_bytes();
        fs::read(file).is_ok_and(|bytes| bytes.windows(folder.len()).any(|part| part == folder))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_group();
        self.kill_stragglers();
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

/// A picture in memory, 8 bits per channel.
struct Picture {
    width: u32,
    height: u32,
    colour: png::ColorType,
    pixels: Vec<u8>,
}

impl Picture {
    fn read(file: File) -> Result<Self, ScreenshotError> {
        let bad = |e: &dyn std::fmt::Display| ScreenshotError::Picture(e.to_string());
        let mut decoder = png::Decoder::new(BufReader::new(file));
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().map_err(|e| bad(&e))?;
        let (width, height) = (reader.info().width, reader.info().height);
        if u64::from(width) * u64::from(height) > PIXELS_MAX {
            return Err(bad(&format!("{width}x{height} pixels are too many")));
        }
        let mut pixels = vec![0; reader.output_buffer_size().ok_or_else(|| bad(&"too large"))?];
        let frame = reader.next_frame(&mut pixels).map_err(|e| bad(&e))?;
        pixels.truncate(frame.buffer_size());
        Ok(Self { width, height, colour: frame.color_type, pixels })
    }

    /// Writes the pixels and nothing else of what Chromium made.
    fn write(&self, out: &Path) -> Result<(), ScreenshotError> {
        let bad = |e: png::EncodingError| ScreenshotError::Picture(e.to_string());
        let mut encoder = png::Encoder::new(io::BufWriter::new(File::create(out)?), self.width, self.height);
        encoder.set_color(self.colour);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(bad)?;
        writer.write_image_data(&self.pixels).map_err(bad)?;
        writer.finish().map_err(bad)
    }
}

/// Whether all pixels but a few have one colour.
fn is_blank(picture: &Picture) -> bool {
    let mut counts: HashMap<&[u8], u64> = HashMap::new();
    let mut all = 0_u64;
    for pixel in picture.pixels.chunks_exact(picture.colour.samples()) {
        *counts.entry(pixel).or_default() += 1;
        all += 1;
    }
    let most = counts.values().copied().max().unwrap_or(0);
    all == 0 || ((all - most) as f64) < BLANK_SHARE * all as f64
}
