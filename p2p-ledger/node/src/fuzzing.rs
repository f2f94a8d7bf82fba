//! What must hold of any bytes that a node reads: of a peer or a caller, or off its disk. The fuzz targets (`fuzz/`) and the
//! tests below run the same functions.
//!
//! What is framed with a check is read twice: as it is, and with every check put right, so that what is altered inside a
//! frame is read, too.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use bytes::Bytes;
use commonware_runtime::{Blob as _, Runner as _, Storage, WriteOptions, deterministic};
use tally_ledger::{
    AccountId, BlockDigest, Certificate, ChainId, Epoch, EpochEnd, Genesis, HEADER_BYTES, Header,
    Height, HoldId, Name, NodeId, Parameters, Sequence, StateRoot, Subject, TransactionId,
    Validator, ValidatorSet,
};
use tally_receipt::{Digest, PublicKey, SigningKey, Timestamp};

use crate::backup::{self, BackupError, Reader, Signatures};
use crate::bodies::Bodies;
use crate::frames::{HEAD, put, wanted, whole};
use crate::journal::Journal;
use crate::outbox::{Form, Outbox, Record, Repaired, SetAside};
use crate::scratch::Scratch;
use crate::snapshots::{self, Snapshots};
use crate::store::{self, Blocks, Partitions, PoolFile, StoreError};
use crate::wire::{
    AccountAnswer, Answer, Ask, BlockMessage, DecidedAnswer, FinalBlock, Gap, Head, HistoryMessage,
    Message, NodeAnswer, Numbered, Outline, Refused, RefusedCode, SaidAnswer, ShownRecord, Status,
    Stretch, Submitted, Transactions, ValidatorStatus, decode, encode,
};

const DISK: &str = "a simulated disk, or a folder for temporary files, works";

/// Whatever is read as a message is that message's bytes; and so it is with the blocks in it.
pub fn wire(bytes: &[u8]) {
    fn same<M: Message>(bytes: &Bytes) -> Option<M> {
        let message = decode::<M>(bytes.clone()).ok()?;
        assert_eq!(encode(&message), bytes);
        Some(message)
    }
    let bytes = Bytes::copy_from_slice(bytes);
    same::<Ask>(&bytes);
    same::<Answer>(&bytes);
    same::<Transactions>(&bytes);
    if let Some(BlockMessage::Block(block)) = same(&bytes) {
        body(block);
    }
    if let Some(HistoryMessage::Stretch(stretch)) = same(&bytes) {
        stretch.blocks.into_iter().for_each(|one| body(one.block));
    }
    if let Some(stretch) = same::<Stretch>(&bytes) {
        stretch.blocks.into_iter().for_each(|one| body(one.block));
    }
}

fn body(bytes: Bytes) {
    if let Some((digest, body)) = Bodies::read(bytes.clone()) {
        assert_eq!(digest, body.block.header.digest());
        assert_eq!(body.bytes, bytes);
        assert_eq!(bytes, body.block.to_bytes());
    }
}

/// The frames that are read are the bytes that are written for them, and nothing shorter is one.
pub fn frames(bytes: &[u8]) {
    for bytes in read_twice(bytes) {
        let (payloads, end) = whole_frames(&bytes);
        let mut written = Vec::new();
        for payload in &payloads {
            let begin = written.len();
            put(payload, &mut written);
            let frame = &bytes[begin..written.len()];
            assert_eq!(wanted(frame), frame.len());
            assert_eq!(whole(&frame[..frame.len() - 1]), None);
        }
        assert_eq!(written, bytes[..end]);
    }
}

/// The frames at the start that are whole, and how many bytes they take.
fn whole_frames(bytes: &[u8]) -> (Vec<Vec<u8>>, usize) {
    let mut payloads = Vec::new();
    let mut end = 0;
    while let Some(payload) = whole(&bytes[end..]) {
        payloads.push(payload.to_vec());
        end += HEAD + payload.len();
    }
    (payloads, end)
}

