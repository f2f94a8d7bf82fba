//! Episodes and facts for tests of this crate.

use crate::ids::{CallId, EpisodeId, SpanHash};
use crate::moment::Moment;
use crate::record::{Category, Episode, Evidence, Fact, Kind, Modality, Role};

/// A Wednesday: 18 November 2026.
pub(crate) const SAID: i64 = 1_795_000_000_000;

pub(crate) fn moment(ms: i64) -> Moment {
    Moment::from_unix_ms(ms).expect("tests use moments of the calendar")
}

pub(crate) fn episode(role: Role, speaker: &str, text: &str) -> Episode {
    Episode {
        app: "test".into(),
        thread: "thread".into(),
        key: None,
        repeat: 0,
        part: 0,
        role,
        speaker: speaker.into(),
        at: Some(moment(SAID)),
        text: text.into(),
    }
}

pub(crate) fn fact(text: &str, day: i64) -> Fact {
    Fact {
        text: text.into(),
        subject: "user".into(),
        kind: Kind::Semantic,
        categories: vec![Category::Identity],
        modality: Modality::Asserted,
        entities: vec![],
        said_by: "Anna".into(),
        said_as: Role::Owner,
        observed: moment(SAID).plus_days(day),
        from: None,
        precision: None,
        until: None,
        slot: None,
        confidence: 850,
        evidence: vec![Evidence {
            episode: EpisodeId([1; 32]),
            start: 0,
            end: u32::try_from(text.len()).expect("a short text"),
            words: SpanHash::of(text.as_bytes()),
        }],
        links: vec![],
        call: CallId([1; 32]),
    }
}
