//! Finding each other on the local network, by key.
//!
//! ```text
//! to 239.255.76.68, UDP port 24410, one hop
//! question       "tally/ledger/lan/1" ‖ 1
//! announcement   "tally/ledger/lan/1" ‖ 2 ‖ key [32] ‖ time u64 ‖ address [4] ‖ port u16 ‖ signature [64]
//! ```
//!
//! Who seeks somebody asks who is there, and everybody who wants to be found says so, signed by the key of its endpoint. An
//! announcement counts if its key is sought, its time (ms since 1970) is near and later than the last one's, and the signature,
//! over all bytes before it, holds. Then it is one address to try: TLS proves the key once more.
//!
//! Bounds: one address for each key that is sought, [`READ`] packets a second, one packet out every [`PAUSE`]. A flood costs that
//! and delays finding; it can neither fill memory nor put an address in another one's place, nor have anybody dialled. That is
//! why this is not mDNS by `iroh-mdns-address-lookup`, as for devices: that one keeps whatever it hears, unsigned, for as long as
//! there is much of it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iroh::{PublicKey, SecretKey, Signature};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::EndpointId;

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

/// Where questions and announcements go: an address of IPv4's local scope (RFC 2365).
const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(239, 255, 76, 68), 24410);

/// How every packet begins.
const BEGIN: &[u8; 18] = b"tally/ledger/lan/1";
const QUESTION: u8 = 1;
const ANNOUNCEMENT: u8 = 2;

/// The longest packet: an announcement.
const LONGEST: usize = BEGIN.len() + 1 + 32 + 8 + 4 + 2 + Signature::LENGTH; // bytes

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

/// What an endpoint says of itself.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) secret: SecretKey,
    /// Where it listens.
    pub(crate) port: u16,
}

/// A socket on the local network, until it is dropped.
#[derive(Debug)]
pub(crate) struct Search {
    sought: Arc<Sought>,
    ask: Arc<Notify>,
    task: AbortHandle,
}

impl Search {
    /// Opens it for an endpoint that listens there. Needs a tokio runtime.
    pub(crate) fn open(listen: Ipv4Addr, own: Option<Own>) -> io::Result<Self> {
        let interfaces = interfaces(listen);
        let socket = open(&interfaces)?;
        let sought = Arc::new(Sought::default());
        let ask = Arc::new(Notify::new());
        let talk = talk(socket, interfaces, own, sought.clone(), ask.clone());
        Ok(Self {
            sought,
            ask,
            task: tokio::spawn(talk).abort_handle(),
        })
    }

    /// Listens for somebody from now on, until the answer is dropped.
    pub(crate) fn seek(&self, id: EndpointId) -> Seeker {
        Seeker {
            heard: self.sought.seek(id),
            ask: self.ask.clone(),
        }
    }

