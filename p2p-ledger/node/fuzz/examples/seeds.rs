//! Writes good bytes for each target into `FOLDER/TARGET`: `seeds FOLDER`.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let folder = env::args_os().nth(1).map_or("corpus".into(), PathBuf::from);
    for (number, (target, bytes)) in tally_node::fuzzing::samples().into_iter().enumerate() {
        let folder = folder.join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("good-{number:03}")), bytes)?;
    }
    Ok(())
}
