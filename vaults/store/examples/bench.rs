//! Numbers of the vault on this disk: durable appends, opening, merging, bytes per memory.
//!
//! `cargo run --release -p tally-vault --example bench -- FOLDER [OPERATIONS]`. The folder must be new or empty.

use std::path::PathBuf;
use std::time::Instant;

use tally_vault::format::{Identity, MemberKind, NamespaceId, Right, Seed, SlotCost};
use tally_vault::{
    Change, Create, Environment, Key, NewContent, NewRecord, Open, Place, Share, Vault,
};

const MEMORY: [u8; 200] = [b'm'; 200];

fn batch(size: usize) -> Vec<Change<'static>> {
    let record = || NewRecord {
        record_type: "memory/fact",
        run: None,
        receipt: None,
        content: NewContent::Bytes(&MEMORY),
    };
    (0..size).map(|_| Change::Add(record())).collect()
}

fn identity(seed: u8) -> Identity {
    Identity::new(MemberKind::Device, Seed::from_bytes([seed; 32]))
}

fn open(place: &Place, seed: u8) -> Result<Vault, tally_vault::OpenError> {
    Vault::open(
        Environment::of_this_computer(),
        place,
        Open::writing(Key::Member(identity(seed))),
    )
}

fn folder_bytes(folder: &std::path::Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        bytes += if found.is_dir() {
            folder_bytes(&entry.path())?
        } else {
            found.len()
        };
    }
    Ok(bytes)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("name a folder")?);
    let operations: usize = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let place = Place {
        folder: folder.join("a"),
        local: folder.join("local-a"),
    };
    let create = Create {
        passphrase: "bench",
        cost: SlotCost::LEAST,
        namespaces: &["memory"],
    };
    let mut vault = Vault::create(Environment::of_this_computer(), &place, &create)?.vault;
    for seed in [1, 2] {
        let rights = vec![(NamespaceId::ALL, Right::Admin)];
        vault.share(&Share {
            card: *identity(seed).card(),
            rights,
            expires: None,
            depth: 1,
        })?;
    }
    drop(vault);

    let mut vault = open(&place, 1)?;
    let memory = vault.namespace("memory").ok_or("the namespace")?;
    let before = folder_bytes(&place.folder)?;
    let durable = operations.min(20_000);
    let start = Instant::now();
    for _ in 0..durable / 100 {
        vault.append(&memory, batch(100))?;
    }
    let spent = start.elapsed().as_secs_f64();
    println!(
        "append, batches of 100, one sync each: {:.0} operations/s ({:.2} ms a batch)",
        durable as f64 / spent,
        spent * 1e5 / durable as f64
    );
    let after = folder_bytes(&place.folder)?;
    println!(
        "bytes per 200-byte memory in batches of 100: {:.1}",
        (after - before) as f64 / durable as f64
    );
    let mut left = operations - durable;
    while left > 0 {
        let size = left.min(1_000);
        vault.append(&memory, batch(size))?;
        left -= size;
    }
    drop(vault);
    for _ in 0..3 {
        let start = Instant::now();
        let mut vault = open(&place, 1)?;
        let records = vault.view().current().len();
        let spent = start.elapsed().as_secs_f64();
        println!(
            "open {records} operations: {spent:.3} s, index {:.0} bytes each",
            vault.memory() as f64 / records as f64
        );
    }

    // Two copies that each wrote 50,000 apart.
    let [b, c] = ["b", "c"].map(|name| Place {
        folder: folder.join(name),
        local: folder.join(format!("local-{name}")),
    });
    let create = Create {
        passphrase: "bench",
        cost: SlotCost::LEAST,
        namespaces: &["memory"],
    };
    let mut vault = Vault::create(Environment::of_this_computer(), &b, &create)?.vault;
    for seed in [1, 2] {
        let rights = vec![(NamespaceId::ALL, Right::Admin)];
        vault.share(&Share {
            card: *identity(seed).card(),
            rights,
            expires: None,
            depth: 1,
        })?;
    }
    let mut file = Vec::new();
    vault.export(&mut file)?;
    drop(vault);
    tally_vault::unpack(Environment::of_this_computer(), &c, &mut file.as_slice())?;
    for (place, seed) in [(&b, 1), (&c, 2)] {
        let mut vault = open(place, seed)?;
        let memory = vault.namespace("memory").ok_or("the namespace")?;
        for _ in 0..50 {
            vault.append(&memory, batch(1_000))?;
        }
    }
    let mut vault = open(&b, 1)?;
    let start = Instant::now();
    let taken = vault.merge_folder(&c.folder)?;
    let records = vault.view().current().len();
    println!(
        "merge 50,000 into 50,000: {:.3} s, {records} records, {} bytes of frames",
        start.elapsed().as_secs_f64(),
        taken.frame_bytes
    );
    Ok(())
}
