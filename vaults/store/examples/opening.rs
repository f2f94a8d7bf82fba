//! What appending to a vault and opening it cost, for a profiler: `cargo run --release -p tally-vault --example opening -- FOLDER [OPERATIONS [IN_ONE]]`.
//!
//! A folder that is not there is filled first, each append with its sync.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tally_vault::format::{Identity, MemberKind, NamespaceId, Right, Seed, SlotCost};
use tally_vault::{
    Change, Create, Environment, Key, NewContent, NewRecord, Open, Place, Share, Vault,
};

fn device() -> Identity {
    Identity::new(MemberKind::Device, Seed::from_bytes([1; 32]))
}

fn fill(place: &Place, operations: usize, size: usize) -> Result<(), Box<dyn std::error::Error>> {
    // Making a vault takes what a passphrase does; the appends are measured without it.
    let create = Create {
        passphrase: "bench",
        cost: SlotCost::LEAST,
        namespaces: &["memory"],
    };
    let environment = Environment::of_this_computer();
    let mut vault = Vault::create(environment.clone(), place, &create)?.vault;
    vault.share(&Share {
        card: *device().card(),
        rights: vec![(NamespaceId::ALL, Right::Admin)],
        expires: None,
        depth: 1,
    })?;
    drop(vault);
    let mut vault = Vault::open(environment, place, Open::writing(Key::Member(device())))?;
    let memory = vault.namespace("memory").ok_or("the namespace")?;
    let (began, used) = (Instant::now(), processor()?);
    for _ in 0..operations / size {
        let add = || {
            Change::Add(NewRecord {
                record_type: "memory/fact",
                run: None,
                receipt: None,
                content: NewContent::Bytes(&[b'm'; 200]),
            })
        };
        vault.append(&memory, (0..size).map(|_| add()).collect())?;
    }
    let (took, used) = (began.elapsed(), processor()? - used);
    println!(
        "appended {operations}, {size} at once: {:.0}/s, {took:.2?}, {used:.2?} of processors",
        operations as f64 / took.as_secs_f64()
    );
    Ok(())
}

fn processor() -> Result<Duration, Box<dyn std::error::Error>> {
    Ok(clock_gettime(ClockId::ProcessCPUTime).try_into()?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("name a folder")?);
    let operations = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let size = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let place = Place {
        folder: folder.join("vault"),
        local: folder.join("local"),
    };
    if !folder.exists() {
        std::fs::create_dir_all(&folder)?;
        fill(&place, operations, size)?;
    }
    for _ in 0..5 {
        let (began, used) = (Instant::now(), processor()?);
        let mut vault = Vault::open(
            Environment::of_this_computer(),
            &place,
            Open::reading(Key::Member(device())),
        )?;
        let records = vault.view().current().len();
        println!(
            "opened {records} in {:.3?}, {:.3?} of processors, index {} bytes each",
            began.elapsed(),
            processor()? - used,
            vault.memory() / records.max(1)
        );
    }
    Ok(())
}
