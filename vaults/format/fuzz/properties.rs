//! What must hold of any bytes. The fuzz targets and a seeded test in the suite (`tests/hostile.rs`) run the same functions.
//!
//! The vault is always the one of the published vectors, so they serve as a corpus.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use tally_vault_format::*;

/// The vault that the objects in `vectors/` belong to.
pub(crate) fn vault() -> VaultId {
    "aa3ee132844ffec5bedd2f853747539ee79e8ac13d5e022026d93ff15dfacdea"
        .parse()
        .expect("64 digits")
}

/// The epoch key of the frames in `vectors/`.
fn epoch_key() -> EpochKey {
    EpochKey::from_bytes([0x42; 32])
}

/// A genesis, slot or keyring that is read is written back byte for byte.
pub(crate) fn files(bytes: &[u8]) {
    let vault = vault();
    if let Ok(genesis) = Genesis::parse(bytes) {
        assert_eq!(genesis.encode()[..], *bytes);
        assert_eq!(
            Card::parse(&genesis.root().encode()).as_ref(),
            Ok(genesis.root())
        );
    }
    // Not opened: a guess costs 64 MiB and more.
    if let Ok(slot) = Slot::parse(&vault, bytes) {
        assert_eq!(slot.encode()[..], *bytes);
        assert!(slot.cost().memory_kib() <= 2_097_152);
    }
    if let Ok(keyring) = Keyring::parse(&vault, bytes) {
        assert_eq!(keyring.encode(), bytes);
        assert!(keyring.recipients().is_sorted());
        let member = Identity::new(MemberKind::Device, Seed::from_bytes([2; 32]));
        if let Ok(opened) = keyring.open(&member) {
            assert_eq!(
                opened.key.commitment(&vault, &keyring.namespace()),
                keyring.key()
            );
        }
    }
}

/// As a file: verified or refused, and opened under no key that did not make it. As a content: it comes back, from a file that verifies.
pub(crate) fn blob(bytes: &[u8]) {
    let vault = vault();
    if let Ok(id) = BlobId::of(bytes) {
        let key = BlobKey::from_bytes([0x66; 32]);
        // The vectors' lengths, and what is left when one chunk's hashes are taken away.
        for len in [
            0,
            300,
            66_000,
            131_072,
            bytes.len().saturating_sub(64) as u64,
        ] {
            let blob = BlobRef {
                key: key.clone(),
                id,
                len,
            };
            if let Ok(content) = open_blob(&vault, &blob, bytes) {
                assert_eq!(content.len() as u64, len);
            }
        }
    }
    if bytes.len() <= 200_000 {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let (file, blob) = seal_blob(&vault, bytes, &mut rng).expect("small enough");
        assert_eq!(BlobId::of(&file), Ok(blob.id));
        assert_eq!(
            *open_blob(&vault, &blob, &file).expect("just sealed"),
            bytes
        );
        let place = bytes.len() * 31 % file.len();
        let mut altered = file;
        altered[place] ^= 1;
        assert!(open_blob(&vault, &blob, &altered).is_err());
    }
}

/// A frame that is read has the bytes it was read from, and its box opens to what its seal says or not at all.
pub(crate) fn frame(bytes: &[u8]) {
    let vault = vault();
    let Ok(frame) = FrameRef::parse(&vault, bytes) else {
        return;
    };
    assert_eq!(frame.encoded(), bytes);
    assert_eq!(FrameRef::announced_len(bytes), Ok(Some(bytes.len())));
    assert_eq!(
        Seal::parse(&vault, &frame.seal().encode()).as_ref(),
        Ok(frame.seal())
    );
    let owned = Frame::from_bytes(&vault, bytes.to_vec()).expect("read before");
    assert_eq!(owned.as_ref().seal_id(), frame.seal_id());
    if let Some(rebox) = frame.rebox() {
        assert_eq!(Rebox::parse(&rebox.encode()).as_ref(), Ok(rebox));
    }
    let mut buffer = BoxBuffer::new();
    // Without the hash, which a fuzzer does not hit.
    if let Some(sealed) = frame.sealed_box()
        && let Ok(opened) = open_box(
            frame.seal(),
            frame.packer(),
            sealed,
            Some(&epoch_key()),
            &mut buffer,
        )
    {
        assert_eq!(opened.len(), frame.seal().count as usize);
        assert_eq!(
            opened.iter().last().map(|op| op.id),
            Some(frame.seal().head)
        );
    }
}

