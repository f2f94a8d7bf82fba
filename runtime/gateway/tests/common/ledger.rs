//! A ledger of four validators in this process, whose keys are known: its blocks, certificates and proofs are real, its network is
//! not there. What the network would say is made up here.

use std::sync::Mutex;

use tally_gateway::*;
use tally_ledger::{
    AccountId, Certificate, Checked, Credits, Evidence, Finality, Genesis, Name, NodeId,
    Parameters, Proof, Proposal, Request, Roles, Round, Sequence, Settlement, State, Terms,
    Validator, ValidatorSet, Vote,
};
use tally_log::{HashTree, prove_inclusion};
use tally_receipt::{Digest, Receipt, Signature, SigningKey, Timestamp};

/// After the receipt that is settled, and before any run of this test.
const START: &str = "2026-11-28T12:00:00.000Z";

fn key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number; 32])
}

pub(crate) struct Ledger {
    genesis_text: String,
    genesis: Genesis,
    proof: Vec<u8>,
    /// What is handed out in its place.
    pub(crate) handed_out: Mutex<Vec<u8>>,
    /// What the receipt says, as far as the text is at hand.
    pub(crate) words: Vec<(String, String)>,
    pub(crate) in_full: bool,
    pub(crate) block: Option<u64>,
    state: State,
    pub(crate) digest: String,
    evidence: Vec<u8>,
}

fn signed(genesis: &Genesis, request: Request, key: &SigningKey) -> Checked {
    let transaction = request
        .sign(genesis.chain(), &[key])
        .expect("within limits");
    Checked::check(transaction, genesis.chain()).expect("it is signed")
}

/// As simplex encodes it: all but the last of four have voted.
fn certificate(genesis: &Genesis, voters: &[SigningKey], state: &State) -> Certificate {
    let header = state.head();
    let proposal = Proposal {
        round: Round {
            epoch: header.epoch,
            view: 9,
        },
        parent_view: 8,
        block: header.digest(),
    };
    let message = Vote::Finalize(proposal).signed_bytes(genesis.chain());
    let mut bytes = vec![0, 9, 8];
    bytes.extend(proposal.block.as_bytes());
    bytes.extend(4u64.to_be_bytes());
    bytes.extend([0b0111, 3]);
    for voter in &voters[..3] {
        bytes.extend(voter.sign(&message).as_bytes());
    }
    Certificate::from_bytes(&bytes).expect("as simplex writes it")
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let mut voters: Vec<SigningKey> = (1..=4).map(key).collect();
        voters.sort_by_key(SigningKey::public_key);
        let validators = voters
            .iter()
            .enumerate()
            .map(|(number, voter)| Validator {
                vote_key: voter.public_key(),
                checkpoint_key: key(100 + u8::try_from(number).expect("few")).public_key(),
                name: Name::new(&format!("v{number}")).expect("a name"),
            })
            .collect();
        let start: Timestamp = START.parse().expect("a moment");
        let genesis = Genesis {
            name: Name::new("harbour").expect("a name"),
            time: start,
            parameters: Parameters::default(),
            validators: ValidatorSet::new(validators).expect("four"),
            addresses: vec![Vec::new(); 4],
            accounts: Vec::new(),
            faucet: None,
        }
        .checked()
        .expect("it is one");

        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../receipts/receipt/vectors/valid.json"
        );
        let vector: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).expect("a vector")).expect("JSON");
        let text = vector["receipt"]["text"].as_str().expect("a receipt");
        let receipt = Receipt::parse(text.as_bytes()).expect("a receipt");
        let document = receipt.envelope().to_json();

        let runner = key(50);
        let node = NodeId::new(runner.public_key());
        let register = Request::Register {
            owner: AccountId::new(runner.public_key()),
            node,
            terms: Terms {
                roles: Roles::INFERENCE,
                evidence: None,
                endpoint: None,
                price: Credits::ZERO,
            },
        };
        let settle = Request::Settle {
            node,
            first: Sequence::new(0),
            receipts: Settlement::Full(vec![document.clone().into_boxed_slice()]),
        };
        let mut state = genesis.state();
        let mut tree = HashTree::new();
        let mut entry = None;
        for (seconds, request) in [(10, register), (20, settle)] {
            let made = state.propose(
                start.plus_ms(seconds * 1000),
                vec![signed(&genesis, request, &runner)],
            );
            assert!(made.refused.is_empty(), "{:?}", made.refused);
            for one in &made.executed.settled {
                tree.append(one.entry.leaf_hash());
                entry = Some(one.entry);
            }
            state = made.executed.state;
        }
        let inclusion = prove_inclusion(&tree, 0, 1)
            .expect("it is there")
            .expect("it is there");
        let finality = Finality {
            header: state.head().clone(),
            certificate: certificate(&genesis, &voters, &state),
            epochs: Vec::new(),
        };
        let proof = Proof::new(
            entry.expect("it was settled"),
            0,
            inclusion,
            Some(finality),
            None,
        )
        .and_then(|proof| proof.with_receipt(&document))
        .expect("they go together")
        .to_bytes();

        let vote = |block: u8| -> (Vote, Signature) {
            let vote = Vote::Notarize(Proposal {
                round: Round {
                    epoch: state.head().epoch,
                    view: 7,
                },
                parent_view: 6,
                block: tally_ledger::BlockDigest::from_bytes([block; 32]),
            });
            let signature = voters[3].sign(&vote.signed_bytes(genesis.chain()));
            (vote, signature)
        };
        let evidence = Evidence::votes(genesis.chain(), voters[3].public_key(), vote(1), vote(2));
        Self {
            genesis_text: genesis.to_toml(),
            genesis,
            handed_out: Mutex::new(proof.clone()),
            proof,
            words: receipt
                .in_words()
                .into_iter()
                .map(|said| (said.about.to_owned(), said.words))
                .collect(),
            in_full: true,
            block: Some(2),
            state,
            digest: Digest::of(&document).to_string(),
            evidence: evidence.to_bytes(),
        }
    }

    pub(crate) fn proof(&self) -> Vec<u8> {
        self.proof.clone()
    }

    fn time(&self) -> UnixMs {
        UnixMs(i64::try_from(self.state.head().time.unix_ms()).expect("of this century"))
    }

    fn node(&self) -> String {
        key(50).public_key().to_string()
    }
}