/// Bytes as they are, and with the check of each frame put right. A frame that is cut off ends where the bytes do.
fn read_twice(bytes: &[u8]) -> [Vec<u8>; 2] {
    let mut mended = Vec::new();
    let mut left = bytes;
    while let Some((head, behind)) = left.split_at_checked(HEAD) {
        let length = wanted(head).saturating_sub(HEAD).min(behind.len());
        if length == 0 {
            break;
        }
        let (payload, behind) = behind.split_at(length);
        put(payload, &mut mended);
        left = behind;
    }
    mended.extend_from_slice(left);
    [bytes.to_vec(), mended]
}

/// The receipts that wait are those of the file that are not settled yet, up to the first that cannot be read or is of a kind that is not
/// known, and only such a one is refused; a repair leaves every one that can be read, and nothing to repair, and what comes then
/// waits. Two bytes say how long the file is that says how many are settled; that one follows, and then the receipts'.
pub fn outbox(bytes: &[u8]) {
    let Some((length, files)) = bytes.split_first_chunk() else {
        return;
    };
    let length = usize::from(u16::from_be_bytes(*length)).min(files.len());
    let (settled, receipts) = files.split_at(length);
    for (settled, receipts) in read_twice(settled).into_iter().zip(read_twice(receipts)) {
        let folder = Scratch::new();
        let path = folder.path().join(format!("receipts-{:020}", 0));
        fs::write(folder.path().join("settled"), settled).expect(DISK);
        fs::write(&path, &receipts).expect(DISK);
        let outbox = Outbox::open(folder.path()).expect(DISK);
        let (payloads, end) = whole_frames(&receipts);
        // What stands for lost ones stands for any number of them.
        let has_lost = payloads.iter().any(|payload| payload[0] == 0);
        let is_known = |payload: &&Vec<u8>| matches!(payload[0], 1 | 2);
        let done = outbox.settled().expect(DISK);
        match outbox.open_records(usize::MAX) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::InvalidData);
                // The first that waits is of an unknown kind, or damage is at it or before it.
                let waits = usize::try_from(done).ok().and_then(|at| payloads.get(at));
                match waits {
                    _ if has_lost => {}
                    Some(payload) => assert!(!is_known(&payload)),
                    None => assert!(has_whole(receipts.get(end + 1..).unwrap_or_default())),
                }
            }
            Ok((first, open)) if !has_lost => {
                let written: Vec<Vec<u8>> = open
                    .iter()
                    .map(|one| [&[one.form as u8], one.receipt.as_slice()].concat())
                    .collect();
                let passed_over = usize::try_from(first).unwrap_or(usize::MAX);
                let waiting = payloads.iter().skip(passed_over).take_while(is_known);
                assert_eq!(written, waiting.cloned().collect::<Vec<_>>());
                assert!(open.len() as u64 <= outbox.waiting().expect(DISK));
            }
            Ok(_) => {}
        }
        let turn = outbox.settle().expect(DISK).expect("nobody else settles");
        outbox.repair(&turn).expect(DISK);
        let repaired = fs::read(&path).expect(DISK);
        assert!(whole_frames(&repaired).0.starts_with(&payloads));
        assert_eq!(outbox.repair(&turn).expect(DISK), Repaired::default());
        // What comes now is taken, and does not count as settled.
        let before = outbox.waiting().expect(DISK);
        outbox.append(&[next()]).expect(DISK);
        if before.checked_add(done).is_some_and(|all| all < u64::MAX) {
            assert_eq!(outbox.waiting().expect(DISK), before + 1);
        }
        two_files(done, &receipts);
        // Whatever is said to be set aside stands in that file.
        fs::write(folder.path().join(format!("refused-{:020}", 0)), &receipts).expect(DISK);
        let written = |aside: SetAside, record: &[u8]| {
            let payload = aside.to_payload(record);
            assert!(receipts.windows(payload.len()).any(|run| run == payload));
        };
        outbox.each_aside(0, written).expect(DISK);
        outbox.refused().expect(DISK);
        // What is said not to be here is not.
        fs::write(folder.path().join("dropped"), &receipts).expect(DISK);
        outbox.dropped().expect(DISK);
        outbox.refused_records().expect(DISK);
        outbox.go_on().expect(DISK);
    }
}

