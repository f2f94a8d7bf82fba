//! `tally bench vault`: what an encrypted memory costs, each figure beside its peer in the same run.
//!
//! * *seal* and *open* of large contents, beside the cipher alone and beside the `age` crate. The processor time of the
//!   thread is counted, so neighbours do not slow it; for two cores the clock on the wall is.
//! * *append*, durable when it returns, beside SQLite (WAL, `synchronous=FULL`) with the same records in transactions of
//!   the same size, and beside the disk's own sync. Syncs are counted by the file system that the vault is given.
//! * *opening* a vault, in a process of its own that has just started, from the page cache.
//! * *merging* two copies that diverged: by folder, and by a session over a pipe in memory.
//! * *bytes on the disk* for a memory of 200 bytes.
//!
//! Figures are medians of rounds; the peers take turns within a round. Vaults that are only read or merged here are
//! written without syncs, because what is measured about them is not the writing.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{self, Read as _, Write as _};
use std::num::NonZeroUsize;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use chacha20::{R20, hchacha};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, aead::AeadInOut as _};
use getrandom::rand_core::UnwrapErr;
use getrandom::{SysRng, fill};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rusqlite::Connection;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use tally_vault::format::{
    BLOB_GROUP_LEN, BlobOpener, BlobRef, BlobSealer, Frames, Identity, NamespaceId, SealId, Slot,
    SlotCost, VaultId, blob_header_len, seal_blob,
};
use tally_vault::fs::{Entry, Fs, Input, Lock, LockError, Output, RealFs};
use tally_vault::{
    Change, Create, DiskCopy, Environment, Key, NewContent, NewRecord, Open, Place, Vault,
};
use tally_vault_sync::{Limits, Report, initiate, respond};

/// The content whose sealing is measured.
const LARGE: usize = 64 << 20;
const CHUNK: usize = 64 << 10;
const TAG: usize = 16;
/// A large content is sealed and opened so often by each peer.
const SEAL_ROUNDS: usize = 7;
/// How long each peer appends in a round.
const APPEND_SPAN: Duration = Duration::from_millis(1_000);
const APPEND_ROUNDS: usize = 5;
const OPEN_ROUNDS: usize = 5;
const MERGE_ROUNDS: usize = 3;
/// Operations in one append.
const BATCH: usize = 100;
/// Bytes of a memory.
const MEMORY: usize = 200;
/// Bytes of the file on which the disk alone is measured.
const BARE: u64 = 4 << 20;
/// What each of two merged copies holds, and how much of it both do.
const REPLICA: usize = 50_000;
const SHARED: usize = 25_000;
const RAW_KEY: [u8; 32] = [7; 32];
const PASSPHRASE: &str = "for measuring only";
const NAMESPACE: &str = "memory";

/// What to leave out, and where to work.
pub(crate) struct Options<'a> {
    /// Leaves the vault of a million operations out.
    pub(crate) quick: bool,
    /// A folder on a disk; else the folder for temporary files.
    pub(crate) folder: Option<&'a Path>,
}

pub(crate) fn run(options: &Options<'_>) -> anyhow::Result<Value> {
    let above = options
        .folder
        .map_or_else(std::env::temp_dir, Path::to_path_buf);
    let folder = tempfile::Builder::new()
        .prefix("tally-bench-vault-")
        .tempdir_in(&above)
        .with_context(|| format!("make a folder in {}", above.display()))?;
    let root = folder.path().canonicalize()?;
    let file_system = file_system_of(&root)?;
    ensure!(
        !matches!(file_system.as_str(), "tmpfs" | "ramfs"),
        "{} is in memory ({file_system}); name a folder on a disk with --folder",
        above.display()
    );
    Ok(json!({
        "bench": "vault",
        "fileSystem": file_system,
        "cores": cores(),
        "large": large(&root).context("seal and open")?,
        "append": append(&root).context("append")?,
        "bytes": bytes(&root).context("bytes on the disk")?,
        "open": open(&root, options.quick).context("open")?,
        "merge": merge(&root).context("merge")?,
        "bar": {
            "largeToRaw": 0.9,
            "largeToAge": 1.5,
            "appendBatchesPerSecond": 20_000,
            "openSeconds": { "10000": 0.15, "100000": 1, "1000000": 10 },
            "mergeSeconds": 2,
            "mergeBytesToDifference": 1.05,
        },
    }))
}

// ---- large contents ----

