//! Who is let in, and who makes room for whom: what strangers may have of a server's handshakes, connections and calls.
//!
//! Keys cost nothing, so they do not tell strangers apart; addresses do, as far as anything does. One address has a part of what
//! there is, and whoever has been without a call for longest makes room when there is none: so nobody keeps others out by
//! staying. There is no clock in here but the order in which things happen.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use iroh::endpoint::IncomingAddr;
use tokio::sync::{Semaphore, oneshot};

use crate::Limits;

/// One address has one part in so many.
const PARTS: usize = 4;

/// Where somebody comes from, as far as that tells strangers apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// An address; of IPv6 the first half, since the other one is its owner's to choose.
    Address(IpAddr),
    /// This machine, where a whole network may be, or a relay: all who come from there look alike.
    Common,
}

impl Origin {
    pub(crate) fn of(address: &IncomingAddr) -> Self {
        match address {
            IncomingAddr::Ip(address) => Self::of_ip(address.ip()),
            _ => Self::Common,
        }
    }

    fn of_ip(address: IpAddr) -> Self {
        match address.to_canonical() {
            address if address.is_loopback() => Self::Common,
            IpAddr::V6(address) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Self::Address(Ipv6Addr::from_bits(network).into())
            }
            address => Self::Address(address),
        }
    }

    /// How much of so many it may have.
    fn part(self, of: usize) -> usize {
        match self {
            Self::Address(_) => of.div_ceil(PARTS),
            Self::Common => of,
        }
    }

    /// How many of so many turns it may have ([`Turns`](crate::Turns)): never all.
    pub(crate) fn turns(self, of: usize) -> usize {
        match self {
            Self::Address(_) => self.part(of),
            Self::Common => of - of / PARTS,
        }
    }

    /// How many of so many handshakes it may have.
    fn handshakes(self, of: usize) -> usize {
        match self {
            Self::Address(_) => self.part(of),
            Self::Common => of.div_ceil(2),
        }
    }
}

/// The way into a server.
#[derive(Clone, Debug)]
pub(crate) struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connections: usize,
    requests: usize,
    handshakes: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    handshakes: BTreeMap<u64, Pending>,
    guests: BTreeMap<u64, Guest>,
    /// What has happened so far.
    events: u64,
}

/// A handshake that is under way.
#[derive(Debug)]
struct Pending {
    /// Where it comes from, or says so.
    origin: Origin,
    /// Whether it has shown that.
    is_proved: bool,
    /// Dropping it ends the handshake.
    _stay: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Guest {
    origin: Origin,
    /// Calls of it that are being answered.
    answering: usize,
    /// When it came, or began or ended a call.
    last: u64,
    /// What those who come from there may ask at once.
    share: Arc<Semaphore>,
    /// Dropping it ends the connection.
    _stay: oneshot::Sender<()>,
}

impl Inside {
    fn event(&mut self) -> u64 {
        self.events += 1;
        self.events
    }

    /// Ends the handshake that makes room: of those from there, or of those from wherever most are, one that has not shown where it
    /// is before one that has, and else the oldest, since who means it takes a moment.
    fn end_one(&mut self, from: Option<Origin>) {
        let mut counts: BTreeMap<Origin, usize> = BTreeMap::new();
        for one in self.handshakes.values() {
            *counts.entry(one.origin).or_default() += 1;
        }
        let all = self.handshakes.iter();
        let ended = all
            .filter(|(_, one)| from.is_none_or(|from| one.origin == from))
            .min_by_key(|(number, one)| (Reverse(counts[&one.origin]), one.is_proved, **number))
            .map(|(number, _)| *number);
        if let Some(number) = ended {
            self.handshakes.remove(&number);
        }
    }
}

/// What is answered to somebody at the door.
#[derive(Debug)]
pub(crate) enum Knock {
    /// To come on.
    Enter(Handshake),
    /// To show first that it is where it says it is, which costs this side no memory.
    Prove,
}

impl Door {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(Arc::new(Shared {
            connections: limits.connections,
            requests: limits.requests,
            handshakes: limits.handshakes,
            inside: Mutex::default(),
        }))
    }

