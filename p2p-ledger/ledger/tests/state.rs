//! What transactions do, and what must hold whatever they are.

mod network;

use network::*;
use proptest::prelude::*;
use tally_ledger::*;
use tally_receipt::{Digest, KeyRotation, KeyRotationPredicate, Label, Receipt, SigningKey};

fn transfer(chain: &Chain, from: u16, nonce: u64, to: u16, amount: u64) -> Checked {
    chain.sign(
        Request::Transfer {
            from: account(from),
            nonce: AccountNonce::new(nonce),
            to: account(to),
            amount: Credits::new(amount),
        },
        &[&key(from)],
    )
}

fn reserve(
    chain: &Chain,
    payer: u16,
    nonce: u64,
    payee: u16,
    amount: u64,
    expires: u64,
) -> Checked {
    chain.sign(
        Request::Reserve {
            payer: account(payer),
            nonce: AccountNonce::new(nonce),
            payee: account(payee),
            amount: Credits::new(amount),
            expires: Height::new(expires),
        },
        &[&key(payer)],
    )
}

fn hold(payer: u16, nonce: u64) -> HoldId {
    HoldId::of(account(payer), AccountNonce::new(nonce))
}

fn redeem(chain: &Chain, id: HoldId, payer: u16, payee: u16, total: u64, close: bool) -> Checked {
    let voucher = Voucher::sign(chain.id(), id, Credits::new(total), &key(payer));
    chain.sign(
        Request::Redeem {
            hold: id,
            voucher: (total > 0).then_some(voucher),
            close,
        },
        &[&key(payee)],
    )
}

fn release(chain: &Chain, id: HoldId, payer: u16) -> Checked {
    chain.sign(Request::Release { hold: id }, &[&key(payer)])
}

fn claim(chain: &Chain, number: u16) -> Checked {
    chain.sign(
        Request::Claim {
            account: account(number),
        },
        &[&key(number)],
    )
}

fn update(
    chain: &Chain,
    node: u16,
    revision: u64,
    signers: &[u16],
    to: u16,
    roles: Roles,
) -> Checked {
    let keys: Vec<SigningKey> = signers.iter().map(|number| key(*number)).collect();
    chain.sign(
        Request::Update {
            node: NodeId::new(public(node)),
            revision: Revision::new(revision),
            key: public(to),
            terms: Terms { roles, ..terms() },
        },
        &keys.iter().collect::<Vec<_>>(),
    )
}

fn balance(chain: &Chain, number: u16) -> u64 {
    chain.state.account(account(number)).balance.get()
}

fn refused(chain: &Chain, transaction: &Checked) -> TransactionError {
    chain.state.would_accept(transaction).unwrap_err()
}

#[test]
fn a_transfer_moves_credits_once() {
    let mut chain = Chain::new(1);
    let sent = transfer(&chain, 1, 0, 9, 400);
    chain.block(vec![sent.clone()]);
    assert_eq!((balance(&chain, 1), balance(&chain, 9)), (600, 400));
    let again = refused(&chain, &sent);
    assert!(matches!(again, TransactionError::Nonce { .. }) && !again.may_become_good());
    let early = refused(&chain, &transfer(&chain, 1, 2, 9, 1));
    assert!(early.may_become_good());
    assert!(matches!(
        refused(&chain, &transfer(&chain, 1, 1, 9, 601)),
        TransactionError::NotEnough { .. }
    ));
    assert_eq!(
        refused(&chain, &transfer(&chain, 1, 1, 9, 0)),
        TransactionError::Nothing
    );
    assert_eq!(
        refused(&chain, &transfer(&chain, 1, 1, 1, 1)),
        TransactionError::ToItself
    );
}

