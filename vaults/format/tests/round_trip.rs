//! What is written is read again as it was, and nobody else reads it.

use proptest::prelude::*;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use tally_vault_format::*;

const NAMESPACE: NamespaceId = NamespaceId([0x0a; 16]);
const VAULT: VaultId = VaultId([1; 32]);

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn record_type() -> impl Strategy<Value = String> {
    "[a-z0-9./+-]{1,64}"
}

/// A record with its type beside it, which it borrows.
fn record<'a>(name: &'a str, content: &'a [u8], flags: u8, blob: u64) -> Record<'a> {
    Record {
        record_type: name,
        run: (flags & 1 != 0).then_some(RunId([3; 32])),
        receipt: (flags & 2 != 0).then_some(ReceiptDigest([4; 32])),
        content: if flags & 4 != 0 {
            RecordContent::Blob(BlobRef {
                key: BlobKey::from_bytes([5; 32]),
                id: BlobId([6; 32]),
                len: blob,
            })
        } else {
            RecordContent::Inline(content)
        },
    }
}

proptest! {
    #[test]
    fn records_in_a_frame(
        records in proptest::collection::vec((record_type(), proptest::collection::vec(any::<u8>(), 0..3_000), 0u8..8, 0u64..=limits::BLOB_CONTENT_LEN), 1..40),
        seed in any::<u64>(),
    ) {
        let mut rng = rng(seed);
        let author = Identity::new(MemberKind::Device, Seed::random(&mut rng));
        let key = EpochKey::random(&mut rng);
        let mut draft = BoxDraft::new(VAULT, NAMESPACE, author.member(), 1, OpId::NONE, None);
        let blob = records[0].3;
        let mut ops = Vec::new();
        for (number, (name, content, flags, _)) in records.iter().enumerate() {
            let content = Content::Record(record(name, content, *flags, blob));
            let op = Op::new(Time(number as u64), OpKind::Add, vec![], &content, &mut rng);
            let id = draft.push(&op).unwrap();
            ops.push((id, op));
        }
        let mut bytes = vec![0xcc; 3];
        let seal = seal_frame(&author, ChainPosition::first(GrantId([9; 32])), &draft, Some(&key), &mut rng, &mut bytes).unwrap();
        let frame = FrameRef::parse(&VAULT, &bytes[3..]).unwrap();
        prop_assert_eq!(frame.seal(), &seal);
        frame.seal().verify().unwrap();
        let mut buffer = BoxBuffer::new();
        let opened = frame.open(Some(&key), &mut buffer).unwrap().unwrap();
        prop_assert_eq!(opened.len(), ops.len());
        for (read, (id, op)) in opened.iter().zip(&ops) {
            prop_assert_eq!(read.id, *id);
            prop_assert!(read.op.to_op() == *op);
        }
        // A padded length, a fresh salt, and no other key.
        let other = EpochKey::random(&mut rng);
        prop_assert_eq!(frame.open(Some(&other), &mut buffer).err(), Some(BoxError::Commitment));
        prop_assert_eq!(frame.open(None, &mut buffer).err(), Some(BoxError::NoKey));

        // Made anew, some bodies redacted: the same ids.
        let mut anew = BoxDraft::anew(&seal);
        for (number, (_, op)) in ops.iter().enumerate() {
            let mut op = op.clone();
            if number % 2 == 0 {
                let encoded = op.encode();
                op.body = Body::Redacted(OpRef::parse(&NAMESPACE, &encoded).unwrap().body().commitment());
            }
            anew.push(&op).unwrap();
        }
        let mut out = Vec::new();
        let packer = Identity::new(MemberKind::Slot, Seed::random(&mut rng));
        rebox_frame(&packer, GrantId::ROOT, Time(7), &seal, &anew, &other, &mut rng, &mut out).unwrap();
        let frame = FrameRef::parse(&VAULT, &out).unwrap();
        frame.rebox().unwrap().verify().unwrap();
        prop_assert_eq!(frame.seal_id(), seal.id());
        let opened = frame.open(Some(&other), &mut buffer).unwrap().unwrap();
        for (number, (read, (id, _))) in opened.iter().zip(&ops).enumerate() {
            prop_assert_eq!(read.id, *id);
            prop_assert_eq!(read.op.content().is_none(), number % 2 == 0);
        }
    }

    #[test]
    fn controls(
        rights in proptest::collection::btree_map(any::<[u8; 16]>(), 1u8..=5, 1..64),
        depth in 0u8..255,
        expires in any::<u64>(),
        logs in proptest::collection::btree_map(any::<[u8; 16]>(), (1u64.., any::<[u8; 32]>()), 0..50),
        heads in proptest::collection::btree_map(any::<[u8; 32]>(), (1u64.., any::<[u8; 32]>()), 0..50),
        number in 1u32..,
        full in any::<bool>(),
    ) {
        let card = *Identity::new(MemberKind::Agent, Seed::from_bytes([7; 32])).card();
        let rights: Vec<_> = rights.into_iter().filter(|(n, _)| *n != [0; 16] && *n != [0xff; 16]).map(|(n, r)| (NamespaceId(n), Right::from_number(r).unwrap())).collect();
        prop_assume!(!rights.is_empty());
        let contents = [
            (OpKind::Grant, Content::Grant(Grant { parent: GrantId([1; 32]), card, depth, expires: (expires > 0).then_some(Time(expires)), rights })),
            (OpKind::Revoke, Content::Revocation(Revocation {
                frontier: logs.into_iter().filter(|(n, _)| *n != [0xff; 16]).map(|(n, (sequence, id))| LogPosition { namespace: NamespaceId(n), sequence, operation: OpId(id) }).collect(),
            })),
            (OpKind::Rotate, Content::Rotation(Rotation { namespace: NAMESPACE, number, key: KeyCommitment([1; 32]), keyring: KeyringId([2; 32]), full })),
            (OpKind::Checkpoint, Content::Checkpoint(Checkpoint {
                heads: heads.into_iter().map(|(author, (counter, seal))| Head { author: MemberId(author), counter, seal: SealId(seal) }).collect(),
            })),
        ];
        for (kind, content) in contents {
            let body = content.encode();
            let read = Content::parse(kind, &body);
            prop_assert!(read.as_ref() == Ok(&content), "{:?}", read.err());
        }
    }

    #[test]
    fn blobs(len in 0usize..700_000, seed in any::<u64>()) {
        let mut rng = rng(seed);
        let content: Vec<u8> = (0..len).map(|place| (place as u64 ^ seed) as u8).collect();
        let (file, blob) = seal_blob(&VAULT, &content, &mut rng).unwrap();
        prop_assert_eq!(file.len() as u64, blob_file_len(len as u64));
        prop_assert_eq!(BlobId::of(&file), Ok(blob.id));
        prop_assert_eq!(&*open_blob(&VAULT, &blob, &file).unwrap(), &content);
        let place = seed as usize % file.len();
        let mut altered = file.clone();
        altered[place] ^= 0x10;
        prop_assert!(open_blob(&VAULT, &blob, &altered).is_err());
        prop_assert_ne!(BlobId::of(&altered), Ok(blob.id));
        prop_assert_eq!(open_blob(&VaultId([2; 32]), &blob, &file).err(), Some(BlobError::Commitment));
    }

    #[test]
    fn keyrings(recipients in 1usize..20, older in 0usize..20, name in "\\PC{0,15}", seed in any::<u64>()) {
        let mut rng = rng(seed);
        let members: Vec<_> = (0..recipients).map(|_| Identity::new(MemberKind::Device, Seed::random(&mut rng))).collect();
        let receive: Vec<_> = members.iter().map(|member| member.card().receive()).collect();
        let key = EpochKey::random(&mut rng);
        let older: Vec<_> = (0..older).map(|_| EpochKey::random(&mut rng)).collect();
        let keyring = Keyring::seal(VAULT, NAMESPACE, 3, &key, &name, &older, &receive, &mut rng).unwrap();
        let read = Keyring::parse(&VAULT, keyring.encode()).unwrap();
        prop_assert!(read == keyring);
        for member in &members {
            let opened = read.open(member).unwrap();
            prop_assert_eq!(opened.key.expose(), key.expose());
            prop_assert_eq!(opened.name.as_str(), &name);
            prop_assert_eq!(opened.older.len(), older.len());
            for (commitment, key) in &opened.older {
                prop_assert_eq!(key.commitment(&VAULT, &NAMESPACE), *commitment);
            }
        }
        let stranger = Identity::new(MemberKind::Device, Seed::random(&mut rng));
        prop_assert_eq!(read.open(&stranger).err(), Some(OpenKeyringError::NoMatch));
    }

    #[test]
    fn phrases_and_shares(seed in any::<[u8; 32]>(), threshold in 2u8..=8, more in 0u8..8, chance in any::<u64>()) {
        let seed = Seed::from_bytes(seed);
        prop_assert_eq!(*from_phrase(&to_phrase(&seed)).unwrap().expose(), *seed.expose());
        let mut rng = rng(chance);
        let shares = split_seed(&VAULT, &seed, threshold, threshold + more, &mut rng).unwrap();
        let read: Vec<Share> = shares.iter().map(|share| Share::from_words(&share.to_words()).unwrap()).collect();
        let start = chance as usize % (usize::from(more) + 1);
        let some = &read[start..start + usize::from(threshold)];
        prop_assert_eq!(*combine_shares(&VAULT, some).unwrap().expose(), *seed.expose());
        prop_assert_eq!(*combine_shares(&VAULT, &read).unwrap().expose(), *seed.expose());
        let few = combine_shares(&VAULT, &some[1..]).err();
        if threshold > 1 {
            let found = usize::from(threshold) - 1;
            prop_assert_eq!(few, Some(if found == 0 { CombineError::None } else { CombineError::TooFew { found, needed: threshold } }));
        }
    }
}

