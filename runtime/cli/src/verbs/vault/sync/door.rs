//! Who is heard, and whose session is next.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use tally_vault::format::MemberId;
use tokio::time::Instant;

/// Callers that are in their handshake at once.
const CALLERS: usize = 8;
/// Members that wait for their session.
const WAITING: usize = 8;
/// How often somebody gets a session who is no member as far as is known here. It may prove to be one; or it is there to keep the
/// vault from others, for which it has to know its id.
const STRANGERS: Duration = Duration::from_secs(60);

/// Callers that are in their handshake, the first one first.
pub(super) struct Callers<H>(VecDeque<(Option<IpAddr>, H)>);

impl<H> Callers<H> {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    /// Forgets those who are done.
    pub(super) fn retain(&mut self, is_at_it: impl Fn(&H) -> bool) {
        self.0.retain(|(_, one)| is_at_it(one));
    }

    /// Takes one more, from an address; none if it comes by a relay. If there are too many, one makes room: of those whose address
    /// has the most, the one that has been at it for longest.
    pub(super) fn admit(&mut self, origin: Option<IpAddr>, caller: H) -> Option<H> {
        self.0.push_back((origin.map(network), caller));
        if self.0.len() <= CALLERS {
            return None;
        }
        let of_same = |origin: &Option<IpAddr>| self.0.iter().filter(|(o, _)| o == origin).count();
        let counts: Vec<usize> = self.0.iter().map(|(origin, _)| of_same(origin)).collect();
        let most = counts.iter().max()?;
        let first = counts.iter().position(|count| count == most)?;
        Some(self.0.remove(first)?.1)
    }
}

/// What one computer can have many addresses of counts as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

/// Somebody who has proved who it is, and waits.
struct Place<P> {
    who: MemberId,
    since: Instant,
    peer: P,
}

/// Whose session is next.
pub(super) struct Next<P> {
    pub(super) peer: P,
    pub(super) is_member: bool,
}

/// Those who have proved who they are and wait for their session: members, in the order in which they came, and behind them one
/// who is no member as far as is known here.
pub(super) struct Queue<P> {
    patience: Duration,
    members: VecDeque<Place<P>>,
    stranger: Option<Place<P>>,
    heard: Option<Instant>,
    away: Vec<P>,
}

