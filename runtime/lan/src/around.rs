//! Who is around, whoever it is.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};

use iroh::PublicKey;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::packet::Announcement;
use crate::{KEPT, MOST, MOST_OF_ADDRESS, STEADY};

/// Somebody came or went, or is elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// The endpoint with this key is there, at an address that packets came from, unless somebody forged where they come from, which
    /// a local network does not prevent. Only dialling proves the key.
    Here(PublicKey, SocketAddr),
    /// The endpoint with this key was not heard of any more.
    Gone(PublicKey),
}

/// Who is around, as they come and go. It holds one address for each that it has told of, and no queue: what changed twice
/// before it was asked for is told once.
#[derive(Debug)]
pub struct Nearby {
    around: watch::Receiver<BTreeMap<PublicKey, Seen>>,
    told: BTreeMap<PublicKey, SocketAddrV4>,
}

impl Nearby {
    /// What has changed next; none when the search was dropped. Nothing is lost if the future is.
    pub async fn next(&mut self) -> Option<Sighting> {
        loop {
            let (sighting, until) = self.look(Instant::now());
            if sighting.is_some() {
                return sighting;
            }
            let end = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.around.changed() => changed.ok()?,
                () = end => {}
            }
        }
    }

    /// What is different now from what was told; and when the first of those around is forgotten, unless it says something.
    fn look(&mut self, now: Instant) -> (Option<Sighting>, Option<Instant>) {
        let around = self.around.borrow_and_update();
        let here = |key: &PublicKey| around.get(key).is_some_and(|seen| seen.ends() > now);
        let gone = self.told.keys().find(|key| !here(key)).copied();
        if let Some(gone) = gone {
            self.told.remove(&gone);
            return (Some(Sighting::Gone(gone)), None);
        }
        let alive = || around.iter().filter(move |(_, seen)| seen.ends() > now);
        let new = alive().find(|(key, seen)| self.told.get(*key) != Some(&seen.address));
        if let Some((key, address)) = new.map(|(key, seen)| (*key, seen.address)) {
            self.told.insert(key, address);
            return (Some(Sighting::Here(key, address.into())), None);
        }
        (None, alive().map(|(_, seen)| seen.ends()).min())
    }
}

/// The last announcement of somebody around that counted.
#[derive(Clone, Copy, Debug)]
struct Seen {
    time: u64,
    address: SocketAddrV4,
    at: Instant,
}

impl Seen {
    fn ends(&self) -> Instant {
        self.at + KEPT
    }
}

/// Everybody who says that it is there, as long as somebody wants to know. Nobody is remembered otherwise.
#[derive(Debug, Default)]
pub(crate) struct Around(watch::Sender<BTreeMap<PublicKey, Seen>>);

impl Around {
    pub(crate) fn nearby(&self) -> Nearby {
        Nearby {
            around: self.0.subscribe(),
            told: BTreeMap::new(),
        }
    }

    /// Takes an announcement of this time that came from an address at a moment, if it names that address, is signed, and there
    /// is room for it.
    pub(crate) fn take(&self, announcement: &Announcement<'_>, from: IpAddr, at: Instant) {
        let address = announcement.address;
        let is_wanted = self.0.receiver_count() > 0 && from == IpAddr::V4(*address.ip());
        if !is_wanted || !self.has_room(announcement, at) {
            return;
        }
        let Some(key) = announcement.signer() else {
            return;
        };
        let time = announcement.time;
        self.0.send_if_modified(|around| {
            around.retain(|_, seen| seen.ends() > at);
            let last = around.insert(key, Seen { time, address, at });
            last.is_none_or(|last| last.address != address)
        });
    }

    /// Who is known keeps its place, and says something new once in a while. A newcomer finds one that is free, or is not heard.
    fn has_room(&self, announcement: &Announcement<'_>, at: Instant) -> bool {
        let around = self.0.borrow();
        let known = around.get(announcement.key);
        if let Some(seen) = known.filter(|seen| seen.ends() > at) {
            return seen.time < announcement.time && seen.at + STEADY <= at;
        }
        let (mut all, mut of_address) = (0, 0);
        for seen in around.values().filter(|seen| seen.ends() > at) {
            all += 1;
            of_address += usize::from(seen.address.ip() == announcement.address.ip());
        }
        all < MOST && of_address < MOST_OF_ADDRESS
    }

    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.0.borrow().len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use iroh::SecretKey;

    use super::*;
    use crate::packet::{Packet, announcement};
    use crate::tests::{PROTOCOL, at, secret};

    /// Says that somebody is at an address, from that address.
    fn say(around: &Around, secret: &SecretKey, time: u64, address: SocketAddrV4, now: Instant) {
        say_from(around, secret, time, address, (*address.ip()).into(), now);
    }

