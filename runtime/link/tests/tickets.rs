//! A ticket survives copying whole, and nothing else is taken for one.

use std::net::SocketAddr;

use proptest::prelude::*;
use tally_link::{Address, MAX_ADDRESSES, NodeSecret, Ticket, TicketError};

fn ticket() -> impl Strategy<Value = Ticket> {
    let address = prop_oneof![
        any::<([u8; 4], u16)>()
            .prop_map(|(ip, port)| Address::Direct(SocketAddr::from((ip, port)))),
        any::<([u8; 16], u16)>()
            .prop_map(|(ip, port)| Address::Direct(SocketAddr::from((ip, port)))),
        "https://[a-z]{1,20}\\.example/".prop_map(Address::Relay),
    ];
    (
        any::<[u8; 32]>(),
        any::<Option<[u8; 32]>>(),
        prop::collection::vec(address, 0..=MAX_ADDRESSES),
    )
        .prop_map(|(seed, vault, addresses)| Ticket {
            node: NodeSecret::derive(&seed).node(),
            vault,
            addresses,
        })
}

proptest! {
    #[test]
    fn reads_what_it_writes(ticket in ticket()) {
        let text = ticket.to_string();
        prop_assert_eq!(text.parse::<Ticket>(), Ok(ticket.clone()));
        prop_assert_eq!(format!("  {text}\n").parse::<Ticket>(), Ok(ticket));
    }

    #[test]
    fn notices_every_changed_letter(ticket in ticket(), at in any::<prop::sample::Index>(), other in "[a-z2-7]") {
        let text = ticket.to_string();
        let at = "tally-".len() + at.index(text.len() - "tally-".len());
        prop_assume!(text[at..=at] != other);
        let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        prop_assert!(changed.parse::<Ticket>().is_err());
    }

    #[test]
    fn notices_every_cut(ticket in ticket(), at in any::<prop::sample::Index>()) {
        let text = ticket.to_string();
        prop_assert!(text[..at.index(text.len())].parse::<Ticket>().is_err());
    }

    #[test]
    fn never_panics(text in "(tally-)?[a-z2-7]{0,300}") {
        let _ = text.parse::<Ticket>();
    }
}

#[test]
fn a_fixed_ticket_keeps_its_spelling() {
    let ticket = Ticket {
        node: NodeSecret::derive(&[7; 32]).node(),
        vault: Some([9; 32]),
        addresses: vec![Address::Direct(([192, 168, 1, 20], 4433).into())],
    };
    assert_eq!(
        ticket.to_string(),
        "tally-aea5isfxqfiy3xo4zxunoz7cipwdhvwslbrivtlkjanpkmed2wddhdijbeeqscijbeeqscijbeeqscijbeeqscijbeeqscijbeeqscijbeaqjqfiaekbcupzxf354"
    );
}

#[test]
fn other_text_is_named() {
    assert_eq!("hello".parse::<Ticket>(), Err(TicketError::NotATicket));
    assert_eq!("tally-0".parse::<Ticket>(), Err(TicketError::Damaged));
    assert_eq!("tally-".parse::<Ticket>(), Err(TicketError::Damaged));
    assert_eq!(
        "tally-aiaaaaaa".parse::<Ticket>(),
        Err(TicketError::Version(2))
    );
}