/// One peer's way to do it. The closure says how long the part took that counts.
struct Peer<'a> {
    lap: Box<dyn FnMut() -> anyhow::Result<Duration> + 'a>,
    times: Vec<f64>,
}

impl<'a> Peer<'a> {
    fn new(lap: impl FnMut() -> anyhow::Result<Duration> + 'a) -> Self {
        Self {
            lap: Box::new(lap),
            times: Vec::new(),
        }
    }
}

/// Each takes its turn in each round; the first round is not counted. Medians, in seconds.
fn race<const N: usize>(mut peers: [Peer<'_>; N]) -> anyhow::Result<[f64; N]> {
    for round in 0..=SEAL_ROUNDS {
        for peer in &mut peers {
            let took = (peer.lap)()?;
            if round > 0 {
                peer.times.push(took.as_secs_f64());
            }
        }
    }
    Ok(peers.map(|peer| median(peer.times)))
}

fn large(root: &Path) -> anyhow::Result<Value> {
    let vault = VaultId([1; 32]);
    let content = noise(LARGE)?;
    let (file, blob) = seal_blob(&vault, &content, &mut UnwrapErr(SysRng))?;
    let identity = age::x25519::Identity::generate();
    let recipient = identity.to_public();
    let mut age_file = Vec::new();
    seal_with_age(&recipient, &content, &mut age_file)?;

    let (mut same, mut other) = (Chunked::new(&content), Chunked::new(&content));
    let seal = race([
        Peer::new(|| timed(|| seal_with_us(&vault, &content).map(drop))),
        Peer::new(|| timed(|| same.each(ring_seal))),
        Peer::new(|| timed(|| other.each(crate_seal))),
        Peer::new(|| timed(|| seal_with_age(&recipient, &content, io::sink()))),
    ])?;
    let open = race([
        Peer::new(|| timed(|| open_with_us(&vault, &blob, &file))),
        Peer::new(|| {
            same.each(ring_seal)?;
            timed(|| same.each(ring_open))
        }),
        Peer::new(|| {
            other.each(crate_seal)?;
            timed(|| other.each(crate_open))
        }),
        Peer::new(|| timed(|| open_with_age(&identity, &age_file))),
    ])?;
    let [hash] = race([Peer::new(|| {
        timed(|| {
            black_box(blake3::hash(&content));
            Ok(())
        })
    })])?;
    let two_cores = json!({
        "clock": "wall",
        "seal": two_cores(&|| seal_with_us(&vault, &content).map(drop))?,
        "open": two_cores(&|| open_with_us(&vault, &blob, &file))?,
    });
    Ok(json!({
        "bytes": LARGE,
        "clock": "processor time of one thread",
        "seal": compared(seal),
        "open": compared(open),
        "hashAloneMBPerSecond": megabytes(hash),
        "twoContentsOnTwoCores": two_cores,
        "throughTheVault": through_files(root, &content)?,
        "peers": {
            "raw": "XChaCha20-Poly1305 in place in chunks of 64 KiB, by ring, the fastest at hand: no commitment, no hash, no file",
            "rawCrate": "the same by the chacha20poly1305 crate, whose cipher is the one that the vault uses where the processor has AVX-512",
            "age": "the age crate, to one X25519 recipient, from memory and into nothing",
        },
    }))
}

fn compared([vault, raw, raw_crate, age]: [f64; 4]) -> Value {
    json!({
        "vaultMBPerSecond": megabytes(vault),
        "rawMBPerSecond": megabytes(raw),
        "rawCrateMBPerSecond": megabytes(raw_crate),
        "ageMBPerSecond": megabytes(age),
        "speedToRaw": round(raw / vault),
        "speedToRawCrate": round(raw_crate / vault),
        "speedToAge": round(age / vault),
    })
}

/// As the store writes a blob, but for the file.
fn seal_with_us(vault: &VaultId, content: &[u8]) -> anyhow::Result<BlobRef> {
    let mut sealer = BlobSealer::new(vault, content.len() as u64, &mut UnwrapErr(SysRng))?;
    let mut group = Vec::with_capacity(BLOB_GROUP_LEN);
    let mut rest = content;
    while let Some(len) = sealer.next_len() {
        let (now, later) = rest.split_at(len);
        group.clear();
        group.extend_from_slice(now);
        sealer.seal(&mut group);
        black_box(&group);
        rest = later;
    }
    let (blob, header) = sealer.finish();
    black_box(header);
    Ok(blob)
}

/// As the store reads a blob, but for the file.
fn open_with_us(vault: &VaultId, blob: &BlobRef, file: &[u8]) -> anyhow::Result<()> {
    let (header, mut rest) = file.split_at(blob_header_len(file.len() as u64)?);
    let mut opener = BlobOpener::new(vault, blob, file.len() as u64, header.to_vec())?;
    let mut group = Vec::with_capacity(BLOB_GROUP_LEN);
    while let Some(len) = opener.next_len() {
        let (now, later) = rest.split_at(len);
        group.clear();
        group.extend_from_slice(now);
        black_box(opener.open(&mut group)?);
        rest = later;
    }
    Ok(())
}

fn seal_with_age(
    recipient: &age::x25519::Recipient,
    content: &[u8],
    output: impl io::Write,
) -> anyhow::Result<()> {
    let recipient: &dyn age::Recipient = recipient;
    let encryptor = age::Encryptor::with_recipients(std::iter::once(recipient))?;
    let mut writer = encryptor.wrap_output(output)?;
    writer.write_all(content)?;
    writer.finish()?;
    Ok(())
}

fn open_with_age(identity: &age::x25519::Identity, file: &[u8]) -> anyhow::Result<()> {
    let identity: &dyn age::Identity = identity;
    let mut reader = age::Decryptor::new(file)?.decrypt(std::iter::once(identity))?;
    let mut buffer = vec![0; CHUNK];
    while let count = reader.read(&mut buffer)?
        && count > 0
    {
        black_box(&buffer[..count]);
    }
    Ok(())
}

/// A content in chunks, each with room for its tag.
struct Chunked(Vec<u8>);

impl Chunked {
    fn new(content: &[u8]) -> Self {
        let parts = content.chunks(CHUNK).flat_map(|chunk| [chunk, &[0; TAG]]);
        Self(parts.collect::<Vec<_>>().concat())
    }

    fn each(
        &mut self,
        work: impl Fn(&[u8; 24], &mut [u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for (number, chunk) in self.0.chunks_mut(CHUNK + TAG).enumerate() {
            let mut nonce = [3; 24];
            nonce[16..].copy_from_slice(&(number as u64).to_be_bytes());
            work(&nonce, chunk)?;
        }
        Ok(())
    }
}

/// `ring` has ChaCha20-Poly1305; with a key and a nonce from `HChaCha20` it is XChaCha20-Poly1305.
fn ring_cipher(nonce: &[u8; 24]) -> anyhow::Result<(LessSafeKey, Nonce)> {
    let (prefix, rest) = nonce.split_first_chunk::<16>().context("24 bytes")?;
    let inner = hchacha::<R20>(&RAW_KEY.into(), prefix.into());
    let key = UnboundKey::new(&CHACHA20_POLY1305, &inner)
        .ok()
        .context("32 bytes")?;
    let mut short = [0; 12];
    short[4..].copy_from_slice(rest);
    Ok((LessSafeKey::new(key), Nonce::assume_unique_for_key(short)))
}

fn ring_seal(nonce: &[u8; 24], chunk: &mut [u8]) -> anyhow::Result<()> {
    let (key, nonce) = ring_cipher(nonce)?;
    let (text, tag) = chunk.split_last_chunk_mut::<TAG>().context("a tag")?;
    let made = key.seal_in_place_separate_tag(nonce, Aad::empty(), text);
    tag.copy_from_slice(made.ok().context("seal")?.as_ref());
    Ok(())
}

fn ring_open(nonce: &[u8; 24], chunk: &mut [u8]) -> anyhow::Result<()> {
    let (key, nonce) = ring_cipher(nonce)?;
    black_box(
        key.open_in_place(nonce, Aad::empty(), chunk)
            .ok()
            .context("open")?,
    );
    Ok(())
}

fn crate_seal(nonce: &[u8; 24], chunk: &mut [u8]) -> anyhow::Result<()> {
    let (text, tag) = chunk.split_last_chunk_mut::<TAG>().context("a tag")?;
    let made = XChaCha20Poly1305::new(&RAW_KEY.into()).encrypt_inout_detached(
        nonce.into(),
        &[],
        text.into(),
    );
    tag.copy_from_slice(&made.ok().context("seal")?);
    Ok(())
}

fn crate_open(nonce: &[u8; 24], chunk: &mut [u8]) -> anyhow::Result<()> {
    let (text, tag) = chunk.split_last_chunk_mut::<TAG>().context("a tag")?;
    XChaCha20Poly1305::new(&RAW_KEY.into())
        .decrypt_inout_detached(nonce.into(), &[], text.into(), (&*tag).into())
        .ok()
        .context("open")
}

/// One content on one thread, and two on two at once.
fn two_cores(work: &(dyn Fn() -> anyhow::Result<()> + Sync)) -> anyhow::Result<Value> {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..SEAL_ROUNDS {
        let began = Instant::now();
        work()?;
        one.push(began.elapsed().as_secs_f64());
        let began = Instant::now();
        std::thread::scope(|scope| {
            let other = scope.spawn(work);
            work()?;
            other
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))?
        })?;
        two.push(began.elapsed().as_secs_f64());
    }
    let (one, two) = (median(one), median(two));
    Ok(json!({
        "oneMBPerSecond": megabytes(one),
        "twoMBPerSecond": megabytes(two / 2.0),
        "times": round(2.0 * one / two),
    }))
}

/// Written durably into a vault and read back from it, which is what a person waits for.
fn through_files(root: &Path, content: &[u8]) -> anyhow::Result<Value> {
    let mut made = Made::new(
        &root.join("large"),
        Environment::of_this_computer(),
        SlotCost::LEAST,
    )?;
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..OPEN_ROUNDS {
        let began = Instant::now();
        let ids = made
            .vault
            .append(&made.namespace, vec![Change::Add(memory(content))])?;
        writes.push(began.elapsed().as_secs_f64());
        let began = Instant::now();
        let record = made.vault.get(&ids[0])?;
        made.vault.read_content(&record, &mut io::sink())?;
        reads.push(began.elapsed().as_secs_f64());
    }
    Ok(json!({
        "clock": "wall",
        "appendedMBPerSecond": megabytes(median(writes)),
        "readMBPerSecond": megabytes(median(reads)),
    }))
}

// ---- durable append ----

fn append(root: &Path) -> anyhow::Result<Value> {
    let disk = Arc::new(Disk::default());
    let environment = Environment {
        fs: Arc::clone(&disk) as Arc<dyn Fs>,
        ..Environment::of_this_computer()
    };
    let mut made = Made::new(&root.join("appended"), environment, SlotCost::LEAST)?;
    let mut sqlite = Sqlite::new(&root.join("appended.sqlite"))?;
    // Written once, so that what is measured about it changes neither its length nor its blocks.
    let bare = std::fs::File::create_new(root.join("appended.bare"))?;
    bare.write_all_at(&vec![0; usize::try_from(BARE)?], 0)?;
    bare.sync_all()?;
    let mut figures = Vec::new();
    for size in [1, BATCH] {
        let payload = vec![0x5a; size * MEMORY];
        let mut place = 0;
        let (mut ours, mut theirs, mut floor) = (Vec::new(), Vec::new(), Vec::new());
        let (mut appends, mut syncs) = (0, Vec::new());
        // Also begins the tail, which syncs the folder.
        made.append(size)?;
        for _ in 0..APPEND_ROUNDS {
            ours.push(per_second(APPEND_SPAN, || {
                let before = disk.syncs();
                made.append(size)?;
                appends += 1;
                syncs.push(disk.syncs() - before);
                Ok(size)
            })?);
            theirs.push(per_second(APPEND_SPAN, || {
                sqlite.insert(size).map(|()| size)
            })?);
            floor.push(per_second(APPEND_SPAN / 4, || {
                bare.write_all_at(&payload, place)?;
                bare.sync_data()?;
                place = (place + payload.len() as u64) % (BARE - payload.len() as u64);
                Ok(size)
            })?);
        }
        let (ours, theirs, floor) = (median(ours), median(theirs), median(floor));
        let single = syncs.iter().filter(|syncs| **syncs == 1).count();
        figures.push(json!({
            "operationsInOne": size,
            "perSecond": ours.round(),
            "sqlitePerSecond": theirs.round(),
            "speedToSqlite": round(ours / theirs),
            "msEach": round(size as f64 * 1e3 / ours),
            "appends": appends,
            "withOneSync": single,
            // A tail that is long enough becomes a segment, with syncs of its own.
            "withMore": appends - single,
            "mostSyncs": syncs.iter().max(),
            "diskPerSecond": floor.round(),
            "diskSyncMs": round(size as f64 * 1e3 / floor),
            "speedToDisk": round(ours / floor),
        }));
    }
    Ok(json!({
        "recordBytes": MEMORY,
        "figures": figures,
        "peers": {
            "sqlite": format!("SQLite {}, WAL, synchronous=FULL, the same records in transactions of the same size", rusqlite::version()),
            "diskPerSecond": "the same bytes in clear over zeros of a file, and one fdatasync: no program that syncs each batch is faster on this disk",
        },
    }))
}

/// How many of what `once` counts are done in a second.
fn per_second(
    span: Duration,
    mut once: impl FnMut() -> anyhow::Result<usize>,
) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut done = 0;
    while began.elapsed() < span {
        done += once()?;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

struct Sqlite {
    connection: Connection,
    number: usize,
}

impl Sqlite {
    fn new(path: &Path) -> anyhow::Result<Self> {
        let connection = Connection::open(path)?;
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        ensure!(mode == "wal", "SQLite keeps to journal mode {mode}");
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute(
            "CREATE TABLE memory (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, content BLOB NOT NULL)",
            [],
        )?;
        Ok(Self {
            connection,
            number: 0,
        })
    }

    fn insert(&mut self, count: usize) -> anyhow::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO memory (kind, content) VALUES (?1, ?2)")?;
            for _ in 0..count {
                self.number += 1;
                insert.execute(("note", text(self.number).as_bytes()))?;
            }
        }
        Ok(transaction.commit()?)
    }
}

