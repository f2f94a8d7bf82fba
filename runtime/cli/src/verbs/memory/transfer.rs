//! `tally memory export`.

use std::io::Write;
use std::path::PathBuf;

use clap::Args as ClapArgs;

use crate::failure::{OrFail, Outcome};
use crate::memories::{self, WhichMemory};
use crate::private;
use crate::ui::{printable, say};

/// Write everything to a file.
#[derive(ClapArgs)]
pub(crate) struct Export {
    /// For people: what stands now, and what was said.
    #[arg(long)]
    markdown: bool,
    /// The file, which nobody else can read; else stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    which: WhichMemory,
}

pub(crate) fn export(args: &Export, json: bool) -> Outcome {
    let opened = args.which.read()?;
    let now = memories::now()?;
    let text = if args.markdown {
        opened.memory.export_markdown(now)
    } else {
        serde_json::to_string(&opened.memory.export(now)).or_environment("write JSON")?
    };
    let Some(path) = &args.out else {
        if args.markdown && json {
            say!("{}", serde_json::json!({ "markdown": text }));
        } else if args.markdown {
            say!("{}", printable(&text));
        } else {
            say!("{text}");
        }
        return Ok(());
    };
    let mut file = private::create_new(path)
        .or_misuse(format_args!("make {}", path.display()))
        .map_err(|failure| failure.advise("name a file that is not there yet"))?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| tally_durable::sync(path));
    if let Err(failure) = written.or_environment(format_args!("write {}", path.display())) {
        // Half of an export looks like a whole one.
        let _ = std::fs::remove_file(path);
        return Err(failure);
    }
    let counts = opened.memory.counts();
    if json {
        say!(
            "{}",
            serde_json::json!({ "file": path, "episodes": counts.episodes, "facts": counts.facts, "encrypted": false })
        );
    } else {
        eprintln!(
            "{} episodes and {} facts written to {}, not encrypted",
            counts.episodes,
            counts.facts,
            path.display()
        );
    }
    Ok(())
}