/// Whether there is a whole frame anywhere in these bytes.
fn has_whole(bytes: &[u8]) -> bool {
    (0..bytes.len()).any(|at| whole(&bytes[at..]).is_some())
}

/// A receipt that is in no file yet.
fn next() -> Record {
    Record {
        form: Form::Hash,
        receipt: vec![7],
    }
}

/// The same files, and another one of receipts behind them, by whose name the first one had a record more than are whole at its start.
fn two_files(settled: u64, receipts: &[u8]) {
    let (payloads, _) = whole_frames(receipts);
    if payloads.iter().any(|payload| payload[0] == 0) {
        return;
    }
    let folder = Scratch::new();
    let outbox = Outbox::open(folder.path()).expect(DISK);
    let second = payloads.len() as u64 + 1;
    let mut frame = Vec::new();
    put(
        &[&[Form::Hash as u8], &next().receipt[..]].concat(),
        &mut frame,
    );
    let path = |first: u64| folder.path().join(format!("receipts-{first:020}"));
    fs::write(path(0), receipts).expect(DISK);
    fs::write(path(second), frame).expect(DISK);
    let mut said = Vec::new();
    put(&settled.to_be_bytes(), &mut said);
    fs::write(folder.path().join("settled"), said).expect(DISK);
    match outbox.open_records(1) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert!(settled < second);
        }
        Ok((first, open)) => {
            assert_eq!(first, settled);
            // The one that is missing is not passed over.
            assert!(settled != second - 1);
            assert_eq!(open.is_empty(), settled > second);
        }
    }
    let turn = outbox.settle().expect(DISK).expect("nobody else settles");
    let lost = outbox.repair(&turn).expect(DISK).lost;
    assert!(lost <= second.saturating_sub(settled).min(1));
    let left = (second + 1).saturating_sub(settled);
    assert_eq!(outbox.waiting().expect(DISK), left);
    assert_eq!(outbox.repair(&turn).expect(DISK), Repaired::default());
}

/// Makes a file of a simulated disk.
async fn written(disk: &impl Storage, partition: &str, name: &[u8], bytes: Vec<u8>) {
    let (blob, _) = disk.open(partition, name).await.expect(DISK);
    blob.write_at(0, bytes, WriteOptions::default())
        .await
        .expect(DISK);
    blob.sync().await.expect(DISK);
}

/// A journal has the frames that are whole, each at its place, and nothing behind them after it was opened.
pub fn journal(bytes: &[u8]) {
    for file in read_twice(bytes) {
        deterministic::Runner::default().start(|disk| async move {
            let (payloads, end) = whole_frames(&file);
            let torn = [(file.len() - end) as u64, 0];
            written(&disk, "p", b"j", file).await;
            for torn in torn {
                let mut found = Vec::new();
                let opened = Journal::open(&disk, "p", "j", |place, payload| {
                    found.push((place, payload.to_vec()));
                })
                .await;
                let (journal, cut) = opened.expect(DISK);
                assert_eq!((journal.bytes(), cut), (end as u64, torn));
                assert_eq!(found.len(), payloads.len());
                for ((place, payload), expected) in found.iter().zip(&payloads) {
                    assert_eq!(payload, expected);
                    let read = journal.read(*place).await;
                    assert_eq!(&read.expect("it was there just now"), expected);
                }
            }
        });
    }
}

