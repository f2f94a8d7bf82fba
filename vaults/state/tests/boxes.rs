//! From the bytes of a box to the fold, where the numbers of a log end.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng as _};
use tally_vault_format::*;
use tally_vault_state::{Fold, Operation, Status};

#[test]
fn a_box_at_the_last_sequence_numbers_is_read_like_any_other() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let root = Identity::new(MemberKind::Root, Seed::from_bytes([1; 32]));
    let vault = VaultId([7; 32]);
    let before = OpId([9; 32]);
    let mut draft = BoxDraft::new(
        vault,
        NamespaceId::CONTROL,
        root.member(),
        u64::MAX - 2,
        before,
        None,
    );
    for millis in 1..=2 {
        let content = Content::Checkpoint(Checkpoint { heads: vec![] });
        let time = Time::from_millis(millis);
        draft
            .push(&Op::new(
                time,
                OpKind::Checkpoint,
                vec![],
                &content,
                &mut rng,
            ))
            .unwrap();
    }
    let mut bytes = Vec::new();
    let position = ChainPosition::first(GrantId::ROOT);
    let seal = seal_frame(&root, position, &draft, None, &mut rng, &mut bytes).unwrap();
    let mut buffer = BoxBuffer::new();
    let frame = FrameRef::parse(&vault, &bytes).unwrap();
    let opened = frame.open(None, &mut buffer).unwrap().unwrap();
    let operations: Vec<Operation> = opened
        .iter()
        .map(|op| Operation::new(op.id, &op.op))
        .collect();
    let mut fold = Fold::new(vault, *root.card());
    fold.insert(seal.id(), &seal, Some(&operations)).unwrap();
    assert_eq!(fold.view().status(&seal.head), Some(Status::Valid));
    assert_eq!(fold.view().row(&seal.head).unwrap().sequence, u64::MAX - 1);
}
