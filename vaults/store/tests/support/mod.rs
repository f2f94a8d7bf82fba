//! A computer to test on: a disk that can fail, a clock that can be set, randomness with a seed.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod sim;

use std::io;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tally_vault::format::{Identity, MemberKind, NamespaceId, OpId, Seed, SlotCost};
use tally_vault::fs::Fs;
use tally_vault::{
    Change, Clock, Create, Environment, Key, NewContent, NewRecord, Open, OpenError, Place, Random,
    Stored, Vault, WriteError,
};

pub(crate) const PASSPHRASE: &str = "canary-passphrase-of-the-owner";
pub(crate) const START_MS: u64 = 1_795_000_000_000;

/// A clock that the test sets.
pub(crate) struct TestClock(pub(crate) AtomicU64);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Randomness from a seed.
pub(crate) struct TestRandom(Mutex<blake3::OutputReader>);

impl TestRandom {
    pub(crate) fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_be_bytes());
        Self(Mutex::new(hasher.finalize_xof()))
    }
}

impl Random for TestRandom {
    fn fill(&self, buffer: &mut [u8]) -> io::Result<()> {
        self.0.lock().expect("no panic while locked").fill(buffer);
        Ok(())
    }
}

/// One computer.
#[derive(Clone)]
pub(crate) struct Computer {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) random: Arc<TestRandom>,
    pub(crate) place: Place,
}

impl Computer {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            clock: Arc::new(TestClock(AtomicU64::new(START_MS))),
            random: Arc::new(TestRandom::new(seed)),
            place: Place {
                folder: PathBuf::from("/vault"),
                local: PathBuf::from(format!("/local-{seed}")),
            },
        }
    }

    pub(crate) fn with_folder(mut self, folder: &str) -> Self {
        self.place.folder = PathBuf::from(folder);
        self
    }

    pub(crate) fn environment(&self, fs: &(impl Fs + Clone + 'static)) -> Environment {
        Environment {
            fs: Arc::new(fs.clone()),
            clock: self.clock.clone(),
            random: self.random.clone(),
            threads: NonZeroUsize::new(2).expect("not zero"),
        }
    }

    pub(crate) fn create(
        &self,
        fs: &(impl Fs + Clone + 'static),
        namespaces: &[&str],
    ) -> (Vault, String) {
        let create = Create {
            passphrase: PASSPHRASE,
            cost: SlotCost::LEAST,
            namespaces,
        };
        let created =
            Vault::create(self.environment(fs), &self.place, &create).expect("a vault is made");
        (created.vault, created.phrase.to_string())
    }

    pub(crate) fn open(
        &self,
        fs: &(impl Fs + Clone + 'static),
        options: Open<'_>,
    ) -> Result<Vault, OpenError> {
        Vault::open(self.environment(fs), &self.place, options)
    }

    pub(crate) fn write(&self, fs: &(impl Fs + Clone + 'static)) -> Vault {
        self.open(fs, Open::writing(Key::Passphrase(PASSPHRASE)))
            .expect("it opens for writing")
    }

    pub(crate) fn read(&self, fs: &(impl Fs + Clone + 'static)) -> Vault {
        self.open(fs, Open::reading(Key::Passphrase(PASSPHRASE)))
            .expect("it opens for reading")
    }
}

pub(crate) fn record(content: &[u8]) -> NewRecord<'_> {
    NewRecord {
        record_type: "canary-type/note",
        run: None,
        receipt: None,
        content: NewContent::Bytes(content),
    }
}

pub(crate) fn add(
    vault: &mut Vault,
    namespace: &NamespaceId,
    text: &str,
) -> Result<OpId, WriteError> {
    Ok(vault.append(namespace, vec![Change::Add(record(text.as_bytes()))])?[0])
}

pub(crate) fn text(vault: &mut Vault, id: &OpId) -> String {
    let record = vault.get(id).expect("the record is there");
    let mut bytes = Vec::new();
    vault
        .read_content(&record, &mut bytes)
        .expect("its content is there");
    if let Stored::Inline(inline) = &record.content {
        assert_eq!(**inline, bytes);
    }
    String::from_utf8(bytes).expect("tests write text")
}

/// Texts of all current records, sorted.
pub(crate) fn texts(vault: &mut Vault) -> Vec<String> {
    let mut found = Vec::new();
    let ids = vault.view().current();
    for id in ids {
        match vault.get(&id) {
            Ok(_) => found.push(text(vault, &id)),
            Err(error) => panic!("{error}"),
        }
    }
    found.sort();
    found
}

pub(crate) fn agent(seed: u8) -> Identity {
    Identity::new(MemberKind::Agent, Seed::from_bytes([seed; 32]))
}

/// The codes of findings, sorted.
pub(crate) fn codes(vault: &mut Vault) -> Vec<&'static str> {
    let mut codes: Vec<&'static str> = vault
        .check()
        .expect("the folder can be read")
        .iter()
        .map(|found| found.code.as_str())
        .collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// A device whose key the test knows, so that opening does not cost what a passphrase costs.
pub(crate) fn device() -> Identity {
    Identity::new(MemberKind::Device, Seed::from_bytes([77; 32]))
}

/// Admits it to everything.
pub(crate) fn admit_device(vault: &mut Vault) {
    let rights = vec![(NamespaceId::ALL, tally_vault::format::Right::Admin)];
    let share = tally_vault::Share {
        card: *device().card(),
        rights,
        expires: None,
        depth: 10,
    };
    vault.share(&share).expect("admitted");
}

/// Randomness for what a test makes by hand.
pub(crate) struct Chance(blake3::OutputReader);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_be_bytes());
        Self(hasher.finalize_xof())
    }
}

impl rand_core::TryRng for Chance {
    type Error = std::convert::Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }
    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }
    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(buffer);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Chance {}
