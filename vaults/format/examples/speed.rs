//! What sealing and opening cost beside the cipher alone, on one core:
//! `cargo run --release -p tally-vault-format --example speed`.

use std::time::Duration;

use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, aead::AeadInOut as _};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use tally_vault_format::{
    BLOB_GROUP_LEN, BlobOpener, BlobSealer, Body, BoxBuffer, BoxDraft, EpochKey, Identity,
    MemberKind, NamespaceId, Op, OpId, OpKind, Seed, Time, VaultId,
};

fn main() {
    const LEN: usize = 256 << 20;
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let vault = VaultId([1; 32]);
    let content = vec![0x5a; 8 * 65_536];
    let chunks = LEN / 65_536;

    let cipher = XChaCha20Poly1305::new_from_slice(&[7; 32]).unwrap();
    let mut buffer = content[..65_536].to_vec();
    let raw = best(|| {
        for number in 0..chunks as u64 {
            let mut nonce = [0; 24];
            nonce[16..].copy_from_slice(&number.to_be_bytes());
            std::hint::black_box(
                cipher
                    .encrypt_inout_detached(&nonce.into(), &[], buffer.as_mut_slice().into())
                    .unwrap(),
            );
        }
    });
    report("raw XChaCha20-Poly1305, in place", LEN, raw);
    let hash = best(|| {
        let mut hasher = blake3::Hasher::new();
        for _ in 0..chunks {
            hasher.update(&buffer);
        }
        std::hint::black_box(hasher.finalize());
    });
    report("raw BLAKE3", LEN, hash);

    let mut chunk = Vec::with_capacity(BLOB_GROUP_LEN);
    let seal = best(|| {
        let mut sealer = BlobSealer::new(&vault, LEN as u64, &mut rng).unwrap();
        while let Some(len) = sealer.next_len() {
            chunk.clear();
            chunk.extend_from_slice(&content[..len]);
            sealer.seal(&mut chunk);
        }
        std::hint::black_box(sealer.finish().0.id);
    });
    report("seal a blob", LEN, seal);

    let (file, blob) = tally_vault_format::seal_blob(&vault, &vec![0x5a; LEN], &mut rng).unwrap();
    let open = best(|| {
        let header = tally_vault_format::blob_header_len(file.len() as u64).unwrap();
        let (header, mut rest) = file.split_at(header);
        let mut opener =
            BlobOpener::new(&vault, &blob, file.len() as u64, header.to_vec()).unwrap();
        while let Some(len) = opener.next_len() {
            let (now, later) = rest.split_at(len);
            chunk.clear();
            chunk.extend_from_slice(now);
            std::hint::black_box(opener.open(&mut chunk).unwrap());
            rest = later;
        }
    });
    report("open a blob", LEN, open);

    operations(&mut rng);
}

fn operations(rng: &mut ChaCha20Rng) {
    const OPERATIONS: usize = 100_000;
    const BATCH: usize = 100;
    let vault = VaultId([1; 32]);
    let namespace = NamespaceId([2; 16]);
    let author = Identity::new(MemberKind::Device, Seed::random(rng));
    let key = EpochKey::random(rng);
    let mut body = b"\0\x09fact/name".to_vec();
    body.resize(200, b'x');
    let (mut before, mut time, mut first) = (OpId::NONE, None, 1);
    let mut frames = Vec::new();
    let mut position = tally_vault_format::ChainPosition::first(tally_vault_format::GrantId::ROOT);
    let started = now();
    for batch in 0..OPERATIONS / BATCH {
        let mut draft = BoxDraft::new(vault, namespace, author.member(), first, before, time);
        for number in 0..BATCH {
            let op = Op {
                kind: OpKind::Add,
                time: Time((batch * BATCH + number + 1) as u64),
                targets: Vec::new(),
                body: Body::Present {
                    salt: [number as u8; 32],
                    bytes: body.clone(),
                },
            };
            draft.push(&op).unwrap();
        }
        let mut frame = Vec::new();
        let seal =
            tally_vault_format::seal_frame(&author, position, &draft, Some(&key), rng, &mut frame)
                .unwrap();
        position = tally_vault_format::ChainPosition::after(&seal);
        (before, time, first) = (draft.head(), draft.time(), first + BATCH as u64);
        frames.push(frame);
    }
    let write = now().saturating_sub(started);
    let bytes: usize = frames.iter().map(Vec::len).sum();
    println!(
        "seal 100,000 operations of 200 bytes in batches of 100: {:.3} s; {:.1} bytes each",
        write.as_secs_f64(),
        bytes as f64 / OPERATIONS as f64
    );
    let mut buffer = BoxBuffer::new();
    let read = best(|| {
        let mut seen = 0;
        for frame in &frames {
            let frame = tally_vault_format::FrameRef::parse(&vault, frame).unwrap();
            let opened = frame.open(Some(&key), &mut buffer).unwrap().unwrap();
            seen += opened
                .iter()
                .map(|op| std::hint::black_box(op.op).time().0 & 1)
                .sum::<u64>();
        }
        std::hint::black_box(seen);
    });
    println!(
        "open them: {:.3} s, {:.2} µs each",
        read.as_secs_f64(),
        read.as_secs_f64() * 1e6 / OPERATIONS as f64
    );
}

fn best(mut work: impl FnMut()) -> Duration {
    (0..5)
        .map(|_| {
            let started = now();
            work();
            now().saturating_sub(started)
        })
        .min()
        .unwrap()
}

/// Time that this thread has had a processor, so that neighbours do not count.
fn now() -> Duration {
    rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime)
        .try_into()
        .unwrap()
}

fn report(what: &str, len: usize, time: Duration) {
    println!("{what}: {:.0} MB/s", len as f64 / 1e6 / time.as_secs_f64());
}