/// A store has every block and certificate of its file, or says that the file is damaged; a pool has every transaction. No
/// snapshot is believed where no block is final.
pub fn store(bytes: &[u8]) {
    for file in read_twice(bytes) {
        deterministic::Runner::default().start(|disk| async move {
            let names = Partitions::default();
            let (payloads, _) = whole_frames(&file);
            let (first, second) = (store::file_name(0), store::file_name(1));
            written(&disk, &names.pool(), first.as_bytes(), file.clone()).await;
            for name in [snapshots::ENTRIES_FILE, &second] {
                written(&disk, &names.snapshots(), name.as_bytes(), file.clone()).await;
            }
            let (_, found) = Snapshots::open(&disk, &names, &genesis(), 1, &[]).await;
            assert!(found.is_none());
            written(&disk, &names.blocks(), store::BLOCKS_FILE.as_bytes(), file).await;
            let mut found = Vec::new();
            let pool = PoolFile::open(&disk, &names, |one| found.push(one.to_vec())).await;
            assert!(pool.is_ok());
            assert_eq!(found, payloads);
            let (blocks, last) = match Blocks::open(&disk, &names).await {
                Ok(opened) => opened,
                Err(StoreError::Damaged(_)) => return,
                Err(StoreError::Disk(error)) => panic!("{DISK}: {error}"),
            };
            for payload in &payloads {
                let (kind, record) = payload.split_first().expect("no frame is empty");
                if *kind == store::BLOCK {
                    let header = Header::from_bytes(&record[..HEADER_BYTES]).expect("it was read");
                    let digest = header.digest();
                    assert_eq!(blocks.height(&digest), Some(header.height));
                    assert_eq!(blocks.parent(&digest), Some(header.parent));
                    let block = blocks.get(&digest).await.expect(DISK);
                    assert!(block.is_some_and(|block| block.starts_with(&record[..HEADER_BYTES])));
                } else {
                    let digest =
                        BlockDigest::from_bytes(*record.first_chunk().expect("it was read"));
                    assert!(blocks.certificate(&digest).await.expect(DISK).is_some());
                }
            }
            if let Some(last) = last {
                let certificate = blocks.certificate(&last.block).await.expect(DISK);
                assert_eq!(certificate, Some(last.certificate));
            }
        });
    }
}

/// What is read of a backup, whoever's word is taken, is what is written for it; what is left of it is torn. The chain is the
/// one that the bytes name.
pub fn backup(bytes: &[u8]) {
    for file in read_twice(bytes) {
        let (payloads, _) = whole_frames(&file);
        let named = payloads
            .first()
            .and_then(|first| first.strip_prefix(&[backup::GENESIS]))
            .and_then(|text| std::str::from_utf8(text).ok())
            .and_then(|text| Genesis::parse(text).ok());
        let expected = named.clone().unwrap_or_else(genesis);
        for signatures in [Signatures::Check, Signatures::Certified] {
            let length = file.len() as u64;
            let path = Path::new("backup");
            let reader = Reader::begin(path, file.as_slice(), length, &expected, signatures);
            let mut reader = match reader {
                Ok(reader) => reader,
                Err(BackupError::NoBackup(_)) => {
                    assert_eq!(named, None);
                    continue;
                }
                Err(error) => panic!("it is of the chain that it names: {error}"),
            };
            assert!(named.is_some());
            let mut written = Vec::new();
            put(&payloads[0], &mut written);
            loop {
                match reader.next_run() {
                    Ok(Some(run)) => {
                        for (digest, body) in &run.blocks {
                            assert_eq!(*digest, body.block.digest());
                            let block = [&[backup::BLOCK], &body.block.to_bytes()[..]].concat();
                            put(&block, &mut written);
                        }
                        let block = run.finalized.block;
                        put(&certified(block, &run.finalized.certificate), &mut written);
                    }
                    Ok(None) => break,
                    Err(BackupError::Damaged { at, .. }) => {
                        assert!(at < length);
                        break;
                    }
                    Err(error) => panic!("there is no disk here: {error}"),
                }
            }
            let extent = reader.extent();
            assert_eq!(extent.bytes, written.len() as u64);
            assert_eq!(extent.bytes + extent.torn, length);
            assert!(file.starts_with(&written));
        }
    }
}

/// The record of a certificate: a store and a backup have the same.
fn certified(block: BlockDigest, certificate: &[u8]) -> Vec<u8> {
    [&[backup::CERTIFICATE], &block.as_bytes()[..], certificate].concat()
}

/// A path is a part of the head that it is asked for with, and no file of the log is outside its folder.
pub fn http(bytes: &[u8]) {
    let folder = Path::new("/log");
    let inside = |path: &str| {
        if let Some((file, _)) = crate::publish::file_at(folder, path) {
            let below = file.strip_prefix(folder).expect("it is in the folder");
            let is_name = |part| matches!(part, std::path::Component::Normal(_));
            assert!(below.components().all(is_name), "{}", file.display());
        }
    };
    if let Some(path) = crate::http::path_of(bytes) {
        assert!(bytes.starts_with(format!("GET {path} ").as_bytes()));
        inside(path.strip_prefix('/').unwrap_or(path));
    }
    if let Ok(path) = std::str::from_utf8(bytes) {
        inside(path);
    }
}

