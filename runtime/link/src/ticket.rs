//! Where a node is, as text that a person can copy.
//!
//! `tally-` ‖ base32 of: `version u8 = 1 ‖ flags u8 (1: a vault) ‖ node [32] ‖ [vault [32]] ‖ addresses u8 ‖ address… ‖
//! check [4]`. An address is `4 ‖ ip [4] ‖ port u16`, `6 ‖ ip [16] ‖ port u16` or `1 ‖ length u8 ‖ the URL of a relay`.
//! `check` is the beginning of BLAKE3 (derive key, context below) over everything before it. A ticket holds no secret:
//! it lets others find a node and name a vault, and opens nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::{NodeId, TicketError, text};

const PREFIX: &str = "tally-";
const VERSION: u8 = 1;
const WITH_VAULT: u8 = 1;
const CHECK: usize = 4;
const CONTEXT: &str = "tally vault v1 2026-11-21 ticket check";

/// Addresses in one ticket.
pub const MAX_ADDRESSES: usize = 16;

/// One way to a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// Straight to a socket.
    Direct(SocketAddr),
    /// Through a relay: its URL, at most 255 bytes.
    Relay(String),
}

/// Where a node is, and perhaps which vault is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The node to dial.
    pub node: NodeId,
    /// The vault the giver of the ticket meant.
    pub vault: Option<[u8; 32]>,
    /// Ways to the node; the first [`MAX_ADDRESSES`] are written.
    pub addresses: Vec<Address>,
}

impl Ticket {
    fn check(bytes: &[u8]) -> [u8; CHECK] {
        let mut check = [0; CHECK];
        check.copy_from_slice(&blake3::derive_key(CONTEXT, bytes)[..CHECK]);
        check
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![VERSION, if self.vault.is_some() { WITH_VAULT } else { 0 }];
        bytes.extend_from_slice(self.node.as_bytes());
        if let Some(vault) = &self.vault {
            bytes.extend_from_slice(vault);
        }
        // A URL that is too long cannot be written; a ticket without it still leads somewhere or says that it does not.
        let fits = |address: &&Address| !matches!(address, Address::Relay(url) if url.len() > 255);
        let addresses: Vec<&Address> = self
            .addresses
            .iter()
            .filter(fits)
            .take(MAX_ADDRESSES)
            .collect();
        bytes.push(addresses.len() as u8);
        for address in addresses {
            match address {
                Address::Direct(socket) => {
                    match socket.ip() {
                        IpAddr::V4(ip) => {
                            bytes.push(4);
                            bytes.extend_from_slice(&ip.octets());
                        }
                        IpAddr::V6(ip) => {
                            bytes.push(6);
                            bytes.extend_from_slice(&ip.octets());
                        }
                    }
                    bytes.extend_from_slice(&socket.port().to_be_bytes());
                }
                Address::Relay(url) => {
                    bytes.push(1);
                    bytes.push(url.len() as u8);
                    bytes.extend_from_slice(url.as_bytes());
                }
            }
        }
        let check = Self::check(&bytes);
        bytes.extend_from_slice(&check);
        write!(f, "{PREFIX}{}", text::encode(&bytes))
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(s: &str) -> Result<Self, TicketError> {
        let letters = s
            .trim()
            .strip_prefix(PREFIX)
            .ok_or(TicketError::NotATicket)?;
        let bytes = text::decode(letters).ok_or(TicketError::Damaged)?;
        let (body, check) = bytes
            .split_last_chunk::<CHECK>()
            .ok_or(TicketError::Damaged)?;
        // The version comes before the checksum: a later one may compute it otherwise.
        let (&version, _) = body.split_first().ok_or(TicketError::Damaged)?;
        if version != VERSION {
            return Err(TicketError::Version(version));
        }
        if *check != Self::check(body) {
            return Err(TicketError::Checksum);
        }
        let mut rest = &body[1..];
        let [flags] = take(&mut rest)?;
        if flags > WITH_VAULT {
            return Err(TicketError::Damaged);
        }
        let node = NodeId::from_bytes(take(&mut rest)?).ok_or(TicketError::Key)?;
        let vault = if flags == WITH_VAULT {
            Some(take(&mut rest)?)
        } else {
            None
        };
        let [count] = take(&mut rest)?;
        if usize::from(count) > MAX_ADDRESSES {
            return Err(TicketError::Address);
        }
        let mut addresses = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let [kind] = take(&mut rest)?;
            addresses.push(match kind {
                4 => {
                    let ip = Ipv4Addr::from(take::<4>(&mut rest)?);
                    Address::Direct((ip, u16::from_be_bytes(take(&mut rest)?)).into())
                }
                6 => {
                    let ip = Ipv6Addr::from(take::<16>(&mut rest)?);
                    Address::Direct((ip, u16::from_be_bytes(take(&mut rest)?)).into())
                }
                1 => {
                    let [length] = take(&mut rest)?;
                    let (url, after) = rest
                        .split_at_checked(usize::from(length))
                        .ok_or(TicketError::Damaged)?;
                    rest = after;
                    Address::Relay(
                        std::str::from_utf8(url)
                            .map_err(|_| TicketError::Address)?
                            .to_owned(),
                    )
                }
                _ => return Err(TicketError::Address),
            });
        }
        if rest.is_empty() {
            Ok(Self {
                node,
                vault,
                addresses,
            })
        } else {
            Err(TicketError::Damaged)
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], TicketError> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(TicketError::Damaged)?;
    *rest = tail;
    Ok(*head)
}
