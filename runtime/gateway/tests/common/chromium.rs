//! Headless Chromium, where there is one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Longest that one page may take to draw, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// The browser; without one, says that `test` does not run.
pub(crate) fn chromium(test: &str) -> Option<PathBuf> {
    let found = [
        "/usr/bin/chromium",
        "/usr/bin/chromium-browser",
        "/usr/bin/google-chrome",
    ]
    .into_iter()
    .map(PathBuf::from)
    .find(|path| path.exists());
    if found.is_none() {
        loudly(&format!(
            "NOT RUN: {test}: there is no Chromium on this machine (Debian: apt-get install chromium)"
        ));
    }
    found
}

/// Past the harness, which keeps what passing tests print to itself.
pub(crate) fn loudly(sentence: &str) {
    let _ = writeln!(std::io::stderr(), "\n{sentence}");
}

pub(crate) struct Shot {
    pub(crate) dom: String,
    pub(crate) log: String,
    pub(crate) png: Vec<u8>,
}

/// Draws a page, once for its content and once for its picture, which stays at `keep`.
pub(crate) fn shoot(
    browser: &Path,
    url: &str,
    width: u32,
    height: u32,
    dark: bool,
    keep: &Path,
) -> Shot {
    let (dom, log) = content(browser, url, width, height, dark);
    run(
        browser,
        url,
        width,
        height,
        dark,
        &format!("--screenshot={}", keep.display()),
    );
    Shot {
        dom,
        log,
        png: std::fs::read(keep).unwrap_or_default(),
    }
}

/// What a page holds once its scripts are at their end, and what the browser said about it.
pub(crate) fn content(
    browser: &Path,
    url: &str,
    width: u32,
    height: u32,
    dark: bool,
) -> (String, String) {
    let output = run(browser, url, width, height, dark, "--dump-dom");
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn run(browser: &Path, url: &str, width: u32, height: u32, dark: bool, task: &str) -> Output {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--hide-scrollbars",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            "--disable-dev-shm-usage",
            // Time goes on as fast as there is nothing to wait for: scripts get to their end.
            "--virtual-time-budget=10000",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},{height}"))
        .arg(format!(
            "--blink-settings=preferredColorScheme={}",
            u8::from(!dark)
        ))
        .arg(task)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let id = child.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            let _ = Command::new("kill").arg(id.to_string()).status();
            panic!("Chromium did not draw {url} in {PATIENCE:?}");
        }
    }
}

impl Shot {
    /// The page was drawn in its size, and the browser found nothing to complain about.
    pub(crate) fn is_sound(&self, name: &str, width: u32, height: u32) {
        for complaint in ["Content Security Policy", "Refused to", "Uncaught"] {
            assert!(!self.log.contains(complaint), "{name}: {}", self.log);
        }
        assert_eq!(size(&self.png), (width, height), "{name}");
    }
}

/// Width and height in the head of a PNG.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG"), "no picture was drawn");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}