// ---- bytes on the disk ----

fn bytes(root: &Path) -> anyhow::Result<Value> {
    const OPERATIONS: usize = 10_000;
    let mut figures = Vec::new();
    for size in [1, BATCH] {
        let folder = root.join(format!("bytes-{size}"));
        let mut made = Made::new(&folder, unsynced(), SlotCost::LEAST)?;
        let id = made.vault.id();
        let before: u64 = frames(&folder, &id)?.values().sum();
        for _ in 0..OPERATIONS / size {
            made.append(size)?;
        }
        let after: u64 = frames(&folder, &id)?.values().sum();
        let files = ["seg", "tail"].map(|part| folder_bytes(&folder.join(part)));
        let [segments, tails] = files;
        figures.push(json!({
            "operationsInOne": size,
            "bytesEach": round((after - before) as f64 / OPERATIONS as f64),
            // Written ahead at the end of tails, whatever the vault holds; less than a mebibyte for each author.
            "roomBytes": (segments? + tails?).saturating_sub(after),
        }));
    }
    let path = root.join("bytes.sqlite");
    let mut sqlite = Sqlite::new(&path)?;
    sqlite
        .connection
        .pragma_update(None, "synchronous", "OFF")?;
    for _ in 0..OPERATIONS / BATCH {
        sqlite.insert(BATCH)?;
    }
    sqlite
        .connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(json!({
        "recordBytes": MEMORY,
        "figures": figures,
        "sqliteBytesEach": round(std::fs::metadata(&path)?.len() as f64 / OPERATIONS as f64),
    }))
}

