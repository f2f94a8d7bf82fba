//! What a validator's processor spends: `cargo run --release -p tally-ledger --example throughput` prints one JSON object.
//!
//! Processor time of one core, so that a busy machine does not matter; no network, no disk. The transactions are made
//! first; only checking, executing and verifying are measured.

#[path = "../tests/network/mod.rs"]
mod network;

use std::hint::black_box;
use std::time::Duration;

use network::*;
use tally_ledger::*;
use tally_receipt::Digest;

/// Receipts that are settled in one measurement.
const RECEIPTS: u64 = 8192;
/// Nodes that settle them, each with a key of its own.
const NODES: u16 = 16;

/// Processor time of this process so far.
fn spent() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).expect("no process began before it ran");
    let nanos = u32::try_from(time.tv_nsec).expect("less than a second");
    Duration::new(seconds, nanos)
}

fn main() {
    let mut rows = Vec::new();
    for batch in [1, 4, 16, 64, 256] {
        let mut chain = Chain::new(4);
        let nodes = 100..100 + NODES;
        chain.block(nodes.clone().map(|node| chain.register(node)).collect());
        let each = RECEIPTS / u64::from(NODES);
        let transactions: Vec<Transaction> = nodes
            .flat_map(|node| (0..each).step_by(batch).map(move |first| (node, first)))
            .map(|(node, first)| {
                let receipts = (first..first + batch as u64)
                    .map(|number| {
                        Digest::of(&[&node.to_be_bytes()[..], &number.to_be_bytes()].concat())
                    })
                    .collect();
                chain.settle(node, first, receipts).transaction().clone()
            })
            .collect();
        let start = spent();
        let checked: Vec<Checked> = Checked::check_many(transactions, chain.id())
            .into_iter()
            .map(|one| one.expect("they are signed"))
            .collect();
        let check = spent() - start;
        let proposed = chain.state.propose(time(1000), checked);
        assert_eq!(proposed.header.log_size, RECEIPTS);
        let start = spent();
        let executed = chain
            .state
            .execute(&proposed.header, &proposed.transactions)
            .expect("it was just proposed");
        let execute = spent() - start;
        black_box(executed);
        let per = |elapsed: Duration| elapsed.as_secs_f64() * 1e6 / RECEIPTS as f64;
        rows.push(format!(
            "{{\"receiptsPerSettlement\":{batch},\"checkMicrosPerReceipt\":{:.2},\"executeMicrosPerReceipt\":{:.2}}}",
            per(check),
            per(execute)
        ));
    }
    let mut chain = Chain::new(4);
    chain.block(vec![chain.register(1)]);
    chain.block(vec![chain.settle(1, 0, digests(4000))]);
    let bytes = chain.prove(2000, true, false).to_bytes();
    let receipt = 2000u64.to_be_bytes();
    let trust = Trust {
        now: time(1_000_000),
        genesis: Some(&chain.genesis),
        policy: None,
    };
    let rounds = 500;
    let start = spent();
    for _ in 0..rounds {
        let shown = verify_proof(black_box(&bytes), Some(&receipt), &trust);
        assert!(shown.verdict.is_verified());
    }
    let verify = (spent() - start).as_secs_f64() * 1e6 / f64::from(rounds);
    let leaves: Vec<_> = (0..1_000_000u64)
        .map(|n| tally_log::leaf_hash(&n.to_be_bytes()))
        .collect();
    let start = spent();
    let mut frontier = tally_log::Frontier::new();
    frontier.extend(leaves.iter().copied());
    black_box(frontier.root());
    let append = (spent() - start).as_secs_f64() * 1e9 / leaves.len() as f64;
    let entries = vec![[7u8; Entry::BYTES]; 100_000];
    let (mut tiler, mut bytes_on_disk) = (tally_log::Tiler::new(), 0);
    let start = spent();
    let files = tiler
        .append(entries.iter().map(|entry| &entry[..]))
        .expect("entries are short");
    let tile = (spent() - start).as_secs_f64() * 1e9 / entries.len() as f64;
    bytes_on_disk += files.iter().map(|file| file.bytes.len()).sum::<usize>();
    let disk = bytes_on_disk as f64 / entries.len() as f64;
    println!(
        "{{\"appendNanosPerLeaf\":{append:.0},\"tileNanosPerEntry\":{tile:.0},\"logBytesPerReceipt\":{disk:.1},\"receipts\":{RECEIPTS},\"nodes\":{NODES},\"settle\":[{}],\"verifyProofMicros\":{verify:.1}}}",
        rows.join(",")
    );
}
