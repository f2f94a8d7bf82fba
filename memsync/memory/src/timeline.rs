//! Which facts hold when: decided by intervals, whatever the order in which facts came in.
//!
//! A model, or a rule, says of two facts only what they are to each other (same, updates, contradicts). What follows from that
//! is computed here, from the whole set of facts and for any moment, so a fact that arrives late finds its place in the past
//! and nothing is ever overwritten.
//!
//! Rules:
//!
//! 1. A fact begins when it says, else when it was said. One that says it is over and not since when began before all others.
//! 2. Facts of one subject that answer the same question (a [`Slot`](crate::Slot)) take turns: in the order of their beginnings each
//!    ends when the next one with another answer begins. One with the same answer repeats the one that holds.
//!    One that denies an answer ends it.
//! 3. Of two facts labelled *updates* or *contradicts* the one that begins earlier ends when the later begins. Of two labelled *same*
//!    the later repeats the earlier.
//! 4. Where beginnings are equal, what was said later is later; where that is equal too, the greater id.
//! 5. A fact that was corrected holds at no time; its correction stands in its place, and takes its turn as it would.
//! 6. A plan never ends what is. It is a plan until its date has passed, or for [`PLAN_DAYS`] where it names none.
//! 7. What happened (episodic, asserted) has happened for ever, and is not what holds now.

use std::collections::BTreeMap;

use crate::ids::MemoryId;
use crate::moment::Moment;
use crate::record::{Kind, Label, Modality, Precision};

/// How long a plan without a date is thought of: a year.
pub const PLAN_DAYS: i64 = 365;

/// A fact, or the correction of one, as far as time is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Which.
    pub id: MemoryId,
    /// Whom it is about, in lower case.
    pub subject: String,
    /// Whether it lasts.
    pub kind: Kind,
    /// How it was said.
    pub modality: Modality,
    /// When it was said.
    pub observed: Moment,
    /// From when on it says to hold.
    pub from: Option<Moment>,
    /// How exactly that is known.
    pub precision: Option<Precision>,
    /// Until when it says to hold.
    pub until: Option<Moment>,
    /// The question it answers and its answer, in lower case.
    pub slot: Option<(String, String)>,
    /// What it was labelled to be to others.
    pub links: Vec<(MemoryId, Label)>,
    /// Whether a correction stands in its place.
    pub corrected_by: Option<MemoryId>,
}

/// What became of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It lasts, in its interval.
    Holds,
    /// It happened.
    Happened,
    /// It was meant to happen.
    Planned,
    /// It says what another says.
    Repeats(MemoryId),
    /// The owner corrected it.
    Corrected(MemoryId),
}

/// A fact's place in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// What became of it.
    pub standing: Standing,
    /// The first moment at which it holds; none where that is not known.
    pub from: Option<Moment>,
    /// The first moment at which it does not hold any more.
    pub until: Option<Moment>,
    /// What ended it.
    pub ended_by: Option<MemoryId>,
    /// How often it was said, itself included.
    pub times: u32,
}

impl Place {
    /// Whether it is to be believed at a moment: it holds then, has happened by then, or is planned then.
    #[must_use]
    pub fn stands_at(&self, moment: Moment) -> bool {
        let begun = self.from.is_none_or(|from| from <= moment);
        let ended = self.until.is_some_and(|until| until <= moment);
        match self.standing {
            Standing::Holds | Standing::Planned => begun && !ended,
            Standing::Happened => begun,
            Standing::Repeats(_) | Standing::Corrected(_) => false,
        }
    }
}

/// Places every item. The result does not depend on the order of the items.
#[must_use]
pub fn place(items: &[Item]) -> BTreeMap<MemoryId, Place> {
    let mut items: Vec<&Item> = items.iter().collect();
    items.sort_by_key(|item| (begins(item), item.observed, item.id));
    let mut places: BTreeMap<MemoryId, Place> =
        items.iter().map(|item| (item.id, alone(item))).collect();

    let mut turns: BTreeMap<(&str, &str), Vec<&Item>> = BTreeMap::new();
    for item in &items {
        let takes_turns = item.corrected_by.is_none()
            && item.kind == Kind::Semantic
            && matches!(item.modality, Modality::Asserted | Modality::Negated);
        if let (Some((question, _)), true) = (&item.slot, takes_turns) {
            turns
                .entry((&item.subject, question))
                .or_default()
                .push(item);
        }
    }
    for turns in turns.values() {
        take_turns(turns, &mut places);
    }

    let order: BTreeMap<MemoryId, usize> = items
        .iter()
        .enumerate()
        .map(|(at, item)| (item.id, at))
        .collect();
    for item in &items {
        for (other, label) in &item.links {
            let (Some(&here), Some(&there)) = (order.get(&item.id), order.get(other)) else {
                continue;
            };
            if here == there {
                continue;
            }
            let (earlier, later) = (items[here.min(there)], items[here.max(there)]);
            relate(earlier, later, *label, &mut places);
        }
    }
    places
}