    /// Nothing that holds the lock can panic half way through a change.
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before a handshake. Those who have not shown where they are have half of what there is, together, and of one address no more
    /// than its part: beyond that they are to show it. Whoever has shown it finds room: another handshake makes it where there is
    /// none, for that address or at all. So neither false addresses nor handshakes that never end keep anybody out.
    pub(crate) fn knock(&self, origin: Origin, is_proved: bool) -> Knock {
        let most = self.0.handshakes;
        let mut inside = self.inside();
        let all = inside.handshakes.values();
        let from_there = all.clone().filter(|one| one.origin == origin).count();
        let unproved = all.filter(|one| !one.is_proved).count();
        let is_crowded = from_there >= origin.handshakes(most);
        let is_full = inside.handshakes.len() >= most;
        if !is_proved && (is_crowded || is_full || unproved >= most / 2) {
            return Knock::Prove;
        }
        if is_crowded || is_full {
            inside.end_one(is_crowded.then_some(origin));
        }
        let (stay, taken) = oneshot::channel();
        let number = inside.event();
        let pending = Pending {
            origin,
            is_proved,
            _stay: stay,
        };
        inside.handshakes.insert(number, pending);
        Knock::Enter(Handshake {
            door: self.clone(),
            number,
            taken,
        })
    }

    /// After it. None if everybody who could make room is being answered.
    pub(crate) fn enter(&self, origin: Origin) -> Option<Place> {
        let most = self.0.connections;
        let mut inside = self.inside();
        let from_there = inside.guests.values().filter(|one| one.origin == origin);
        let is_crowded = from_there.count() >= origin.part(most);
        if is_crowded || inside.guests.len() >= most {
            let (idlest, _) = inside
                .guests
                .iter()
                .filter(|(_, one)| one.answering == 0 && (!is_crowded || one.origin == origin))
                .min_by_key(|(_, one)| one.last)?;
            let idlest = *idlest;
            inside.guests.remove(&idlest);
        }
        let share = inside
            .guests
            .values()
            .find(|one| one.origin == origin)
            .map_or_else(
                || Arc::new(Semaphore::new(origin.part(self.0.requests))),
                |one| one.share.clone(),
            );
        let (stay, taken) = oneshot::channel();
        let number = inside.event();
        let guest = Guest {
            origin,
            answering: 0,
            last: number,
            share: share.clone(),
            _stay: stay,
        };
        inside.guests.insert(number, guest);
        Some(Place {
            seat: Seat {
                door: self.clone(),
                number,
                share,
            },
            taken,
        })
    }
}

/// A handshake's turn, until it is dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    door: Door,
    number: u64,
    taken: oneshot::Receiver<()>,
}

impl Handshake {
    /// Ready, once, when somebody else needs the room.
    pub(crate) async fn taken(&mut self) {
        let _ = (&mut self.taken).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.door.inside().handshakes.remove(&self.number);
    }
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    seat: Seat,
    taken: oneshot::Receiver<()>,
}

impl Place {
    pub(crate) fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Ready, once, when somebody else needs the room.
    pub(crate) async fn taken(&mut self) {
        let _ = (&mut self.taken).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seat.door.inside().guests.remove(&self.seat.number);
    }
}

/// What the calls of a connection know of its place.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    door: Door,
    number: u64,
    share: Arc<Semaphore>,
}

impl Seat {
    /// Notes that a call begins to come. Until all of it is here, it keeps no place: bytes can be slow on purpose.
    pub(crate) fn stirs(&self) {
        self.change(|_| {});
    }

    /// Notes that a call is being answered, which keeps the place until what is returned is dropped.
    pub(crate) fn answering(&self) -> Answering {
        self.change(|guest| guest.answering += 1);
        Answering(self.clone())
    }

    /// What those who come from there may ask at once.
    pub(crate) fn share(&self) -> &Semaphore {
        &self.share
    }

    fn change(&self, change: impl FnOnce(&mut Guest)) {
        let mut inside = self.door.inside();
        let now = inside.event();
        // Whoever made room has no place any more.
        if let Some(guest) = inside.guests.get_mut(&self.number) {
            guest.last = now;
            change(guest);
        }
    }
}

