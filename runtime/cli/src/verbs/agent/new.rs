//! `tally agent new`: a project that builds with one command and runs.
//!
//! The project is whole: the template of its language and, under `sdk/`, a copy of that language's SDK with the contract
//! inside. Nothing is fetched from anywhere but the language's own package registry at build time.
//!
//! Invariants: an existing path is never touched; a failure leaves nothing behind.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, ValueEnum};
use include_dir::{Dir, DirEntry, include_dir};

use super::build::is_project_name;
use crate::failure::{Failure, OrFail, Outcome};
use crate::ui::say;

static RUST: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/rust");
static PYTHON: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/python");
static JS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/js");
static SDK_RUST: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../plugins/sdk-rust");
pub(super) static SDK_PYTHON: Dir<'static> =
    include_dir!("$CARGO_MANIFEST_DIR/../../plugins/sdk-python");
pub(super) static SDK_JS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../plugins/sdk-js");

/// The languages an agent can be started in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Lang {
    Rust,
    Python,
    Js,
}

/// Start an agent in a new folder.
#[derive(ClapArgs)]
#[command(
    after_help = "Examples:\n  tally agent new helper --lang rust\n  cd helper && tally agent build && tally run helper.wasm --input hello --grant-asked"
)]
pub(crate) struct Args {
    /// The agent's name and the folder's: lower-case letters, digits and single hyphens.
    name: String,
    /// The language.
    #[arg(long, value_enum)]
    lang: Lang,
    /// Where the folder goes.
    #[arg(long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    if !is_project_name(&args.name) {
        return Err(Failure::misuse(format_args!("{:?} cannot be an agent's name", args.name))
            .advise("1 to 64 lower-case letters, digits and single hyphens, a letter first: for example my-agent"));
    }
    let root = args.dir.join(&args.name);
    std::fs::create_dir(&root)
        .or_misuse(format_args!("create {}", root.display()))
        .map_err(|failure| failure.advise("choose another name, or another place with --dir"))?;
    let (template, sdk) = match args.lang {
        Lang::Rust => (&RUST, &SDK_RUST),
        Lang::Python => (&PYTHON, &SDK_PYTHON),
        Lang::Js => (&JS, &SDK_JS),
    };
    let written =
        write(template, &root, Some(&args.name)).and_then(|()| write(sdk, &root.join("sdk"), None));
    if let Err(error) = written {
        // The folder was made a moment ago by this command and holds nothing of anybody's.
        let _ = std::fs::remove_dir_all(&root);
        return Err(error).or_environment(format_args!("write {}", root.display()));
    }
    if json {
        say!(
            "{}",
            serde_json::json!({ "project": root, "component": root.join(format!("{}.wasm", args.name)) })
        );
    } else {
        eprintln!(
            "made {0}. Next:\n  cd {0}\n  tally agent build\n  tally run {1}.wasm --input hello --grant-asked",
            root.display(),
            args.name
        );
    }
    Ok(())
}

/// Folders of a checkout that are no part of a project: what builds leave, and the SDKs' own tests.
const LEFT_OUT: [&str; 5] = ["target", "node_modules", "__pycache__", ".venv", "tests"];

/// Writes `from` under `to`; text files of a template get the name.
fn write(from: &Dir<'_>, to: &Path, name: Option<&str>) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in from.entries() {
        let Some(file_name) = entry.path().file_name() else {
            continue;
        };
        let Some(text) = file_name.to_str() else {
            continue;
        };
        if LEFT_OUT.contains(&text) {
            continue;
        }
        match entry {
            DirEntry::Dir(dir) => write(dir, &to.join(file_name), name)?,
            DirEntry::File(file) => {
                // A folder with a live Cargo.toml would be a package inside this one; a live .gitignore would hide it.
                let target = to.join(match text {
                    "Cargo.toml.template" => "Cargo.toml",
                    "gitignore" => ".gitignore",
                    other => other,
                });
                match (name, file.contents_utf8()) {
                    (Some(name), Some(contents)) => {
                        std::fs::write(target, contents.replace("{{name}}", name))?;
                    }
                    _ => std::fs::write(target, file.contents())?,
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_project_name;

    #[test]
    fn names_that_some_language_cannot_carry_are_refused() {
        for good in ["a", "my-agent", "a1-b2"] {
            assert!(is_project_name(good), "{good}");
        }
        for bad in [
            "", "A", "1a", "a_b", "a--b", "a-", "-a", "a/b", "..", "ä", "a b",
        ] {
            assert!(!is_project_name(bad), "{bad}");
        }
        assert!(!is_project_name("a".repeat(65)));
    }
}
