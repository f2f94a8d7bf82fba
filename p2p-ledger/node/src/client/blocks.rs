//! Final blocks, for whoever looks at a chain and keeps none of it.

use tally_ledger::{Block, Header, Height};
use tally_net::Caller;

use super::busy::{Next, Round};
use super::{AskError, Asked, Client, ClientError};
use crate::bodies::Bodies;

impl Client {
    /// The blocks from a height up to `head`, in order. `head` is known to be final ([`LightClient`](crate::LightClient)),
    /// and so are these: each is the parent of the next. Validators are asked one after another until one has them,
    /// and again if some are busy.
    ///
    /// # Errors
    ///
    /// [`ClientError::Nobody`] with the trouble of the last one that was asked.
    pub async fn blocks(&self, from: Height, head: &Header) -> Result<Vec<Block>, ClientError> {
        let mut trouble = None;
        // Not always the same one first.
        let callers = self.callers();
        let first = usize::try_from(head.height.get()).unwrap_or(0) % callers.len();
        let (after, before) = callers.split_at(first);
        let mut round = Round::default();
        loop {
            for caller in before.iter().chain(after) {
                match blocks_of(caller, from, head).await {
                    Ok(blocks) => return Ok(blocks),
                    Err(error) => {
                        round.in_vain(error.is_busy());
                        trouble = Some(error);
                    }
                }
            }
            match round.next(callers.len()) {
                Next::Wait(wait) => tokio::time::sleep(wait).await,
                Next::Ask | Next::GiveUp => break,
            }
        }
        Err(ClientError::Nobody(
            trouble.expect("there is at least one caller"),
        ))
    }
}

async fn blocks_of(caller: &Caller, from: Height, head: &Header) -> Result<Vec<Block>, AskError> {
    let nonsense = || AskError::Nonsense(caller.server());
    let mut blocks: Vec<Block> = Vec::new();
    let mut next = from;
    while next <= head.height {
        let stretch = Asked::new(caller).blocks(next).await?;
        // It may not have come so far.
        if stretch.blocks.is_empty() {
            return Err(nonsense());
        }
        for one in stretch.blocks {
            if next > head.height {
                break;
            }
            let (digest, body) = Bodies::read(one.block).ok_or_else(nonsense)?;
            let follows = blocks
                .last()
                .is_none_or(|before| before.digest() == body.block.header.parent);
            let ends_right = next < head.height || digest == head.digest();
            if body.block.header.height != next || !follows || !ends_right {
                return Err(nonsense());
            }
            blocks.push(body.block);
            next = next.next();
        }
    }
    Ok(blocks)
}