#[test]
fn a_transaction_of_another_chain_or_with_another_signature_is_refused() {
    let chain = Chain::new(1);
    let sent = transfer(&chain, 1, 0, 9, 1);
    let other = ChainId::from_bytes([1; 32]);
    assert_eq!(
        Checked::check(sent.transaction().clone(), other),
        Err(CheckError::BadSignature(public(1)))
    );
    let request = sent.transaction().request().clone();
    let by_other = chain.sign(request.clone(), &[&key(2)]);
    assert_eq!(
        refused(&chain, &by_other),
        TransactionError::NotSigned(public(1))
    );
    let by_both = chain.sign(request, &[&key(1), &key(2)]);
    assert_eq!(
        refused(&chain, &by_both),
        TransactionError::NoSay(public(2))
    );
    let foreign = Checked::check(
        Request::Claim {
            account: account(1),
        }
        .sign(other, &[&key(1)])
        .unwrap(),
        other,
    )
    .unwrap();
    assert_eq!(
        refused(&chain, &foreign),
        TransactionError::OtherChain(other)
    );
}

#[test]
fn a_payee_redeems_what_vouchers_grant_and_the_payer_gets_the_rest() {
    let mut chain = Chain::new(1);
    let id = hold(1, 0);
    chain.block(vec![reserve(&chain, 1, 0, 2, 500, 4)]);
    assert_eq!(balance(&chain, 1), 500);
    let first = redeem(&chain, id, 1, 2, 100, false);
    chain.block(vec![first.clone(), redeem(&chain, id, 1, 2, 250, false)]);
    assert_eq!(balance(&chain, 2), 1250);
    // Once more, and an older voucher: nothing is paid and nothing is taken back.
    assert!(refused(&chain, &first).is_done_already());
    assert_eq!(
        refused(&chain, &redeem(&chain, id, 1, 2, 501, false)),
        TransactionError::Voucher(WorthlessVoucher::BeyondHold {
            total: Credits::new(501),
            amount: Credits::new(500)
        })
    );
    // A voucher of somebody else, and a payee of somebody else.
    assert_eq!(
        refused(&chain, &redeem(&chain, id, 3, 2, 300, false)),
        TransactionError::Voucher(WorthlessVoucher::BadSignature)
    );
    assert_eq!(
        refused(&chain, &redeem(&chain, id, 1, 3, 300, false)),
        TransactionError::NotSigned(public(2))
    );
    // The payer waits until it expires, at height 4.
    assert!(matches!(
        refused(&chain, &release(&chain, id, 1)),
        TransactionError::NotExpired { .. }
    ));
    chain.block(vec![]);
    assert_eq!(
        refused(&chain, &release(&chain, id, 2)),
        TransactionError::NotSigned(public(1))
    );
    chain.block(vec![release(&chain, id, 1)]);
    assert_eq!((balance(&chain, 1), balance(&chain, 2)), (750, 1250));
    assert_eq!(
        refused(&chain, &redeem(&chain, id, 1, 2, 300, false)),
        TransactionError::NoHold(id)
    );

    // Closing pays and gives back at once.
    let id = hold(1, 1);
    chain.block(vec![reserve(&chain, 1, 1, 2, 100, 99)]);
    chain.block(vec![redeem(&chain, id, 1, 2, 30, true)]);
    assert_eq!((balance(&chain, 1), balance(&chain, 2)), (720, 1280));
    assert!(matches!(
        refused(&chain, &reserve(&chain, 1, 2, 2, 1, 5)),
        TransactionError::Expired { .. }
    ));
}

#[test]
fn the_faucet_gives_once_to_everybody_until_it_is_empty() {
    let mut chain = Chain::new(1);
    chain.block(vec![claim(&chain, 50), claim(&chain, 51)]);
    assert_eq!((balance(&chain, 50), balance(&chain, 51)), (10, 10));
    assert_eq!(
        refused(&chain, &claim(&chain, 50)),
        TransactionError::Claimed
    );
    assert_eq!(
        refused(&chain, &claim(&chain, 52)),
        TransactionError::FaucetEmpty
    );
    let mut genesis = chain.genesis.clone();
    genesis.faucet = None;
    let without = Chain {
        state: genesis.state(),
        genesis,
        ..Chain::new(1)
    };
    assert_eq!(
        refused(&without, &claim(&without, 50)),
        TransactionError::NoFaucet
    );
}

