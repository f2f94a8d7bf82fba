//! Processes killed as a power cut would, and started again.

mod network;

use std::time::{Duration, Instant};

use network::*;
use tally_ledger::{
    DecisionFile, Description, Genesis, Name, NodeId, Request, Sequence, Settlement,
};
use tally_net::{Endpoint, Secret};
use tally_node::{Client, ClientError, Form, Governance, Outbox, Peer, Record, Sent, SettleError};
use tally_receipt::{
    Digest, KeyRotation, KeyRotationPredicate, Label, Receipt, SigningKey, Timestamp,
};

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
    let address = net.found_socket(1).await;
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

/// A receipt that everybody finds good.
fn good() -> Record {
    let (old, new) = (
        SigningKey::from_seed(&[1; 32]),
        SigningKey::from_seed(&[2; 32]),
    );
    let rotation = KeyRotation {
        from: old.public_key(),
        to: new.public_key(),
        at: Timestamp::from_unix_ms(1_790_000_000_000).expect("before the year 10000"),
        reason: Label::new("test").expect("a label"),
    };
    let predicate = KeyRotationPredicate::new(rotation).expect("two keys");
    let receipt = Receipt::sign(predicate, &[&old, &new]).expect("signed by both");
    Record {
        form: Form::Full,
        receipt: receipt.to_json(),
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
            node: Some(NodeId::new(key.public_key())),
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

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_are_none_are_set_aside_and_those_around_them_settle() {
    let mut net = Net::new(1);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[82; 32]);
    let outbox = Outbox::open(&net.folder().join("outbox")).expect("an outbox");
    let in_full = |bytes: usize| Record {
        form: Form::Full,
        receipt: vec![b'x'; bytes],
    };
    let too_large = 600 * 1024;
    let records = [
        by_hash(b"a"),
        good(),
        in_full(40),
        in_full(50),
        in_full(60),
        in_full(too_large),
        by_hash(b"b"),
    ];
    outbox.append(&records).expect("written");
    emptied(&outbox, &client, &net, &key).await;
    assert_eq!(settled_by(&client, &key).await, 3);
    for receipt in [&b"a"[..], &good().receipt, b"b"] {
        proven(&client, Digest::of(receipt)).await;
    }
    let refused = outbox.refused().expect("read");
    let numbers: Vec<u64> = refused.iter().map(|one| one.number).collect();
    assert_eq!(numbers, [2, 3, 4, 5]);
    for one in &refused {
        let record = &records[usize::try_from(one.number).expect("few")];
        let reason = match record.receipt.len() {
            bytes if bytes == too_large => "too large",
            _ => "is no receipt",
        };
        assert!(one.reason.contains(reason), "{}", one.reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_receipt_in_full_waits_and_is_not_set_aside_whatever_validators_say_of_it() {
    let mut net = Net::new(1);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[83; 32]);
    let outbox = Outbox::open(&net.folder().join("outbox")).expect("an outbox");
    // Which registers the runner.
    outbox.append(&[by_hash(b"a")]).expect("written");
    emptied(&outbox, &client, &net, &key).await;
    outbox.append(&[good()]).expect("written");
    // As those of an older version would, validators of another chain refuse for good what is good.
    let other = Genesis {
        name: Name::new("another").expect("letters"),
        ..net.genesis.clone()
    };
    let begun = Instant::now();
    loop {
        match tally_node::settle(&outbox, &client, &other, &key).await {
            Err(SettleError::Network(ClientError::Refused { .. })) => break,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
            Ok(settled) => panic!("{settled} settled on another chain"),
        }
    }
    assert_eq!(outbox.waiting().expect("read"), 1);
    assert!(outbox.refused().expect("read").is_empty());
    emptied(&outbox, &client, &net, &key).await;
    proven(&client, Digest::of(&good().receipt)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_noted_under_another_key_does_not_hold_up_a_node_with_fewer_receipts() {
    let mut net = Net::new(1);
    net.start_all();
    let client = client(&net).await;
    let outbox = Outbox::open(&net.folder().join("outbox")).expect("an outbox");
    outbox
        .append(&[by_hash(b"a"), by_hash(b"b")])
        .expect("written");
    // The node whose key this machine had before was at its 70th receipt.
    let before = NodeId::new(SigningKey::from_seed(&[85; 32]).public_key());
    let noted = |first, node| Sent {
        first,
        count: 1,
        sequence: 70,
        node,
    };
    outbox.set_sent(noted(0, None)).expect("written");
    let key = SigningKey::from_seed(&[84; 32]);
    emptied(&outbox, &client, &net, &key).await;
    assert_eq!(settled_by(&client, &key).await, 2);
    // Nor one that is registered by then, by this runner in a call that ended too early or by whomever, and has fewer.
    for (first, node, receipt) in [(2, Some(before), b"c"), (3, None, b"d")] {
        outbox.append(&[by_hash(receipt)]).expect("written");
        outbox.set_sent(noted(first, node)).expect("written");
        emptied(&outbox, &client, &net, &key).await;
        assert_eq!(settled_by(&client, &key).await, first + 1);
    }
    for receipt in [b"a", b"b"] {
        proven(&client, Digest::of(receipt)).await;
    }
}

async fn governance(client: &Client) -> Governance {
    let begun = Instant::now();
    loop {
        match client.governance().await {
            Ok(governance) => return governance,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Has the validators decide: one makes the file, each signs what came from the one before, the last hands it in.
async fn decide(net: &Net, client: &Client, next: Description, signers: &[u8]) {
    let now = governance(client).await;
    let mut file = DecisionFile::new(
        net.genesis.chain(),
        now.decided.next,
        next,
        now.decided.parameters,
    )
    .expect("a decision");
    for number in signers {
        let transaction = file.transaction(&now.validators);
        transaction.expect_err("not all have signed yet");
        file = DecisionFile::parse(&file.to_toml(), file.chain()).expect("a decision");
        let key = SigningKey::from_seed(&vote_seed(*number));
        file.sign(&key, &now.validators).expect("it votes");
    }
    let transaction = file.transaction(&now.validators).expect("enough signed");
    submit(client, &transaction).await;
    let begun = Instant::now();
    while governance(client).await.decided.next <= file.decision() {
        assert!(begun.elapsed() < Duration::from_secs(60), "not decided");
    }
}

async fn votes(client: &Client, number: u8) {
    let begun = Instant::now();
    while !status_of(client, number)
        .await
        .is_some_and(|status| status.votes)
    {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "v{number} does not vote"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn validators_come_and_go_by_decisions_and_a_client_of_genesis_counts_those_of_now() {
    let mut net = Net::new(4);
    net.start_all();
    // A fifth follows.
    net.start(4, false);
    let fifth = Peer {
        key: tally_node::vote_key(&SigningKey::from_seed(&vote_seed(4)).public_key())
            .expect("a point"),
        addresses: vec![net.found_socket(4).await],
    };
    let operator = client_of(&net, vec![fifth.clone()]).await;
    let runner = client_of(&net, vec![fifth.clone()]).await;
    let key = SigningKey::from_seed(&[81; 32]);
    register(&net, &runner, &key).await;

    decide(&net, &operator, described(&[0, 1, 2, 3, 4]), &[0, 1, 2]).await;
    votes(&operator, 4).await;
    // Of five, four must agree.
    decide(&net, &operator, described(&[1, 2, 3, 4]), &[1, 2, 3, 4]).await;
    let now = governance(&operator).await;
    assert_eq!(now.validators.len(), 4);
    assert_eq!(now.decided.next.get(), 2);

    for number in [1, 4] {
        catches_up(&operator, number).await;
    }

    // The runner's client knows those of genesis, one of whom is left and has to be enough with the fifth.
    for number in [0, 2, 3] {
        net.kill(number);
    }
    let (transaction, receipt) = settlement(&net, &key, 0);
    submit(&runner, &transaction).await;
    net.start(2, false);
    proven(&runner, receipt).await;

    // Who was voted out is back and takes what it is sent, which counts for nothing.
    net.start(0, false);
    let begun = Instant::now();
    while status_of(&operator, 0).await.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "v0 is not back");
    }
    for number in [2, 4] {
        net.kill(number);
    }
    let late = client_of(&net, vec![fifth]).await;
    let (transaction, receipt) = settlement(&net, &key, 1);
    let refused = late.submit(std::slice::from_ref(&transaction)).await;
    assert!(
        matches!(
            refused,
            Err(ClientError::TooFew {
                found: 1,
                needed: 2,
                ..
            })
        ),
        "{refused:?}"
    );
    // With two more of those of now, it goes on.
    for number in [2, 3] {
        net.start(number, false);
    }
    submit(&late, &transaction).await;
    proven(&late, receipt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_voted_out_follows_those_who_came_later_though_genesis_names_nobody_else() {
    let mut net = Net::new(1);
    net.finds_by_key = true;
    net.start_all();
    net.start(1, false);
    let second = Peer {
        key: tally_node::vote_key(&SigningKey::from_seed(&vote_seed(1)).public_key())
            .expect("a point"),
        addresses: vec![net.found_socket(1).await],
    };
    let operator = client_of(&net, vec![second]).await;
    decide(&net, &operator, described(&[1]), &[0]).await;
    votes(&operator, 1).await;
    // Which waits until all who answer have it.
    register(&net, &operator, &SigningKey::from_seed(&[84; 32])).await;
    let begun = Instant::now();
    loop {
        let (out, now) = (status_of(&operator, 0).await, status_of(&operator, 1).await);
        if let (Some(out), Some(now)) = (out, now)
            && out.height >= now.height
        {
            assert!(!out.votes);
            return;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "v0 does not follow"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_runner_registers_itself_is_decided_by_the_rule_of_now_and_not_by_that_of_genesis()
 {
    let mut net = Net::new(1);
    net.start_all();
    let operator = client(&net).await;
    let rule = |registration: &str| {
        Description::parse(&format!(
            "[parameters]\nregistration = \"{registration}\"\n"
        ))
        .expect("parameters")
    };
    decide(&net, &operator, rule("by-validators"), &[0]).await;

    let key = SigningKey::from_seed(&[82; 32]);
    let outbox = Outbox::open(&net.folder().join("outbox")).expect("an outbox");
    outbox.append(&[by_hash(b"a")]).expect("written");
    let runner = client(&net).await;
    let begun = Instant::now();
    let refused = loop {
        match tally_node::settle(&outbox, &runner, &net.genesis, &key).await {
            Err(SettleError::Network(error)) => {
                assert!(begun.elapsed() < Duration::from_secs(60), "{error}");
            }
            other => break other,
        }
    };
    assert!(
        matches!(refused, Err(SettleError::NotAdmitted(_))),
        "{refused:?}"
    );

    decide(&net, &operator, rule("open"), &[0]).await;
    emptied(&outbox, &runner, &net, &key).await;
    assert_eq!(settled_by(&runner, &key).await, 1);
}
