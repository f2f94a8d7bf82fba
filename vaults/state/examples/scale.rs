//! What a million operations cost, in time and bytes: `cargo run --release -p tally-vault-state --example scale`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use common::*;
use tally_vault_format::*;

const MILLION: usize = 1_000_000;

/// Frames of `size` operations by ten members, one in ten of which supersedes.
fn frames(size: usize) -> (Pen, Vec<Sealed>) {
    let mut root = root();
    let mut frames = Vec::new();
    let mut members: Vec<(Pen, GrantId, [Vec<OpId>; 2])> = (1..=10)
        .map(|number| {
            let pen = Pen::new(card(MemberKind::Device, number));
            let draft = grant(GrantId::ROOT, pen.card, 1, None, &[(ALL, Right::Curate)]);
            let id = one(&mut root, GrantId::ROOT, CONTROL, draft, &mut frames).grant();
            (pen, id, [const { Vec::new() }; 2])
        })
        .collect();
    for frame in 0..MILLION / size {
        let (pen, id, last) = &mut members[frame % 10];
        let place = frame / 10 % 2;
        let last = &mut last[place];
        let drafts = (0..size).map(|at| match last.get(at % 100) {
            Some(target) if (frame / 20 * size + at) % 10 == 9 => supersede(&[*target]),
            _ => add(),
        });
        let drafts = drafts.collect();
        let frame = write(pen, *id, [DIARY, HEALTH][place], drafts);
        last.splice(0..0, frame.operations.iter().map(|op| op.id));
        last.truncate(100);
        frames.push(frame);
    }
    (root, frames)
}

fn measure(size: usize) {
    let (root, mut frames) = frames(size);
    for order in ["in order", "shuffled"] {
        let start = Instant::now();
        let mut state = fold(&frames);
        let inserted = start.elapsed();
        let hash = state.view().state_hash();
        let settled = start.elapsed();
        let bytes = state.memory() / state.len();
        println!(
            "{size} a frame, {order}: inserted {inserted:?}, settled and hashed {settled:?}, {bytes} B/operation"
        );

        let start = Instant::now();
        let records = state.view().records().len();
        println!("  {records} records in {:?}", start.elapsed());
        let start = Instant::now();
        let rows = state.view().log().filter(|row| row.why.is_none()).count();
        println!("  {rows} rows in {:?}", start.elapsed());
        let start = Instant::now();
        println!(
            "  {} findings in {:?}",
            state.view().findings().len(),
            start.elapsed()
        );

        let mut pen = root.clone();
        let more: Vec<Sealed> = (0..1_000)
            .map(|_| write(&mut pen, GrantId::ROOT, DIARY, vec![add()]))
            .collect();
        let start = Instant::now();
        for frame in &more {
            insert(&mut state, frame);
            let _ = state.view().status(&frame.operations[0].id);
        }
        println!("  one more, looked at: {:?} each", start.elapsed() / 1_000);
        let draft = grant(
            GrantId::ROOT,
            card(MemberKind::Device, 99),
            0,
            None,
            &[(ALL, Right::Read)],
        );
        let control = write(&mut pen, GrantId::ROOT, CONTROL, vec![draft]);
        insert(&mut state, &control);
        let start = Instant::now();
        let _ = state.view();
        println!("  a grant: {:?}", start.elapsed());
        let member = card(MemberKind::Device, 1).member();
        let (id, frontier) = {
            let view = state.view();
            let id = view
                .grant_to_use(&member, &DIARY, Right::Append, at(NOW))
                .expect("granted");
            (id, view.frontier(&member))
        };
        let control = write(
            &mut pen,
            GrantId::ROOT,
            CONTROL,
            vec![revoke(id, Revocation { frontier })],
        );
        insert(&mut state, &control);
        let start = Instant::now();
        let _ = state.view();
        println!("  a revocation that touches a tenth: {:?}", start.elapsed());
        assert_ne!(state.view().state_hash(), hash);
        Dice(1).shuffle(&mut frames);
    }
}

fn main() {
    measure(100);
    measure(1);
}
