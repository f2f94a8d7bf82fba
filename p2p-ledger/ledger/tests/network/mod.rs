//! A chain without a network: validators whose keys are known, and what they would sign.

#![allow(dead_code, reason = "each test uses a part")]

use tally_ledger::*;
use tally_log::{Checkpoint, HashTree, SignedCheckpoint, UnixSeconds, prove_inclusion};
use tally_receipt::{Digest, Label, PublicKey, Signature, SigningKey, Timestamp};

pub(crate) const START_MS: u64 = 1_796_000_000_000;

pub(crate) struct Chain {
    pub(crate) genesis: Genesis,
    pub(crate) validators: Vec<Keys>,
    pub(crate) state: State,
    pub(crate) tree: HashTree,
    pub(crate) settled: Vec<Settled>,
    pub(crate) epochs: Vec<EpochEnd>,
}

pub(crate) struct Keys {
    pub(crate) vote: SigningKey,
    pub(crate) checkpoint: SigningKey,
    pub(crate) validator: Validator,
}

pub(crate) fn key(number: u16) -> SigningKey {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&number.to_be_bytes());
    seed[31] = 1;
    SigningKey::from_seed(&seed)
}

pub(crate) fn account(number: u16) -> AccountId {
    AccountId::new(key(number).public_key())
}

pub(crate) fn time(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(START_MS + ms).unwrap()
}

/// Validators from number `first` on, ascending by vote key.
pub(crate) fn validators(first: u16, count: u16) -> Vec<Keys> {
    let mut validators: Vec<Keys> = (first..first + count)
        .map(|number| {
            let (vote, checkpoint) = (key(1000 + number), key(2000 + number));
            let validator = Validator {
                vote_key: vote.public_key(),
                checkpoint_key: checkpoint.public_key(),
                name: Name::new(&format!("v{number}")).unwrap(),
            };
            Keys {
                vote,
                checkpoint,
                validator,
            }
        })
        .collect();
    validators.sort_by_key(|keys| keys.validator.vote_key);
    validators
}

pub(crate) fn set_of(validators: &[Keys]) -> ValidatorSet {
    ValidatorSet::new(
        validators
            .iter()
            .map(|keys| keys.validator.clone())
            .collect(),
    )
    .unwrap()
}

pub(crate) fn terms() -> Terms {
    Terms {
        roles: Roles::INFERENCE.with(Roles::RUN),
        evidence: Some(Digest::of(b"evidence")),
        endpoint: Some(Label::new("https://node.example").unwrap()),
        price: Credits::new(3),
    }
}

impl Chain {
    pub(crate) fn new(count: u16) -> Self {
        Self::with(count, Parameters::default())
    }