/// A call that is being answered, until it is dropped.
#[derive(Debug)]
pub(crate) struct Answering(Seat);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.change(|guest| guest.answering -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(connections: usize, handshakes: usize) -> Door {
        Door::new(&Limits {
            connections,
            requests: 8,
            handshakes,
            ..Limits::default()
        })
    }

    fn from(number: u8) -> Origin {
        Origin::of_ip([203, 0, 113, number].into())
    }

    fn is_taken(place: &mut Place) -> bool {
        place.taken.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn whoever_has_been_idle_for_longest_makes_room_and_whoever_is_answered_does_not() {
        let door = door(3, 1);
        let mut places: Vec<Place> = (0..3)
            .map(|number| door.enter(from(number)).expect("room"))
            .collect();
        let answering = places[0].seat().answering();
        drop(places[1].seat().answering());
        let mut fourth = door.enter(from(3)).expect("one makes room");
        let taken: Vec<bool> = places.iter_mut().map(is_taken).collect();
        assert_eq!(taken, [false, false, true]);

        let _others = [places[1].seat().answering(), fourth.seat().answering()];
        assert!(door.enter(from(4)).is_none(), "all are answered");
        drop(answering);
        door.enter(from(4)).expect("one is not answered any more");
        assert!(is_taken(&mut places[0]) && !is_taken(&mut fourth));
    }

    #[test]
    fn an_address_has_a_part_of_the_places_and_takes_nobody_elses() {
        let door = door(8, 1);
        let mut other = door.enter(from(1)).expect("room");
        let mut one: Vec<Place> = (0..5)
            .map(|_| door.enter(from(2)).expect("one of its own makes room"))
            .collect();
        let taken: Vec<bool> = one.iter_mut().map(is_taken).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert!(!is_taken(&mut other));
        assert_eq!(one[4].seat().share().available_permits(), 2);
        let _answering = [one[3].seat().answering(), one[4].seat().answering()];
        assert!(door.enter(from(2)).is_none(), "its part is in use");
        door.enter(from(3)).expect("it is another's");
    }

    #[test]
    fn a_whole_network_on_this_machine_has_all_places() {
        let door = door(8, 1);
        let here = Origin::of_ip([127, 0, 0, 1].into());
        let mut places: Vec<Place> = (0..8).map(|_| door.enter(here).expect("room")).collect();
        assert!(!places.iter_mut().any(is_taken));
        assert_eq!(places[0].seat().share().available_permits(), 8);
        drop(places);
        assert!(door.inside().guests.is_empty());
    }

    #[test]
    fn addresses_of_one_network_of_ipv6_are_one_and_so_are_both_spellings_of_ipv4() {
        let of = |text: &str| Origin::of_ip(text.parse().expect("an address"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:203.0.113.9"), from(9));
        assert_ne!(from(8), from(9));
        for here in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(of(here), Origin::Common, "{here}");
        }
    }

    fn knocks(door: &Door, number: u8, is_proved: bool) -> Option<Handshake> {
        match door.knock(from(number), is_proved) {
            Knock::Enter(handshake) => Some(handshake),
            Knock::Prove => None,
        }
    }

    /// Which of these handshakes had to make room.
    fn ended(handshakes: &mut [Handshake]) -> Vec<bool> {
        let is_ended =
            |one: &mut Handshake| one.taken.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        handshakes.iter_mut().map(is_ended).collect()
    }

    #[test]
    fn an_address_has_its_part_of_the_handshakes_shown_or_not_and_its_own_make_room() {
        let door = door(1, 16);
        let mut other = vec![knocks(&door, 2, true).expect("room")];
        let mut own: Vec<Handshake> = [true, false, true, false]
            .map(|is_proved| knocks(&door, 1, is_proved).expect("its part"))
            .into();
        assert!(
            knocks(&door, 1, false).is_none(),
            "it is to show where it is"
        );
        for ending in [
            [false, true, false, false],
            [false, true, false, true],
            [true, true, false, true],
        ] {
            // Those that were shown last.
            own.push(knocks(&door, 1, true).expect("one of its own makes room"));
            assert_eq!(ended(&mut own[..4]), ending);
            assert_eq!(door.inside().handshakes.len(), 5);
        }
        assert_eq!(ended(&mut other), [false]);
    }

    #[test]
    fn false_addresses_take_no_more_than_half_of_the_handshakes_and_nothing_from_whom_they_name() {
        let door = door(1, 8);
        let mut unproved: Vec<Handshake> = [1, 1, 2, 2]
            .map(|number| knocks(&door, number, false).expect("up to half"))
            .into();
        assert!(knocks(&door, 3, false).is_none());
        let mut named: Vec<Handshake> = (0..2)
            .map(|_| knocks(&door, 1, true).expect("its part is its own"))
            .collect();
        assert_eq!(ended(&mut unproved), [true, true, false, false]);
        assert_eq!(ended(&mut named), [false, false]);
        drop((unproved, named));
        assert!(door.inside().handshakes.is_empty());
    }

    #[test]
    fn whoever_shows_where_it_is_finds_room_however_many_handshakes_never_end() {
        let door = door(1, 8);
        let mut stay: Vec<Handshake> = [1, 1, 2, 2, 3, 3, 4, 4]
            .map(|number| knocks(&door, number, true).expect("its part"))
            .into();
        assert!(knocks(&door, 5, false).is_none(), "it is full");
        let mut come: Vec<Handshake> = (5..9)
            .map(|number| knocks(&door, number, true).expect("another one makes room"))
            .collect();
        let one_each = [true, false].repeat(4);
        assert_eq!(ended(&mut stay), one_each);
        assert_eq!(ended(&mut come), [false; 4]);
        assert_eq!(door.inside().handshakes.len(), 8);
    }
}