fn secret(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

fn key(number: u8) -> PublicKey {
    secret(number).public_key()
}

fn validators() -> ValidatorSet {
    let validator = |number: u8| Validator {
        vote_key: key(number),
        checkpoint_key: key(number + 100),
        name: Name::new(&format!("v{number}")).expect("letters and digits"),
    };
    ValidatorSet::new((1..=4).map(validator).collect()).expect("keys and names of their own")
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        name: Name::new("sample").expect("letters"),
        time: moment(),
        parameters: Parameters::default(),
        addresses: vec![Vec::new(); validators().len()],
        validators: validators(),
        accounts: Vec::new(),
        faucet: None,
    }
}

fn moment() -> Timestamp {
    Timestamp::from_unix_ms(1_790_000_000_000).expect("before the year 10000")
}

fn header(height: u64) -> Header {
    Header {
        height: Height::new(height),
        epoch: Epoch::new(1),
        parent: BlockDigest::from_bytes([1; 32]),
        body: Digest::of(b"body"),
        log_size: 5,
        log_root: tally_log::Hash::from_bytes([2; 32]),
        state_root: StateRoot::new(Digest::of(b"state")),
        time: moment(),
        next_validators: Digest::of(b"validators"),
    }
}

/// A certificate by three of four that nobody believes.
fn certificate(header: &Header) -> Certificate {
    let mut bytes = vec![1, 5, 4]; // epoch, view, view of the parent
    bytes.extend(header.digest().as_bytes());
    bytes.extend(4u64.to_be_bytes());
    bytes.extend([0b0111, 3]);
    for number in 1..=3 {
        bytes.extend(secret(number).sign(b"something else").as_bytes());
    }
    Certificate::from_bytes(&bytes).expect("written as `tally_ledger` has it")
}

/// Each form of what is asked. Whoever adds one to [`Ask`] adds a sample: a test below counts the tags.
fn asks() -> Vec<Ask> {
    let receipt = Digest::of(b"receipt");
    let transactions = [&b"one"[..], b"", b"three"].map(Bytes::from_static);
    let said = |subject| Ask::Said {
        since: Epoch::new(3),
        subject,
    };
    vec![
        Ask::Status,
        Ask::Genesis,
        Ask::Submit(Transactions(Vec::new())),
        Ask::Submit(Transactions(transactions.to_vec())),
        Ask::Prove {
            receipt,
            wait_ms: 500,
        },
        Ask::Blocks(Height::new(7)),
        Ask::Account(AccountId::new(key(1))),
        Ask::Node(NodeId::new(key(2))),
        Ask::Head(Epoch::new(3)),
        Ask::Checkpoint,
        Ask::ProveCosigned {
            receipt,
            wait_ms: 20_000,
        },
        Ask::ProvePlace {
            node: NodeId::new(key(3)),
            sequence: Sequence::new(70),
            wait_ms: 15_000,
        },
        Ask::Decided(Epoch::new(3)),
        said(Subject::Parameters),
        said(Subject::Decisions),
        said(Subject::Account(AccountId::new(key(1)))),
        said(Subject::Node(NodeId::new(key(2)))),
        said(Subject::NodeKey(key(2))),
        said(Subject::Hold(HoldId::from_bytes([8; 32]))),
    ]
}