/// Where an item stands if it is the only one.
fn alone(item: &Item) -> Place {
    let standing = match (item.corrected_by, item.modality, item.kind) {
        (Some(by), _, _) => Standing::Corrected(by),
        (None, Modality::Plan, _) => Standing::Planned,
        (None, Modality::Asserted, Kind::Episodic) => Standing::Happened,
        _ => Standing::Holds,
    };
    let (from, until) = match standing {
        Standing::Planned => {
            let end = match (item.until, item.from) {
                (Some(until), _) => until,
                (None, Some(from)) => from.plus_days(days(item.precision)),
                (None, None) => item.observed.plus_days(PLAN_DAYS),
            };
            (Some(item.observed), Some(end))
        }
        _ if is_over(item) => (None, item.until),
        _ => (Some(begins(item)), item.until),
    };
    Place {
        standing,
        from,
        until,
        ended_by: None,
        times: 1,
    }
}

fn days(precision: Option<Precision>) -> i64 {
    match precision {
        None | Some(Precision::Day) => 1,
        Some(Precision::Week) => 7,
        Some(Precision::Month) => 31,
        Some(Precision::Year) => 366,
    }
}

/// It says that it is over, and not since when it was so.
fn is_over(item: &Item) -> bool {
    item.from.is_none() && item.until.is_some_and(|until| until <= item.observed)
}

fn begins(item: &Item) -> Moment {
    if is_over(item) {
        Moment::FIRST
    } else {
        item.from.unwrap_or(item.observed)
    }
}

/// Rule 2, over items in the order of their beginnings.
fn take_turns(turns: &[&Item], places: &mut BTreeMap<MemoryId, Place>) {
    let mut holder: Option<&Item> = None;
    for item in turns {
        let answer = item.slot.as_ref().map(|(_, answer)| answer);
        let began = begins(item);
        // What said itself when it ends gives its turn up then.
        if let Some(held) = holder
            && places[&held.id].until.is_some_and(|until| until <= began)
        {
            holder = None;
        }
        let same =
            holder.is_some_and(|held| held.slot.as_ref().map(|(_, answer)| answer) == answer);
        match (item.modality, holder) {
            (Modality::Negated, Some(held)) if same => {
                end(held, item, places);
                holder = None;
            }
            (Modality::Negated, _) => {}
            (_, Some(held)) if same => repeat(held, item, places),
            (_, held) => {
                if let Some(held) = held {
                    end(held, item, places);
                }
                holder = Some(item);
            }
        }
    }
}

/// Rule 3.
fn relate(earlier: &Item, later: &Item, label: Label, places: &mut BTreeMap<MemoryId, Place>) {
    let stands = |item: &Item| {
        matches!(
            places[&item.id].standing,
            Standing::Holds | Standing::Happened | Standing::Planned
        )
    };
    if !stands(earlier) || !stands(later) {
        return;
    }
    match label {
        Label::Same => repeat(earlier, later, places),
        // A plan ends no state, and what is ends no plan but the plan that it updates.
        Label::Updates | Label::Contradicts
            if later.modality != Modality::Plan || earlier.modality == Modality::Plan =>
        {
            end(earlier, later, places);
        }
        Label::Updates | Label::Contradicts => {}
    }
}

fn end(held: &Item, by: &Item, places: &mut BTreeMap<MemoryId, Place>) {
    let at = begins(by);
    if let Some(place) = places.get_mut(&held.id)
        && place.until.is_none_or(|until| at < until)
    {
        place.until = Some(at);
        place.ended_by = Some(by.id);
    }
}

