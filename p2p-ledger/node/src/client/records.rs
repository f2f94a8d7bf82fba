//! Accounts, nodes, keys and holds, as the chain shows them.
//!
//! Nobody's word is taken: a node gives the record, or nothing, with a proof of state under a header that is final from genesis
//! on and not older than the newest that one of `f + 1` validators has. What cannot be known is what all who answer keep back.

use tally_ledger::{
    Account, AccountId, Height, Hold, HoldId, Node, NodeId, NodeKey, Said, Subject,
};
use tally_net::Caller;
use tally_receipt::PublicKey;

use super::{AskError, Asked, Client, ClientError, HEDGE};
use crate::light::{AdvanceError, LightClient};
use crate::wire::SaidAnswer;

impl Client {
    /// An account, and the block after which it is so. One that nobody ever used has nothing.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if too few validators answer, or none shows it.
    pub async fn shown_account(&self, id: AccountId) -> Result<(Height, Account), ClientError> {
        let (height, said) = self.said(Subject::Account(id)).await?;
        Ok(match said {
            Some(Said::Account(account)) => (height, account),
            _ => (height, Account::default()),
        })
    }

    /// A node, if it is registered, and the block after which it is so.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if too few validators answer, or none shows it.
    pub async fn shown_node(&self, id: NodeId) -> Result<(Height, Option<Node>), ClientError> {
        let (height, said) = self.said(Subject::Node(id)).await?;
        Ok(match said {
            Some(Said::Node(node)) => (height, Some(node)),
            _ => (height, None),
        })
    }

    /// Whose key a key is or was, if it ever was a node's, and the block after which it is so.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if too few validators answer, or none shows it.
    pub async fn shown_node_key(
        &self,
        key: PublicKey,
    ) -> Result<(Height, Option<NodeKey>), ClientError> {
        let (height, said) = self.said(Subject::NodeKey(key)).await?;
        Ok(match said {
            Some(Said::NodeKey(of)) => (height, Some(of)),
            _ => (height, None),
        })
    }

    /// What a payer set aside, if it has not ended, and the block after which it is so.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if too few validators answer, or none shows it.
    pub async fn shown_hold(&self, id: HoldId) -> Result<(Height, Option<Hold>), ClientError> {
        let (height, said) = self.said(Subject::Hold(id)).await?;
        Ok(match said {
            Some(Said::Hold(hold)) => (height, Some(hold)),
            _ => (height, None),
        })
    }

    async fn said(&self, subject: Subject) -> Result<(Height, Option<Said>), ClientError> {
        let known = self.up_to_now().await?;
        if known.head().is_none() {
            let state = self.genesis.state();
            let record = state.record(subject);
            let said = subject
                .said(state.root(), record.as_deref(), &state.prove(subject))
                .expect("a state shows what it says");
            return Ok((Height::ZERO, said));
        }
        self.first(HEDGE, |caller| {
            let known = known.clone();
            async move { said_by(&caller, known, subject).await }
        })
        .await
    }
}

/// What one node shows to somebody who knows so much; not what was before that.
async fn said_by(
    caller: &Caller,
    known: LightClient,
    subject: Subject,
) -> Result<(Height, Option<Said>), AskError> {
    let answer = Asked(caller).said(known.trusted().epoch, subject).await?;
    match shown(&answer, known, subject) {
        Ok(said) => Ok(said),
        Err(AdvanceError::Older { .. }) => Err(AskError::Older(caller.server())),
        Err(_) => Err(AskError::BadProof(caller.server())),
    }
}

/// What an answer shows to somebody who knows so much.
fn shown(
    answer: &SaidAnswer,
    mut known: LightClient,
    subject: Subject,
) -> Result<(Height, Option<Said>), AdvanceError> {
    known.take(&answer.head)?;
    let header = &answer.head.header;
    let said = subject.said(header.state_root, answer.record.as_deref(), &answer.proof);
    Ok((header.height, said.map_err(|_| AdvanceError::NotShown)?))
}

#[cfg(test)]
mod tests {
    use tally_ledger::Decision;

    use super::*;
    use crate::simulation::recorded;

    #[test]
    fn what_is_said_of_a_record_is_shown_from_genesis_on_and_nothing_else_is_believed() {
        let recorded = recorded();
        let known = LightClient::from_genesis(&recorded.genesis);
        let [there, absent] = recorded.said;
        let (subject, answer) = there;
        let height = answer.head.header.height;
        let decisions = Said::Decisions(Decision::new(2));
        assert_eq!(
            shown(&answer, known.clone(), subject).unwrap(),
            (height, Some(decisions))
        );
        assert_eq!(
            shown(&absent.1, known.clone(), absent.0).unwrap(),
            (absent.1.head.header.height, None)
        );

        // That there is nothing, of what there is; and what is said of something else.
        let mut kept_back = answer.clone();
        kept_back.record = None;
        assert!(shown(&kept_back, known.clone(), subject).is_err());
        assert!(shown(&answer, known.clone(), absent.0).is_err());
        assert!(shown(&answer, known.clone(), Subject::Parameters).is_err());
        // Another number.
        let mut altered = answer.clone();
        let mut record = answer.record.clone().unwrap().to_vec();
        *record.last_mut().unwrap() += 1;
        altered.record = Some(record.into());
        assert!(shown(&altered, known.clone(), subject).is_err());
        // A header that is not final.
        let mut forged = answer.clone();
        forged.head.header.log_size += 1;
        assert!(shown(&forged, known, subject).is_err());
    }
}
