//! Go's `golang.org/x/mod/sumdb/{tlog,note}`, as Debian packages them, read our tiles, checkpoints and proofs.
//!
//! Where Go or the package is not installed, the test says so and checks nothing. `scripts/setup.sh` installs both.

mod disk;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use disk::grown;
use tally_log::*;
use tally_receipt::SigningKey;

/// Where Debian's golang-golang-x-mod-dev puts it.
const GOPATH: &str = "/usr/share/gocode";

#[test]
fn an_implementation_that_nobody_here_wrote_reads_the_log() {
    let present = Command::new("go").arg("version").output().is_ok()
        && Path::new(GOPATH)
            .join("src/golang.org/x/mod/sumdb/tlog")
            .exists();
    if !present {
        // Past the test harness, which shows a passing test's output to nobody.
        writeln!(
            std::io::stderr(),
            "NOT RUN: Go and its golang.org/x/mod are not installed (apt-get install golang-go golang-golang-x-mod-dev)"
        )
        .unwrap();
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path();
    let size = 70_123;
    let disk = grown(&[1, 300, 66_000, size]);
    disk.write_to(&dir.join("log"));
    let tree = TiledTree::new(size, |resource| disk.read(resource));
    let root = root_of(&tree, size).unwrap();

    let origin = KeyName::new("tally/test-0123456789abcdef").unwrap();
    let mut checkpoint = Checkpoint {
        origin: origin.clone(),
        size,
        root,
    }
    .unsigned();
    let log = SigningKey::from_seed(&[1; 32]);
    checkpoint.sign(&log);
    let mut keys = vec![VerifierKey {
        name: origin.clone(),
        key_type: KeyType::Ed25519,
        key: log.public_key(),
    }];
    for number in 2..5u8 {
        let key = SigningKey::from_seed(&[number; 32]);
        let name = KeyName::new(&format!("{origin}/v{number}")).unwrap();
        checkpoint.cosign(&name, &key, UnixSeconds(1_796_000_000 + u64::from(number)));
        keys.push(VerifierKey {
            name,
            key_type: KeyType::Cosignature,
            key: key.public_key(),
        });
    }
    let write = |path: &str, text: String| {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("log/checkpoint", checkpoint.to_string());
    write("keys", keys.iter().map(|key| format!("{key}\n")).collect());
    for index in [0, 1, 255, 256, 257, 4095, 65_535, 65_536, 69_999, size - 1] {
        let proof = prove_inclusion(&tree, index, size).unwrap().unwrap();
        write(&format!("proofs/{index}"), lines(root, proof.hashes()));
    }
    for old in [1, 2, 255, 256, 300, 4097, 65_536, 66_000, size - 1, size] {
        let proof = prove_consistency(&tree, old, size).unwrap().unwrap();
        let old_root = root_of(&tree, old).unwrap();
        write(&format!("trees/{old}"), lines(old_root, proof.hashes()));
    }

    let ran = Command::new("go")
        .args(["run", "tests/go/check.go"])
        .arg(dir)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        // No network, no modules: only what Debian packages.
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOPROXY", "off")
        .env("GOPATH", GOPATH)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    println!("{said}");
    assert_eq!(
        said.trim(),
        "go: 70123 entries, 4 signatures, 10 inclusion proofs, 10 consistency proofs"
    );
}

fn lines(root: Hash, hashes: &[Hash]) -> String {
    use base64::Engine as _;

    let encode = |hash: &Hash| base64::engine::general_purpose::STANDARD.encode(hash.as_bytes());
    std::iter::once(&root)
        .chain(hashes)
        .map(|hash| encode(hash) + "\n")
        .collect()
}