    fn say_from(
        around: &Around,
        secret: &SecretKey,
        time: u64,
        address: SocketAddrV4,
        from: IpAddr,
        now: Instant,
    ) {
        let packet = announcement(&PROTOCOL, secret, time, address);
        let Some(Packet::Announcement(announcement)) = Packet::read(&PROTOCOL, &packet) else {
            panic!("an announcement is read");
        };
        around.take(&announcement, from, now);
    }

    fn sightings(nearby: &mut Nearby, now: Instant) -> Vec<Sighting> {
        std::iter::from_fn(|| nearby.look(now).0).collect()
    }

    /// A key for each number.
    fn many(number: usize) -> SecretKey {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&number.to_be_bytes());
        SecretKey::from_bytes(&seed)
    }

    #[test]
    fn who_is_around_is_told_once_and_again_when_it_is_elsewhere_or_gone() {
        let around = Around::default();
        let mut nearby = around.nearby();
        let (one, now) = (secret(1), Instant::now());
        let key = one.public();
        assert!(sightings(&mut nearby, now).is_empty());
        say(&around, &one, 1, at(1), now);
        let here = Sighting::Here(key, at(1).into());
        assert_eq!(sightings(&mut nearby, now), [here]);
        assert!(sightings(&mut nearby, now).is_empty());

        // By another interface at once, and again of before: no news.
        say(&around, &one, 2, at(2), now + STEADY / 2);
        say(&around, &one, 1, at(2), now + STEADY);
        assert!(sightings(&mut nearby, now + STEADY).is_empty());
        let later = now + KEPT / 2;
        say(&around, &one, 3, at(3), later);
        let elsewhere = Sighting::Here(key, at(3).into());
        assert_eq!(sightings(&mut nearby, now + KEPT), [elsewhere]);
        assert_eq!(nearby.look(now + KEPT), (None, Some(later + KEPT)));
        // Whoever asks only now is told as well.
        let mut other = around.nearby();
        assert_eq!(sightings(&mut other, now + KEPT), [elsewhere]);

        let end = later + KEPT;
        assert_eq!(sightings(&mut nearby, end), [Sighting::Gone(key)]);
        assert_eq!(nearby.look(end), (None, None));
        say(&around, &one, 4, at(3), end);
        assert_eq!(sightings(&mut nearby, end), [elsewhere]);
    }

    #[test]
    fn whoever_floods_the_network_fills_a_table_of_a_fixed_size_for_a_short_time() {
        let around = Around::default();
        let mut nearby = around.nearby();
        let now = Instant::now();
        // From one address, it takes a few places only.
        for number in 0..2 * MOST {
            say(&around, &many(number), 1, at(1), now);
        }
        assert_eq!(around.remembered(), MOST_OF_ADDRESS);
        assert_eq!(sightings(&mut nearby, now).len(), MOST_OF_ADDRESS);
        // From all addresses of a network, all of them, and no more.
        let address = |number: usize| {
            let host = u8::try_from(number % 256).expect("below 256");
            SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, host), 1)
        };
        for number in 0..4 * MOST {
            say(&around, &many(10_000 + number), 1, address(number), now);
        }
        assert_eq!(around.remembered(), MOST);
        assert_eq!(nearby.told.len(), MOST_OF_ADDRESS);
        sightings(&mut nearby, now);
        assert_eq!(nearby.told.len(), MOST);

        let end = now + KEPT;
        say(&around, &secret(1), 1, at(2), end);
        assert_eq!(around.remembered(), 1);
        assert_eq!(sightings(&mut nearby, end).len(), MOST + 1);
        assert_eq!(nearby.told.len(), 1);
    }

    #[test]
    fn a_stranger_has_nobody_dialled_but_itself() {
        let around = Around::default();
        let mut nearby = around.nearby();
        let now = Instant::now();
        let elsewhere = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 1), 443);
        let from = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        say_from(&around, &secret(1), 1, elsewhere, from, now);
        say_from(&around, &secret(2), 1, at(1), from, now);
        assert!(sightings(&mut nearby, now).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_hears_who_comes_and_who_goes_until_the_search_ends() {
        let around = Around::default();
        let mut nearby = around.nearby();
        let key = secret(1).public();
        let heard = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Some(sighting) = nearby.next().await {
                heard.push(sighting);
            }
            heard
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        say(&around, &secret(1), 1, at(1), Instant::now());
        tokio::time::sleep(KEPT * 2).await;
        drop(around);
        let sightings = heard.await.expect("it ends");
        let here = Sighting::Here(key, at(1).into());
        assert_eq!(sightings, [here, Sighting::Gone(key)]);
    }
}