/// Each form of an answer.
fn answers() -> Vec<Answer> {
    let refused = |code| Refused {
        code,
        sentence: "not yet, nicht jetzt, pas déjà".into(),
    };
    let codes = [
        RefusedCode::Malformed,
        RefusedCode::Unknown,
        RefusedCode::NotYet,
        RefusedCode::Busy,
        RefusedCode::Broken,
        RefusedCode::Impossible,
    ];
    let end = |height| EpochEnd {
        header: header(height),
        certificate: certificate(&header(height)),
        next: validators(),
    };
    let validator = |number: u8| ValidatorStatus {
        vote_key: key(number),
        name: format!("v{number}"),
        connected: number.is_multiple_of(2),
    };
    let status = Status {
        chain: ChainId::from_bytes([1; 32]),
        height: Height::new(5),
        block: BlockDigest::from_bytes([2; 32]),
        time_ms: 1,
        epoch: 2,
        receipts: 3,
        log_root: [4; 32],
        state_root: [5; 32],
        validators: (1..=4).map(validator).collect(),
        waiting: 6,
        seen: Height::new(7),
        faults: 8,
        votes: false,
    };
    let state = genesis().state();
    let shown = |subject| ShownRecord {
        record: state.record(subject).expect("genesis has it").into(),
        proof: state.prove(subject),
    };
    let said = |subject| {
        Answer::Said(Box::new(SaidAnswer {
            head: Head {
                header: header(9),
                certificate: certificate(&header(9)),
                ends: vec![end(4)],
            },
            record: state.record(subject).map(Bytes::from),
            proof: state.prove(subject),
        }))
    };
    let mut answers = vec![
        Answer::Status(Status {
            validators: Vec::new(),
            votes: true,
            ..status.clone()
        }),
        Answer::Status(status),
        Answer::Genesis(genesis().to_toml().into()),
        Answer::Submitted(Vec::new()),
        Answer::Submitted(vec![
            Submitted::Accepted(TransactionId::from_bytes([3; 32])),
            Submitted::Refused(refused(RefusedCode::Malformed)),
            Submitted::Accepted(TransactionId::from_bytes([4; 32])),
        ]),
        Answer::Proof(Bytes::from_static(b"a proof file")),
        Answer::Blocks(Stretch::default()),
        Answer::Blocks(stretch()),
        Answer::Account(AccountAnswer {
            height: Height::new(2),
            balance: 1000,
            nonce: 3,
        }),
        Answer::Node(None),
        Answer::Node(Some(NodeAnswer {
            height: Height::new(2),
            key: key(1),
            settled: 77,
        })),
        Answer::Head(Head {
            header: header(9),
            certificate: certificate(&header(9)),
            ends: Vec::new(),
        }),
        Answer::Head(Head {
            header: header(9),
            certificate: certificate(&header(9)),
            ends: vec![end(4), end(6)],
        }),
        Answer::Checkpoint(Bytes::from_static(b"a checkpoint")),
        Answer::Decided(Box::new(DecidedAnswer {
            head: Head {
                header: header(9),
                certificate: certificate(&header(9)),
                ends: vec![end(4)],
            },
            parameters: shown(Subject::Parameters),
            decisions: shown(Subject::Decisions),
        })),
        said(Subject::Parameters),
        said(Subject::NodeKey(key(2))),
    ];
    answers.extend(codes.map(refused).map(Answer::No));
    answers
}

fn names(count: u8) -> Vec<TransactionId> {
    (0..count)
        .map(|number| TransactionId::from_bytes([number; 32]))
        .collect()
}

/// Each form of what is said of blocks.
fn block_messages() -> Vec<BlockMessage> {
    let outline = |count: u8| {
        BlockMessage::Outline(Outline {
            header: header(3),
            transactions: names(count),
        })
    };
    vec![
        BlockMessage::Block(Bytes::from_static(b"a block")),
        BlockMessage::Want(BlockDigest::from_bytes([7; 32])),
        outline(0),
        outline(3),
    ]
}

/// Each form of what is said of history, and of what waits.
fn history_messages() -> Vec<HistoryMessage> {
    vec![
        HistoryMessage::Tip(Height::new(9)),
        HistoryMessage::Want(Height::new(1 << 40)),
        HistoryMessage::Stretch(stretch()),
        HistoryMessage::Cosigned(Bytes::from_static(b"a checkpoint")),
        HistoryMessage::Waiting(Vec::new()),
        HistoryMessage::Waiting(names(2)),
        HistoryMessage::WantNamed(names(3)),
        HistoryMessage::WantNumbered(vec![
            Gap {
                of: Numbered::Account(AccountId::new(key(1))),
                from: 4,
                before: 9,
            },
            Gap {
                of: Numbered::Node(NodeId::new(key(2))),
                from: 0,
                before: 1,
            },
        ]),
    ]
}

