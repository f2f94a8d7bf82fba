//! Knowing what is final without having any block: headers and certificates, from a genesis or from validators whom one
//! trusts.
//!
//! ```text
//! who votes in an epoch ──certificate of its last block──▶ who votes in the next ── … ──▶ the last final header
//! ```
//!
//! Nothing that a node says is believed: each step is checked by the votes of those who were known before it. What a light
//! client cannot know is whether there is a newer header that all it asks keep back; its header's time tells.

use tally_ledger::{CertificateError, FollowError, Genesis, Header, TrustedValidators};

use crate::client::{AskError, Client};
use crate::wire::Head;

/// What somebody knows to be final.
#[derive(Clone, Debug)]
pub struct LightClient {
    trusted: TrustedValidators,
    head: Option<Header>,
}

/// Why a light client knows no more than before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdvanceError {
    /// No node answered; what the last one's trouble was.
    #[error("no node answered: {0}")]
    Nobody(AskError),
    /// The ends of epochs do not follow on each other. Whoever gave them is at fault.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// The header is not final. Whoever gave it is at fault.
    #[error("the last header is not final: {0}")]
    NotFinal(#[from] CertificateError),
    /// What is said of a state does not follow from the header. Whoever gave it is at fault.
    #[error("what is said of the state is not what the last header commits to")]
    NotShown,
    /// It is older than what is known.
    #[error("the header is of height {found}, and {known} is known")]
    Older {
        /// What was given.
        found: u64,
        /// What is known.
        known: u64,
    },
}

impl LightClient {
    /// Knows who votes first.
    #[must_use]
    pub fn from_genesis(genesis: &Genesis) -> Self {
        Self::from_trusted(TrustedValidators::of(genesis))
    }

    /// Knows who votes in some epoch, because somebody who is trusted has said so, and the block that named them.
    #[must_use]
    pub fn from_trusted(trusted: TrustedValidators) -> Self {
        Self {
            head: trusted.named_by.clone(),
            trusted,
        }
    }

    /// Who votes, as far as is known: what another light client can start from.
    #[must_use]
    pub fn trusted(&self) -> &TrustedValidators {
        &self.trusted
    }

    /// The last header known to be final.
    #[must_use]
    pub fn head(&self) -> Option<&Header> {
        self.head.as_ref()
    }

    /// Asks all nodes and goes on to the highest header that is shown to be final.
    ///
    /// # Errors
    ///
    /// [`AdvanceError`] if no node showed more than was known; what the last one's trouble was.
    pub async fn advance(&mut self, client: &Client) -> Result<&Header, AdvanceError> {
        let mut trouble = None;
        let mut advanced = false;
        for answer in client.heads(self.trusted.epoch).await {
            match answer {
                Ok(head) => match self.take(&head) {
                    Ok(()) => advanced = true,
                    Err(error) => trouble = Some(error),
                },
                Err(error) => {
                    trouble.get_or_insert(AdvanceError::Nobody(error));
                }
            }
        }
        match (advanced, trouble, &self.head) {
            (true, _, Some(head)) => Ok(head),
            (_, Some(trouble), _) => Err(trouble),
            _ => unreachable!("a client asks at least one node, which answers or is in trouble"),
        }
    }