#[test]
fn receipts_are_logged_in_their_nodes_order_without_gaps_each_once() {
    let mut chain = Chain::new(1);
    let digests = digests(10);
    let unknown = refused(&chain, &chain.settle(1, 0, digests.clone()));
    assert!(matches!(unknown, TransactionError::NoNode(_)) && unknown.may_become_good());
    chain.block(vec![chain.register(1)]);
    let first = chain.settle(1, 0, digests[..4].to_vec());
    let second = chain.settle(1, 4, digests[4..].to_vec());
    // The second alone is early: it may come good.
    assert!(refused(&chain, &second).may_become_good());
    chain.block(vec![first.clone(), second]);
    let logged: Vec<Digest> = chain.settled.iter().map(|one| one.entry.receipt).collect();
    assert_eq!(logged, digests);
    assert!(chain.settled.iter().zip(0..).all(|(one, place)| {
        one.index == place && one.entry.sequence.get() == place && !one.entry.in_full
    }));
    // Sent again, it is done already. Half of it again is refused, so that nothing is logged twice.
    assert!(refused(&chain, &first).is_done_already());
    let overlapping = refused(&chain, &chain.settle(1, 8, digests[..4].to_vec()));
    assert!(!overlapping.may_become_good() && !overlapping.is_done_already());
    // Somebody else's signature.
    let stolen = chain.sign(
        Request::Settle {
            node: NodeId::new(public(1)),
            first: Sequence::new(10),
            receipts: Settlement::Hashes(digests),
        },
        &[&key(2)],
    );
    assert_eq!(
        refused(&chain, &stolen),
        TransactionError::NotSigned(public(1))
    );
}

#[test]
fn a_receipt_in_full_is_checked_by_everybody() {
    let chain = Chain::new(1);
    let rotation = KeyRotation {
        from: public(1),
        to: public(2),
        at: time(0),
        reason: Label::new("test").unwrap(),
    };
    let receipt = Receipt::sign(
        KeyRotationPredicate::new(rotation).unwrap(),
        &[&key(1), &key(2)],
    )
    .unwrap()
    .to_json();
    let settle = |receipts: Vec<Box<[u8]>>| {
        let request = Request::Settle {
            node: NodeId::new(public(1)),
            first: Sequence::ZERO,
            receipts: Settlement::Full(receipts),
        };
        Checked::check(request.sign(chain.id(), &[&key(1)]).unwrap(), chain.id())
    };
    let good: Box<[u8]> = receipt.clone().into();
    assert!(settle(vec![good.clone()]).is_ok());
    let text = String::from_utf8(receipt).unwrap();
    let place = text.find("\"sig\":\"").unwrap() + 10;
    let mut forged = text.into_bytes();
    forged[place] = if forged[place] == b'A' { b'B' } else { b'A' };
    assert_eq!(
        settle(vec![good, forged.into()]),
        Err(CheckError::BadReceipt { index: 1 })
    );
    assert!(matches!(
        settle(vec![b"{}"[..].into()]),
        Err(CheckError::NoReceipt { index: 0, .. })
    ));
    let mut chain = Chain::new(1);
    chain.block(vec![chain.register(1)]);
    let settled = settle(vec![
        Receipt::sign(
            KeyRotationPredicate::new(KeyRotation {
                from: public(1),
                to: public(2),
                at: time(0),
                reason: Label::new("test").unwrap(),
            })
            .unwrap(),
            &[&key(1), &key(2)],
        )
        .unwrap()
        .to_json()
        .into(),
    ])
    .unwrap();
    chain.block(vec![settled]);
    assert!(chain.settled[0].entry.in_full);
}