// ---- open ----

fn open(root: &Path, quick: bool) -> anyhow::Result<Value> {
    let mut figures = Vec::new();
    let mut shapes = vec![(10_000, BATCH), (10_000, 1), (100_000, BATCH), (100_000, 1)];
    if !quick {
        shapes.push((1_000_000, BATCH));
    }
    for (operations, size) in shapes {
        let folder = root.join("opened");
        let mut made = Made::new(&folder, unsynced(), SlotCost::DEFAULT)?;
        for _ in 0..operations / size {
            made.append(size)?;
        }
        let on_disk = folder_bytes(&folder)?;
        drop(made);
        let mut rounds = Vec::new();
        for _ in 0..OPEN_ROUNDS {
            rounds.push(open_in_a_process(&folder)?);
        }
        let of = |name: &str| {
            let all = rounds
                .iter()
                .map(|one| one[name].as_f64().unwrap_or(f64::NAN));
            median(all.collect())
        };
        figures.push(json!({
            "operations": operations,
            "operationsInOne": size,
            "megabytes": round(on_disk as f64 / 1e6),
            "seconds": round(of("seconds")),
            "unlockSeconds": round(of("unlockSeconds")),
            "secondsUnlocked": round(of("secondsUnlocked")),
            "indexBytesEach": round(of("indexBytes") / operations as f64),
            "residentBytesEach": round(of("residentBytes") / operations as f64),
        }));
        std::fs::remove_dir_all(&folder)?;
    }
    Ok(json!({
        "figures": figures,
        "leftOut": if quick { vec!["1000000 operations (--quick)"] } else { vec![] },
        "unlock": "Argon2id, 256 MiB, 3 passes, 4 lanes",
        "of": "adds of 200 bytes by one device to one namespace; every box is opened and every operation folded",
    }))
}