impl<P> Queue<P> {
    /// Nobody waits for longer than that: a peer that was left without a word for so long is gone.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            members: VecDeque::new(),
            stranger: None,
            heard: None,
            away: Vec::new(),
        }
    }

    /// A member waits. It has one place: whoever comes again has given up before.
    pub(super) fn admit_member(&mut self, who: MemberId, peer: P, now: Instant) {
        self.expire(now);
        if let Some(at) = self.members.iter().position(|place| place.who == who) {
            self.away
                .extend(self.members.remove(at).map(|place| place.peer));
        }
        if self.members.len() < WAITING {
            let since = now;
            self.members.push_back(Place { who, since, peer });
        } else {
            self.away.push(peer);
        }
    }

    /// Somebody waits who is no member as far as is known here, if it may be heard and nobody else of this kind waits.
    pub(super) fn admit_stranger(&mut self, who: MemberId, peer: P, now: Instant) {
        self.expire(now);
        if self.stranger.is_none() && self.may_hear(now) {
            let since = now;
            self.stranger = Some(Place { who, since, peer });
        } else {
            self.away.push(peer);
        }
    }

    /// Whether a member waits.
    pub(super) fn has_member(&mut self, now: Instant) -> bool {
        self.expire(now);
        !self.members.is_empty()
    }

    /// Who is next.
    pub(super) fn next(&mut self, now: Instant) -> Option<Next<P>> {
        self.expire(now);
        if let Some(place) = self.members.pop_front() {
            let (peer, is_member) = (place.peer, true);
            return Some(Next { peer, is_member });
        }
        if self.stranger.is_none() || !self.hears(now) {
            return None;
        }
        let place = self.stranger.take()?;
        let (peer, is_member) = (place.peer, false);
        Some(Next { peer, is_member })
    }

    /// Whether somebody is heard now who is no member as far as is known here; then nobody else is for a while.
    pub(super) fn hears(&mut self, now: Instant) -> bool {
        let may = self.may_hear(now);
        if may {
            self.heard = Some(now);
        }
        may
    }

    /// The one that was heard is what it says.
    pub(super) fn introduced(&mut self) {
        self.heard = None;
    }

    pub(super) fn turn_away(&mut self, peer: P) {
        self.away.push(peer);
    }

    /// Those for whom there is no session.
    pub(super) fn turned_away(&mut self) -> Vec<P> {
        std::mem::take(&mut self.away)
    }

    fn may_hear(&self, now: Instant) -> bool {
        self.heard.is_none_or(|last| now >= last + STRANGERS)
    }

    fn expire(&mut self, now: Instant) {
        let patience = self.patience;
        let is_gone = |place: &mut Place<P>| now > place.since + patience;
        while let Some(place) = self.members.pop_front_if(is_gone) {
            self.away.push(place.peer);
        }
        if let Some(place) = self.stranger.take_if(is_gone) {
            self.away.push(place.peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn member(number: u8) -> MemberId {
        MemberId([number; 32])
    }

    fn order(queue: &mut Queue<u8>, now: Instant) -> Vec<(u8, bool)> {
        std::iter::from_fn(|| queue.next(now))
            .map(|next| (next.peer, next.is_member))
            .collect()
    }

    #[test]
    fn members_come_before_whoever_is_none_and_keep_their_places() {
        let (mut queue, now) = (Queue::new(PATIENCE), Instant::now());
        for stranger in 100..120 {
            queue.admit_stranger(member(stranger), stranger, now);
        }
        for one in 0..8 {
            queue.admit_member(member(one), one, now);
        }
        let strangers: Vec<u8> = (101..120).collect();
        assert_eq!(queue.turned_away(), strangers);
        let mut expected: Vec<(u8, bool)> = (0..8).map(|one| (one, true)).collect();
        expected.push((100, false));
        assert_eq!(order(&mut queue, now), expected);
        assert!(queue.turned_away().is_empty());
    }

    #[test]
    fn a_member_has_one_place_and_one_too_many_is_told() {
        let (mut queue, now) = (Queue::new(PATIENCE), Instant::now());
        queue.admit_member(member(1), 1, now);
        queue.admit_member(member(1), 2, now);
        assert_eq!(queue.turned_away(), [1]);
        for one in 10..18 {
            queue.admit_member(member(one), one, now);
        }
        assert_eq!(queue.turned_away(), [17]);
        assert_eq!(order(&mut queue, now).len(), 8);
    }

    #[test]
    fn whoever_has_waited_for_too_long_is_gone() {
        let (mut queue, now) = (Queue::new(PATIENCE), Instant::now());
        queue.admit_stranger(member(9), 9, now);
        queue.admit_member(member(1), 1, now);
        let later = now + Duration::from_secs(20);
        queue.admit_member(member(2), 2, later);
        let end = now + PATIENCE + Duration::from_millis(1);
        assert!(queue.has_member(end));
        assert_eq!(order(&mut queue, end), [(2, true)]);
        assert_eq!(queue.turned_away(), [1, 9]);
    }

    #[test]
    fn who_is_no_member_is_heard_once_in_a_while_unless_it_proves_to_be_one() {
        let (mut queue, now) = (Queue::new(PATIENCE), Instant::now());
        queue.admit_stranger(member(1), 1, now);
        assert_eq!(order(&mut queue, now), [(1, false)]);
        queue.admit_stranger(member(2), 2, now + STRANGERS / 2);
        assert_eq!(queue.turned_away(), [2]);
        assert!(!queue.hears(now + STRANGERS / 2));

        queue.introduced();
        queue.admit_stranger(member(3), 3, now + STRANGERS / 2);
        assert_eq!(order(&mut queue, now + STRANGERS / 2), [(3, false)]);
        // Nobody was heard while nobody waited.
        let later = now + STRANGERS * 2;
        assert!(order(&mut queue, later).is_empty());
        assert!(queue.hears(later) && !queue.hears(later));
    }

    #[test]
    fn one_address_with_many_callers_makes_room_for_others_and_not_they_for_it() {
        let address = |host: u8| Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)));
        let mut callers = Callers::new();
        assert_eq!(callers.admit(address(1), 0), None);
        for flood in 1..8 {
            assert_eq!(callers.admit(address(2), flood), None);
        }
        assert_eq!(callers.admit(address(2), 8), Some(1));
        assert_eq!(callers.admit(address(3), 9), Some(2));
        assert_eq!(callers.admit(address(2), 10), Some(3));
        // Who is done takes no place.
        callers.retain(|caller| *caller != 10);
        assert_eq!(callers.admit(None, 11), None);
    }

    #[test]
    fn among_addresses_that_have_as_many_callers_the_first_makes_room() {
        let mut callers = Callers::new();
        for host in 0..8 {
            let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, host));
            assert_eq!(callers.admit(Some(address), host), None);
        }
        assert_eq!(callers.admit(None, 8), Some(0));
    }

    #[test]
    fn the_addresses_of_one_network_of_the_sixth_version_count_as_one() {
        let mut callers = Callers::new();
        let home = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(callers.admit(Some(home), 0), None);
        for host in 1..8 {
            let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host);
            assert_eq!(callers.admit(Some(address.into()), host), None);
        }
        assert_eq!(callers.admit(Some(home), 8), Some(1));
    }
}