#[test]
fn a_node_rotates_its_key_and_keeps_its_name_and_history() {
    let mut chain = Chain::new(1);
    chain.block(vec![chain.register(1)]);
    let roles = Roles::DATA;
    assert_eq!(
        refused(&chain, &chain.register(1)),
        TransactionError::KeyTaken(public(1))
    );
    // Both keys sign.
    assert_eq!(
        refused(&chain, &update(&chain, 1, 1, &[1], 11, roles)),
        TransactionError::NotSigned(public(11))
    );
    assert!(refused(&chain, &update(&chain, 1, 2, &[1], 1, roles)).may_become_good());
    chain.block(vec![update(&chain, 1, 1, &[1, 11], 11, roles)]);
    let id = NodeId::new(public(1));
    let node = chain.state.node(id).unwrap();
    assert_eq!(
        (node.key, node.terms.roles, node.revision.get()),
        (public(11), roles, 1)
    );
    let (old, new) = (
        chain.state.node_key(public(1)).unwrap(),
        chain.state.node_key(public(11)).unwrap(),
    );
    assert_eq!((old.from.get(), old.until.map(Height::get)), (1, Some(2)));
    assert_eq!((new.node, new.from.get(), new.until), (id, 2, None));
    // The old key settles nothing any more, and is nobody else's.
    assert_eq!(
        refused(&chain, &chain.settle(1, 0, digests(1))),
        TransactionError::NotSigned(public(11))
    );
    assert_eq!(
        refused(&chain, &chain.register(11)),
        TransactionError::KeyTaken(public(11))
    );
    // Retired, it settles nothing.
    chain.block(vec![update(&chain, 1, 2, &[11], 11, Roles::NONE)]);
    let settle = chain.sign(
        Request::Settle {
            node: id,
            first: Sequence::ZERO,
            receipts: Settlement::Hashes(digests(1)),
        },
        &[&key(11)],
    );
    assert_eq!(refused(&chain, &settle), TransactionError::Retired);
}

#[test]
fn validators_decide_by_quorum_who_they_are_and_who_may_register() {
    let mut chain = Chain::with(
        4,
        Parameters {
            registration: Registration::ByValidators,
            ..Parameters::default()
        },
    );
    assert!(matches!(
        refused(&chain, &chain.register(1)),
        TransactionError::NoQuorum {
            found: 0,
            needed: 3
        }
    ));
    let request = chain.register(1).transaction().request().clone();
    let keys = validators(0, 4);
    let votes: Vec<&SigningKey> = keys[..3].iter().map(|keys| &keys.vote).collect();
    let node = key(1);
    let by_quorum = chain.sign(request.clone(), &[&votes[..], &[&node]].concat());
    let by_few = chain.sign(request, &[&votes[..2], &[&node]].concat());
    assert!(matches!(
        refused(&chain, &by_few),
        TransactionError::NoQuorum {
            found: 2,
            needed: 3
        }
    ));
    chain.block(vec![by_quorum]);

    let next = Change::Validators(set_of(&validators(2, 4)));
    let first = Request::Decide {
        decision: Decision::ZERO,
        change: next.clone(),
    };
    assert!(matches!(
        refused(&chain, &chain.sign(first.clone(), &votes[..2])),
        TransactionError::NoQuorum { .. }
    ));
    let stranger = key(7);
    assert_eq!(
        refused(
            &chain,
            &chain.sign(first.clone(), &[votes[0], votes[1], &stranger])
        ),
        TransactionError::NoSay(public(7))
    );
    let late = Request::Decide {
        decision: Decision::new(1),
        change: next.clone(),
    };
    assert!(refused(&chain, &chain.sign(late, &votes)).may_become_good());

    // Two changes in one block: the second waits, and is then refused, since other validators must decide it.
    let change = chain.sign(first, &votes);
    let parameters = Change::Parameters(Parameters::default());
    let second = chain.sign(
        Request::Decide {
            decision: Decision::new(1),
            change: parameters,
        },
        &votes,
    );
    let proposed = chain
        .state
        .propose(time(1000), vec![change.clone(), second.clone()]);
    assert_eq!(proposed.transactions, vec![change]);
    assert_eq!(proposed.refused[0].reason, TransactionError::SecondChange);
    let (before, header) = (chain.state.next_validators().digest(), proposed.header);
    assert_eq!(
        (header.epoch.get(), header.next_validators == before),
        (0, false)
    );
    chain.change_validators(validators(2, 4));
    let block = chain.block(vec![]);
    assert_eq!(
        (block.header.epoch.get(), chain.state.next_epoch().get()),
        (1, 1)
    );
    assert!(chain.state.would_accept(&second).is_err());
    let same = chain.decide(Change::Validators(set_of(&chain.validators)));
    assert_eq!(refused(&chain, &same), TransactionError::NoChange);
}

