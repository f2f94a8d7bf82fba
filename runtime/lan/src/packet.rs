//! The two packets.

use std::net::{Ipv4Addr, SocketAddrV4};

use iroh::{PublicKey, SecretKey, Signature};

use crate::{NEAR, Protocol};

const QUESTION: u8 = 1;
const ANNOUNCEMENT: u8 = 2;

/// What a packet is.
#[derive(Debug)]
pub(crate) enum Packet<'a> {
    Question,
    Announcement(Announcement<'a>),
}

/// Somebody's word on where it is, yet to be checked.
#[derive(Debug)]
pub(crate) struct Announcement<'a> {
    pub(crate) key: &'a [u8; 32],
    pub(crate) time: u64,
    pub(crate) address: SocketAddrV4,
    pub(crate) signed: &'a [u8],
    pub(crate) signature: &'a [u8; Signature::LENGTH],
}

impl<'a> Packet<'a> {
    pub(crate) fn read(protocol: &Protocol, packet: &'a [u8]) -> Option<Self> {
        let (kind, rest) = packet.strip_prefix(protocol.begin)?.split_first()?;
        if *kind == QUESTION && rest.is_empty() {
            return Some(Self::Question);
        }
        if *kind != ANNOUNCEMENT {
            return None;
        }
        let (key, rest) = rest.split_first_chunk()?;
        let (time, rest) = rest.split_first_chunk()?;
        let (ip, rest) = rest.split_first_chunk::<4>()?;
        let (port, rest) = rest.split_first_chunk()?;
        let signature: &[u8; Signature::LENGTH] = rest.try_into().ok()?;
        Some(Self::Announcement(Announcement {
            key,
            time: u64::from_be_bytes(*time),
            address: SocketAddrV4::new(Ipv4Addr::from(*ip), u16::from_be_bytes(*port)),
            signed: &packet[..packet.len() - Signature::LENGTH],
            signature,
        }))
    }
}

impl Announcement<'_> {
    /// Whether it is of this time (ms since 1970), as far as clocks agree.
    pub(crate) fn is_near(&self, now: u64) -> bool {
        now.abs_diff(self.time) <= NEAR
    }

    /// The key that it names, if that signed it.
    pub(crate) fn signer(&self) -> Option<PublicKey> {
        let key = PublicKey::from_bytes(self.key).ok()?;
        let signature = Signature::from_bytes(self.signature);
        key.verify(self.signed, &signature).ok()?;
        Some(key)
    }
}

/// The length of the longest packet: an announcement.
pub(crate) fn longest(protocol: &Protocol) -> usize {
    protocol.begin.len() + 1 + 32 + 8 + 4 + 2 + Signature::LENGTH
}

pub(crate) fn question(protocol: &Protocol) -> Vec<u8> {
    [protocol.begin, &[QUESTION]].concat()
}

pub(crate) fn announcement(
    protocol: &Protocol,
    secret: &SecretKey,
    time: u64,
    address: SocketAddrV4,
) -> Vec<u8> {
    let mut packet = unsigned(protocol, secret.public().as_bytes(), time, address);
    let signature = secret.sign(&packet);
    packet.extend(signature.to_bytes());
    packet
}

pub(crate) fn unsigned(
    protocol: &Protocol,
    key: &[u8; 32],
    time: u64,
    address: SocketAddrV4,
) -> Vec<u8> {
    [
        protocol.begin,
        &[ANNOUNCEMENT],
        key,
        &time.to_be_bytes(),
        &address.ip().octets(),
        &address.port().to_be_bytes(),
    ]
    .concat()
}