/// Opens a vault in a new process, so that its memory is its own.
fn open_in_a_process(folder: &Path) -> anyhow::Result<Value> {
    let output = std::process::Command::new(std::env::current_exe()?)
        .args(["--json", "bench", "vault", "--opened"])
        .arg(folder)
        .output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What that process does.
pub(crate) fn opened(folder: &Path) -> anyhow::Result<Value> {
    let place = place(folder);
    let before = resident()?;
    let began = Instant::now();
    let vault = Vault::open(
        Environment::of_this_computer(),
        &place,
        Open::reading(Key::Passphrase(PASSPHRASE)),
    )?;
    let total = began.elapsed();
    let after = resident()?;
    let (id, index) = (vault.id(), vault.memory());
    drop(vault);

    let slot = slot_of(folder, &id)?;
    let began = Instant::now();
    let member = slot.open(PASSPHRASE)?;
    let unlock = began.elapsed();
    let began = Instant::now();
    let vault = Vault::open(
        Environment::of_this_computer(),
        &place,
        Open::reading(Key::Member(member)),
    )?;
    let unlocked = began.elapsed();
    ensure!(vault.memory() == index, "both keys open the same");
    Ok(json!({
        "seconds": total.as_secs_f64(),
        "unlockSeconds": unlock.as_secs_f64(),
        "secondsUnlocked": unlocked.as_secs_f64(),
        "indexBytes": index,
        "residentBytes": after.saturating_sub(before),
    }))
}

// ---- merge ----

fn merge(root: &Path) -> anyhow::Result<Value> {
    let (ours, theirs) = (root.join("ours"), root.join("theirs"));
    let mut made = Made::new(&ours, unsynced(), SlotCost::LEAST)?;
    for _ in 0..SHARED / BATCH {
        made.append(BATCH)?;
    }
    let (id, namespace) = (made.vault.id(), made.namespace);
    drop(made);
    copy_folder(&ours, &theirs)?;
    // Another device: it has nothing of the first but the vault, and enrols when it first writes.
    std::fs::remove_dir_all(&place(&theirs).local)?;
    for folder in [&ours, &theirs] {
        let vault = Vault::open(
            unsynced(),
            &place(folder),
            Open::writing(Key::Passphrase(PASSPHRASE)),
        )?;
        let mut made = Made {
            vault,
            namespace,
            number: SHARED,
        };
        for _ in 0..(REPLICA - SHARED) / BATCH {
            made.append(BATCH)?;
        }
    }
    let (mine, yours) = (frames(&ours, &id)?, frames(&theirs, &id)?);
    let missing_here = difference(&yours, &mine);
    let missing_there = difference(&mine, &yours);

    let (mut folders, mut sessions, mut finishes) = (Vec::new(), Vec::new(), Vec::new());
    let mut exchanged = Report::default();
    for _ in 0..MERGE_ROUNDS {
        let (here, there) = (root.join("here"), root.join("there"));
        copy_folder(&ours, &here)?;
        copy_folder(&theirs, &there)?;
        let mut a = writing(&here)?;
        let began = Instant::now();
        let taken = a.merge_folder(&there)?;
        folders.push(began.elapsed().as_secs_f64());
        ensure!(
            taken.frame_bytes == missing_here,
            "took {} bytes of frames where {missing_here} are missing",
            taken.frame_bytes
        );
        let merged = a.state_hash();
        drop(a);
        remove_folder(&here)?;

        copy_folder(&ours, &here)?;
        let (mut a, mut b) = (writing(&here)?, writing(&there)?);
        let a_key = a.sync_identity()?.context("a device has a key")?;
        let b_key = b.sync_identity()?.context("a device has a key")?;
        let (mut a, mut b) = (DiskCopy::of(a)?, DiskCopy::of(b)?);
        let began = Instant::now();
        exchanged = session(&mut a, &a_key, &mut b, &b_key)?;
        let met = began.elapsed();
        let (a, b) = (a.finish()?, b.finish()?);
        let all = began.elapsed();
        sessions.push(all.as_secs_f64());
        finishes.push((all - met).as_secs_f64());
        for vault in [a, b] {
            let hash = vault.context("the copy is a vault")?.state_hash();
            ensure!(hash == merged, "the copies differ after the session");
        }
        remove_folder(&here)?;
        remove_folder(&there)?;
    }
    let bytes = exchanged.bytes_sent + exchanged.bytes_received;
    let lacking = missing_here + missing_there;
    Ok(json!({
        "operationsEach": REPLICA,
        "operationsShared": SHARED,
        "operationsInOne": BATCH,
        "differenceBytes": lacking,
        "byFolder": {
            "of": "one vault takes in the folder of the other: verified, written durably, opened",
            "seconds": round(median(folders)),
            "bytes": missing_here,
        },
        "bySession": {
            "of": "the same for both, over a pipe in memory and on one thread",
            "seconds": round(median(sessions)),
            "openingSeconds": round(median(finishes)),
            "bytes": bytes,
            "bytesToDifference": (bytes as f64 / lacking as f64 * 1e5).round() / 1e5,
            "rounds": exchanged.rounds,
        },
    }))
}

fn writing(folder: &Path) -> anyhow::Result<Vault> {
    Ok(Vault::open(
        Environment::of_this_computer(),
        &place(folder),
        Open::writing(Key::Passphrase(PASSPHRASE)),
    )?)
}

/// A session over a pipe. Its report is that of the side that speaks first.
fn session(
    a: &mut DiskCopy,
    a_key: &Identity,
    b: &mut DiskCopy,
    b_key: &Identity,
) -> anyhow::Result<Report> {
    let (mut near, mut far) = tokio::io::duplex(1 << 20);
    let limits = Limits::default();
    let binding = b"one pipe";
    let (mut a_rng, mut b_rng) = (UnwrapErr(SysRng), UnwrapErr(SysRng));
    let (asked, answered) = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?
        .block_on(async {
            tokio::join!(
                initiate(a, &mut near, a_key, binding, &mut a_rng, &limits),
                respond(b, &mut far, b_key, binding, &mut b_rng, &limits),
            )
        });
    asked.result?;
    answered.result?;
    Ok(asked.report)
}

/// The seals of a folder, and how long their frames are.
type FramesById = BTreeMap<SealId, u64>;

fn frames(folder: &Path, id: &VaultId) -> anyhow::Result<FramesById> {
    let mut all = FramesById::new();
    for part in ["seg", "tail"] {
        for entry in std::fs::read_dir(folder.join(part))? {
            let bytes = std::fs::read(entry?.path())?;
            // A segment has no room at its end; where there is none, the two are the same.
            for frame in Frames::of_tail(id, &bytes)? {
                let (_, frame) = frame?;
                all.insert(frame.seal_id(), frame.encoded().len() as u64);
            }
        }
    }
    Ok(all)
}

/// Bytes of the frames that the second lacks.
fn difference(has: &FramesById, lacks: &FramesById) -> u64 {
    let missing = has.iter().filter(|(id, _)| !lacks.contains_key(*id));
    missing.map(|(_, len)| len).sum()
}

// ---- what all of them need ----

/// A vault to write to.
struct Made {
    vault: Vault,
    namespace: NamespaceId,
    number: usize,
}

impl Made {
    fn new(folder: &Path, environment: Environment, cost: SlotCost) -> anyhow::Result<Self> {
        let create = Create {
            passphrase: PASSPHRASE,
            cost,
            namespaces: &[NAMESPACE],
        };
        let created = Vault::create(environment, &place(folder), &create)?;
        let mut vault = created.vault;
        let namespace = vault
            .namespace(NAMESPACE)
            .context("the namespace was made")?;
        Ok(Self {
            vault,
            namespace,
            number: 0,
        })
    }

    /// Appends so many memories at once.
    fn append(&mut self, count: usize) -> anyhow::Result<()> {
        let texts: Vec<String> = (0..count).map(|at| text(self.number + at)).collect();
        self.number += count;
        let changes = texts
            .iter()
            .map(|text| Change::Add(memory(text.as_bytes())))
            .collect();
        self.vault.append(&self.namespace, changes)?;
        Ok(())
    }
}

fn memory(content: &[u8]) -> NewRecord<'_> {
    NewRecord {
        record_type: "note",
        run: None,
        receipt: None,
        content: NewContent::Bytes(content),
    }
}