#[test]
fn a_block_that_says_anything_else_than_what_follows_is_refused() {
    let mut chain = Chain::new(1);
    chain.block(vec![chain.register(1)]);
    let transactions = vec![chain.settle(1, 0, digests(3)), transfer(&chain, 1, 0, 2, 5)];
    let good = chain.state.propose(time(1000), transactions.clone());
    let header = good.header;
    assert!(chain.state.execute(&header, &transactions).is_ok());
    let digest = Digest::of(b"other");
    let altered = [
        Header {
            height: Height::new(9),
            ..header.clone()
        },
        Header {
            epoch: Epoch::new(1),
            ..header.clone()
        },
        Header {
            parent: BlockDigest::new(digest),
            ..header.clone()
        },
        Header {
            body: digest,
            ..header.clone()
        },
        Header {
            log_size: 2,
            ..header.clone()
        },
        Header {
            log_root: tally_log::empty_root(),
            ..header.clone()
        },
        Header {
            state_root: StateRoot::new(digest),
            ..header.clone()
        },
        Header {
            time: chain.state.head().time,
            ..header.clone()
        },
        Header {
            next_validators: digest,
            ..header.clone()
        },
    ];
    for altered in altered {
        assert!(
            chain.state.execute(&altered, &transactions).is_err(),
            "{altered:?}"
        );
    }
    // The transactions in another order, one less, one twice.
    let [settle, sent] = [transactions[0].clone(), transactions[1].clone()];
    for other in [
        vec![sent.clone(), settle.clone()],
        vec![settle.clone()],
        vec![settle.clone(), sent.clone(), sent],
        vec![],
    ] {
        assert!(chain.state.execute(&header, &other).is_err());
    }
}

#[test]
fn a_block_takes_what_fits_and_leaves_the_rest() {
    let parameters = Parameters {
        block_receipts: 4096,
        ..Parameters::default()
    };
    let mut chain = Chain::with(1, parameters);
    chain.block(vec![chain.register(1)]);
    let offered = vec![
        chain.settle(1, 0, digests(4000)),
        chain.settle(1, 4000, digests(96)),
        chain.settle(1, 4096, digests(1)),
    ];
    let proposed = chain.state.propose(time(1000), offered);
    assert_eq!((proposed.transactions.len(), proposed.left.len()), (2, 1));
    assert_eq!(proposed.header.log_size, 4096);

    let mut chain = Chain::with(
        1,
        Parameters {
            block_bytes: (1 << 20) + 64,
            ..Parameters::default()
        },
    );
    let numbers = 300..310u16;
    chain.block(
        numbers
            .clone()
            .map(|number| chain.register(number))
            .collect(),
    );
    let offered: Vec<Checked> = numbers
        .map(|number| chain.settle(number, 0, digests(4000)))
        .collect();
    let proposed = chain.state.propose(time(1000), offered);
    assert_eq!(
        (proposed.transactions.len(), proposed.left.len()),
        (8 - 3, 10 - 5)
    );
}

