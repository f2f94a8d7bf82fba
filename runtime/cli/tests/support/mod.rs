//! A `tally` with a home of its own, and the components it runs.

#![allow(
    dead_code,
    reason = "each test binary uses its own part of this module"
)]

pub(crate) mod vaults;

use std::ffi::OsStr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// A fresh data directory and a folder for files, both gone at the end. Nothing is settled on it that is not asked for: a process
/// in the background would outlive the test.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
    settles: bool,
}

impl Machine {
    /// Nothing on it: no model, no key, no run. Compiled code is shared between tests, since compiling Python for each
    /// would take most of the time; it is authenticated, and no test is about it.
    pub(crate) fn bare() -> Self {
        let machine = Self {
            dir: tempfile::tempdir().expect("a temporary folder can be made"),
            settles: false,
        };
        let compiled = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let home = machine.path("home");
        for dir in [&compiled, &home] {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(dir)
                .expect("the build folder can be written");
        }
        std::os::unix::fs::symlink(compiled, home.join("compiled")).expect("a link can be made");
        machine
    }

    /// With the seeded test model as the default one.
    pub(crate) fn with_model() -> Self {
        let machine = Self::bare();
        machine
            .tally([
                "model",
                "add",
                seed_model().to_str().expect("the path is UTF-8"),
                "--name",
                "seed",
                "--default",
            ])
            .ok();
        machine
    }

    /// Adds an embedding model with weights of this seed, under this name.
    pub(crate) fn add_embedding_model(&self, name: &str, seed: u64) {
        let file = self.file(
            &format!("{name}.gguf"),
            tally_seed_model::embedding_model(seed),
        );
        let file = file.to_str().expect("the path is UTF-8");
        self.tally(["model", "add", file, "--name", name]).ok();
    }

    /// Where receipts are settled unasked, as anywhere.
    pub(crate) fn settling(mut self) -> Self {
        self.settles = true;
        self
    }

    /// A place for a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and gives its place.
    pub(crate) fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, contents).expect("the temporary folder can be written");
        path
    }

    /// `tally` on this machine, ready to be given arguments.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tally"));
        command
            .env("TALLY_HOME", self.path("home"))
            .env_remove("TALLY_LOG")
            .env_remove("TALLY_LOG_FORMAT")
            .env_remove("HF_ENDPOINT")
            .env_remove("HF_TOKEN")
            .env_remove("TALLY_NETWORK")
            .env_remove("TALLY_EMBEDDING")
            .env_remove("TALLY_SETTLE")
            .env_remove("TALLY_IDENTIFIERS")
            .stdin(Stdio::null());
        if !self.settles {
            command.env("TALLY_SETTLE", "none");
        }
        command
    }

    /// Runs `tally` to its end.
    pub(crate) fn tally<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        let mut command = self.command();
        command.args(args);
        Ended::of(command)
    }
}

/// A command that has ended.
pub(crate) struct Ended {
    line: String,
    output: Output,
}

impl Ended {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        Self {
            line: format!("{command:?}"),
            output: command.output().expect("the command can be started"),
        }
    }

    /// The exit code; a signal is a failure of the test.
    pub(crate) fn code(&self) -> i32 {
        self.output
            .status
            .code()
            .unwrap_or_else(|| panic!("{} was ended by a signal: {}", self.line, self.stderr()))
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8(self.output.stdout.clone()).expect("stdout is UTF-8")
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).expect("stderr is UTF-8")
    }

    /// Stdout as one JSON value and nothing else.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout()).unwrap_or_else(|error| {
            panic!(
                "{}: stdout is not one JSON value ({error}):\n{}\n{}",
                self.line,
                self.stdout(),
                self.stderr()
            )
        })
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.code(),
            code,
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.line,
            self.stdout(),
            self.stderr()
        );
        self
    }

    /// The person at the terminal reads `words`.
    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(
            self.stderr().contains(words) || self.stdout().contains(words),
            "{}\nwanted: {words}\n--- stderr\n{}\n--- stdout\n{}",
            self.line,
            self.stderr(),
            self.stdout()
        );
        self
    }
}

/// The checkout.
pub(crate) fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the checkout is there")
}

/// A sample agent or plugin: taken from `$TALLY_COMPONENTS` where the test run has built them, else built here.
pub(crate) fn component(name: &str) -> PathBuf {
    if let Some(dir) = std::env::var_os("TALLY_COMPONENTS") {
        let path = PathBuf::from(dir).join(format!("{name}.wasm"));
        assert!(
            path.is_file(),
            "{} is missing: run scripts/components.sh",
            path.display()
        );
        return path;
    }
    static BUILDING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = BUILDING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.wasm"));
    let source = ["sample-agents", "plugins"]
        .into_iter()
        .map(|folder| checkout().join(folder).join(name))
        .find(|source| source.is_dir())
        .unwrap_or_else(|| panic!("no component is called {name}"));
    Machine::bare()
        .tally([
            OsStr::new("agent"),
            OsStr::new("build"),
            source.as_os_str(),
            OsStr::new("--out"),
            out.as_os_str(),
        ])
        .ok();
    out
}

/// A small chat model with seeded weights, written once per test run.
pub(crate) fn seed_model() -> &'static Path {
    static MODEL: OnceLock<PathBuf> = OnceLock::new();
    MODEL.get_or_init(|| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("seed-{}.gguf", std::process::id()));
        std::fs::write(&path, tally_seed_model::chat_model(tally_seed_model::SEED))
            .expect("the build folder can be written");
        path
    })
}
