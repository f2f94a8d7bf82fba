//! Who has cosigned which tree of the log. Pure: what is said about it is `wire`'s, when is the actor's.
//!
//! A cosignature says that nothing larger was seen when it was made (c2sp.org/tlog-cosignature), so a validator cosigns a
//! tree only while it is its last. Validators come to the same trees without asking each other, by a rule about blocks
//! (`actor`), and tell each other their cosignatures.
//!
//! A cosignature on another root than this node has for that size counts for nothing, and is kept: together with one of the same
//! validator on the right root, or on a third one, it is evidence, whichever comes first.
//!
//! Bounds: [`OPEN`] trees that a quorum has yet to cosign, as many before the last that it has, and as many false ones, and as many
//! that are not known yet, of each validator; cosignatures of validators only, whose signatures hold, one of each on a tree; one
//! piece of evidence against each. So nobody takes another one's room.

use std::collections::{BTreeMap, HashSet};

use tally_ledger::{Evidence, Genesis, Validator, ValidatorSet, cosigner_name};
use tally_log::{
    Checkpoint, Hash, KeyName, KeyType, Signed, SignedCheckpoint, UnixSeconds, VerifierKey,
};
use tally_receipt::SigningKey;

/// Trees that are kept while their cosignatures come in, known or not; and those that are kept for comparison.
const OPEN: usize = 16;

pub(crate) struct Checkpoints {
    origin: KeyName,
    key: Option<SigningKey>,
    /// No tree of this size or a smaller one is cosigned: this node has cosigned it since it was started, or a larger one at any time.
    signed: u64,
    /// Trees that are known here, by size, with good cosignatures, and a good signature of the log if one came.
    open: BTreeMap<u64, SignedCheckpoint>,
    /// Good cosignatures on trees that are not known yet, by who made them and by size.
    early: BTreeMap<KeyName, BTreeMap<u64, SignedCheckpoint>>,
    /// The largest tree that a quorum has cosigned, with a signature of the log: this node's own if it has a say, else that of a
    /// validator, as it came.
    cosigned: Option<SignedCheckpoint>,
    /// The trees before that, by size, with good cosignatures.
    past: BTreeMap<u64, SignedCheckpoint>,
    /// Good cosignatures on roots that are none of this log, by who made them: one for each size.
    false_roots: BTreeMap<KeyName, BTreeMap<u64, SignedCheckpoint>>,
    /// Against whom there is evidence.
    convicted: HashSet<KeyName>,
    /// What of it nobody has taken yet.
    evidence: Vec<Evidence>,
}

/// What follows from somebody's cosignatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Nothing new.
    Nothing,
    /// A quorum has cosigned a tree, or one more has.
    Cosigned,
    /// Whoever said it does not know what a quorum has cosigned, and is to be told.
    Behind(SignedCheckpoint),
}

impl Checkpoints {
    pub(crate) fn new(genesis: &Genesis, key: Option<SigningKey>) -> Self {
        Self {
            origin: genesis.log_origin(),
            key,
            signed: 0,
            open: BTreeMap::new(),
            early: BTreeMap::new(),
            cosigned: None,
            past: BTreeMap::new(),
            false_roots: BTreeMap::new(),
            convicted: HashSet::new(),
            evidence: Vec::new(),
        }
    }

    /// Takes in what this node has put down before it was started: if it has cosigned that, it cosigns nothing smaller from then on,
    /// however little of the chain it has now.
    pub(crate) fn has_signed(&mut self, before: &SignedCheckpoint) {
        let Some(key) = self.key.as_ref().map(SigningKey::public_key) else {
            return;
        };
        let checkpoint = before.checkpoint();
        // By whichever name: that is for those to say who validated then.
        let is_own = before.signatures().iter().any(|one| {
            let own = VerifierKey {
                name: one.name().clone(),
                key_type: KeyType::Cosignature,
                key,
            };
            matches!(before.signed_by(&own), Signed::At(_))
        });
        if is_own && checkpoint.origin == self.origin {
            // The same tree is cosigned again: so whoever was started learns what others have.
            self.signed = self.signed.max(checkpoint.size.saturating_sub(1));
        }
    }