#[test]
fn a_state_is_shown_and_restored_from_bytes() {
    let mut chain = Chain::new(4);
    chain.block(vec![
        chain.register(1),
        claim(&chain, 60),
        reserve(&chain, 1, 0, 2, 500, 9),
    ]);
    chain.block(vec![
        chain.settle(1, 0, digests(33)),
        update(&chain, 1, 1, &[1, 11], 11, Roles::DATA),
    ]);
    let bytes = chain.state.to_bytes();
    let restored = State::from_bytes(chain.id(), &bytes).unwrap();
    assert_eq!(restored.to_bytes(), bytes);
    for least in [1, 300, 100_000] {
        let pieces: Vec<Vec<u8>> = restored.pieces(least).collect();
        let (_, before) = pieces.split_last().unwrap();
        assert!(before.iter().all(|piece| piece.len() >= least));
        assert_eq!(pieces.concat(), bytes);
    }
    assert_eq!(restored.head(), chain.state.head());
    // It goes on as the other does.
    let next = chain.sign(
        Request::Settle {
            node: NodeId::new(public(1)),
            first: Sequence::new(33),
            receipts: Settlement::Hashes(digests(2)),
        },
        &[&key(11)],
    );
    let block = chain.block(vec![next.clone()]);
    assert_eq!(
        restored
            .execute(&block.header, &[next])
            .unwrap()
            .state
            .to_bytes(),
        chain.state.to_bytes()
    );

    assert!(matches!(
        State::from_bytes(ChainId::from_bytes([0; 32]), &bytes),
        Err(SnapshotError::OtherChain(_))
    ));
    for place in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[place] ^= 1 << (place % 8);
        match State::from_bytes(chain.id(), &altered) {
            Err(_) => {}
            // Fields of the header that nothing else here depends on: the certificate covers them.
            Ok(state) => assert_ne!(state.head_digest(), restored.head_digest(), "byte {place}"),
        }
    }
    for end in 0..bytes.len() {
        assert!(State::from_bytes(chain.id(), &bytes[..end]).is_err());
    }

    let root = chain.state.root();
    let subject = Subject::Account(account(60));
    let proof = chain.state.prove(subject);
    let record = chain.state.record(subject).unwrap();
    assert!(subject.shown(root, Some(&record), &proof));
    assert!(!subject.shown(root, None, &proof));
    let mut other = record.clone();
    other[40] ^= 1;
    assert!(!subject.shown(root, Some(&other), &proof));
    let nobody = Subject::Account(account(61));
    assert!(nobody.shown(root, None, &chain.state.prove(nobody)));
}

#[test]
fn a_header_shows_the_parameters_and_the_number_of_the_next_decision() {
    let mut chain = Chain::new(4);
    let parameters = Parameters {
        block_bytes: 4 << 20,
        ..Parameters::default()
    };
    let decided = chain.decide(Change::Parameters(parameters));
    chain.block(vec![decided]);
    let root = chain.state.root();
    let [(record, proof), (number, of_number)] =
        [Subject::Parameters, Subject::Decisions].map(|subject| {
            (
                chain.state.record(subject).unwrap(),
                chain.state.prove(subject),
            )
        });
    let shown = Decided::shown(root, (&record, &proof), (&number, &of_number));
    let next = Decision::new(1);
    assert_eq!(shown, Some(Decided { parameters, next }));
    // Neither stands for the other, and nothing else for one of them.
    assert!(Decided::shown(root, (&number, &of_number), (&record, &proof)).is_none());
    let mut other = number.clone();
    other[8] += 1;
    assert!(Decided::shown(root, (&record, &proof), (&other, &of_number)).is_none());
}

/// Anything that can be asked, by one of a few keys about a few things, sensible or not.
fn any_request() -> impl Strategy<Value = (u8, u16, u16, u64, u64)> {
    (0u8..9, 1u16..5, 1u16..5, 0u64..6, 0u64..400)
}