/// A segment gives the frames it begins with, and the bytes of those are the segment.
pub(crate) fn segment(bytes: &[u8]) {
    let Ok(frames) = Frames::of_segment(&vault(), bytes) else {
        return;
    };
    let mut end = SEGMENT_HEADER.len();
    for frame in frames {
        match frame {
            Ok((offset, frame)) => {
                assert_eq!(offset, end);
                end += frame.encoded().len();
            }
            Err(error) => {
                assert!(error.torn_at().is_none_or(|at| at == end));
                return;
            }
        }
    }
    assert_eq!(end, bytes.len());

    // As a tail with room behind it, these are the same frames.
    let room = [bytes, &[0; 600]].concat();
    let tail = Frames::of_tail(&vault(), &room).expect("the same header");
    assert!(tail.clone().all(|frame| frame.is_ok()));
    let segment = Frames::of_segment(&vault(), bytes).expect("read before");
    assert_eq!(tail.count(), segment.count());
}

/// An operation that is read is written back byte for byte, and so is what it says.
pub(crate) fn operation(bytes: &[u8]) {
    for namespace in [NamespaceId::CONTROL, NamespaceId([1; 16])] {
        let Ok(op) = OpRef::parse(&namespace, bytes) else {
            continue;
        };
        assert_eq!(op.encoded(), bytes);
        let owned = op.to_op();
        assert_eq!(owned.encode(), bytes);
        assert_eq!(owned.encoded_len(), bytes.len());
        if let (BodyRef::Present { bytes, .. }, Some(content)) = (op.body(), op.content()) {
            assert_eq!(content.encode(), bytes);
        }
    }
}

/// A body that is read is written back byte for byte. The first byte is the kind.
pub(crate) fn content(bytes: &[u8]) {
    let Some((&number, body)) = bytes.split_first() else {
        return;
    };
    let Some(kind) = OpKind::from_number(number) else {
        return;
    };
    if let Ok(content) = Content::parse(kind, body) {
        assert_eq!(content.encode(), body);
    }
}

/// A box plaintext that somebody else sealed: gets past the cipher into the operations.
pub(crate) fn operations(bytes: &[u8]) {
    let namespace = NamespaceId::CONTROL;
    let author = MemberId([7; 32]);
    let mut boxed = vec![0, 0, 0];
    boxed.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    boxed.extend_from_slice(bytes);
    let seal = Seal {
        vault: vault(),
        author,
        counter: 1,
        previous: SealId::NONE,
        namespace,
        grant: GrantId::ROOT,
        key: KeyId::NONE,
        first: 1,
        count: 1,
        before: OpId::NONE,
        head: OpId::NONE,
        time: Time(0),
        box_len: boxed.len() as u32,
        box_hash: BoxHash::of(&boxed),
        signature: Signature([0; 64]),
    };
    let mut buffer = BoxBuffer::new();
    let answer = open_box(&seal, Packer::Author, &boxed, None, &mut buffer);
    assert!(answer.is_err(), "no operation has the id 0");
}

/// A portable file that is read is written back byte for byte.
pub(crate) fn portable_file(bytes: &[u8]) {
    if let Ok(sections) = portable::parse(bytes) {
        assert_eq!(portable::encode(sections).as_deref(), Ok(bytes));
    }
    // With a true end, so that what is before it is reached.
    if let Some(body) = bytes.strip_suffix(&[0xee]) {
        let end = [
            &[255, 0, 0, 0, 0, 0, 0, 0, 32][..],
            blake3_of(body).as_slice(),
        ]
        .concat();
        let whole = [body, &end].concat();
        if let Ok(sections) = portable::parse(&whole) {
            assert_eq!(portable::encode(sections).as_deref(), Ok(&whole[..]));
        }
    }
}

fn blake3_of(bytes: &[u8]) -> [u8; 32] {
    BoxHash::of(bytes).0
}

/// A phrase or share that is read is written back word for word.
pub(crate) fn words(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let normal = || {
        text.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .to_ascii_lowercase()
    };
    if let Ok(seed) = from_phrase(text) {
        assert_eq!(*to_phrase(&seed), normal());
    }
    if let Ok(share) = Share::from_words(text) {
        assert_eq!(*share.to_words(), normal());
    }
}
