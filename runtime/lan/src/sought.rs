//! Where somebody is whose key is known.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iroh::PublicKey;
use tokio::sync::{Notify, watch};

use crate::packet::Announcement;
use crate::{AGAIN, NEAR};

/// Where somebody is heard of.
#[derive(Debug)]
pub struct Seeker {
    last: watch::Receiver<Option<Last>>,
    ask: Arc<Notify>,
}

impl Seeker {
    pub(crate) fn new(last: watch::Receiver<Option<Last>>, ask: Arc<Notify>) -> Self {
        Self { last, ask }
    }

    /// Where it was last heard of.
    #[must_use]
    pub fn heard(&self) -> Option<SocketAddr> {
        self.last.borrow().map(|last| last.address.into())
    }

    /// Asks where it is now.
    pub fn ask(&self) {
        self.ask.notify_one();
    }

    /// The same as [`Self::heard`] once there is an answer; asks for it until then.
    pub async fn first(&self) -> SocketAddr {
        loop {
            if let Some(heard) = self.heard() {
                return heard;
            }
            self.ask();
            let mut news = self.last.clone();
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
pub(crate) struct Last {
    time: u64,
    address: SocketAddrV4,
}

/// Who is sought, by key. Nobody else is remembered.
#[derive(Debug, Default)]
pub(crate) struct Sought(Mutex<BTreeMap<[u8; 32], watch::Sender<Option<Last>>>>);

impl Sought {
    pub(crate) fn seek(&self, key: PublicKey) -> watch::Receiver<Option<Last>> {
        let mut sought = self.locked();
        sought.retain(|_, last| last.receiver_count() > 0);
        sought
            .entry(*key.as_bytes())
            .or_insert_with(|| watch::channel(None).0)
            .subscribe()
    }

    /// Takes an announcement at this time (ms since 1970), if it is of somebody who is sought, later than the last one, and signed.
    pub(crate) fn take(&self, announcement: &Announcement<'_>, now: u64) {
        let sought = self.locked();
        let Some(last) = sought.get(announcement.key) else {
            return;
        };
        let time = announcement.time;
        // One from the future was taken by a clock that was put back since, and keeps nothing out.
        let is_later = last
            .borrow()
            .is_none_or(|last| last.time < time || last.time > now.saturating_add(NEAR));
        if is_later && announcement.signer().is_some() {
            let address = announcement.address;
            last.send_replace(Some(Last { time, address }));
        }
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], watch::Sender<Option<Last>>>> {
        // Nothing that holds the lock can panic half way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use crate::packet::{Packet, announcement, longest};
    use crate::tests::{PROTOCOL, at, secret};
    use crate::{Heard, NEAR};

    const TIME: u64 = 1_800_000_000_000;

    fn hear(heard: &Heard, packet: &[u8]) {
        if let Some(Packet::Announcement(announcement)) = Packet::read(&PROTOCOL, packet) {
            heard.take(&announcement, (*at(1).ip()).into(), TIME);
        }
    }

    #[test]
    fn an_announcement_counts_if_the_key_it_names_signed_it_just_now_and_later_than_the_last() {
        let heard = Heard::default();
        let seeker = heard.sought.seek(secret(1).public());
        let address = || seeker.borrow().map(|last| last.address);
        let own = secret(1);

        // Every byte counts, also one more or less.
        let packet = announcement(&PROTOCOL, &own, TIME, at(1));
        assert_eq!(packet.len(), longest(&PROTOCOL));
        for place in 0..packet.len() {
            let mut altered = packet.clone();
            altered[place] ^= 1;
            hear(&heard, &altered);
        }
        hear(&heard, &packet[..packet.len() - 1]);
        hear(&heard, &[&packet[..], &[0]].concat());
        // A stranger's, in its name.
        let mut forged = announcement(&PROTOCOL, &secret(2), TIME, at(2));
        forged[PROTOCOL.begin.len() + 1..][..32].copy_from_slice(own.public().as_bytes());
        hear(&heard, &forged);
        // Of another time.
        for time in [TIME - NEAR - 1, TIME + NEAR + 1] {
            hear(&heard, &announcement(&PROTOCOL, &own, time, at(3)));
        }
        assert_eq!(address(), None);

        hear(&heard, &packet);
        assert_eq!(address(), Some(at(1)));
        hear(&heard, &announcement(&PROTOCOL, &own, TIME + 1, at(4)));
        assert_eq!(address(), Some(at(4)));
        // Said again by somebody who had heard it.
        hear(&heard, &packet);
        assert_eq!(address(), Some(at(4)));
    }

    #[test]
    fn what_was_announced_while_a_clock_was_wrong_keeps_nothing_out_once_it_is_right() {
        let heard = Heard::default();
        let seeker = heard.sought.seek(secret(1).public());
        let address = || seeker.borrow().map(|last| last.address);
        let take = |time: u64, port: u16, now: u64| {
            let packet = announcement(&PROTOCOL, &secret(1), time, at(port));
            match Packet::read(&PROTOCOL, &packet) {
                Some(Packet::Announcement(one)) => heard.take(&one, (*at(1).ip()).into(), now),
                _ => panic!("an announcement"),
            }
        };
        let day = 24 * 3600 * 1000;
        take(TIME + day, 1, TIME + day);
        assert_eq!(address(), Some(at(1)));
        take(TIME, 2, TIME);
        assert_eq!(address(), Some(at(2)));
        // What is near counts by its order all the same.
        take(TIME + NEAR, 3, TIME);
        take(TIME + 1, 4, TIME + 1);
        assert_eq!(address(), Some(at(3)));
    }

    #[test]
    fn nobody_is_remembered_who_is_not_sought() {
        let heard = Heard::default();
        let seeker = heard.sought.seek(secret(0).public());
        for seed in 1..=255 {
            let packet = announcement(&PROTOCOL, &secret(seed), TIME, at(1));
            hear(&heard, &packet);
        }
        assert_eq!(heard.sought.locked().len(), 1);
        assert_eq!(*seeker.borrow(), None);
        // Who asks for everybody afterwards is told nothing of before.
        assert_eq!(heard.around.remembered(), 0);
        drop(seeker);
        let _other = heard.sought.seek(secret(1).public());
        assert_eq!(heard.sought.locked().len(), 1);
    }
}