fn text(number: usize) -> String {
    let mut text = format!("Memory {number}: ");
    text.extend(std::iter::repeat_n('x', MEMORY - text.len()));
    text
}

fn place(folder: &Path) -> Place {
    Place {
        folder: folder.to_path_buf(),
        local: folder.with_extension("local"),
    }
}

fn unsynced() -> Environment {
    Environment {
        fs: Arc::new(Disk {
            sync: false,
            ..Disk::default()
        }),
        ..Environment::of_this_computer()
    }
}

/// The disk, with its syncs counted, or without any.
struct Disk {
    sync: bool,
    syncs: Arc<AtomicUsize>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            sync: true,
            syncs: Arc::default(),
        }
    }
}

impl Disk {
    /// How many files and folders were synced.
    fn syncs(&self) -> usize {
        self.syncs.load(Ordering::Relaxed)
    }

    fn output(&self, output: io::Result<Box<dyn Output>>) -> io::Result<Box<dyn Output>> {
        Ok(Box::new(Counted {
            output: output?,
            sync: self.sync,
            syncs: Arc::clone(&self.syncs),
        }))
    }
}

struct Counted {
    output: Box<dyn Output>,
    sync: bool,
    syncs: Arc<AtomicUsize>,
}

impl Output for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write(bytes)
    }

    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.output.write_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.sync {
            self.output.sync()
        } else {
            Ok(())
        }
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.output.is_at(path)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.output.truncate(len)
    }
}

