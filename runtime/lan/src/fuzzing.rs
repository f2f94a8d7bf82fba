//! What must hold of any packet. The fuzz targets and tests of `p2p-ledger/net` run it.

use std::net::{Ipv4Addr, SocketAddrV4};

use iroh::SecretKey;

use crate::Protocol;
use crate::packet::{Packet, announcement, question, unsigned};

/// What is read of a packet is what is written for it, up to the signature, which only its key can make.
pub fn read_back(protocol: &Protocol, bytes: &[u8]) {
    match Packet::read(protocol, bytes) {
        None => {}
        Some(Packet::Question) => assert_eq!(bytes, question(protocol)),
        Some(Packet::Announcement(one)) => {
            let written = unsigned(protocol, one.key, one.time, one.address);
            assert_eq!(one.signed, written);
            assert_eq!([one.signed, &one.signature[..]].concat(), bytes);
            // Whether it holds or not, it is looked at without harm.
            let _ = one.signer();
        }
    }
}

/// One of each kind.
#[must_use]
pub fn samples(protocol: &Protocol) -> [Vec<u8>; 2] {
    let secret = SecretKey::from_bytes(&[1; 32]);
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4410);
    [
        question(protocol),
        announcement(protocol, &secret, 1_800_000_000_000, address),
    ]
}