    /// Goes on to what one node says, if it shows it.
    pub(crate) fn take(&mut self, head: &Head) -> Result<(), AdvanceError> {
        let known = self.head.as_ref().map_or(0, |known| known.height.get());
        let found = head.header.height.get();
        if found < known {
            return Err(AdvanceError::Older { found, known });
        }
        if self.head.as_ref() == Some(&head.header) {
            return Ok(());
        }
        let mut shown = None;
        for end in &head.ends {
            // Another node may have shown it already.
            if end.header.epoch >= self.trusted.epoch {
                self.trusted.follow(end)?;
                shown = Some(end.header.digest());
            }
        }
        // The last block of an epoch was shown to be final on the way. Any other is of the epoch whose validators are known.
        if shown != Some(head.header.digest()) {
            if head.header.epoch != self.trusted.epoch {
                return Err(FollowError::OtherEpoch {
                    expected: self.trusted.epoch,
                    found: head.header.epoch,
                }
                .into());
            }
            head.certificate
                .verify(self.trusted.chain, &self.trusted.validators, &head.header)?;
        }
        self.head = Some(head.header.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tally_ledger::{Certificate, EpochEnd};

    use super::*;
    use crate::simulation::{Recorded, recorded};

    fn light(recorded: &Recorded) -> LightClient {
        LightClient::from_genesis(&recorded.genesis)
    }

    #[test]
    fn a_chain_of_changes_is_followed_from_genesis_and_from_the_middle() {
        let recorded = recorded();
        let mut client = light(&recorded);
        client.take(&recorded.head).unwrap();
        assert_eq!(client.head(), Some(&recorded.head.header));
        assert!(client.trusted().epoch.get() >= 2);
        // Nothing new is no fault.
        client.take(&recorded.head).unwrap();

        let mut half = light(&recorded);
        half.trusted.follow(&recorded.head.ends[0]).unwrap();
        let mut other = LightClient::from_trusted(half.trusted().clone());
        other.take(&recorded.head).unwrap();
        assert_eq!(other.head(), Some(&recorded.head.header));
    }

    #[test]
    fn who_starts_from_trusted_validators_needs_nothing_of_the_epochs_before() {
        let recorded = recorded();
        let ends = &recorded.head.ends;
        let mut trusted = TrustedValidators::of(&recorded.genesis);
        for end in ends {
            trusted.follow(end).unwrap();
        }
        let read = TrustedValidators::from_bytes(&trusted.to_bytes()).unwrap();
        let started = LightClient::from_trusted(read);
        let last = |end: &EpochEnd| Head {
            header: end.header.clone(),
            certificate: end.certificate.clone(),
            ends: Vec::new(),
        };
        // Nothing has happened since they were named: a node has no newer block, and shows none.
        let mut idle = started.clone();
        let named_by = last(ends.last().expect("two changes"));
        idle.take(&named_by).unwrap();
        assert_eq!(idle.head(), Some(&named_by.header));
        // Who has not come as far is behind, and nothing of it is believed.
        let behind = idle.take(&last(&ends[0]));
        assert!(matches!(behind, Err(AdvanceError::Older { .. })));

        let mut client = started;
        let head = Head {
            ends: Vec::new(),
            ..recorded.head.clone()
        };
        client.take(&head).unwrap();
        assert_eq!(client.head(), Some(&recorded.head.header));
        assert!(light(&recorded).take(&head).is_err());
    }

    #[test]
    fn what_nobody_voted_for_is_not_taken() {
        let recorded = recorded();
        // The end of an epoch left out.
        let mut left_out = recorded.head.clone();
        left_out.ends.remove(0);
        assert!(light(&recorded).take(&left_out).is_err());
        // A header with another content.
        let mut altered = recorded.head.clone();
        altered.header.log_size += 1;
        assert!(light(&recorded).take(&altered).is_err());
        // Its certificate on the end of an epoch, and that of one on it.
        let certificate: Certificate = recorded.head.certificate.clone();
        let mut swapped = recorded.head.clone();
        swapped.ends[0] = EpochEnd {
            certificate,
            ..swapped.ends[0].clone()
        };
        assert!(light(&recorded).take(&swapped).is_err());
        // A made-up header that is claimed to be the end of an epoch that is known already.
        let mut client = light(&recorded);
        client.take(&recorded.head).unwrap();
        let mut forged = recorded.head.clone();
        forged.ends[0].header.height = tally_ledger::Height::new(1_000_000);
        forged.header = forged.ends[0].header.clone();
        forged.ends.truncate(1);
        assert!(client.take(&forged).is_err());
        assert_eq!(client.head(), Some(&recorded.head.header));
    }
}
