//! `tally agent build`: from a project folder to one component with its manifest inside.
//!
//! | a folder with | is built by |
//! |---|---|
//! | `Cargo.toml` | `cargo build --release --target wasm32-wasip2` |
//! | `app.py` | componentize-py, in a virtual environment of its own |
//! | `agent.js` | componentize-qjs, in a `node_modules` of its own |
//!
//! The tools of Python and JavaScript are installed once into the user's cache, from the lists in the SDKs' `toolchain`
//! folders, which name every package with its version and hash. The world is
//! `tool` when `tally.toml` says so, else `agent`. The manifest is appended as the custom section that
//! `tally_capability` names; a component that already has one is refused, since two manifests would be two truths.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args as ClapArgs;
use tally_capability::Manifest;
use tally_durable::Access;
use wasm_encoder::ComponentSection;

use crate::failure::{Failure, OrFail, Outcome};
use crate::ui::{Progress, say};

use super::new::{SDK_JS, SDK_PYTHON};

/// The contract with guests, for toolchains that read it at build time.
static WIT: include_dir::Dir<'static> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/../../wit");

/// Build a project into one component.
#[derive(ClapArgs)]
#[command(
    after_help = "Examples:\n  tally agent build\n  tally agent build sample-agents/plan-with-a-tool --out plan.wasm"
)]
pub(crate) struct Args {
    /// The project's folder.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where the component goes; else DIR/NAME.wasm, by the name in tally.toml.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    let built = build(&args.dir, args.out.as_deref())?;
    let digest = blake3::hash(&built.bytes);
    if json {
        say!(
            "{}",
            serde_json::json!({ "component": built.path, "blake3": digest.to_hex().as_str(), "bytes": built.bytes.len() })
        );
    } else {
        eprintln!(
            "{}  {} bytes  blake3 {}",
            built.path.display(),
            built.bytes.len(),
            digest.to_hex()
        );
    }
    Ok(())
}

/// A component on disk.
pub(crate) struct Built {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn build(dir: &Path, out: Option<&Path>) -> Result<Built, Failure> {
    let dir = dir
        .canonicalize()
        .or_misuse(format_args!("open {}", dir.display()))
        .map_err(|failure| {
            failure.advise("name the folder of an agent project, as `tally agent new` makes one")
        })?;
    let manifest_path = dir.join("tally.toml");
    let text = std::fs::read_to_string(&manifest_path)
        .or_misuse(format_args!("read {}", manifest_path.display()))
        .map_err(|failure| failure.advise("a project has a tally.toml that says what the agent asks for: see docs/manifest.md"))?;
    let manifest =
        Manifest::from_toml(&text).or_misuse(format_args!("use {}", manifest_path.display()))?;
    let world = manifest.world().name();

    let scratch = Scratch::new()?;
    let component = if dir.join("Cargo.toml").is_file() {
        rust(&dir)?
    } else if dir.join("app.py").is_file() {
        python(&dir, world, &scratch)?
    } else if dir.join("agent.js").is_file() {
        javascript(&dir, world, &scratch)?
    } else {
        return Err(Failure::misuse(format_args!(
            "{} has no Cargo.toml, app.py or agent.js",
            dir.display()
        ))
        .advise("`tally agent new NAME --lang rust|python|js` makes a project that builds"));
    };
    let bytes = with_manifest(component, &manifest)?;
    let path = match out {
        Some(path) => path.to_owned(),
        None => dir.join(format!("{}.wasm", manifest.name())),
    };
    // A reader never sees half a component, and a failed build keeps the old one.
    tally_durable::write_file(&path, &bytes, Access::Umask)
        .or_environment(format_args!("write {}", path.display()))?;
    Ok(Built { path, bytes })
}

fn with_manifest(mut component: Vec<u8>, manifest: &Manifest) -> Result<Vec<u8>, Failure> {
    let inspection = tally_engine::inspect(&component)
        .map_err(|error| Failure::misuse(format_args!("what was built cannot run: {error}")))?;
    if inspection.manifest.is_some() {
        return Err(Failure::misuse("the component carries a manifest already")
            .advise("remove the tally:manifest section from the sources; tally.toml is where it is written"));
    }
    wasm_encoder::CustomSection {
        name: tally_capability::MANIFEST_SECTION.into(),
        data: manifest.to_canonical_json().into(),
    }
    .append_to_component(&mut component);
    Ok(component)
}

fn rust(dir: &Path) -> Result<Vec<u8>, Failure> {
    // The caller's target directory is for the caller's machine; guests share one of their own.
    let target = cache_dir()?.join("guests");
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(dir)
        .args([
            "build",
            "--release",
            "--target",
            "wasm32-wasip2",
            "--message-format",
            "json-render-diagnostics",
            "--target-dir",
        ])
        .arg(&target)
        // Flags meant for this machine's compiler would reach the guest's.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    let messages = step(
        &mut cargo,
        "cargo",
        "compiling with cargo",
        "Rust agents are built by cargo: install Rust 1.95 or later",
    )
    .map_err(|failure| {
        failure.advise("if the target is missing: rustup target add wasm32-wasip2")
    })?;
    let mut found = Vec::new();
    for line in messages.split(|&byte| byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<serde_json::Value>(line) else {
            continue;
        };
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        for file in message["filenames"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|file| file.as_str())
        {
            if file.ends_with(".wasm") {
                found.push(PathBuf::from(file));
            }
        }
    }
    match found.as_slice() {
        [one] => read(one),
        [] => Err(Failure::misuse("cargo built no .wasm")
            .advise("the package needs `[lib] crate-type = [\"cdylib\"]`")),
        many => Err(Failure::misuse(format_args!(
            "cargo built {} components; a project is one",
            many.len()
        ))
        .advise("keep one cdylib in the package")),
    }
}

