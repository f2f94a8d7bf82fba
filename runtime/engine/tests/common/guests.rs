//! The guests of the engine's tests, built from source. The command line's tests use them too.
#![allow(unreachable_pub, reason = "a module of tests, of two crates")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

static GUESTS: LazyLock<PathBuf> = LazyLock::new(|| {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/guests");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests");
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--locked",
            "--target",
            "wasm32-wasip2",
            "--manifest-path",
        ])
        .arg(workspace.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target)
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs, since it runs this test");
    assert!(
        output.status.success(),
        "the test guests do not build; `rustup target add wasm32-wasip2` may be missing:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    target.join("wasm32-wasip2/release")
});

/// A guest as it was built, without a manifest.
pub fn bare_guest(name: &str) -> Vec<u8> {
    std::fs::read(GUESTS.join(format!("{name}.wasm"))).expect("the guest was built")
}

/// Appends a custom section.
pub fn with_section(mut wasm: Vec<u8>, name: &str, data: &[u8]) -> Vec<u8> {
    let leb = |mut n: usize| {
        let mut out = Vec::new();
        loop {
            let byte = (n & 0x7f) as u8;
            n >>= 7;
            out.push(byte | if n > 0 { 0x80 } else { 0 });
            if n == 0 {
                return out;
            }
        }
    };
    let content = [leb(name.len()), name.as_bytes().to_vec(), data.to_vec()].concat();
    wasm.push(0);
    wasm.extend(leb(content.len()));
    wasm.extend(content);
    wasm
}