impl LedgerView for Ledger {
    fn overview(&self) -> Later<'_, Overview> {
        let height = self.state.head().height.get();
        let validators = self
            .genesis
            .validators
            .as_slice()
            .iter()
            .enumerate()
            .map(|(number, validator)| ValidatorRow {
                name: validator.name.to_string(),
                key: validator.vote_key.to_string(),
                answer: match number {
                    3 => Err("the peer is not reached".to_owned()),
                    _ => Ok(ValidatorAnswer {
                        height: if number == 2 { height - 1 } else { height },
                        votes: true,
                        connected: 3,
                        waiting: 0,
                        faults: 1,
                    }),
                },
            })
            .collect();
        let overview = Overview {
            name: self.genesis.name.to_string(),
            chain: self.genesis.chain().to_string(),
            asked: self.time(),
            height,
            time: Some(self.time()),
            epoch: 0,
            receipts: 1,
            tolerated: 1,
            validators,
            blocks: (1..=height)
                .rev()
                .map(|height| BlockRow {
                    height,
                    time: self.time(),
                    transactions: 1,
                    receipts: 1,
                })
                .collect(),
            arrivals: vec![Arrival {
                digest: self.digest.clone(),
                node: self.node(),
                sequence: 0,
                height,
                time: self.time(),
                in_full: true,
            }],
            faults: vec![FaultRow {
                name: "one.evidence".to_owned(),
                sentence: "validator v3 notarized two blocks in view 7".to_owned(),
                convicts: true,
            }],
            own: Some(OwnReceipts {
                waiting: Some(1234),
                refused: 56,
                trouble: Some("no validator answered".to_owned()),
            }),
        };
        Box::pin(std::future::ready(overview))
    }

    fn receipt<'a>(
        &'a self,
        digest: &'a str,
    ) -> Later<'a, Result<Option<SettledReceipt>, LedgerError>> {
        let found = digest.parse::<Digest>().map_or_else(
            |_| Err(LedgerError::NoDigest(digest.to_owned())),
            |_| {
                Ok((digest == self.digest).then(|| SettledReceipt {
                    digest: self.digest.clone(),
                    node: self.node(),
                    sequence: 0,
                    index: 0,
                    log_size: 1,
                    height: self.state.head().height.get(),
                    time: self.time(),
                    in_full: self.in_full,
                    block: self.block,
                    words: self.words.clone(),
                    proof: self.handed_out.lock().unwrap().clone(),
                }))
            },
        );
        Box::pin(std::future::ready(found))
    }

    fn genesis(&self) -> &str {
        &self.genesis_text
    }

    fn evidence(&self, name: &str) -> Option<Vec<u8>> {
        (name == "one.evidence").then(|| self.evidence.clone())
    }
}