fn python(dir: &Path, world: &str, scratch: &Scratch) -> Result<Vec<u8>, Failure> {
    let tools = toolchain("python", &SDK_PYTHON, |tools| {
        step(
            Command::new("python3").args(["-m", "venv"]).arg(tools),
            "python3",
            "making a virtual environment",
            "Python agents need Python 3.10 or later with venv: apt-get install python3-venv",
        )?;
        step(
            Command::new(tools.join("bin/pip"))
                .args([
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--require-hashes",
                    "--only-binary",
                    ":all:",
                    "-r",
                ])
                .arg(tools.join("requirements.txt")),
            "pip",
            "installing componentize-py",
            "the virtual environment has no pip: apt-get install python3-venv",
        )
        .map(drop)
    })?;
    let out = scratch.0.join("out.wasm");
    let mut command = Command::new(tools.join("bin/componentize-py"));
    command
        .current_dir(dir)
        .arg("-d")
        .arg(scratch.wit()?)
        .args(["-w", world, "componentize", "--stub-wasi", "app"]);
    for path in [dir.to_owned(), dir.join("sdk")] {
        command.arg("-p").arg(path);
    }
    if let Some(root) = checkout(dir, "sdk-python") {
        command.arg("-p").arg(root.join("plugins/sdk-python"));
    }
    command.arg("-o").arg(&out);
    step(
        &mut command,
        "componentize-py",
        "building with componentize-py",
        "reinstall it: remove the python folder under the user's cache",
    )?;
    read(&out)
}

fn javascript(dir: &Path, world: &str, scratch: &Scratch) -> Result<Vec<u8>, Failure> {
    let tools = toolchain("js", &SDK_JS, |tools| {
        step(
            // `ci` would insist on optional packages for other machines, which a mirror need not have. The lock file's
            // hashes are checked all the same.
            Command::new("npm").current_dir(tools).args([
                "install",
                "--silent",
                "--no-save",
                "--no-audit",
                "--no-fund",
            ]),
            "npm",
            "installing componentize-qjs",
            "JavaScript agents need Node 18 or later with npm: apt-get install nodejs npm",
        )
        .map(drop)
    })?;
    let out = scratch.0.join("out.wasm");
    // Not through `.bin`: Node 18 takes that file, which has no extension, for an older kind of module.
    let mut command = Command::new("node");
    command
        .arg(tools.join("node_modules/componentize-qjs/cli.mjs"))
        .current_dir(dir)
        .arg("--wit")
        .arg(scratch.wit()?)
        .args([
            "--world",
            world,
            "--js",
            "agent.js",
            "--sync",
            "--stub-wasi",
            "-o",
        ])
        .arg(&out);
    if let Some(root) = checkout(dir, "sdk-js") {
        // In a checkout `sdk` is a link out of the project, and files outside the module root are refused.
        command.arg("--module-root").arg(root);
    }
    step(
        &mut command,
        "componentize-qjs",
        "building with componentize-qjs",
        "reinstall it: remove the js folder under the user's cache",
    )?;
    read(&out)
}

