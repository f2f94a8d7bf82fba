//! Endpoints find each other on the local network, by key.
//!
//! ```text
//! to a group of IPv4's local scope, over UDP, one hop
//! question       begin ‖ 1
//! announcement   begin ‖ 2 ‖ key [32] ‖ time u64 ‖ address [4] ‖ port u16 ‖ signature [64]
//! ```
//!
//! Who seeks somebody asks who is there, and everybody who wants to be found says so, signed by the key of its endpoint. An
//! announcement counts if its time (ms since 1970) is near and later than the last one's of its key, and the signature, over all
//! bytes before it, holds. Then it is one address to try: TLS proves the key once more.
//!
//! * [`Protocol`] is a group and how its packets begin. Each application has its own, so none hears another's.
//! * [`Search::open`] opens the socket.
//! * [`Search::seek`] listens for one key that is known beforehand; [`Search::nearby`] for whoever is around.
//!
//! Bounds: `READ` packets in a second, which begins with the first of them; by each interface, one packet of a kind out every `PAUSE`; one address for each key that is sought, and of
//! those around, if anybody wants to know them, `MOST` and `MOST_OF_ADDRESS` of one address, none longer than `KEPT`. Whoever is
//! around is believed to be only where its packets come from, so a stranger has nobody dialled but itself, unless it forges where
//! packets come from, which a local network does not prevent. A flood costs that and delays finding; it can neither fill memory
//! nor put an address in another one's place.
//!
//! That is why this is not mDNS by `iroh-mdns-address-lookup`: that one keeps whatever it hears, unsigned and with relays in it,
//! for as long as there is much of it.

mod around;
#[cfg(any(feature = "fuzzing", test))]
pub mod fuzzing;
mod packet;
mod sought;
mod talk;

use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use iroh::{PublicKey, SecretKey};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::Instant;

pub use crate::around::{Nearby, Sighting};
pub use crate::sought::Seeker;

use crate::around::Around;
use crate::packet::Announcement;
use crate::sought::Sought;

/// Between two packets of one kind from here.
const PAUSE: Duration = Duration::from_millis(100);
/// Between two announcements that nobody asked for.
const EVERY: Duration = Duration::from_secs(10);
/// Before a question is asked again that was not answered.
const AGAIN: Duration = Duration::from_secs(1);
/// Packets that are read in a second. The system drops what does not fit into the socket meanwhile.
const READ: u32 = 500;
/// How far an announcement's time may be from this machine's.
const NEAR: u64 = 5 * 60 * 1000; // ms
/// Endpoints around that are remembered.
const MOST: usize = 256;
/// Of those, endpoints of one address.
const MOST_OF_ADDRESS: usize = 8;
/// How long an endpoint around is remembered that says nothing: three announcements may get lost.
const KEPT: Duration = Duration::from_secs(35);
/// For how long the address of an endpoint around stays what it is: it says the same by each of its interfaces.
const STEADY: Duration = Duration::from_secs(1);

/// What an endpoint does on the local network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Lan {
    /// Nothing: no socket is opened for it.
    #[default]
    Off,
    /// It asks who is there when it seeks somebody, and is silent about itself.
    Find,
    /// It also says that it is there: its key and address, which everybody on that network can read.
    FindAndBeFound,
}

/// Whose search it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Where questions and announcements go: an address of IPv4's local scope (RFC 2365).
    pub group: SocketAddrV4,
    /// How every packet begins, and so everything that is signed: nothing else that the same keys sign may begin like this.
    pub begin: &'static [u8],
}

/// A socket on the local network, until it is dropped.
#[derive(Debug)]
pub struct Search {
    heard: Arc<Heard>,
    ask: Arc<Notify>,
    task: AbortHandle,
}

impl Search {
    /// Opens it for an endpoint that listens there, and that says so if it gives its key. Needs a tokio runtime.
    pub fn open(
        protocol: Protocol,
        listen: &[SocketAddrV4],
        own: Option<SecretKey>,
    ) -> io::Result<Self> {
        let interfaces = talk::interfaces(listen);
        let socket = talk::open(&protocol, &interfaces)?;
        let heard = Arc::new(Heard::default());
        let ask = Arc::new(Notify::new());
        let talk = talk::talk(
            protocol,
            socket,
            interfaces,
            own,
            heard.clone(),
            ask.clone(),
        );
        Ok(Self {
            heard,
            ask,
            task: tokio::spawn(talk).abort_handle(),
        })
    }

    /// Listens for somebody from now on, until the answer is dropped.
    #[must_use]
    pub fn seek(&self, key: PublicKey) -> Seeker {
        Seeker::new(self.heard.sought.seek(key), self.ask.clone())
    }

    /// Listens for everybody from now on, until the answer is dropped; asks who is there.
    #[must_use]
    pub fn nearby(&self) -> Nearby {
        let nearby = self.heard.around.nearby();
        self.ask.notify_one();
        nearby
    }

    /// Says and hears nothing any more.
    pub fn end(&self) {
        self.task.abort();
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.end();
    }
}

/// What was heard that somebody here wants to know.
#[derive(Debug, Default)]
struct Heard {
    sought: Sought,
    around: Around,
}

impl Heard {
    /// Takes an announcement that came from an address, if it counts at this time (ms since 1970).
    fn take(&self, announcement: &Announcement<'_>, from: IpAddr, now: u64) {
        if announcement.is_near(now) {
            self.sought.take(announcement, now);
            self.around.take(announcement, from, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    pub(crate) const PROTOCOL: Protocol = Protocol {
        group: SocketAddrV4::new(Ipv4Addr::new(239, 255, 76, 67), 24409),
        begin: b"tally/test/lan/1",
    };

    pub(crate) fn secret(seed: u8) -> SecretKey {
        SecretKey::from_bytes(&[seed; 32])
    }

    pub(crate) fn at(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }
}
