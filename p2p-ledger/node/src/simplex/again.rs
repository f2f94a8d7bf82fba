//! What a validator said last, and saying it again while nobody gets on.
//!
//! A vote that is sent twice is one vote, and every one here is on the disk: a live one before it is reported, one of before since the engine
//! was started. So this changes nothing but when a view ends. Kept are the votes of views that are not final and the newest certificate, by
//! which one that is a view behind comes after.
//!
//! Bounds: [`VOTES`], and one certificate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use commonware_codec::Encode as _;
use commonware_consensus::Viewable as _;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Activity, Attributable as _, Certificate, Vote};
use commonware_cryptography::blake3::Digest;
use commonware_p2p::{Recipients, Sender};
use commonware_runtime::Clock;
use commonware_utils::Participant;

/// Own votes that are kept. More views than this in a row without a final block are no restart.
const VOTES: usize = 32;
/// How long after its start a process is taken for one of a network that was stopped.
const STARTING: Duration = Duration::from_secs(10);
/// How often a starting process says its words again while nobody gets on.
const SOON: Duration = Duration::from_millis(100);

/// What was said last.
#[derive(Clone)]
pub(super) struct Said {
    me: Option<Participant>,
    last: Arc<Mutex<Last>>,
}

#[derive(Default)]
struct Last {
    /// The last final view.
    done: u64,
    /// Own votes by view, in the order in which they were given.
    votes: Vec<(u64, Bytes)>,
    /// The newest certificate, with its view.
    certificate: Option<(u64, Bytes)>,
}

impl Last {
    fn vote(&mut self, view: u64, vote: &Vote<Scheme, Digest>) {
        let bytes = vote.encode();
        if view <= self.done || self.votes.iter().any(|(_, one)| *one == bytes) {
            return;
        }
        if self.votes.len() == VOTES {
            self.votes.remove(0);
        }
        self.votes.push((view, bytes));
    }

    fn certificate(&mut self, view: u64, certificate: &Certificate<Scheme, Digest>) {
        let is_final = matches!(certificate, Certificate::Finalization(_));
        if is_final && view > self.done {
            self.done = view;
            self.votes.retain(|(of, _)| *of > view);
        }
        let newest = self.certificate.as_ref().map(|(view, _)| *view);
        if newest.is_none_or(|newest| view > newest || is_final && view == newest) {
            self.certificate = Some((view, certificate.encode()));
        }
    }
}

impl Said {
    pub(super) fn new(me: Option<Participant>) -> Self {
        Self {
            me,
            last: Arc::default(),
        }
    }

    /// Takes in what an engine reports: at its start, what it said before it was stopped.
    pub(super) fn note(&self, activity: &Activity<Scheme, Digest>) {
        let mine = |signer| self.me == Some(signer);
        let view = activity.view().get();
        let mut last = self.last();
        match activity {
            Activity::Notarize(vote) if mine(vote.signer()) => {
                last.vote(view, &Vote::Notarize(vote.clone()));
            }
            Activity::Nullify(vote) if mine(vote.signer()) => {
                last.vote(view, &Vote::Nullify(vote.clone()));
            }
            Activity::Finalize(vote) if mine(vote.signer()) => {
                last.vote(view, &Vote::Finalize(vote.clone()));
            }
            Activity::Notarization(one) => {
                last.certificate(view, &Certificate::Notarization(one.clone()));
            }
            Activity::Nullification(one) => {
                last.certificate(view, &Certificate::Nullification(one.clone()));
            }
            Activity::Finalization(one) => {
                last.certificate(view, &Certificate::Finalization(one.clone()));
            }
            _ => {}
        }
    }

    /// Nothing can panic half way through a change.
    fn last(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says an engine's last words again whenever no new view was entered for a while: often at first, later only after `stall`.
/// `is_first` says that it is the process that was started, and not an epoch that began.
pub(super) async fn say<S: Sender>(
    clock: impl Clock,
    said: Said,
    is_first: bool,
    stall: Duration,
    (mut votes, mut certificates): (S, S),
) {
    let begun = clock.current();
    let mut newest = None;
    loop {
        let since = clock.current().duration_since(begun).unwrap_or_default();
        clock
            .sleep(if is_first && since < STARTING {
                SOON
            } else {
                stall
            })
            .await;
        let (certificate, own) = {
            let last = said.last();
            (last.certificate.clone(), last.votes.clone())
        };
        let view = certificate.as_ref().map(|(view, _)| *view);
        if view != newest {
            newest = view;
            continue;
        }
        if let Some((_, certificate)) = certificate {
            certificates.send(Recipients::All, certificate, false);
        }
        for (_, vote) in own {
            votes.send(Recipients::All, vote, false);
        }
    }
}