/// The checkout that a project lies inside, if it does (the sample agents).
fn checkout(dir: &Path, sdk: &str) -> Option<PathBuf> {
    dir.ancestors()
        .find(|ancestor| ancestor.join("plugins").join(sdk).is_dir())
        .map(Path::to_owned)
}

/// A language's tools, installed once. The folder is named by the digest of the list of what is installed; a stamp
/// written last says it is whole.
fn toolchain(
    language: &str,
    sdk: &include_dir::Dir<'_>,
    install: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<PathBuf, Failure> {
    let lists: Vec<_> = sdk
        .get_dir("toolchain")
        .into_iter()
        .flat_map(include_dir::Dir::files)
        .collect();
    let mut hasher = blake3::Hasher::new();
    for file in &lists {
        hasher
            .update(file.path().as_os_str().as_encoded_bytes())
            .update(file.contents());
    }
    let name = format!("{language}-{}", &hasher.finalize().to_hex()[..16]);
    let dir = cache_dir()?.join("toolchains").join(name);
    let stamp = dir.join(".whole");
    if !stamp.is_file() {
        if dir.exists() {
            std::fs::remove_dir_all(&dir)
                .or_environment(format_args!("remove the half-installed {}", dir.display()))?;
        }
        std::fs::create_dir_all(&dir).or_environment(format_args!("create {}", dir.display()))?;
        for file in &lists {
            let name = file
                .path()
                .file_name()
                .expect("a file of an embedded folder has a name");
            std::fs::write(dir.join(name), file.contents())
                .or_environment(format_args!("write {}", dir.display()))?;
        }
        eprintln!("installing what {language} agents are built with (once)");
        install(&dir)?;
        std::fs::write(&stamp, "").or_environment(format_args!("write {}", stamp.display()))?;
    }
    Ok(dir)
}

fn cache_dir() -> Result<PathBuf, Failure> {
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir),
        _ => std::env::home_dir()
            .ok_or_else(|| {
                Failure::environment("this user has no home directory").advise("set XDG_CACHE_HOME")
            })?
            .join(".cache"),
    };
    let dir = base.join("tally");
    std::fs::create_dir_all(&dir).or_environment(format_args!("create {}", dir.display()))?;
    Ok(dir)
}

/// Runs one tool, its stderr kept and shown only if it fails; gives its stdout.
fn step(command: &mut Command, tool: &str, what: &str, missing: &str) -> Result<Vec<u8>, Failure> {
    let progress = Progress::spinner(what);
    let output = command.stdin(Stdio::null()).output().map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            Failure::environment(format_args!("{tool} is not installed")).advise(missing)
        } else {
            Failure::environment(format_args!("cannot start {tool}: {error}"))
        }
    })?;
    drop(progress);
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let also = String::from_utf8_lossy(if output.stderr.is_empty() {
            &output.stdout
        } else {
            &[]
        });
        return Err(Failure::no(format_args!(
            "{} failed ({}):\n{}{}",
            command.get_program().display(),
            output.status,
            said.trim_end(),
            also.trim_end()
        )));
    }
    Ok(output.stdout)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).or_environment(format_args!("read {}", path.display()))
}

/// A folder that goes away again.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let mut random = [0u8; 8];
        getrandom::fill(&mut random)
            .or_environment("draw a name from the system's random source")?;
        let dir = std::env::temp_dir().join(format!("tally-build-{}", hex::encode(random)));
        std::fs::create_dir(&dir).or_environment(format_args!("create {}", dir.display()))?;
        Ok(Self(dir))
    }

    fn wit(&self) -> Result<PathBuf, Failure> {
        let dir = self.0.join("wit");
        std::fs::create_dir_all(&dir)
            .and_then(|()| WIT.extract(&dir))
            .or_environment("write the contract for the toolchain")?;
        Ok(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about a leftover in the temporary folder, and nothing depends on it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether `name` can be a project's name in every language.
pub(crate) fn is_project_name(name: impl AsRef<OsStr>) -> bool {
    name.as_ref().to_str().is_some_and(|name| {
        (1..=64).contains(&name.len())
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && !name.ends_with('-')
            && !name.contains("--")
    })
}
