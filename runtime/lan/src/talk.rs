//! What is said and heard, and how often.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use iroh::SecretKey;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::packet::{Packet, announcement, longest, question};
use crate::{EVERY, Heard, PAUSE, Protocol, READ};

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

/// How many packets were read within a second.
#[derive(Debug)]
struct Reading {
    count: u32,
    since: Instant,
}

impl Reading {
    /// One was read. Until when no more are, if these are as many as may be.
    fn read(&mut self, now: Instant) -> Option<Instant> {
        let second = Duration::from_secs(1);
        if now.duration_since(self.since) > second {
            (self.count, self.since) = (0, now);
        }
        self.count += 1;
        if self.count < READ {
            return None;
        }
        (self.count, self.since) = (0, self.since + second);
        Some(self.since)
    }
}

/// By which interfaces, named by their addresses, an endpoint is found that listens there, and by which port: by each of those,
/// or by the one of the system's choice and by the loopback, for others on this machine.
pub(crate) fn interfaces(listen: &[SocketAddrV4]) -> Vec<SocketAddrV4> {
    let found = |at: &SocketAddrV4| match at.ip().is_unspecified() {
        true => vec![*at, SocketAddrV4::new(Ipv4Addr::LOCALHOST, at.port())],
        false => vec![*at],
    };
    listen.iter().flat_map(found).collect()
}

/// The socket for what is said to the group. Several on one machine all get it.
pub(crate) fn open(protocol: &Protocol, interfaces: &[SocketAddrV4]) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(socket2::Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Bound to the group, it gets nothing that was sent to this machine alone, such as from afar.
    socket.bind(&SocketAddr::V4(protocol.group).into())?;
    let joined: Vec<io::Result<()>> = interfaces
        .iter()
        .map(|interface| socket.join_multicast_v4(protocol.group.ip(), interface.ip()))
        .collect();
    // Without a network there is the loopback, until there is one.
    if joined.iter().all(Result::is_err) {
        joined.into_iter().collect::<io::Result<()>>()?;
    }
    UdpSocket::from_std(socket.into())
}

/// Asks, answers and hears, until it is dropped.
pub(crate) async fn talk(
    protocol: Protocol,
    socket: UdpSocket,
    interfaces: Vec<SocketAddrV4>,
    own: Option<SecretKey>,
    heard: Arc<Heard>,
    ask: Arc<Notify>,
) {
    let own_key = own.as_ref().map(SecretKey::public);
    let mut questions = Turn::at_once();
    let mut announcements = Turn::at_once();
    let mut reading = Reading {
        count: 0,
        since: Instant::now(),
    };
    // One byte more, so that what is too long is seen to be.
    let mut packet = vec![0_u8; longest(&protocol) + 1];
    loop {
        tokio::select! {
            () = questions.due() => {
                for interface in &interfaces {
                    say(&protocol, &socket, *interface.ip(), &question(&protocol)).await;
                }
                questions.said(None);
                continue;
            }
            () = announcements.due(), if own.is_some() => {
                if let Some(own) = &own {
                    for interface in &interfaces {
                        announce(&protocol, &socket, *interface, own).await;
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
                Ok((length, from)) => match Packet::read(&protocol, &packet[..length]) {
                    Some(Packet::Question) => announcements.wish(),
                    // What is said here is heard here too.
                    Some(Packet::Announcement(one)) if own_key.is_some_and(|own| own.as_bytes() == one.key) => {}
                    Some(Packet::Announcement(one)) => heard.take(&one, from.ip(), now()),
                    None => {}
                },
                Err(error) => tracing::debug!(%error, "nothing comes from the local network"),
            },
        }
        if let Some(pause) = reading.read(Instant::now()) {
            tokio::time::sleep_until(pause).await;
        }
    }
}

async fn announce(
    protocol: &Protocol,
    socket: &UdpSocket,
    interface: SocketAddrV4,
    own: &SecretKey,
) {
    match address(protocol, interface) {
        Ok(address) => {
            let here = announcement(protocol, own, now(), address);
            say(protocol, socket, *interface.ip(), &here).await;
        }
        Err(error) => tracing::debug!(%error, "no address on the local network"),
    }
}

async fn say(protocol: &Protocol, socket: &UdpSocket, interface: Ipv4Addr, packet: &[u8]) {
    // Once more, as the system's choice may be another one by now; on the same it is refused.
    let _ = socket.join_multicast_v4(*protocol.group.ip(), interface);
    let chosen = SockRef::from(socket).set_multicast_if_v4(&interface);
    let said = match chosen {
        Ok(()) => socket.send_to(packet, SocketAddr::V4(protocol.group)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = said {
        tracing::debug!(%error, "the local network takes nothing");
    }
}

/// Where this machine is reached by those who hear it.
fn address(protocol: &Protocol, interface: SocketAddrV4) -> io::Result<SocketAddrV4> {
    if !interface.ip().is_unspecified() {
        return Ok(interface);
    }
    // Sends nothing: it asks the system which address of this machine packets to the group have.
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(protocol.group)?;
    match socket.local_addr()?.ip() {
        IpAddr::V4(ip) => Ok(SocketAddrV4::new(ip, interface.port())),
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

    #[test]
    fn after_a_quiet_time_no_more_packets_are_read_in_a_second_than_at_any_other() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut reading = Reading {
            count: 0,
            since: begin,
        };
        // One now and then is not counted up.
        for second in 1..2 * u64::from(READ) {
            assert_eq!(reading.read(at(2000 * second)), None);
        }
        let quiet = 10_000_000;
        for _ in 1..READ {
            assert_eq!(reading.read(at(quiet)), None);
        }
        assert_eq!(reading.read(at(quiet + 10)), Some(at(quiet + 1000)));
        for _ in 1..READ {
            assert_eq!(reading.read(at(quiet + 1000)), None);
        }
        assert_eq!(reading.read(at(quiet + 1001)), Some(at(quiet + 2000)));
    }

    #[test]
    fn an_endpoint_is_found_where_it_listens_and_by_the_loopback_if_that_is_everywhere() {
        let [loopback, one, everywhere] =
            [[127, 0, 0, 1], [192, 0, 2, 1], [0, 0, 0, 0]].map(Ipv4Addr::from);
        let at = SocketAddrV4::new;
        let found = [at(everywhere, 5), at(loopback, 5)];
        assert_eq!(interfaces(&found[..1]), found);
        let both = [at(one, 5), at(loopback, 6)];
        assert_eq!(interfaces(&both), both);
    }
}