/// A program that is not ours, in its own field arithmetic, gets the seed out of our shares.
#[test]
fn another_implementation_combines_the_shares() {
    let seed = Seed::from_bytes(std::array::from_fn(|place| place as u8 * 7));
    let shares = split_seed(&VAULT, &seed, 3, 5, &mut rng(1)).unwrap();
    let list = bip39::Language::English.word_list();
    let theirs: Vec<blahaj::Share> = shares[1..4]
        .iter()
        .map(|share| {
            let bits: Vec<usize> = share
                .to_words()
                .split(' ')
                .flat_map(|word| {
                    let value = list.iter().position(|other| *other == word).unwrap();
                    (0..11)
                        .rev()
                        .map(move |bit| value >> bit & 1)
                        .collect::<Vec<_>>()
                })
                .collect();
            let bytes: Vec<u8> = bits
                .chunks(8)
                .map(|byte| byte.iter().fold(0, |value, bit| value << 1 | *bit as u8))
                .collect();
            blahaj::Share::try_from(&bytes[8..41]).unwrap()
        })
        .collect();
    assert_eq!(blahaj::Sharks(3).recover(&theirs).unwrap(), seed.expose());
}

#[test]
fn a_full_box_says_so_and_opens() {
    let mut rng = rng(1);
    let author = Identity::new(MemberKind::Device, Seed::random(&mut rng));
    let key = EpochKey::random(&mut rng);
    let mut draft = BoxDraft::new(VAULT, NAMESPACE, author.member(), 1, OpId::NONE, None);
    let body = vec![b'x'; limits::INLINE_LEN];
    let mut count = 0;
    loop {
        let content = Content::Record(record("note", &body, 0, 0));
        match draft.push(&Op::new(
            Time(count),
            OpKind::Add,
            vec![],
            &content,
            &mut rng,
        )) {
            Ok(_) => count += 1,
            Err(error) => break assert_eq!(error, DraftError::Full),
        }
    }
    assert!(count > 80);
    let mut bytes = Vec::new();
    seal_frame(
        &author,
        ChainPosition::first(GrantId::ROOT),
        &draft,
        Some(&key),
        &mut rng,
        &mut bytes,
    )
    .unwrap();
    assert!(bytes.len() <= limits::FRAME_LEN);
    let mut buffer = BoxBuffer::new();
    let frame = FrameRef::parse(&VAULT, &bytes).unwrap();
    assert_eq!(
        frame.open(Some(&key), &mut buffer).unwrap().unwrap().len() as u64,
        count
    );
}