    pub(crate) fn with(count: u16, parameters: Parameters) -> Self {
        let validators = validators(0, count);
        let genesis = Genesis {
            name: Name::new("test").unwrap(),
            time: time(0),
            parameters,
            validators: set_of(&validators),
            addresses: vec![vec![]; validators.len()],
            accounts: (1..=3)
                .map(|number| Allocation {
                    account: account(number),
                    credits: Credits::new(1000),
                })
                .collect(),
            faucet: Some(Faucet {
                each: Credits::new(10),
                total: Credits::new(25),
            }),
        }
        .checked()
        .unwrap();
        Self {
            state: genesis.state(),
            genesis,
            validators,
            tree: HashTree::new(),
            settled: Vec::new(),
            epochs: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> ChainId {
        self.genesis.chain()
    }

    pub(crate) fn sign(&self, request: Request, keys: &[&SigningKey]) -> Checked {
        Checked::check(request.sign(self.id(), keys).unwrap(), self.id()).unwrap()
    }

    pub(crate) fn register(&self, node: u16) -> Checked {
        self.sign(
            Request::Register {
                owner: account(node),
                node: NodeId::new(key(node).public_key()),
                terms: terms(),
            },
            &[&key(node)],
        )
    }

    pub(crate) fn settle(&self, node: u16, first: u64, digests: Vec<Digest>) -> Checked {
        self.sign(
            Request::Settle {
                node: NodeId::new(key(node).public_key()),
                first: Sequence::new(first),
                receipts: Settlement::Hashes(digests),
            },
            &[&key(node)],
        )
    }

    pub(crate) fn decide(&self, change: Change) -> Checked {
        let votes: Vec<&SigningKey> = self.validators.iter().map(|keys| &keys.vote).collect();
        let decision = self.state.next_decision();
        self.sign(Request::Decide { decision, change }, &votes)
    }

    /// Makes a block, checks it as another validator would, and goes on from it.
    pub(crate) fn block(&mut self, transactions: Vec<Checked>) -> Block {
        let count = transactions.len();
        let now = self.state.head().time.plus_ms(100);
        let proposed = self.state.propose(now, transactions);
        assert!(proposed.refused.is_empty(), "{:?}", proposed.refused);
        assert_eq!(proposed.transactions.len(), count);
        let block = proposed.block();
        let read = Block::from_bytes(&block.to_bytes()).unwrap();
        assert_eq!(read, block);
        let checked: Vec<Checked> = Checked::check_many(read.transactions, self.id())
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let executed = self.state.execute(&read.header, &checked).unwrap();
        assert_eq!(executed.settled, proposed.executed.settled);
        assert_eq!(executed.state.root(), proposed.executed.state.root());
        for one in &executed.settled {
            self.tree.append(one.entry.leaf_hash());
            self.settled.push(*one);
        }
        self.state = executed.state;
        block
    }

    /// What a quorum votes for a block.
    pub(crate) fn certificate(&self, header: &Header) -> Certificate {
        certificate(
            self.id(),
            &self.validators,
            self.genesis.validators.len(),
            header,
        )
    }

    /// Changes the validators in a block of its own.
    pub(crate) fn change_validators(&mut self, next: Vec<Keys>) {
        let set = set_of(&next);
        let block = self.block(vec![self.decide(Change::Validators(set.clone()))]);
        let certificate = certificate(
            self.id(),
            &self.validators,
            self.validators.len(),
            &block.header,
        );
        self.epochs.push(EpochEnd {
            header: block.header,
            certificate,
            next: set,
        });
        self.validators = next;
    }

    /// The checkpoint of the log as it is, signed by one as the log and cosigned by a quorum.
    pub(crate) fn checkpoint(&self) -> SignedCheckpoint {
        let origin = self.genesis.log_origin();
        let mut signed = Checkpoint {
            origin: origin.clone(),
            size: self.state.log().size(),
            root: self.state.log().root(),
        }
        .unsigned();
        signed.sign(&self.validators[0].checkpoint);
        let quorum = set_of(&self.validators).quorum();
        for keys in &self.validators[..quorum] {
            signed.cosign(
                &cosigner_name(&origin, &keys.validator.name),
                &keys.checkpoint,
                UnixSeconds(START_MS / 1000 + 1),
            );
        }
        signed
    }

    /// The proof of what was settled at `index`, by the head.
    pub(crate) fn prove(&self, index: usize, finality: bool, checkpoint: bool) -> Proof {
        let one = self.settled[index];
        let inclusion = prove_inclusion(&self.tree, one.index, self.tree.size())
            .unwrap()
            .unwrap();
        let header = self.state.head().clone();
        Proof::new(
            one.entry,
            one.index,
            inclusion,
            finality.then(|| Finality {
                certificate: certificate(
                    self.id(),
                    &self.validators,
                    self.validators.len(),
                    &header,
                ),
                header,
                epochs: self.epochs.clone(),
            }),
            checkpoint.then(|| self.checkpoint()),
        )
        .unwrap()
    }
}

/// A certificate of the first validators that make a quorum, in simplex's bytes.
pub(crate) fn certificate(
    chain: ChainId,
    validators: &[Keys],
    count: usize,
    header: &Header,
) -> Certificate {
    let voters: Vec<usize> = (0..set_of(validators).quorum()).collect();
    certificate_of(chain, validators, count, header, &voters)
}

pub(crate) fn certificate_of(
    chain: ChainId,
    validators: &[Keys],
    count: usize,
    header: &Header,
    voters: &[usize],
) -> Certificate {
    let proposal = Proposal {
        round: Round {
            epoch: header.epoch,
            view: header.height.get() + 2,
        },
        parent_view: header.height.get() + 1,
        block: header.digest(),
    };
    let message = Vote::Finalize(proposal).signed_bytes(chain);
    let signatures: Vec<Signature> = voters
        .iter()
        .map(|index| validators[*index].vote.sign(&message))
        .collect();
    Certificate::from_bytes(&simplex_bytes(&proposal, count, voters, &signatures)).unwrap()
}

/// Simplex's `Finalization`, written by hand: views below 128 only.
pub(crate) fn simplex_bytes(
    proposal: &Proposal,
    count: usize,
    voters: &[usize],
    signatures: &[Signature],
) -> Vec<u8> {
    let small = |number: u64| {
        u8::try_from(number)
            .ok()
            .filter(|byte| *byte < 128)
            .unwrap()
    };
    let mut bytes = vec![
        small(proposal.round.epoch.get()),
        small(proposal.round.view),
        small(proposal.parent_view),
    ];
    bytes.extend(proposal.block.as_bytes());
    bytes.extend((count as u64).to_be_bytes());
    let mut bitmap = vec![0u8; count.div_ceil(8)];
    for index in voters {
        bitmap[index / 8] |= 1 << (index % 8);
    }
    bytes.extend(bitmap);
    bytes.push(small(voters.len() as u64));
    for signature in signatures {
        bytes.extend(signature.as_bytes());
    }
    bytes
}

pub(crate) fn digests(count: u64) -> Vec<Digest> {
    (0..count)
        .map(|number| Digest::of(&number.to_be_bytes()))
        .collect()
}

pub(crate) fn public(number: u16) -> PublicKey {
    key(number).public_key()
}