    /// Evidence against validators that has come since it was taken the last time.
    pub(crate) fn evidence(&mut self) -> Vec<Evidence> {
        std::mem::take(&mut self.evidence)
    }

    /// The largest tree that a quorum has cosigned.
    pub(crate) fn cosigned(&self) -> Option<&SignedCheckpoint> {
        self.cosigned.as_ref()
    }

    /// Whether this node has a say among these validators, and has cosigned no tree of this size or a larger one.
    pub(crate) fn would_sign(&self, size: u64, validators: &ValidatorSet) -> bool {
        size > self.signed && self.me(validators).is_some()
    }

    fn me<'a>(&self, validators: &'a ValidatorSet) -> Option<&'a Validator> {
        let key = self.key.as_ref()?.public_key();
        let mut all = validators.as_slice().iter();
        all.find(|one| one.checkpoint_key == key)
    }

    /// Cosigns the tree that is this node's last, and says what the others are to be told; nothing where this node has no
    /// say, or has cosigned it before.
    pub(crate) fn sign(
        &mut self,
        size: u64,
        root: Hash,
        at: UnixSeconds,
        validators: &ValidatorSet,
    ) -> Option<SignedCheckpoint> {
        let me = self.me(validators).filter(|_| size > self.signed)?;
        let key = self.key.as_ref()?;
        self.signed = size;
        let checkpoint = Checkpoint {
            origin: self.origin.clone(),
            size,
            root,
        };
        let mut signed = checkpoint.unsigned();
        signed.cosign(&cosigner_name(&self.origin, &me.name), key, at);
        self.take(&signed, validators, |_| Some(root));
        let early: Vec<SignedCheckpoint> = self
            .early
            .values_mut()
            .filter_map(|theirs| theirs.remove(&size))
            .collect();
        for one in early {
            self.take(&one, validators, |_| Some(root));
        }
        self.forget_early(size);
        Some(signed)
    }

    /// Forgets what was said too early about trees that are smaller than this one.
    fn forget_early(&mut self, size: u64) {
        for theirs in self.early.values_mut() {
            *theirs = theirs.split_off(&size);
        }
        self.early.retain(|_, theirs| !theirs.is_empty());
    }

    /// Takes what somebody says about a tree. `root_of` gives the roots of trees that are known here.
    pub(crate) fn take(
        &mut self,
        said: &SignedCheckpoint,
        validators: &ValidatorSet,
        root_of: impl Fn(u64) -> Option<Hash>,
    ) -> Taken {
        let checkpoint = said.checkpoint();
        let size = checkpoint.size;
        if checkpoint.origin != self.origin {
            return Taken::Nothing;
        }
        let root = root_of(size);
        if let Some(root) = root {
            self.compare(said, root, validators);
        }
        // Whoever knows of a quorum says so and is not told of another, or two would tell each other for ever.
        let behind = |cosigned: &Option<SignedCheckpoint>| match cosigned {
            Some(cosigned) if said.signatures().len() < validators.quorum() => {
                Taken::Behind(cosigned.clone())
            }
            _ => Taken::Nothing,
        };
        if let Some(cosigned) = &self.cosigned
            && size < cosigned.checkpoint().size
        {
            return behind(&self.cosigned);
        }
        let Some(root) = root else {
            self.keep_early(said, validators);
            return Taken::Nothing;
        };
        if checkpoint.root != root {
            return Taken::Nothing;
        }
        let open = match &self.cosigned {
            Some(cosigned) if cosigned.checkpoint().size == size => cosigned.clone(),
            _ => self
                .open
                .remove(&size)
                .unwrap_or_else(|| checkpoint.clone().unsigned()),
        };
        let before = self.cosigners(&open, validators);
        let was_signed = self.is_log_signed(&open, validators);
        let has_say = self.me(validators).is_some();
        let all = validators.as_slice().iter();
        let holds = |one: &VerifierKey| matches!(said.signed_by(one), Signed::At(_) | Signed::Yes);
        let cosigners = all.clone().map(|one| self.cosigner(one));
        let mut good: Vec<VerifierKey> = cosigners.filter(holds).collect();
        if !has_say && !was_signed {
            good.extend(all.map(|one| self.log_key(one)).find(holds));
        }
        let mut news = said.clone();
        news.retain(|signature| good.iter().any(|one| signature.is_by(one)));
        let mut merged = open;
        merged.merge(&news);
        let after = self.cosigners(&merged, validators);
        let is_cosigned = after >= validators.quorum();
        if is_cosigned
            && has_say
            && !was_signed
            && let Some(key) = &self.key
        {
            merged.sign(key);
        }
        // Without a signature of the log no policy is satisfied, however many have cosigned it.
        let is_signed = self.is_log_signed(&merged, validators);
        if !is_cosigned || !is_signed {
            self.open.insert(size, merged);
            while self.open.len() > OPEN {
                self.open.pop_first();
            }
            return Taken::Nothing;
        }
        if after == before && was_signed {
            // Said before: whoever repeats it was started again.
            return behind(&self.cosigned);
        }
        let later = self.open.split_off(&(size + 1));
        self.past
            .append(&mut std::mem::replace(&mut self.open, later));
        self.forget_early(size);
        if let Some(before) = self.cosigned.replace(merged)
            && before.checkpoint().size < size
        {
            self.past.insert(before.checkpoint().size, before);
        }
        while self.past.len() > OPEN {
            self.past.pop_first();
        }
        Taken::Cosigned
    }

    /// Keeps the cosignatures on a tree that is not known yet, each with those of whoever made it.
    fn keep_early(&mut self, said: &SignedCheckpoint, validators: &ValidatorSet) {
        let checkpoint = said.checkpoint();
        for validator in validators.as_slice() {
            let verifier = self.cosigner(validator);
            let signs = |one: &SignedCheckpoint| matches!(one.signed_by(&verifier), Signed::At(_));
            if !signs(said) {
                continue;
            }
            let mut own = said.clone();
            own.retain(|one| one.is_by(&verifier));
            let theirs = self.early.entry(verifier.name.clone()).or_default();
            let other = theirs
                .get(&checkpoint.size)
                .filter(|other| other.checkpoint().root != checkpoint.root);
            // Two roots of one size are two of them whatever the log will have.
            if let Some(other) = other
                && signs(other)
            {
                if self.convicted.insert(verifier.name.clone()) {
                    let other = other.clone();
                    self.evidence
                        .push(Evidence::checkpoints(verifier, own, other));
                }
                continue;
            }
            theirs.insert(checkpoint.size, own);
            // A size that never comes is a large one.
            while theirs.len() > OPEN {
                theirs.pop_last();
            }
        }
        // Those who validate no more go when others come.
        if self.early.len() > validators.len() {
            let names: HashSet<KeyName> = validators
                .as_slice()
                .iter()
                .map(|validator| cosigner_name(&self.origin, &validator.name))
                .collect();
            self.early.retain(|name, _| names.contains(name));
        }
    }

    /// Looks whether somebody has cosigned two trees of one size. `root` is the one that this log has.
    fn compare(&mut self, said: &SignedCheckpoint, root: Hash, validators: &ValidatorSet) {
        let checkpoint = said.checkpoint();
        let (size, is_right) = (checkpoint.size, checkpoint.root == root);
        for validator in validators.as_slice() {
            let verifier = self.cosigner(validator);
            let lied = self
                .false_roots
                .get(&verifier.name)
                .and_then(|roots| roots.get(&size))
                .filter(|lied| lied.checkpoint().root != checkpoint.root);
            // The usual case costs no signature.
            if self.convicted.contains(&verifier.name)
                || (is_right && lied.is_none())
                || !matches!(said.signed_by(&verifier), Signed::At(_))
            {
                continue;
            }
            let cosigned = self.cosigned.as_ref();
            let right = cosigned
                .filter(|cosigned| cosigned.checkpoint().size == size)
                .or_else(|| self.open.get(&size))
                .or_else(|| self.past.get(&size))
                .filter(|right| !is_right && matches!(right.signed_by(&verifier), Signed::At(_)));
            let mut said = said.clone();
            said.retain(|one| one.is_by(&verifier));
            if let Some(other) = lied.or(right) {
                let mut other = other.clone();
                other.retain(|one| one.is_by(&verifier));
                self.false_roots.remove(&verifier.name);
                // What was said under this name may be by a key that the validator no longer has.
                let signs =
                    |one: &SignedCheckpoint| matches!(one.signed_by(&verifier), Signed::At(_));
                if signs(&other) {
                    self.convicted.insert(verifier.name.clone());
                    self.evidence
                        .push(Evidence::checkpoints(verifier, said, other));
                    continue;
                }
            }
            if is_right {
                continue;
            }
            let roots = self.false_roots.entry(verifier.name).or_default();
            roots.entry(size).or_insert(said);
            if roots.len() > OPEN {
                roots.pop_first();
            }
        }
    }

    /// How many validators' cosignatures are on a tree. Whatever is on it holds.
    fn cosigners(&self, checkpoint: &SignedCheckpoint, validators: &ValidatorSet) -> usize {
        validators
            .as_slice()
            .iter()
            .map(|validator| cosigner_name(&self.origin, &validator.name))
            .filter(|name| checkpoint.signatures().iter().any(|one| one.name() == name))
            .count()
    }

    /// Whether one of these validators has signed a tree as the log.
    fn is_log_signed(&self, checkpoint: &SignedCheckpoint, validators: &ValidatorSet) -> bool {
        let mut signatures = checkpoint.signatures().iter();
        signatures.any(|one| *one.name() == self.origin)
            && validators
                .as_slice()
                .iter()
                .any(|one| checkpoint.signed_by(&self.log_key(one)) == Signed::Yes)
    }

    /// The key by which a validator signs as the log.
    fn log_key(&self, validator: &Validator) -> VerifierKey {
        VerifierKey {
            name: self.origin.clone(),
            key_type: KeyType::Ed25519,
            key: validator.checkpoint_key,
        }
    }

    fn cosigner(&self, validator: &Validator) -> VerifierKey {
        VerifierKey {
            name: cosigner_name(&self.origin, &validator.name),
            key_type: KeyType::Cosignature,
            key: validator.checkpoint_key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tally_ledger::{Faucet, Name, Parameters, Trust, verify_evidence};
    use tally_log::leaf_hash;
    use tally_receipt::Timestamp;

    const AT: UnixSeconds = UnixSeconds(1_790_000_000);

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32])
    }

    fn genesis() -> Genesis {
        let validators = (0..4u8)
            .map(|n| Validator {
                vote_key: key(n + 10).public_key(),
                checkpoint_key: key(n).public_key(),
                name: Name::new(&format!("v{n}")).unwrap(),
            })
            .collect();
        Genesis {
            name: Name::new("test").unwrap(),
            time: Timestamp::from_unix_ms(0).unwrap(),
            parameters: Parameters::default(),
            validators: ValidatorSet::new(validators).unwrap(),
            addresses: vec![Vec::new(); 4],
            accounts: Vec::new(),
            faucet: None::<Faucet>,
        }
    }

    fn node(n: u8) -> Checkpoints {
        Checkpoints::new(&genesis(), Some(key(n)))
    }

    fn root(size: u64) -> Hash {
        leaf_hash(&size.to_be_bytes())
    }

    fn sign(node: &mut Checkpoints, size: u64) -> Option<SignedCheckpoint> {
        node.sign(size, root(size), AT, &genesis().validators)
    }

    fn take(node: &mut Checkpoints, said: &SignedCheckpoint, known: u64) -> Taken {
        node.take(said, &genesis().validators, |size| {
            (size <= known).then(|| root(size))
        })
    }

    #[test]
    fn what_a_quorum_has_cosigned_satisfies_the_policy_of_genesis() {
        let mut nodes: Vec<_> = (0..4).map(node).collect();
        let said: Vec<_> = nodes
            .iter_mut()
            .map(|node| sign(node, 7).unwrap())
            .collect();
        let first = &mut nodes[0];
        assert_eq!(take(first, &said[1], 7), Taken::Nothing);
        assert_eq!(first.cosigned(), None);
        assert_eq!(take(first, &said[2], 7), Taken::Cosigned);
        assert_eq!(take(first, &said[3], 7), Taken::Cosigned);
        let cosigned = first.cosigned().unwrap();
        let judgement = genesis().log_policy().judge(cosigned);
        assert!(judgement.is_valid());
        assert_eq!(judgement.cosigned.len(), 4);
    }

    /// A tree that four have cosigned, as one of them has it.
    fn cosigned(size: u64) -> SignedCheckpoint {
        let mut nodes: Vec<_> = (0..4).map(node).collect();
        let said: Vec<_> = nodes
            .iter_mut()
            .map(|node| sign(node, size).unwrap())
            .collect();
        for one in &said[1..] {
            take(&mut nodes[0], one, size);
        }
        nodes[0].cosigned().unwrap().clone()
    }

    #[test]
    fn who_has_lost_its_blocks_cosigns_nothing_smaller_than_what_it_has_put_down() {
        let before = cosigned(7);
        let mut renewed = node(0);
        renewed.has_signed(&before);
        assert_eq!(sign(&mut renewed, 6), None);
        assert!(sign(&mut renewed, 7).is_some());
        assert_eq!(sign(&mut renewed, 7), None);
        // What others have cosigned binds nobody else.
        let mut theirs = before;
        let validators = genesis().validators;
        let mut all = validators.as_slice().iter();
        let is_me = |one: &&Validator| one.checkpoint_key == key(0).public_key();
        let own = cosigner_name(&genesis().log_origin(), &all.find(is_me).unwrap().name);
        theirs.retain(|one| *one.name() != own);
        let mut renewed = node(0);
        renewed.has_signed(&theirs);
        assert!(sign(&mut renewed, 6).is_some());
    }

    fn is_by_the_log(signature: &tally_log::NoteSignature) -> bool {
        *signature.name() == genesis().log_origin()
    }

    #[test]
    fn who_only_follows_has_checkpoints_that_satisfy_the_policy_too() {
        let known = cosigned(7);
        // Of followers, and of somebody with a key that is none of these validators'.
        for key in [None, Some(key(99))] {
            let mut follower = Checkpoints::new(&genesis(), key);
            assert_eq!(take(&mut follower, &known, 7), Taken::Cosigned);
            let taken = follower.cosigned().unwrap();
            assert!(genesis().log_policy().judge(taken).is_valid());
            let signatures = taken.signatures().iter();
            assert_eq!(signatures.filter(|one| is_by_the_log(one)).count(), 1);
            // Another validator has a signature of its own, and one is enough.
            let mut other = known.clone();
            other.retain(|one| !is_by_the_log(one));
            other.sign(&self::key(1));
            assert_eq!(take(&mut follower, &other, 7), Taken::Nothing);
            assert_eq!(follower.cosigned().unwrap(), &known);
        }
    }

    #[test]
    fn who_only_follows_has_nothing_that_the_log_did_not_sign() {
        let known = cosigned(7);
        let mut unsigned = known.clone();
        unsigned.retain(|one| !is_by_the_log(one));
        let mut by_a_stranger = unsigned.clone();
        by_a_stranger.sign(&key(99));
        // A validator's signature of another tree, under this one.
        let lines = cosigned(8).to_string();
        let line = lines
            .lines()
            .find(|line| line.starts_with(&format!("\u{2014} {} ", genesis().log_origin())))
            .unwrap();
        let forged = SignedCheckpoint::parse(format!("{unsigned}{line}\n").as_bytes()).unwrap();
        let mut follower = Checkpoints::new(&genesis(), None);
        for bad in [&unsigned, &by_a_stranger, &forged] {
            assert_eq!(take(&mut follower, bad, 7), Taken::Nothing);
            assert_eq!(follower.cosigned(), None);
        }
        // The cosignatures count once the log's comes.
        let mut signed = known.checkpoint().clone().unsigned();
        signed.sign(&key(2));
        assert_eq!(take(&mut follower, &signed, 7), Taken::Cosigned);
        let taken = follower.cosigned().unwrap();
        assert!(genesis().log_policy().judge(taken).is_valid());
        assert_eq!(taken.signatures().len(), 5);
    }

    #[test]
    fn nothing_smaller_is_cosigned_and_nothing_twice() {
        let mut node = node(0);
        assert!(sign(&mut node, 7).is_some());
        assert!(sign(&mut node, 7).is_none());
        assert!(sign(&mut node, 6).is_none());
        assert!(sign(&mut node, 8).is_some());
    }

    #[test]
    fn cosignatures_that_come_before_the_tree_count_once_it_is_known() {
        let mut nodes: Vec<_> = (0..3).map(node).collect();
        let (one, two) = (
            sign(&mut nodes[1], 9).unwrap(),
            sign(&mut nodes[2], 9).unwrap(),
        );
        let first = &mut nodes[0];
        assert_eq!(take(first, &one, 0), Taken::Nothing);
        assert_eq!(take(first, &two, 0), Taken::Nothing);
        sign(first, 9).unwrap();
        assert_eq!(first.cosigned().unwrap().checkpoint().size, 9);
    }

    #[test]
    fn who_cosigns_sizes_that_never_come_takes_nobodys_room_and_has_its_own_again() {
        let mut first = node(0);
        let mut liar = node(1);
        for size in u64::MAX - 100..u64::MAX {
            take(&mut first, &sign(&mut liar, size).unwrap(), 0);
        }
        assert_eq!(first.early.values().map(BTreeMap::len).sum::<usize>(), OPEN);
        for n in [1, 2] {
            // The liar was put right, and cosigns what there is.
            take(&mut first, &sign(&mut node(n), 9).unwrap(), 0);
        }
        sign(&mut first, 9).unwrap();
        let cosigned = first.cosigned().unwrap();
        assert_eq!(cosigned.checkpoint().size, 9);
        let judgement = genesis().log_policy().judge(cosigned);
        assert_eq!(judgement.cosigned.len(), 3);
    }

    #[test]
    fn what_no_validator_signed_is_not_kept_for_a_tree_that_may_come() {
        let mut first = node(0);
        for size in 1..100 {
            let mut forged = Checkpoint {
                origin: genesis().log_origin(),
                size,
                root: root(size),
            }
            .unsigned();
            for validator in genesis().validators.as_slice() {
                let name = cosigner_name(&genesis().log_origin(), &validator.name);
                forged.cosign(&name, &key(99), AT);
            }
            take(&mut first, &forged, 0);
        }
        assert!(first.early.is_empty());
    }

    #[test]
    fn two_roots_for_a_tree_that_is_not_known_are_evidence() {
        let mut first = node(0);
        take(&mut first, &lie(1, 9, b"another"), 0);
        take(&mut first, &lie(1, 9, b"another"), 0);
        assert!(first.evidence().is_empty());
        take(&mut first, &lie(1, 9, b"a third"), 0);
        convicts(&first.evidence(), 1);
        take(&mut first, &lie(1, 9, b"a fourth"), 0);
        assert!(first.evidence().is_empty());
    }

    #[test]
    fn another_root_a_stranger_and_a_forgery_count_for_nothing() {
        let mut first = node(0);
        sign(&mut first, 5).unwrap();
        let mut stranger = Checkpoints::new(&genesis(), Some(key(99)));
        assert!(sign(&mut stranger, 5).is_none());
        let validators = genesis().validators;
        for n in 1..4 {
            let other = node(n)
                .sign(5, leaf_hash(b"another"), AT, &validators)
                .unwrap();
            assert_eq!(take(&mut first, &other, 5), Taken::Nothing);
            // Under a validator's name, by another key.
            let mut forged = first.open[&5].checkpoint().clone().unsigned();
            let name = cosigner_name(
                &genesis().log_origin(),
                &validators.as_slice()[usize::from(n)].name,
            );
            forged.cosign(&name, &key(99), AT);
            assert_eq!(take(&mut first, &forged, 5), Taken::Nothing);
        }
        assert_eq!(first.cosigned(), None);
        assert_eq!(first.open[&5].signatures().len(), 1);
    }

    #[test]
    fn whoever_was_started_again_is_told_what_is_cosigned() {
        let mut nodes: Vec<_> = (0..4).map(node).collect();
        let said: Vec<_> = nodes
            .iter_mut()
            .map(|node| sign(node, 7).unwrap())
            .collect();
        let (first, rest) = nodes.split_first_mut().unwrap();
        for one in &said[1..] {
            take(first, one, 7);
        }
        let mut again = node(3);
        let repeated = sign(&mut again, 7).unwrap();
        let Taken::Behind(known) = take(first, &repeated, 7) else {
            panic!("it is told nothing");
        };
        assert_eq!(take(&mut again, &known, 7), Taken::Cosigned);
        // And whoever is told what it knows already has nothing to say to that.
        assert_eq!(take(&mut again, &known, 7), Taken::Nothing);
        assert_eq!(take(&mut rest[0], &known, 7), Taken::Cosigned);
        assert_eq!(
            again.cosigned().unwrap().signatures().len(),
            known.signatures().len()
        );
    }

    /// Another root for that size, cosigned by a validator that was started again and lies now.
    fn lie(n: u8, size: u64, about: &[u8]) -> SignedCheckpoint {
        node(n)
            .sign(size, leaf_hash(about), AT, &genesis().validators)
            .unwrap()
    }

    fn convicts(evidence: &[Evidence], n: u8) {
        let genesis = genesis();
        let [evidence] = evidence else {
            panic!("{} pieces of evidence", evidence.len());
        };
        let trust = Trust {
            now: Timestamp::from_unix_ms(0).unwrap(),
            genesis: Some(&genesis),
            policy: None,
        };
        let verdict = verify_evidence(&evidence.to_bytes(), &trust);
        assert!(verdict.is_verified(), "{verdict}");
        let Evidence::Checkpoints { signer, .. } = evidence else {
            panic!("{evidence:?}");
        };
        let validators = genesis.validators.as_slice();
        let guilty = validators
            .iter()
            .find(|one| one.checkpoint_key == key(n).public_key());
        let name = cosigner_name(&genesis.log_origin(), &guilty.unwrap().name);
        assert_eq!(signer.name, name);
    }

    #[test]
    fn two_roots_of_one_size_are_evidence_whichever_comes_first() {
        for lie_first in [true, false] {
            let mut first = node(0);
            sign(&mut first, 5).unwrap();
            let mut said = [sign(&mut node(1), 5).unwrap(), lie(1, 5, b"another")];
            if lie_first {
                said.reverse();
            }
            take(&mut first, &said[0], 5);
            assert!(first.evidence().is_empty());
            take(&mut first, &said[1], 5);
            convicts(&first.evidence(), 1);
            // Once is enough.
            take(&mut first, &lie(1, 5, b"a third"), 5);
            assert!(first.evidence().is_empty());
        }
    }

    #[test]
    fn two_roots_that_are_both_none_of_this_log_are_evidence() {
        let mut first = node(0);
        take(&mut first, &lie(2, 5, b"another"), 5);
        take(&mut first, &lie(2, 5, b"another"), 5);
        assert!(first.evidence().is_empty());
        take(&mut first, &lie(2, 5, b"a third"), 5);
        convicts(&first.evidence(), 2);
    }

    #[test]
    fn a_lie_about_a_tree_that_a_quorum_has_cosigned_since_is_evidence() {
        let mut nodes: Vec<_> = (0..4).map(node).collect();
        for size in [5, 7] {
            let said: Vec<_> = nodes
                .iter_mut()
                .map(|node| sign(node, size).unwrap())
                .collect();
            for one in &said[1..] {
                take(&mut nodes[0], one, size);
            }
        }
        let first = &mut nodes[0];
        assert_eq!(first.cosigned().unwrap().checkpoint().size, 7);
        take(first, &lie(3, 5, b"another"), 7);
        convicts(&first.evidence(), 3);
        take(first, &lie(2, 7, b"another"), 7);
        convicts(&first.evidence(), 2);
    }

    #[test]
    fn a_lie_that_comes_before_the_tree_is_evidence_once_the_truth_is_said() {
        let mut first = node(0);
        take(&mut first, &lie(1, 9, b"another"), 0);
        sign(&mut first, 9).unwrap();
        assert!(first.evidence().is_empty());
        take(&mut first, &sign(&mut node(1), 9).unwrap(), 9);
        convicts(&first.evidence(), 1);
    }

    #[test]
    fn nobody_is_convicted_by_what_another_key_signed() {
        let mut first = node(0);
        sign(&mut first, 5).unwrap();
        take(&mut first, &sign(&mut node(1), 5).unwrap(), 5);
        let validators = genesis().validators;
        let mut forged = Checkpoint {
            origin: genesis().log_origin(),
            size: 5,
            root: leaf_hash(b"another"),
        }
        .unsigned();
        for validator in validators.as_slice() {
            let name = cosigner_name(&genesis().log_origin(), &validator.name);
            forged.cosign(&name, &key(99), AT);
        }
        take(&mut first, &forged, 5);
        assert!(first.evidence().is_empty());
        assert!(first.false_roots.is_empty());
    }

    #[test]
    fn what_a_validators_former_key_signed_is_no_evidence_against_its_new_one() {
        let mut first = node(0);
        sign(&mut first, 5).unwrap();
        take(&mut first, &lie(1, 5, b"another"), 5);
        let mut now = genesis().validators.as_slice().to_vec();
        for one in &mut now {
            if one.checkpoint_key == key(1).public_key() {
                one.checkpoint_key = key(50).public_key();
            }
        }
        let now = ValidatorSet::new(now).unwrap();
        let says = |root| {
            let mut renewed = Checkpoints::new(&genesis(), Some(key(50)));
            renewed.sign(5, root, AT, &now).unwrap()
        };
        let root_of = |size: u64| (size <= 5).then(|| root(size));
        first.take(&says(root(5)), &now, root_of);
        assert!(first.evidence().is_empty());
        first.take(&says(leaf_hash(b"a third")), &now, root_of);
        assert_eq!(first.evidence().len(), 1);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut node = node(0);
        for size in 1..200 {
            let said = self::node(1).sign(size, root(size), AT, &genesis().validators);
            take(&mut node, &said.unwrap(), 0);
            sign(&mut node, 1000 + size);
        }
        assert!(node.open.len() <= OPEN);
        assert!(node.early.values().map(BTreeMap::len).sum::<usize>() <= OPEN * 4);
        for size in 1..200 {
            take(&mut node, &lie(1, size, b"another"), 2000);
        }
        assert!(node.false_roots.values().map(BTreeMap::len).sum::<usize>() <= OPEN);
        let mut alone = Genesis {
            validators: ValidatorSet::new(vec![genesis().validators.as_slice()[0].clone()])
                .unwrap(),
            ..genesis()
        };
        alone.addresses.truncate(1);
        let only =
            (0..4).find(|n| key(*n).public_key() == alone.validators.as_slice()[0].checkpoint_key);
        let mut node = Checkpoints::new(&alone, Some(key(only.unwrap())));
        for size in 1..200 {
            node.sign(size, root(size), AT, &alone.validators).unwrap();
        }
        assert!(node.past.len() <= OPEN);
    }
}
