//! `tally-seed-model DIR [SEED]`: writes `seed-chat.gguf` and `seed-embed.gguf` into a directory.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(dir) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: tally-seed-model DIR [SEED]");
        return ExitCode::from(2);
    };
    let seed = match arguments.next().map(|text| text.to_string_lossy().parse()) {
        None => tally_seed_model::SEED,
        Some(Ok(seed)) => seed,
        Some(Err(_)) => {
            eprintln!("the seed must be a whole number");
            return ExitCode::from(2);
        }
    };
    let written = std::fs::create_dir_all(&dir)
        .and_then(|()| {
            std::fs::write(
                dir.join("seed-chat.gguf"),
                tally_seed_model::chat_model(seed),
            )
        })
        .and_then(|()| {
            std::fs::write(
                dir.join("seed-embed.gguf"),
                tally_seed_model::embedding_model(seed),
            )
        });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("write models to {}: {error}", dir.display());
            ExitCode::from(3)
        }
    }
}