impl Fs for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealFs.list(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Input>> {
        RealFs.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        self.output(RealFs.create(path))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        self.output(RealFs.append(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFs.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.sync {
            RealFs.sync_dir(path)
        } else {
            Ok(())
        }
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn Lock>, LockError> {
        RealFs.lock(path)
    }
}

fn slot_of(folder: &Path, id: &VaultId) -> anyhow::Result<Slot> {
    let entry = std::fs::read_dir(folder.join("slots"))?
        .next()
        .context("no slot")??;
    Ok(Slot::parse(id, &std::fs::read(entry.path())?)?)
}

/// Removes a vault, and what its device knows about it.
fn remove_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(folder)?;
    Ok(std::fs::remove_dir_all(place(folder).local)?)
}

/// Copies a vault, and what its device knows about it.
fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    let pairs = [
        (from.to_path_buf(), to.to_path_buf()),
        (place(from).local, place(to).local),
    ];
    let mut left: Vec<(PathBuf, PathBuf)> = pairs
        .into_iter()
        .filter(|(from, _)| from.exists())
        .collect();
    while let Some((from, to)) = left.pop() {
        std::fs::create_dir(&to)?;
        for entry in std::fs::read_dir(&from)? {
            let entry = entry?;
            let to = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                left.push((entry.path(), to));
            } else {
                std::fs::copy(entry.path(), to)?;
            }
        }
    }
    Ok(())
}

