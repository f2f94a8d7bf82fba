//! The same sessions over real QUIC on this machine: two endpoints, two processes' worth of keys, one ticket.

mod common;

use std::time::Duration;

use common::{World, holdings, put, rng};
use tally_link::{Config, Link, NodeSecret, Ticket};
use tally_vault_format::{MemberKind, NamespaceId, Right, seal_blob};
use tally_vault_sync::{Limits, Replica, initiate, respond};

const NOTES: NamespaceId = NamespaceId([1; 16]);

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_meet_by_ticket_over_quic() {
    let mut world = World::new(6);
    let mut home = world.copy();
    let (keyring, frame) = world.rotate(NOTES, false);
    put(&mut home, &frame);
    home.insert_keyring(&keyring).expect("infallible");
    let (mut device, grant) =
        world.admit(MemberKind::Device, 2, &[(NamespaceId::ALL, Right::Admin)]);
    put(&mut home, &grant);
    for number in 0..500 {
        let frame = world.note(None, NOTES, &[number as u8; 300]);
        home.insert(&frame).expect("infallible");
    }
    home.commit(true).expect("infallible");
    let content = vec![3; 2_000_000];
    let (file, blob) = seal_blob(&world.vault(), &content, &mut world.rng).expect("small enough");
    let id = home.add_blob(file).expect("a blob");
    let frame = world.blob_note(NOTES, blob);
    put(&mut home, &frame);

    let bind = |seed: &tally_vault_format::Seed| {
        let secret = NodeSecret::derive(seed.expose());
        async move {
            Link::bind(&secret, Config::loopback())
                .await
                .expect("loopback binds")
        }
    };
    let (at_home, away) = (
        bind(world.root.identity.seed()).await,
        bind(device.identity.seed()).await,
    );
    let ticket: Ticket = at_home
        .ticket(Some(world.vault().0))
        .to_string()
        .parse()
        .expect("a ticket reads itself");
    let vault = tally_vault_format::VaultId(ticket.vault.expect("it names the vault"));
    let mut copy = common::Memory::new(vault, common::now());
    let limits = Limits::default();

    for round in 0..2 {
        let (left, right) = tokio::join!(
            async {
                let mut channel = away.dial(&ticket).await.expect("it is there");
                let binding = *channel.binding();
                let ended = initiate(
                    &mut copy,
                    &mut channel,
                    &device.identity,
                    &binding,
                    &mut rng(round),
                    &limits,
                )
                .await;
                channel.finish(Duration::from_secs(10)).await;
                ended
            },
            async {
                let mut channel = at_home
                    .accept()
                    .await
                    .expect("open")
                    .open()
                    .await
                    .expect("honest");
                let binding = *channel.binding();
                let ended = respond(
                    &mut home,
                    &mut channel,
                    &world.root.identity,
                    &binding,
                    &mut rng(100 + round),
                    &limits,
                )
                .await;
                channel.finish(Duration::from_secs(10)).await;
                ended
            }
        );
        assert!(left.result.is_ok(), "{left:?}");
        assert!(right.result.is_ok(), "{right:?}");
        assert_eq!(left.report.peer, Some(world.root.member()));
        assert_eq!(right.report.peer, Some(device.member()));
        assert!(holdings(&copy) == holdings(&home));
        assert!(copy.blob(&id).is_some());
        // The second time it has something to bring.
        let note = world.note(Some(&mut device), NOTES, b"from the road");
        put(&mut copy, &note);
    }
    away.close().await;
    at_home.close().await;
}
