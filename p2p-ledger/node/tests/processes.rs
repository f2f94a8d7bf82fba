//! Processes killed as a power cut would, and started again.

mod network;

use std::time::{Duration, Instant};

use network::*;
use tally_ledger::{NodeId, Request, Sequence, Settlement};
use tally_net::{Endpoint, Secret};
use tally_node::{Client, Form, Outbox, Record, Sent};
use tally_receipt::{Digest, SigningKey};

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_one_or_all_nothing_acknowledged_is_lost() {
    let mut net = Net::new(4);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[77; 32]);
    register(&net, &client, &key).await;
    let mut acknowledged = Vec::new();
    for round in 0..5u64 {
        for n in 0..8 {
            let number = round * 8 + n;
            let receipt = Digest::of(&number.to_be_bytes());
            let request = Request::Settle {
                node: NodeId::new(key.public_key()),
                first: Sequence::new(number),
                receipts: Settlement::Hashes(vec![receipt]),
            };
            submit(&client, &net.signed(request, &key)).await;
            acknowledged.push(receipt);
            if n == 3 {
                // One of them, while the others go on.
                net.kill(usize::try_from(round % 4).expect("below four"));
            }
        }
        for number in 0..4 {
            net.kill(number);
        }
        net.start_all();
    }
    for receipt in acknowledged {
        proven(&client, receipt).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_node_alone_settles_an_outbox_and_a_follower_has_it_too() {
    let mut net = Net::new(1);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[78; 32]);
    let outbox = Outbox::open(&net.folder().join("outbox")).expect("an outbox");
    let receipts: Vec<Vec<u8>> = (0..5u8).map(|n| vec![n; 40]).collect();
    let records: Vec<Record> = receipts
        .iter()
        .map(|receipt| Record {
            form: Form::Hash,
            receipt: receipt.clone(),
        })
        .collect();
    outbox.append(&records).expect("written");
    let begun = Instant::now();
    let mut settled = 0;
    while settled < 5 {
        match tally_node::settle(&outbox, &client, &net.genesis, &key).await {
            Ok(more) => settled += more,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
    }
    assert_eq!(outbox.waiting().expect("read"), 0);
    // Once more does nothing.
    outbox.append(&records[..0]).expect("written");
    let again = tally_node::settle(&outbox, &client, &net.genesis, &key).await;
    assert_eq!(again.expect("nothing to do"), 0);

    net.start(1, true);
    let socket = net.folder().join("v1.socket");
    let begun = Instant::now();
    let address = loop {
        if let Ok(text) = std::fs::read_to_string(&socket)
            && let Ok(address) = text.parse()
        {
            break address;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no follower");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let config = tally_net::Config::new(([127, 0, 0, 1], 0).into());
    let endpoint = Endpoint::bind(&Secret::derive(&[10; 32]), config)
        .await
        .expect("a free port");
    let follower = Secret::derive(&[101; 32]).id();
    let of_follower = Client::of(
        &endpoint,
        &net.genesis,
        vec![(follower, vec![address])],
        Duration::from_secs(10),
    )
    .expect("an address");
    // It checks the proof, so that it comes from a follower does not matter.
    for receipt in receipts {
        proven(&of_follower, Digest::of(&receipt)).await;
    }
}

/// A folder's files, as a machine that stops at this moment leaves them.
fn copied(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("a file").path();
        std::fs::copy(&path, to.join(path.file_name().expect("named"))).expect("copied");
    }
}

fn by_hash(receipt: &[u8]) -> Record {
    Record {
        form: Form::Hash,
        receipt: receipt.to_vec(),
    }
}

/// Settles all that waits, however often the network has to be asked.
async fn emptied(outbox: &Outbox, client: &Client, net: &Net, key: &SigningKey) {
    let begun = Instant::now();
    while outbox.waiting().expect("read") > 0 {
        if let Err(error) = tally_node::settle(outbox, client, &net.genesis, key).await {
            assert!(begun.elapsed() < Duration::from_secs(60), "{error}");
        }
    }
}

async fn settled_by(client: &Client, key: &SigningKey) -> u64 {
    let node = NodeId::new(key.public_key());
    let found = client.node(node).await.expect("answered");
    found.map_or(0, |found| found.settled)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_settled_twice_or_left_out_whoever_else_settles_and_whenever_a_runner_stops() {
    let mut net = Net::new(1);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[79; 32]);
    let folder = |name: &str| net.folder().join(name);
    let outbox = Outbox::open(&folder("outbox")).expect("an outbox");

    // Somebody else has settled the last receipt of three already.
    let stranger = SigningKey::from_seed(&[80; 32]);
    let theirs = Outbox::open(&folder("stranger")).expect("an outbox");
    theirs.append(&[by_hash(b"c")]).expect("written");
    emptied(&theirs, &client, &net, &stranger).await;
    outbox
        .append(&[by_hash(b"a"), by_hash(b"b"), by_hash(b"c")])
        .expect("written");
    emptied(&outbox, &client, &net, &key).await;
    assert_eq!(settled_by(&client, &key).await, 3);
    for receipt in [b"a", b"b", b"c"] {
        proven(&client, Digest::of(receipt)).await;
    }

    // The machine stops when two more were handed over and not noted as settled, and has a third one when it is back.
    outbox
        .append(&[by_hash(b"d"), by_hash(b"e")])
        .expect("written");
    copied(&folder("outbox"), &folder("before"));
    emptied(&outbox, &client, &net, &key).await;
    std::fs::copy(folder("outbox").join("sent"), folder("before").join("sent")).expect("copied");
    let outbox = Outbox::open(&folder("before")).expect("an outbox");
    outbox.append(&[by_hash(b"f")]).expect("written");
    emptied(&outbox, &client, &net, &key).await;
    assert_eq!(settled_by(&client, &key).await, 6);
    proven(&client, Digest::of(b"f")).await;

    // Another machine with the same key takes the places that were meant for two others.
    outbox
        .append(&[by_hash(b"g"), by_hash(b"h")])
        .expect("written");
    outbox
        .set_sent(Sent {
            first: 6,
            count: 2,
            sequence: 6,
        })
        .expect("written");
    let twin = Outbox::open(&folder("twin")).expect("an outbox");
    twin.append(&[by_hash(b"x")]).expect("written");
    emptied(&twin, &client, &net, &key).await;
    emptied(&outbox, &client, &net, &key).await;
    assert_eq!(settled_by(&client, &key).await, 9);
    for receipt in [b"g", b"h", b"x"] {
        proven(&client, Digest::of(receipt)).await;
    }
}