fn stretch() -> Stretch {
    let block = |certificate| FinalBlock {
        block: Bytes::from_static(b"a block"),
        certificate: Bytes::from_static(certificate),
    };
    Stretch {
        blocks: vec![block(b""), block(b"a certificate")],
    }
}

/// The frames of a snapshot of the state at the beginning, with the end of an epoch that has none.
fn snapshot() -> Vec<Vec<u8>> {
    let end = EpochEnd {
        header: header(1),
        certificate: certificate(&header(1)),
        next: validators(),
    };
    let mut frames = vec![
        [&[snapshots::END], &end.to_bytes()[..]].concat(),
        [&[snapshots::STATE], &genesis().state().to_bytes()[..]].concat(),
    ];
    let check = blake3::hash(&frames.concat());
    frames.push([&[snapshots::CHECK], &check.as_bytes()[..]].concat());
    frames
}

/// Good bytes for each target, by its name: where a fuzzer begins.
#[must_use]
pub fn samples() -> Vec<(&'static str, Vec<u8>)> {
    fn all<M: Message>(messages: &[M]) -> impl Iterator<Item = Bytes> {
        messages.iter().map(encode)
    }
    let framed = |payloads: &[Vec<u8>]| {
        let mut frames = Vec::new();
        payloads.iter().for_each(|one| put(one, &mut frames));
        frames
    };
    let files = |settled: &[u64], receipts: &[Vec<u8>]| {
        let settled: Vec<Vec<u8>> = settled.iter().map(|one| one.to_be_bytes().into()).collect();
        let settled = framed(&settled);
        let length = u16::try_from(settled.len()).expect("a few frames");
        [&length.to_be_bytes(), &settled[..], &framed(receipts)].concat()
    };
    let mut samples: Vec<(&str, Vec<u8>)> = all(&asks())
        .chain(all(&answers()))
        .chain(all(&block_messages()))
        .chain(all(&history_messages()))
        .map(|bytes| ("wire", bytes.into()))
        .collect();
    let payloads = [vec![1], b"two".to_vec(), vec![3; 600]];
    for target in ["frames", "journal"] {
        samples.push((target, framed(&payloads[..1])));
        samples.push((target, framed(&payloads)));
    }
    let receipts = [
        b"\x01by hash".to_vec(),
        b"\x02in full".to_vec(),
        vec![1; 300],
    ];
    samples.push(("outbox", files(&[], &receipts)));
    samples.push(("outbox", files(&[1], &receipts)));
    samples.push(("outbox", files(&[0, 2], &receipts)));
    samples.push(("outbox", files(&[3], &receipts)));
    let lost = [&[0u8], &2u64.to_be_bytes()[..]].concat();
    samples.push(("outbox", files(&[1], &[b"\x01by hash".to_vec(), lost])));
    let aside = SetAside {
        number: 3,
        reason: "it is none".into(),
    };
    samples.push(("outbox", files(&[9], &[aside.to_payload(b"\x02in full")])));
    let block = |height| [&[store::BLOCK], &header(height).to_bytes()[..], b"body"].concat();
    let finality = |height| {
        let header = header(height);
        certified(header.digest(), &certificate(&header).to_bytes())
    };
    let records = [block(1), finality(1), block(2), block(3), finality(3)];
    samples.push(("store", framed(&records)));
    samples.push(("store", framed(&records[..3])));
    samples.push(("store", framed(&snapshot())));
    let first = [&[backup::GENESIS], genesis().to_toml().as_bytes()].concat();
    samples.push(("backup", framed(std::slice::from_ref(&first))));
    samples.push(("backup", framed(&[first, block(1), finality(1)])));
    for path in [
        "/checkpoint",
        "/tile/0/x001/067",
        "/tile/entries/000.p/7",
        "/",
    ] {
        samples.push(("http", format!("GET {path} HTTP/1.1\r\n\r\n").into()));
        samples.push(("http", path.as_bytes()[1..].to_vec()));
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::altered::holds;
    use crate::simulation::{Recorded, recorded};
    use crate::wire::DecodeError;

    const ROOM: usize = 64 * 1024; // bytes

    fn samples_of(target: &str) -> Vec<Vec<u8>> {
        let samples = samples().into_iter();
        let of_target = samples.filter(|(of, _)| *of == target);
        of_target.map(|(_, bytes)| bytes).collect()
    }

    /// The tags that are read and that no sample has.
    fn without_a_sample<M: Message>(samples: &[M]) -> Vec<u8> {
        let is_read = |tag: u8| {
            let read = decode::<M>(Bytes::copy_from_slice(&[tag]));
            !matches!(read, Err(DecodeError::Malformed("a tag")))
        };
        let has_one = |tag: u8| samples.iter().any(|one| encode(one)[0] == tag);
        (0..=u8::MAX)
            .filter(|tag| is_read(*tag) && !has_one(*tag))
            .collect()
    }

    #[test]
    fn every_tag_has_a_sample_that_comes_back() {
        fn come_back<M: Message + PartialEq + std::fmt::Debug>(samples: &[M]) {
            assert!(without_a_sample(samples).is_empty(), "{samples:?}");
            for sample in samples {
                assert_eq!(decode::<M>(encode(sample)).as_ref(), Ok(sample));
            }
        }
        come_back(&asks());
        come_back(&answers());
        come_back(&block_messages());
        come_back(&history_messages());
    }

    #[test]
    fn any_message_is_refused_or_means_what_it_says_and_takes_no_more_than_came() {
        let Recorded { head, blocks, .. } = recorded();
        let mut samples = samples_of("wire");
        samples.push(encode(&Answer::Head(head)).into());
        for one in &blocks.blocks {
            samples.push(encode(&BlockMessage::Block(one.block.clone())).into());
        }
        for few in blocks.blocks.chunks(4) {
            let few = Stretch {
                blocks: few.to_vec(),
            };
            samples.push(encode(&HistoryMessage::Stretch(few)).into());
        }
        holds("wire", wire, &samples, 8000, (ROOM, 64));
    }

    #[test]
    fn any_frames_are_passed_over_or_written_back() {
        holds("frames", frames, &samples_of("frames"), 5000, (ROOM, 8));
    }

    #[test]
    fn any_files_of_an_outbox_are_read_as_far_as_they_are_whole() {
        holds("outbox", outbox, &samples_of("outbox"), 1000, (ROOM, 64));
    }

    #[test]
    fn any_journal_opens_with_what_is_whole_in_it() {
        let room = 32 * ROOM;
        holds("journal", journal, &samples_of("journal"), 1000, (room, 8));
    }

    #[test]
    fn any_file_of_blocks_opens_or_is_damaged() {
        let room = 32 * ROOM;
        holds("store", store, &samples_of("store"), 1000, (room, 64));
    }

    #[test]
    fn any_backup_is_refused_or_read_back_as_far_as_it_holds() {
        let recorded = recorded();
        let genesis = recorded.genesis.to_toml();
        let mut records = vec![[&[backup::GENESIS], genesis.as_bytes()].concat()];
        for one in &recorded.blocks.blocks {
            records.push([&[backup::BLOCK], one.block.as_ref()].concat());
            if !one.certificate.is_empty() {
                let (digest, _) = Bodies::read(one.block.clone()).expect("a final block");
                records.push(certified(digest, &one.certificate));
            }
        }
        let framed = |records: &[Vec<u8>]| {
            let mut frames = Vec::new();
            records.iter().for_each(|one| put(one, &mut frames));
            frames
        };
        // All of it once; a few of its blocks altered in many ways.
        backup(&framed(&records));
        let mut samples = samples_of("backup");
        for count in [4, 9, 14] {
            samples.push(framed(&records[..count.min(records.len())]));
        }
        let room = 32 * ROOM;
        holds("backup", backup, &samples, 1000, (room, 64));
    }

    #[test]
    fn any_head_of_a_request_asks_for_a_page_in_the_folder_or_for_none() {
        holds("http", http, &samples_of("http"), 5000, (ROOM, 64));
    }
}
