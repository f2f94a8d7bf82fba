//! Real processes whose disks, peers and callers misbehave: a torn file, a full disk, strangers, garbage, floods, slow readers.
//!
//! What must hold each time: whatever was acknowledged is settled, no honest validator signs two things, and who was hit
//! comes back once the trouble is over.

#![expect(clippy::disallowed_methods, reason = "somebody else moves these files")]

mod network;

use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use commonware_p2p::{Recipients, Sender as _};
use network::*;
use tally_ledger::{Evidence, NodeId, Request, Sequence, Settlement, Trust, verify_evidence};
use tally_net::{
    CALL_ALPN, CallError, Caller, ChannelConfig, Config, Endpoint, EndpointId, Mesh, Peer, Secret,
};
use tally_node::Client;
use tally_receipt::{Digest, SigningKey, Timestamp};

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Bytes that look like nothing, the same each time.
fn garbage(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in 0u64.. {
        if bytes.len() >= length {
            break;
        }
        bytes.extend(Digest::of(&[seed.to_be_bytes(), block.to_be_bytes()].concat()).as_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn torn_files_are_cut_to_what_was_synced_and_nothing_acknowledged_is_lost() {
    let mut net = Net::new(4);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[80; 32]);
    register(&net, &client, &key).await;
    let mut acknowledged = Vec::new();
    let mut number = 0;
    for round in 0..6u64 {
        let victim = u8::try_from(round % 3).expect("few");
        for _ in 0..6 {
            let (transaction, receipt) = settlement(&net, &key, number);
            submit(&client, &transaction).await;
            acknowledged.push(receipt);
            number += 1;
        }
        net.kill(usize::from(victim));
        let store = net.folder().join(format!("v{victim}/store"));
        let torn = files(&store);
        assert!(torn.len() > 2, "{torn:?}");
        for (place, path) in torn.iter().enumerate() {
            // An empty one was just made: its header is written in one sector, or not at all.
            if std::fs::metadata(path).expect("it is there").len() == 0 {
                continue;
            }
            let length = 1 + usize::try_from(round).expect("few") * 977;
            let mut file = std::fs::File::options()
                .append(true)
                .open(path)
                .expect("it is there");
            // What a write leaves that was never synced: nothing of it, or anything.
            file.write_all(&garbage(round * 100 + place as u64, length))
                .expect("written");
        }
        net.start(victim, false);
        catches_up(&client, victim).await;
    }
    // Blocks and acknowledged transactions of one are also cut in the middle of what was synced, as a bad disk does. Its votes are
    // not: nobody can vote honestly without its memory.
    net.kill(0);
    for path in files(&net.folder().join("v0/store")) {
        let is_votes = path.to_string_lossy().contains("votes");
        let length = std::fs::metadata(&path).expect("it is there").len();
        if !is_votes && length > 200 {
            let file = std::fs::File::options()
                .write(true)
                .open(&path)
                .expect("it is there");
            file.set_len(length - 100).expect("cut");
        }
    }
    net.start(0, false);
    catches_up(&client, 0).await;
    for receipt in acknowledged {
        proven(&client, receipt).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_whose_blocks_rot_leaves_them_says_so_and_has_them_again_from_the_others() {
    let mut net = Net::new(4);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[86; 32]);
    register(&net, &client, &key).await;
    for number in 0..6 {
        let (transaction, receipt) = settlement(&net, &key, number);
        submit(&client, &transaction).await;
        proven(&client, receipt).await;
    }
    // What is there at a start is known to be durable from then on.
    net.kill(0);
    net.start(0, false);
    catches_up(&client, 0).await;
    net.kill(0);
    let blocks = net.folder().join("v0/store/blocks");
    let length = |path: &PathBuf| std::fs::metadata(path).expect("it is there").len();
    let file = files(&blocks).into_iter().max_by_key(length);
    let file = file.expect("it has blocks");
    let mut rotten = std::fs::read(&file).expect("read");
    // A tenth of the way into what is behind the page that the runtime puts in front.
    let tenth = rotten.len() - (rotten.len() - 4096) * 9 / 10;
    rotten[tenth] ^= 1;
    std::fs::write(&file, &rotten).expect("written");
    net.start(0, false);
    let begun = Instant::now();
    while net.runs(0) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it goes on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let log = std::fs::read_to_string(net.folder().join("v0.log")).expect("a log");
    assert!(log.contains("store/blocks"), "{log}");
    assert!(std::fs::read(&file).expect("read") == rotten);

    std::fs::rename(&blocks, net.folder().join("rotten")).expect("moved away");
    net.start(0, false);
    catches_up(&client, 0).await;
    // And now it is needed.
    net.kill(1);
    let (transaction, receipt) = settlement(&net, &key, 6);
    submit(&client, &transaction).await;
    proven(&client, receipt).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_on_a_full_disk_stops_and_comes_back_when_there_is_room() {
    const ROOM: u64 = 512 * 1024; // bytes
    let mut net = Net::new(4);
    for number in 0..3 {
        net.start(number, false);
    }
    net.start_on_a_small_disk(3, ROOM);
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[81; 32]);
    register(&net, &client, &key).await;
    let mut last = Vec::new();
    let mut number = 0u64;
    let begun = Instant::now();
    while net.runs(3) {
        let receipts: Vec<Digest> = (number..number + 1000)
            .map(|n| Digest::of(&n.to_be_bytes()))
            .collect();
        last.push(receipts[999]);
        let request = Request::Settle {
            node: NodeId::new(key.public_key()),
            first: Sequence::new(number),
            receipts: Settlement::Hashes(receipts),
        };
        submit(&client, &net.signed(request, &key)).await;
        number += 1000;
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "it writes where there is no room"
        );
    }
    let log = std::fs::read_to_string(net.folder().join("v3.log")).expect("a log");
    assert!(log.contains("a node ended by itself"), "{log}");
    // The others do not need it.
    let (transaction, receipt) = settlement(&net, &key, number);
    submit(&client, &transaction).await;
    last.push(receipt);
    for receipt in &last {
        proven(&client, *receipt).await;
    }
    net.start(3, false);
    catches_up(&client, 3).await;
    // And now it is needed.
    net.kill(0);
    let (transaction, receipt) = settlement(&net, &key, number + 1);
    submit(&client, &transaction).await;
    proven(&client, receipt).await;
}

async fn endpoint(seed: u8) -> Endpoint {
    let config = Config::new(([127, 0, 0, 1], 0).into());
    Endpoint::bind(&Secret::derive(&[seed; 32]), config)
        .await
        .expect("a free port")
}

fn caller(net: &Net, from: &Endpoint, number: u8, time: Duration) -> Caller {
    Caller::new(
        from.clone(),
        Secret::of_validator(&vote_seed(number)).id(),
        vec![net.socket(number)],
        time,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_garbage_and_frames_that_are_too_long_stop_nobody() {
    let mut net = Net::new(4);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[82; 32]);
    register(&net, &client, &key).await;

    // Somebody who wants to be a validator's peer, and has much to say.
    let stranger = endpoint(20).await;
    let channel = ChannelConfig {
        limit: 1 << 20,
        priority: 0,
        queue: NonZeroUsize::new(64).expect("not zero"),
    };
    let (mesh, mut halves) = Mesh::new(stranger, &[channel; 6], Duration::ZERO);
    mesh.set_peers((0..4).map(|number| {
        let key = SigningKey::from_seed(&vote_seed(number)).public_key();
        Peer {
            key: tally_node::vote_key(&key).expect("a point"),
            addresses: vec![net.socket(number)],
        }
    }));
    let shouting = tokio::spawn(async move {
        let (mut sender, _receiver) = halves.remove(0);
        for round in 0.. {
            sender.send(Recipients::All, Bytes::from(garbage(round, 100_000)), true);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });

    // Somebody who asks nonsense, and too much of it.
    let asking = endpoint(21).await;
    let nonsense = async {
        for number in 0..4 {
            let calls = caller(&net, &asking, number, Duration::from_secs(20));
            for round in 0..100u64 {
                let length = usize::try_from(round * 37 % 4000).expect("few");
                let mut bytes = garbage(round, length);
                if let Some(tag) = bytes.first_mut() {
                    *tag = u8::try_from(round % 12).expect("few");
                }
                // It may be a question by chance. What matters is that there is an answer.
                calls.call(bytes.into(), 16 << 20).await.expect("an answer");
            }
            let long = calls
                .call(vec![3; 4 * 1024 * 1024 + 1].into(), 1 << 20)
                .await;
            assert!(matches!(long, Err(CallError::Broken { .. })), "{long:?}");
            // A list that is said to have more in it than there is.
            let mut lie = vec![3, 0xff, 0xff];
            lie.extend([0xff; 64]);
            let answer = calls.call(lie.into(), 1 << 20).await.expect("an answer");
            assert_eq!(answer[0], 0, "it is refused");
        }
    };
    let honest = async {
        for number in 0..20 {
            let (transaction, receipt) = settlement(&net, &key, number);
            submit(&client, &transaction).await;
            proven(&client, receipt).await;
        }
    };
    tokio::join!(nonsense, honest);
    assert_eq!(mesh.connected().len(), 0, "a stranger is a peer");
    shouting.abort();
    for number in 0..4 {
        catches_up(&client, number).await;
        assert!(net.runs(number.into()), "v{number} has ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_receipts_that_hold_and_that_do_not_delays_and_loses_nothing() {
    let mut net = Net::new(4);
    net.start_all();
    let client = client(&net).await;
    let keys: Vec<SigningKey> = (90..94).map(|n| SigningKey::from_seed(&[n; 32])).collect();
    for key in &keys {
        register(&net, &client, key).await;
    }
    // Signed by the wrong key, for another's place in the order, and far ahead of it.
    let garbage = async {
        let mut refused = 0;
        for number in 0..300 {
            let (theirs, _) = settlement(&net, &keys[0], number);
            let request = theirs.request().clone();
            let forged = net.signed(request, &keys[1]);
            let (ahead, _) = settlement(&net, &keys[2], 10_000_000 + number);
            for bad in [forged, ahead] {
                refused += u32::from(client.submit(&[bad]).await.is_err());
            }
        }
        refused
    };
    let [one, two, three, four] = [0, 1, 2, 3].map(|n| flood(&net, &client, &keys[n]));
    let (refused, one, two, three, four) = tokio::join!(garbage, one, two, three, four);
    assert_eq!(refused, 600, "something was taken that does not hold");
    for receipt in [one, two, three, four].into_iter().flatten() {
        proven(&client, receipt).await;
    }
}

/// Settles receipts one after another, as fast as they are taken.
async fn flood(net: &Net, client: &tally_node::Client, key: &SigningKey) -> Vec<Digest> {
    let mut receipts = Vec::new();
    for number in 0..150 {
        let (transaction, receipt) = settlement(net, key, number);
        submit(client, &transaction).await;
        receipts.push(receipt);
    }
    receipts
}

/// Callers that begin and do not go on: half a request, or an answer that nobody reads. A node gives each its time and its
/// window, and everybody else an answer.
#[tokio::test(flavor = "multi_thread")]
async fn slow_callers_keep_nobody_waiting() {
    let mut net = Net::new(4);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[83; 32]);
    register(&net, &client, &key).await;
    // Something to be read slowly.
    for number in 0..8u64 {
        let receipts: Vec<Digest> = (0..4000)
            .map(|n: u64| Digest::of(&(number * 4000 + n).to_be_bytes()))
            .collect();
        let last = receipts[3999];
        let request = Request::Settle {
            node: NodeId::new(key.public_key()),
            first: Sequence::new(number * 4000),
            receipts: Settlement::Hashes(receipts),
        };
        submit(&client, &net.signed(request, &key)).await;
        proven(&client, last).await;
    }
    let mut held = Vec::new();
    for number in 0..4u8 {
        let id = Secret::of_validator(&vote_seed(number)).id();
        for _ in 0..4 {
            let slow = iroh::Endpoint::builder(iroh::endpoint::presets::Minimal)
                .relay_mode(iroh::RelayMode::Disabled)
                .bind()
                .await
                .expect("a free port");
            let address = iroh::EndpointAddr::new(iroh_id(id)).with_ip_addr(net.socket(number));
            let connection = slow.connect(address, CALL_ALPN).await.expect("it listens");
            for round in 0..16 {
                let (mut send, receive) = connection.open_bi().await.expect("a stream");
                if round % 2 == 0 {
                    // A megabyte is announced, and two bytes come.
                    send.write_all(&[0, 16, 0, 0, 3, 0]).await.expect("written");
                } else {
                    // All blocks from the first on: the answer is never read.
                    send.write_all(&[0, 0, 0, 9, 5, 0, 0, 0, 0, 0, 0, 0, 1])
                        .await
                        .expect("written");
                    send.finish().expect("open");
                }
                held.push((slow.clone(), connection.clone(), send, receive));
            }
        }
    }
    for number in 32_000..32_010 {
        let (transaction, receipt) = settlement(&net, &key, number);
        submit(&client, &transaction).await;
        proven(&client, receipt).await;
    }
    drop(held);
    for number in 0..4 {
        catches_up(&client, number).await;
        assert!(net.runs(number.into()), "v{number} has ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_is_done_and_callers_that_wait_for_proofs_keep_nobody_from_submitting() {
    let mut net = Net::new(4);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[84; 32]);
    register(&net, &client, &key).await;
    // What comes twice is done already, though one like it would be refused; also by a node that was started again.
    let registration = registration(&net, &key);
    for killed in [None, Some(0u8)] {
        if let Some(number) = killed {
            net.kill(number.into());
            net.start(number, false);
            catches_up(&client, number).await;
        }
        let again = client.submit(std::slice::from_ref(&registration)).await;
        again.expect("it is done already");
    }
    // More than are answered at once, from several callers, since one connection has 32 streams.
    let mut waits = tokio::task::JoinSet::new();
    for seed in 0..12u8 {
        let config = tally_net::Config::new(([127, 0, 0, 1], 0).into());
        let endpoint = Endpoint::bind(&Secret::derive(&[100 + seed; 32]), config)
            .await
            .expect("a free port");
        let other = std::sync::Arc::new(
            Client::new(&endpoint, &net.genesis, Vec::new(), Duration::from_secs(30))
                .expect("addresses"),
        );
        for n in 0..32u8 {
            let (other, endpoint) = (other.clone(), endpoint.clone());
            let never = Digest::of(&[seed, n]);
            waits.spawn(async move {
                let answer = other.prove(never, Duration::from_secs(20)).await;
                drop(endpoint);
                assert!(answer.is_err(), "there is no such receipt");
            });
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for number in 0..5 {
        let (transaction, receipt) = settlement(&net, &key, number);
        let answer = client.submit(std::slice::from_ref(&transaction)).await;
        answer.expect("it is taken while others wait");
        proven(&client, receipt).await;
    }
    assert!(waits.len() > 100, "the others have given up before");
}

/// One clock is an hour ahead, one an hour behind. Nobody votes for what the first proposes, the second votes for nothing that
/// others do, and the ledger goes on by the time of the rest.
#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_an_hour_wrong_neither_stop_a_ledger_nor_set_its_time() {
    const HOUR: i64 = 3600;
    let mut net = Net::new(4);
    net.start(0, false);
    net.start(1, false);
    net.start_with_a_wrong_clock(2, -HOUR);
    net.start_with_a_wrong_clock(3, HOUR);
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[85; 32]);
    register(&net, &client, &key).await;
    for number in 0..20 {
        let (transaction, receipt) = settlement(&net, &key, number);
        submit(&client, &transaction).await;
        proven(&client, receipt).await;
    }
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    for number in 0..4 {
        catches_up(&client, number).await;
        let status = status_of(&client, number).await.expect("it answers");
        let off = now.abs_diff(Duration::from_millis(status.time_ms));
        assert!(off < Duration::from_secs(60), "v{number} is {off:?} off");
    }
}

/// An operator starts the same key twice, from a copy of its directory. The ledger goes on, and whatever evidence there is
/// names nobody else: all three others have some most of the time, but the two may also vote alike.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_runs_twice_harms_nobody_but_itself() {
    let mut net = Net::new(4);
    net.start_all();
    let client = client(&net).await;
    let key = SigningKey::from_seed(&[86; 32]);
    register(&net, &client, &key).await;
    // The one that dials everybody, so that its twin is heard too.
    let twice = (0..4u8)
        .min_by_key(|number| Secret::of_validator(&vote_seed(*number)).id().to_string())
        .expect("four");
    net.kill(twice.into());
    net.start_twin_of(twice);
    net.start(twice, false);
    let mut acknowledged = Vec::new();
    for number in 0..40 {
        let (transaction, receipt) = settlement(&net, &key, number);
        submit(&client, &transaction).await;
        proven(&client, receipt).await;
        acknowledged.push(receipt);
    }
    assert!(
        net.runs(twice.into()) && net.runs(4),
        "one of the two has ended: {}{}",
        std::fs::read_to_string(net.folder().join(format!("v{twice}.log"))).unwrap_or_default(),
        std::fs::read_to_string(net.folder().join("v4.log")).unwrap_or_default()
    );
    net.kill(twice.into());
    net.kill(4);
    for number in 40..45 {
        let (transaction, receipt) = settlement(&net, &key, number);
        submit(&client, &transaction).await;
        acknowledged.push(receipt);
    }
    for receipt in acknowledged {
        proven(&client, receipt).await;
    }
    let voted = SigningKey::from_seed(&vote_seed(twice)).public_key();
    for number in (0..4).filter(|number| *number != twice) {
        let evidence = net.folder().join(format!("v{number}/evidence"));
        if !evidence.exists() {
            continue;
        }
        let whole = |file: &PathBuf| file.extension().is_some_and(|end| end == "evidence");
        for file in files(&evidence).into_iter().filter(whole) {
            let bytes = std::fs::read(&file).expect("it is there");
            match Evidence::from_bytes(&bytes).expect("evidence") {
                Evidence::Votes { voter, .. } => assert_eq!(voter, voted, "{}", file.display()),
                other => panic!("{other:?}"),
            }
            let trust = Trust {
                now: Timestamp::from_unix_ms(4_000_000_000_000).expect("a time"),
                genesis: Some(&net.genesis),
                policy: None,
            };
            assert!(verify_evidence(&bytes, &trust).is_verified());
        }
    }
}

fn iroh_id(id: EndpointId) -> iroh::EndpointId {
    iroh::PublicKey::from_bytes(id.as_bytes()).expect("a key")
}