fn repeat(held: &Item, again: &Item, places: &mut BTreeMap<MemoryId, Place>) {
    if let Some(place) = places.get_mut(&again.id) {
        place.standing = Standing::Repeats(held.id);
    }
    if let Some(place) = places.get_mut(&held.id) {
        place.times += 1;
        // Whoever says it again and knows its end has the last word on it.
        if let Some(until) = again.until {
            place.until = Some(place.until.map_or(until, |known| known.min(until)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::FactId;

    fn id(number: u8) -> MemoryId {
        MemoryId::Fact(FactId([number; 32]))
    }

    fn day(number: i64) -> Moment {
        Moment::from_unix_ms(0).expect("1970").plus_days(number)
    }

    fn lives(number: u8, said: i64, place: &str, from: Option<i64>) -> Item {
        Item {
            id: id(number),
            subject: "user".into(),
            kind: Kind::Semantic,
            modality: Modality::Asserted,
            observed: day(said),
            from: from.map(day),
            precision: None,
            until: None,
            slot: Some(("lives-in".into(), place.into())),
            links: vec![],
            corrected_by: None,
        }
    }

    fn at(items: &[Item], moment: i64) -> Vec<MemoryId> {
        place(items)
            .into_iter()
            .filter(|(_, place)| place.stands_at(day(moment)))
            .map(|(id, _)| id)
            .collect()
    }

    #[test]
    fn the_newer_answer_ends_the_older_and_the_older_stays_known() {
        let items = [lives(1, 10, "ghent", None), lives(2, 20, "berlin", None)];
        assert_eq!(at(&items, 15), [id(1)]);
        assert_eq!(at(&items, 25), [id(2)]);
        assert_eq!(at(&items, 5), []);
        let places = place(&items);
        assert_eq!(places[&id(1)].until, Some(day(20)));
        assert_eq!(places[&id(1)].ended_by, Some(id(2)));
    }

    #[test]
    fn a_fact_that_arrives_late_finds_its_place_in_the_past() {
        // Ghent is learnt last, and was before Berlin: it does not become current.
        let items = [
            lives(1, 20, "berlin", Some(20)),
            lives(2, 30, "ghent", Some(5)),
        ];
        assert_eq!(at(&items, 40), [id(1)]);
        assert_eq!(at(&items, 10), [id(2)]);
        let reversed: Vec<Item> = items.iter().rev().cloned().collect();
        assert_eq!(place(&items), place(&reversed));
    }

    #[test]
    fn saying_it_again_adds_to_its_weight_and_not_to_the_list() {
        let items = [
            lives(1, 10, "ghent", None),
            lives(2, 20, "ghent", None),
            lives(3, 30, "berlin", None),
            lives(4, 40, "ghent", None),
        ];
        let places = place(&items);
        assert_eq!(places[&id(1)].times, 2);
        assert_eq!(places[&id(2)].standing, Standing::Repeats(id(1)));
        assert_eq!(at(&items, 25), [id(1)]);
        // Back again is not the same stay.
        assert_eq!(at(&items, 45), [id(4)]);
    }

    #[test]
    fn what_is_denied_ends_and_what_is_over_began_before_everything() {
        let mut no = lives(2, 20, "ghent", None);
        no.modality = Modality::Negated;
        let items = [lives(1, 10, "ghent", None), no];
        assert_eq!(place(&items)[&id(1)].until, Some(day(20)));

        let mut over = lives(2, 20, "paris", None);
        over.until = Some(day(20));
        let items = [lives(1, 10, "ghent", None), over];
        assert_eq!(at(&items, 30), [id(1)], "a past stay ends no present one");
        assert_eq!(at(&items, 5), [id(2)]);
    }

    #[test]
    fn a_plan_ends_nothing_and_passes() {
        let mut plan = lives(2, 20, "rome", Some(50));
        plan.modality = Modality::Plan;
        plan.precision = Some(Precision::Month);
        let items = [lives(1, 10, "ghent", None), plan];
        assert_eq!(at(&items, 30), [id(1), id(2)]);
        assert_eq!(at(&items, 90), [id(1)]);
    }

    #[test]
    fn a_label_decides_nothing_that_time_does_not() {
        let free = |number, said, from| Item {
            slot: None,
            ..lives(number, said, "", from)
        };
        let mut late = free(2, 30, Some(5));
        late.links = vec![(id(1), Label::Contradicts)];
        let items = [free(1, 20, None), late];
        assert_eq!(
            at(&items, 40),
            [id(1)],
            "the label sits on the later record, the time says it is the earlier fact"
        );
        let mut again = free(3, 40, None);
        again.links = vec![(id(1), Label::Same)];
        let items = [free(1, 20, None), again];
        assert_eq!(place(&items)[&id(3)].standing, Standing::Repeats(id(1)));
    }

    #[test]
    fn a_correction_takes_the_turn_of_what_it_corrects() {
        let correction = MemoryId::Correction(crate::ids::RemarkId([9; 32]));
        let mut wrong = lives(1, 10, "gent", None);
        wrong.corrected_by = Some(correction);
        let mut right = lives(9, 40, "ghent", Some(10));
        right.id = correction;
        let items = [wrong, right, lives(2, 30, "berlin", None)];
        assert_eq!(at(&items, 20), [correction]);
        assert_eq!(at(&items, 50), [id(2)]);
        assert_eq!(
            place(&items)[&id(1)].standing,
            Standing::Corrected(correction)
        );
    }

    #[test]
    fn what_happened_stays_known_and_is_not_what_holds() {
        let mut ran = lives(1, 10, "", None);
        ran.kind = Kind::Episodic;
        ran.slot = None;
        let places = place(&[ran]);
        assert_eq!(places[&id(1)].standing, Standing::Happened);
        assert!(places[&id(1)].stands_at(day(1_000)));
        assert!(!places[&id(1)].stands_at(day(9)));
    }
}
