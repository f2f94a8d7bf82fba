//! Writes `vectors/`: `cargo run --release -p tally-vault-format --example vectors [FOLDER]`. Always the same bytes.

mod all;
mod manifest;
mod objects;
mod raw;
mod vaults;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors"),
        std::path::PathBuf::from,
    );
    for (name, bytes) in all::vectors() {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
        std::fs::write(path, bytes)?;
    }
    Ok(())
}