/// Every point of small order is refused, and only those: HPKE would find them too, but too late to name whose they are.
#[test]
fn a_small_order_key_gives_the_same_secret_to_all() {
    for text in [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let point: [u8; 32] = hex::decode(text).unwrap().try_into().unwrap();
        let secret = x25519_dalek::StaticSecret::from([7; 32]);
        assert!(
            !secret.diffie_hellman(&point.into()).was_contributory(),
            "{text}"
        );
    }
}

#[test]
fn drafts_refuse_what_readers_refuse() {
    let mut rng = rng(1);
    let author = Identity::new(MemberKind::Device, Seed::random(&mut rng));
    let mut draft = BoxDraft::new(
        VAULT,
        NAMESPACE,
        author.member(),
        1,
        OpId::NONE,
        Some(Time(5)),
    );
    let op = |time, kind, targets, body: &[u8]| Op {
        kind,
        time: Time(time),
        targets,
        body: Body::Present {
            salt: [0; 32],
            bytes: body.to_vec(),
        },
    };
    let good = b"\0\x04note";
    for bad in [
        op(5, OpKind::Add, vec![], good),
        op(6, OpKind::Add, vec![OpId([1; 32])], good),
        op(6, OpKind::Checkpoint, vec![], &[0, 0]),
        op(6, OpKind::Add, vec![], b"\0\x04Note"),
        op(6, OpKind::Retract, vec![OpId([2; 32]), OpId([1; 32])], b""),
    ] {
        assert!(matches!(draft.push(&bad), Err(DraftError::Refused(_))));
        assert!(draft.is_empty() && draft.len() == 4);
    }
    draft.push(&op(6, OpKind::Add, vec![], good)).unwrap();
    assert_eq!(draft.count(), 1);
}