fn make(chain: &Chain, (kind, one, other, number, amount): (u8, u16, u16, u64, u64)) -> Checked {
    match kind {
        0 => transfer(chain, one, number, other, amount),
        1 => reserve(chain, one, number, other, amount, 3 + number),
        2 => redeem(
            chain,
            hold(one, number),
            one,
            other,
            amount,
            amount % 3 == 0,
        ),
        3 => release(chain, hold(one, number), one),
        4 => claim(chain, one + 40),
        5 => chain.register(one),
        6 if one == other => update(chain, one, number, &[one], one, Roles::RUN),
        6 => update(chain, one, number, &[one, other], other, Roles::RUN),
        7 => chain.settle(one, number, digests(1 + amount % 4)),
        _ => chain.decide(Change::Parameters(Parameters {
            block_receipts: 5000 + one as u32,
            ..Parameters::default()
        })),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    /// Whatever is asked: credits are conserved, a replay gives the same states, what was done is not done twice, and
    /// what is refused changes nothing.
    #[test]
    fn whatever_is_asked_credits_are_conserved_and_a_replay_gives_the_same_roots(
        blocks in prop::collection::vec(prop::collection::vec(any_request(), 0..12), 1..5),
    ) {
        let mut chain = Chain::new(1);
        let supply = chain.state.supply();
        let mut history: Vec<(Block, Vec<Checked>)> = Vec::new();
        for requests in blocks {
            let offered: Vec<Checked> = requests.into_iter().map(|request| make(&chain, request)).collect();
            let before = chain.state.to_bytes();
            let proposed = chain.state.propose(chain.state.head().time, offered);
            prop_assert_eq!(&chain.state.to_bytes(), &before, "proposing changes nothing");
            prop_assert_eq!(proposed.executed.state.supply(), supply);
            // Each refused one is refused for the same reason where it stood, whoever looks.
            for refusal in &proposed.refused {
                if proposed.transactions.is_empty() {
                    prop_assert_eq!(chain.state.would_accept(&refusal.transaction), Err(refusal.reason.clone()));
                }
            }
            let block = chain.block(proposed.transactions.clone());
            // Nothing that was done can be done once more.
            for done in &proposed.transactions {
                if !matches!(done.transaction().request(), Request::Redeem { .. } | Request::Reserve { .. }) {
                    prop_assert!(chain.state.would_accept(done).is_err());
                }
            }
            history.push((block, proposed.transactions));
        }
        let mut replayed = chain.genesis.state();
        for (block, transactions) in &history {
            replayed = replayed.execute(&block.header, transactions).unwrap().state;
            let restored = State::from_bytes(chain.id(), &replayed.to_bytes()).unwrap();
            prop_assert_eq!(restored.root(), replayed.root());
        }
        prop_assert_eq!(replayed.to_bytes(), chain.state.to_bytes());
        // The log is what its nodes settled, each in order without gaps.
        for (id, node) in chain.state.nodes() {
            let of_node: Vec<u64> = chain.settled.iter()
                .filter(|one| one.entry.node == id)
                .map(|one| one.entry.sequence.get())
                .collect();
            prop_assert_eq!(of_node, (0..node.settled.get()).collect::<Vec<_>>());
        }
    }

    /// A block whose transactions stand in another order is the same block for nobody: every validator refuses it, for
    /// one reason. And what does not depend on each other comes to one state of accounts in any order.
    #[test]
    fn any_other_order_is_refused_and_independent_transactions_commute(seed: u64) {
        let mut chain = Chain::new(1);
        chain.block(vec![chain.register(1), chain.register(2)]);
        let independent = vec![
            transfer(&chain, 1, 0, 30, 7),
            transfer(&chain, 2, 0, 31, 8),
            reserve(&chain, 3, 0, 32, 9, 50),
            claim(&chain, 44),
            chain.settle(1, 0, digests(2)),
            chain.settle(2, 0, digests(3)),
        ];
        let mut shuffled = independent.clone();
        let mut random = seed;
        for place in (1..shuffled.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(place, (random >> 33) as usize % (place + 1));
        }
        let straight = chain.state.propose(time(1000), independent.clone());
        let other = chain.state.propose(time(1000), shuffled.clone());
        prop_assert_eq!(straight.header.state_root, other.header.state_root);
        prop_assert_eq!(straight.header.log_size, other.header.log_size);
        let refused = chain.state.execute(&straight.header, &shuffled).err();
        let again = State::from_bytes(chain.id(), &chain.state.to_bytes())
            .unwrap()
            .execute(&straight.header, &shuffled)
            .err();
        prop_assert_eq!(&refused, &again);
        prop_assert_eq!(refused.is_some(), shuffled != independent);
    }
}