pub(super) fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    let mut left = vec![folder.to_path_buf()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                left.push(entry.path());
            } else {
                bytes += entry.metadata()?.len();
            }
        }
    }
    Ok(bytes)
}

/// As the kernel calls the file system that a folder is on.
pub(super) fn file_system_of(folder: &Path) -> anyhow::Result<String> {
    // Each line: id, parent, device, root, mount point, options…, `-`, type, source, options.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let on = mounts.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let point = before.split(' ').nth(4)?;
        let name = after.split(' ').next()?;
        folder.starts_with(point).then_some((point.len(), name))
    });
    let (_, name) = on.max_by_key(|(len, _)| *len).context("no mount point")?;
    Ok(name.to_owned())
}

/// Bytes of memory that this process has now.
fn resident() -> anyhow::Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let resident = pages.split(' ').nth(1).context("statm")?;
    Ok(resident.parse::<u64>()? * rustix::param::page_size() as u64)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

fn noise(len: usize) -> anyhow::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    fill(&mut bytes)?;
    Ok(bytes)
}

/// The processor time that some work takes this thread.
fn timed(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let began = thread_time()?;
    work()?;
    Ok(thread_time()?.saturating_sub(began))
}

fn thread_time() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::ThreadCPUTime).try_into()?)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn megabytes(seconds: f64) -> f64 {
    (LARGE as f64 / 1e6 / seconds).round()
}

fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