    /// Says and hears nothing any more.
    pub(crate) fn end(&self) {
        self.task.abort();
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where somebody is heard of.
#[derive(Debug)]
pub(crate) struct Seeker {
    heard: watch::Receiver<Option<Heard>>,
    ask: Arc<Notify>,
}

impl Seeker {
    /// Where it was last heard of.
    pub(crate) fn heard(&self) -> Option<SocketAddr> {
        self.heard.borrow().map(|heard| heard.address.into())
    }

    /// Asks where it is now.
    pub(crate) fn ask(&self) {
        self.ask.notify_one();
    }

    /// The same as [`Self::heard`] once there is an answer; asks for it until then.
    pub(crate) async fn first(&self) -> SocketAddr {
        loop {
            if let Some(heard) = self.heard() {
                return heard;
            }
            self.ask();
            let mut news = self.heard.clone();
            let heard = async { news.wait_for(Option::is_some).await.is_ok() };
            tokio::select! {
                true = heard => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

/// The last announcement of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    time: u64,
    address: SocketAddrV4,
}

/// Who is sought, by key. Nobody else is remembered.
#[derive(Debug, Default)]
struct Sought(Mutex<BTreeMap<[u8; 32], watch::Sender<Option<Heard>>>>);

impl Sought {
    fn seek(&self, id: EndpointId) -> watch::Receiver<Option<Heard>> {
        let mut sought = self.locked();
        sought.retain(|_, heard| heard.receiver_count() > 0);
        sought
            .entry(*id.as_bytes())
            .or_insert_with(|| watch::channel(None).0)
            .subscribe()
    }

    /// Takes an announcement, if it counts at this time.
    fn take(&self, announcement: &Announcement<'_>, now: u64) {
        let sought = self.locked();
        let Some(heard) = sought.get(announcement.key) else {
            return;
        };
        let time = announcement.time;
        let is_later = heard.borrow().is_none_or(|last| last.time < time);
        if is_later && now.abs_diff(time) <= NEAR && announcement.is_signed() {
            let address = announcement.address;
            heard.send_replace(Some(Heard { time, address }));
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], watch::Sender<Option<Heard>>>> {
        // Nothing that holds the lock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a packet is.
#[derive(Debug)]
enum Packet<'a> {
    Question,
    Announcement(Announcement<'a>),
}

/// Somebody's word on where it is, yet to be checked.
#[derive(Debug)]
struct Announcement<'a> {
    key: &'a [u8; 32],
    time: u64,
    address: SocketAddrV4,
    signed: &'a [u8],
    signature: &'a [u8; Signature::LENGTH],
}

impl<'a> Packet<'a> {
    fn read(packet: &'a [u8]) -> Option<Self> {
        let (kind, rest) = packet.strip_prefix(BEGIN)?.split_first()?;
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
    fn is_signed(&self) -> bool {
        let signature = Signature::from_bytes(self.signature);
        PublicKey::from_bytes(self.key).is_ok_and(|key| key.verify(self.signed, &signature).is_ok())
    }
}

fn question() -> Vec<u8> {
    [&BEGIN[..], &[QUESTION]].concat()
}

fn announcement(secret: &SecretKey, time: u64, address: SocketAddrV4) -> Vec<u8> {
    let mut packet = unsigned(secret.public().as_bytes(), time, address);
    let signature = secret.sign(&packet);
    packet.extend(signature.to_bytes());
    packet
}

fn unsigned(key: &[u8; 32], time: u64, address: SocketAddrV4) -> Vec<u8> {
    [
        &BEGIN[..],
        &[ANNOUNCEMENT],
        key,
        &time.to_be_bytes(),
        &address.ip().octets(),
        &address.port().to_be_bytes(),
    ]
    .concat()
}

/// What is read of a packet is what is written for it, up to the signature, which only its key can make.
#[cfg(any(feature = "fuzzing", test))]
pub(crate) fn read_back(bytes: &[u8]) {
    match Packet::read(bytes) {
        None => {}
        Some(Packet::Question) => assert_eq!(bytes, question()),
        Some(Packet::Announcement(one)) => {
            assert_eq!(one.signed, unsigned(one.key, one.time, one.address));
            assert_eq!([one.signed, &one.signature[..]].concat(), bytes);
            // Whether it holds or not, it is looked at without harm.
            let _ = one.is_signed();
        }
    }
}

/// One of each kind.
#[cfg(any(feature = "fuzzing", test))]
pub(crate) fn samples() -> [Vec<u8>; 2] {
    let secret = crate::Secret::derive(&[1; 32]).to_iroh();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4410);
    [
        question(),
        announcement(&secret, 1_800_000_000_000, address),
    ]
}

/// When something is said next.
#[derive(Debug)]
struct Turn {
    last: Option<Instant>,
    next: Option<Instant>,
}

impl Turn {
    fn at_once() -> Self {
        Self {
            last: None,
            next: Some(Instant::now()),
        }
    }

    /// As soon as it may be.
    fn wish(&mut self) {
        let now = Instant::now();
        let soon = self.last.map_or(now, |last| now.max(last + PAUSE));
        self.next = Some(self.next.map_or(soon, |next| next.min(soon)));
    }

    /// It was said, and is to be said again after so long.
    fn said(&mut self, again: Option<Duration>) {
        let now = Instant::now();
        self.last = Some(now);
        self.next = again.map(|again| now + again);
    }

    async fn due(&self) {
        match self.next {
            Some(next) => tokio::time::sleep_until(next).await,
            None => std::future::pending().await,
        }
    }
}

/// By which interfaces, named by their addresses, an endpoint is found that listens there: by that one, or by the one of the
/// system's choice and by the loopback, for others on this machine.
fn interfaces(listen: Ipv4Addr) -> Vec<Ipv4Addr> {
    match listen.is_unspecified() {
        true => vec![Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST],
        false => vec![listen],
    }
}

/// The socket for what is said to the group. Several on one machine all get it.
fn open(interfaces: &[Ipv4Addr]) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Bound to the group, it gets nothing that was sent to this machine alone, such as from afar.
    socket.bind(&SocketAddr::V4(GROUP).into())?;
    let joined: Vec<io::Result<()>> = interfaces
        .iter()
        .map(|interface| socket.join_multicast_v4(GROUP.ip(), interface))
        .collect();
    // Without a network there is the loopback, until there is one.
    if joined.iter().all(Result::is_err) {
        joined.into_iter().collect::<io::Result<()>>()?;
    }
    UdpSocket::from_std(socket.into())
}

/// Asks, answers and hears, until it is dropped.
async fn talk(
    socket: UdpSocket,
    interfaces: Vec<Ipv4Addr>,
    own: Option<Own>,
    sought: Arc<Sought>,
    ask: Arc<Notify>,
) {
    let mut questions = Turn::at_once();
    let mut announcements = Turn::at_once();
    let (mut read, mut since) = (0, Instant::now());
    // One byte more, so that what is too long is seen to be.
    let mut packet = [0; LONGEST + 1];
    loop {
        tokio::select! {
            () = questions.due() => {
                for interface in &interfaces {
                    say(&socket, *interface, &question()).await;
                }
                questions.said(None);
                continue;
            }
            () = announcements.due(), if own.is_some() => {
                if let Some(own) = &own {
                    for interface in &interfaces {
                        announce(&socket, *interface, own).await;
                    }
                }
                announcements.said(Some(EVERY));
                continue;
            }
            () = ask.notified() => {
                questions.wish();
                continue;
            }
            received = socket.recv_from(&mut packet) => match received {
                Ok((length, _)) => match Packet::read(&packet[..length]) {
                    Some(Packet::Question) => announcements.wish(),
                    Some(Packet::Announcement(announcement)) => sought.take(&announcement, now()),
                    None => {}
                },
                Err(error) => tracing::debug!(%error, "nothing comes from the local network"),
            },
        }
        read += 1;
        if read == READ {
            tokio::time::sleep_until(since + Duration::from_secs(1)).await;
            (read, since) = (0, Instant::now());
        }
    }
}

async fn announce(socket: &UdpSocket, interface: Ipv4Addr, own: &Own) {
    match address(interface, own.port) {
        Ok(address) => {
            let here = announcement(&own.secret, now(), address);
            say(socket, interface, &here).await;
        }
        Err(error) => tracing::debug!(%error, "no address on the local network"),
    }
}

async fn say(socket: &UdpSocket, interface: Ipv4Addr, packet: &[u8]) {
    // Once more, as the system's choice may be another one by now; on the same it is refused.
    let _ = socket.join_multicast_v4(*GROUP.ip(), interface);
    let chosen = SockRef::from(socket).set_multicast_if_v4(&interface);
    let said = match chosen {
        Ok(()) => socket.send_to(packet, SocketAddr::V4(GROUP)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = said {
        tracing::debug!(%error, "the local network takes nothing");
    }
}

/// Where this machine is reached by those who hear it.
fn address(interface: Ipv4Addr, port: u16) -> io::Result<SocketAddrV4> {
    if !interface.is_unspecified() {
        return Ok(SocketAddrV4::new(interface, port));
    }
    // Sends nothing: it asks the system which address of this machine packets to the group have.
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(GROUP)?;
    match socket.local_addr()?.ip() {
        IpAddr::V4(ip) => Ok(SocketAddrV4::new(ip, port)),
        IpAddr::V6(_) => Err(io::ErrorKind::AddrNotAvailable.into()),
    }
}

fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Endpoint, Secret};

    const TIME: u64 = 1_800_000_000_000;

    fn secret(seed: u8) -> Secret {
        Secret::derive(&[seed; 32])
    }

    fn at(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
    }

    fn heard(sought: &Sought, packet: &[u8]) {
        if let Some(Packet::Announcement(announcement)) = Packet::read(packet) {
            sought.take(&announcement, TIME);
        }
    }

    #[test]
    fn an_announcement_counts_if_the_key_it_names_signed_it_just_now_and_later_than_the_last() {
        let sought = Sought::default();
        let seeker = sought.seek(secret(1).id());
        let address = || seeker.borrow().map(|heard| heard.address);
        let own = secret(1).to_iroh();

        // Every byte counts, also one more or less.
        let packet = announcement(&own, TIME, at(1));
        assert_eq!(packet.len(), LONGEST);
        for place in 0..packet.len() {
            let mut altered = packet.clone();
            altered[place] ^= 1;
            heard(&sought, &altered);
        }
        heard(&sought, &packet[..LONGEST - 1]);
        heard(&sought, &[&packet[..], &[0]].concat());
        // A stranger's, in its name.
        let mut forged = announcement(&secret(2).to_iroh(), TIME, at(2));
        forged[BEGIN.len() + 1..][..32].copy_from_slice(own.public().as_bytes());
        heard(&sought, &forged);
        // Of another time.
        heard(&sought, &announcement(&own, TIME - NEAR - 1, at(3)));
        heard(&sought, &announcement(&own, TIME + NEAR + 1, at(3)));
        assert_eq!(address(), None);

        heard(&sought, &packet);
        assert_eq!(address(), Some(at(1)));
        heard(&sought, &announcement(&own, TIME + 1, at(4)));
        assert_eq!(address(), Some(at(4)));
        // Said again by somebody who had heard it.
        heard(&sought, &packet);
        assert_eq!(address(), Some(at(4)));
    }

    #[test]
    fn nobody_is_remembered_who_is_not_sought() {
        let sought = Sought::default();
        let seeker = sought.seek(secret(0).id());
        for seed in 1..=255 {
            heard(&sought, &announcement(&secret(seed).to_iroh(), TIME, at(1)));
        }
        assert_eq!(sought.locked().len(), 1);
        assert_eq!(*seeker.borrow(), None);
        drop(seeker);
        let _other = sought.seek(secret(1).id());
        assert_eq!(sought.locked().len(), 1);
    }

    #[test]
    fn however_often_it_is_asked_an_answer_is_given_once_in_a_while() {
        let mut turn = Turn::at_once();
        turn.said(Some(EVERY));
        assert_eq!(turn.next, turn.last.map(|last| last + EVERY));
        let last = Instant::now() + EVERY;
        turn.last = Some(last);
        turn.next = Some(last + EVERY);
        for _ in 0..3 {
            turn.wish();
            assert_eq!(turn.next, Some(last + PAUSE));
        }
        turn.said(None);
        assert_eq!(turn.next, None);
    }

    /// Needs multicast on this machine's loopback, as Linux has it.
    #[tokio::test(flavor = "multi_thread")]
    async fn who_is_not_told_to_be_found_says_nothing_to_the_network() {
        for (seed, lan) in [(11, Lan::Off), (12, Lan::Find), (13, Lan::FindAndBeFound)] {
            let listener = open(&[Ipv4Addr::LOCALHOST]).expect("multicast on loopback");
            let mut config = Config::new((Ipv4Addr::LOCALHOST, 0).into());
            config.lan = lan;
            let endpoint = Endpoint::bind(&secret(seed), config)
                .await
                .expect("a free port, and multicast on loopback");
            say(&listener, Ipv4Addr::LOCALHOST, &question()).await;
            let announced = async {
                let mut packet = [0; 200];
                loop {
                    let (length, _) = listener.recv_from(&mut packet).await.expect("a packet");
                    match Packet::read(&packet[..length]) {
                        Some(Packet::Announcement(one))
                            if one.key == secret(seed).id().as_bytes() =>
                        {
                            return one.address.port();
                        }
                        _ => {}
                    }
                }
            };
            let announced = tokio::time::timeout(Duration::from_secs(2), announced).await;
            let is_told = lan == Lan::FindAndBeFound;
            assert_eq!(announced.is_ok(), is_told, "{lan:?}");
            if let Ok(port) = announced {
                assert_eq!(port, endpoint.sockets()[0].port());
            }
            endpoint.close().await;
        }
    }
}
