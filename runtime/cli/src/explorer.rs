//! A ledger for its explorer: what its validators say, asked when somebody looks, and no oftener than once a second.
//!
//! Heights and blocks are shown only once a certificate shows them to be final ([`LightClient`]), from those on who validated when
//! this machine was shown it last ([`trusted`]), where it has kept that. What validators say of
//! themselves is theirs to say. Evidence is read from the folders of nodes on this machine.

mod proofs;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use tally_gateway::{
    Arrival, BlockRow, Explorer, FaultRow, Later, LedgerError, LedgerView, Overview,
    SettledReceipt, UnixMs, ValidatorAnswer, ValidatorRow,
};
use tally_ledger::{
    Block, Entry, Epoch, Evidence, Genesis, Header, Height, MAX_EVIDENCE_BYTES, Proof, Request,
    Settlement, Trust, TrustedValidators, verify_evidence,
};
use tally_net::{Endpoint, Secret};
use tally_node::{AskError, Client, ClientError, LightClient, RefusedCode, Status};
use tally_receipt::{Digest, Receipt, Timestamp};
use tokio::sync::watch;

use self::proofs::{Found, Proofs};
use crate::address;
use crate::failure::{Failure, OrFail};
use crate::keeper::Keeper;
use crate::network::Network;
use crate::trusted::{self, Start};

/// How long a validator may take to answer before it is shown as away.
const ANSWER: Duration = Duration::from_millis(1500);
/// How old an answer may be before the validators are asked again.
const FRESH: Duration = Duration::from_secs(1);
/// How long a page waits for newer answers: at first, and when there are some.
const FIRST: Duration = Duration::from_secs(4);
const AGAIN: Duration = Duration::from_millis(250);
/// Blocks and receipts that are shown.
const BLOCKS: usize = 15;
const ARRIVALS: usize = 50;
/// Bytes of blocks that are kept to read receipts from.
const KEPT_BYTES: usize = 32 << 20;
/// Files of evidence that are looked at.
const FAULTS: usize = 100;

/// The module that browsers check proofs with.
#[derive(ClapArgs, Debug, Default)]
pub(crate) struct Verifier {
    /// What a reader's browser checks proofs with (scripts/verifier-web.sh builds it); else TALLY_VERIFIER, else beside this
    /// program.
    #[arg(long, value_name = "FILE")]
    verifier: Option<PathBuf>,
}

/// Where an explorer listens that is told nothing else.
pub(crate) const ADDRESS: &str = "127.0.0.1:7412";

/// A ledger that is looked at.
pub(crate) struct Watched(Arc<Inner>);

struct Inner {
    /// From whom the chain is followed.
    first: TrustedValidators,
    /// Where it is kept who validates, if anywhere.
    trusted: Option<trusted::Kept>,
    genesis: Genesis,
    genesis_text: String,
    client: Client,
    endpoint: Endpoint,
    /// Where nodes on this machine leave evidence.
    folders: Vec<PathBuf>,
    /// What this server settles there itself.
    own: Option<Arc<Keeper>>,
    runtime: tokio::runtime::Handle,
    seen: Mutex<Seen>,
    /// How often the validators have been asked.
    rounds: watch::Sender<u64>,
    proofs: Proofs<Proof>,
    /// What evidence was found to show, by the name of its file and its length.
    judged: Mutex<HashMap<(String, u64), FaultRow>>,
}

#[derive(Default)]
struct Seen {
    light: Option<LightClient>,
    /// The last epoch whose validators were shown and kept.
    kept_epoch: Option<Epoch>,
    head: Option<Header>,
    answers: Vec<(String, Result<Status, String>)>,
    blocks: VecDeque<BlockRow>,
    arrivals: VecDeque<(Arrival, Option<Vec<u8>>)>,
    kept: Kept,
    asked: Option<(Instant, UnixMs)>,
    is_asking: bool,
}

/// Final blocks with receipts in full. What is final never changes: of a height there is one block, and while it is here nobody
/// is asked for it.
#[derive(Default)]
struct Kept {
    /// The one that was used last is the last.
    blocks: VecDeque<Arc<Block>>,
    bytes: usize,
}

impl Kept {
    fn get(&mut self, height: u64) -> Option<Arc<Block>> {
        let is_it = |block: &Arc<Block>| block.header.height.get() == height;
        let place = self.blocks.iter().position(is_it)?;
        let block = self.blocks.remove(place)?;
        self.blocks.push_back(Arc::clone(&block));
        Some(block)
    }

    /// Keeps a block if there is something to read in it, and lets those go that were not used for longest, down to `most` bytes.
    fn keep(&mut self, block: Arc<Block>, most: usize) {
        let is_here = |kept: &Arc<Block>| kept.header.height == block.header.height;
        if !has_receipts(&block) || self.blocks.iter().any(is_here) {
            return;
        }
        self.bytes += Block::body_bytes(&block.transactions);
        self.blocks.push_back(block);
        while self.bytes > most {
            let Some(oldest) = self.blocks.pop_front() else {
                break;
            };
            self.bytes -= Block::body_bytes(&oldest.transactions);
        }
    }
}

impl Watched {
    /// A way to look at a network. Contacts nobody before somebody looks. Where it is the one of this machine alone, somebody runs
    /// its node; where that listens is asked once, and it stays there as long as no other program takes the port between two
    /// of its starts.
    pub(crate) async fn new(
        network: &Network,
        start: Start,
        folders: Vec<PathBuf>,
        own: Option<Arc<Keeper>>,
    ) -> Result<Self, Failure> {
        let secret = match &network.own {
            // Its node answers no other.
            Some(own) => own.caller()?,
            // Nobody needs to know who looks.
            None => {
                let mut seed = [0; 32];
                getrandom::fill(&mut seed)
                    .or_environment("draw a key from the system's random source")?;
                Secret::derive(&seed)
            }
        };
        let network = network.located().await?;
        let endpoint = Endpoint::bind(&secret, network.calling())
            .await
            .or_environment("open a socket")?;
        let client = Client::new(&endpoint, &network.genesis, network.peers(), ANSWER).or_misuse(
            format_args!("reach the network of {}", network.file.display()),
        )?;
        let first = match &start.from {
            Some(from) => from.clone(),
            None => TrustedValidators::of(&network.genesis),
        };
        let trusted = start.kept.clone();
        let client = start.of(client)?;
        Ok(Self(Arc::new(Inner {
            first,
            trusted,
            genesis: network.genesis.clone(),
            genesis_text: network.genesis.to_toml(),
            client,
            endpoint,
            folders,
            own,
            runtime: tokio::runtime::Handle::current(),
            seen: Mutex::default(),
            rounds: watch::channel(0).0,
            proofs: Proofs::new(),
            judged: Mutex::default(),
        })))
    }

    /// What is to be closed once nobody looks any more.
    pub(crate) fn endpoint(&self) -> Endpoint {
        self.0.endpoint.clone()
    }

    /// Its pages.
    pub(crate) fn explorer(self, verifier: &Verifier) -> Result<Explorer, Failure> {
        Ok(Explorer::new(Arc::new(self), module(verifier)?))
    }
}

/// The module itself. In a checkout it is where `scripts/verifier-web.sh` has built it. None is no failure: the pages say so.
fn module(verifier: &Verifier) -> Result<Option<Vec<u8>>, Failure> {
    const NAME: &str = "tally_verifier_web.wasm";
    let named = verifier
        .verifier
        .clone()
        .or_else(|| std::env::var_os("TALLY_VERIFIER").map(PathBuf::from));
    if let Some(path) = named {
        return std::fs::read(&path)
            .or_misuse(format_args!("read {}", path.display()))
            .map(Some);
    }
    let Ok(program) = std::env::current_exe() else {
        return Ok(None);
    };
    let beside = program.with_file_name(NAME);
    let built = program
        .ancestors()
        .nth(2)
        .map(|target| target.join("wasm32-unknown-unknown/release").join(NAME));
    Ok([Some(beside), built]
        .into_iter()
        .flatten()
        .find_map(|path| std::fs::read(path).ok()))
}

impl Seen {
    /// In which block an entry of the log stands, and the receipt if somebody settled it in full of late; each if it is known.
    fn find(&self, wanted: Digest, entry: &Entry, index: u64) -> (Option<u64>, Option<Vec<u8>>) {
        let (digest, node) = (wanted.to_string(), entry.node.to_string());
        // It may have been settled more than once.
        let mut same = self.arrivals.iter().filter(|(one, _)| one.digest == digest);
        let document = same.clone().find_map(|(_, document)| document.clone());
        let block = same
            .find(|(one, _)| one.node == node && one.sequence == entry.sequence.get())
            .map(|(one, _)| one.height);
        (block.or_else(|| self.block_of(index)), document)
    }

    /// Blocks that follow on those that are shown, up to `head`, which is final.
    fn take(&mut self, blocks: Vec<Block>, head: Header) {
        for block in blocks {
            let header = &block.header;
            let mut receipts = 0;
            for transaction in &block.transactions {
                let Request::Settle {
                    node,
                    first,
                    receipts: settled,
                } = transaction.request()
                else {
                    continue;
                };
                receipts += settled.count();
                let full = match settled {
                    Settlement::Full(all) => Some(all),
                    Settlement::Hashes(_) => None,
                };
                let skip = settled.count().saturating_sub(ARRIVALS);
                let digests = settled.digests();
                for (number, digest) in digests.iter().enumerate().skip(skip) {
                    let arrival = Arrival {
                        digest: digest.to_string(),
                        node: node.to_string(),
                        sequence: first.get() + number as u64,
                        height: header.height.get(),
                        time: unix(header.time),
                        in_full: full.is_some(),
                    };
                    let document = full.map(|all| all[number].to_vec());
                    self.arrivals.push_front((arrival, document));
                    self.arrivals.truncate(ARRIVALS);
                }
            }
            self.blocks.push_front(BlockRow {
                height: header.height.get(),
                time: unix(header.time),
                transactions: block.transactions.len(),
                receipts,
            });
            self.blocks.truncate(BLOCKS);
            self.kept.keep(Arc::new(block), KEPT_BYTES);
        }
        self.head = Some(head);
    }

    /// In which of the blocks that are shown an entry of the log stands, if in one of them.
    fn block_of(&self, entry: u64) -> Option<u64> {
        let mut end = self.head.as_ref()?.log_size;
        // They follow each other, from the last one back.
        for block in &self.blocks {
            let begin = end.checked_sub(block.receipts as u64)?;
            if (begin..end).contains(&entry) {
                return Some(block.height);
            }
            end = begin;
        }
        None
    }
}

/// Whether there are receipts in full in a block.
fn has_receipts(block: &Block) -> bool {
    block.transactions.iter().any(|transaction| {
        matches!(
            transaction.request(),
            Request::Settle {
                receipts: Settlement::Full(_),
                ..
            }
        )
    })
}

/// A final block: the one that is kept, or else the first of those from its height on, which `ask` is to get and which then is kept.
async fn final_block<A: Future<Output = Vec<Block>>>(
    seen: &Mutex<Seen>,
    height: u64,
    ask: impl FnOnce(Header) -> A,
) -> Option<Arc<Block>> {
    let head = {
        let mut seen = locked(seen);
        if let Some(block) = seen.kept.get(height) {
            return Some(block);
        }
        seen.head.clone()?
    };
    let block = Arc::new(ask(head).await.into_iter().next()?);
    locked(seen).kept.keep(Arc::clone(&block), KEPT_BYTES);
    Some(block)
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A receipt as it stands in a block.
fn settled_in_full(block: &Block, wanted: Digest) -> Option<Vec<u8>> {
    let transactions = block.transactions.iter();
    transactions
        .filter_map(|transaction| match transaction.request() {
            Request::Settle {
                receipts: Settlement::Full(all),
                ..
            } => Some(all),
            _ => None,
        })
        .flatten()
        .find(|receipt| Digest::of(receipt) == wanted)
        .map(|receipt| receipt.to_vec())
}

impl Inner {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }

    /// Starts asking, unless the last answers are fresh or somebody is asking already. Whether there are any answers.
    fn ask(self: &Arc<Self>) -> bool {
        let mut seen = self.seen();
        let is_fresh = seen.asked.is_some_and(|(at, _)| at.elapsed() < FRESH);
        if !is_fresh && !seen.is_asking {
            seen.is_asking = true;
            let inner = Arc::clone(self);
            self.runtime.spawn(async move {
                tokio::join!(inner.ask_how_they_are(), inner.ask_for_blocks());
                let mut seen = inner.seen();
                seen.is_asking = false;
                seen.asked = Some((Instant::now(), now()));
                drop(seen);
                inner.rounds.send_modify(|rounds| *rounds += 1);
            });
        }
        seen.asked.is_some()
    }

    async fn ask_how_they_are(&self) {
        let answers = self
            .client
            .statuses()
            .await
            .into_iter()
            .map(|(key, answer)| {
                (
                    key.to_string(),
                    answer.map_err(|error| match error {
                        AskError::Call(_) => "it is not reached".to_owned(),
                        error => error.to_string(),
                    }),
                )
            })
            .collect();
        self.seen().answers = answers;
    }

    /// Goes on to the last block that is shown to be final, and reads those before it that are new here.
    async fn ask_for_blocks(&self) {
        let (light, known) = {
            let mut seen = self.seen();
            (
                seen.light.take(),
                seen.head.as_ref().map_or(0, |head| head.height.get()),
            )
        };
        let mut light = light.unwrap_or_else(|| LightClient::from_trusted(self.first.clone()));
        let since = light.trusted().epoch;
        // At genesis, and when nobody answers, there is none.
        let advanced = light.advance(&self.client).await.is_ok();
        if advanced || light.trusted().epoch > since {
            self.keep(light.trusted());
        }
        let head = light.head().cloned();
        self.seen().light = Some(light);
        let Some(head) = head.filter(|head| advanced && head.height.get() > known) else {
            return;
        };
        let from = (head.height.get().saturating_sub(BLOCKS as u64) + 1).max(known + 1);
        match self.client.blocks(Height::new(from), &head).await {
            Ok(blocks) => self.seen().take(blocks, head),
            // The next round tries again.
            Err(error) => tracing::debug!(%error, "no blocks to show"),
        }
    }

    /// Keeps who validates, once for each epoch: the file is not looked at again whenever somebody looks at the chain.
    fn keep(&self, shown: &TrustedValidators) {
        let Some(trusted) = &self.trusted else {
            return;
        };
        if self.seen().kept_epoch.replace(shown.epoch) != Some(shown.epoch) {
            trusted.keep(shown);
        }
    }

    /// The proof of a receipt, from the validators; none if it is not settled.
    async fn prove(&self, wanted: Digest) -> Result<Option<Found<Proof>>, LedgerError> {
        let proof = match self.client.prove(wanted, Duration::ZERO).await {
            Ok(proof) => proof,
            Err(ClientError::Nobody(AskError::Refused(refused)))
                if refused.code == RefusedCode::NotYet =>
            {
                return Ok(None);
            }
            Err(error) => return Err(LedgerError::Nobody(error.to_string())),
        };
        let bytes = proof.len();
        let proof =
            Proof::from_bytes(&proof).map_err(|error| LedgerError::Nobody(error.to_string()))?;
        Ok(Some(Found { proof, bytes }))
    }

    /// A receipt that was settled in full, out of a block that is shown. It is what its digest says, whoever gave the block.
    async fn read_from(&self, block: u64, wanted: Digest) -> Option<Vec<u8>> {
        let ask = |head: Header| async move {
            let blocks = self.client.blocks(Height::new(block), &head).await;
            blocks.unwrap_or_else(|error| {
                tracing::debug!(%error, block, "no block to read a receipt from");
                Vec::new()
            })
        };
        let block = final_block(&self.seen, block, ask).await?;
        settled_in_full(&block, wanted)
    }

    fn overview(&self, faults: Vec<FaultRow>) -> Overview {
        let seen = self.seen();
        // Who votes now is what those say who vote; genesis has the first ones.
        let current = seen
            .answers
            .iter()
            .filter_map(|(_, answer)| answer.as_ref().ok())
            .max_by_key(|status| (status.epoch, status.height));
        let rows: Vec<(String, String)> = match current {
            Some(status) => status
                .validators
                .iter()
                .map(|one| (one.name.clone(), one.vote_key.to_string()))
                .collect(),
            None => self
                .genesis
                .validators
                .as_slice()
                .iter()
                .map(|one| (one.name.to_string(), one.vote_key.to_string()))
                .collect(),
        };
        let validators: Vec<ValidatorRow> = rows
            .into_iter()
            .map(|(name, key)| {
                let answer = seen.answers.iter().find(|(endpoint, _)| *endpoint == key);
                let answer = match answer {
                    Some((_, Ok(status))) => Ok(ValidatorAnswer {
                        height: status.height.get(),
                        votes: status.votes,
                        connected: status.validators.iter().filter(|one| one.connected).count(),
                        waiting: status.waiting,
                        faults: status.faults,
                    }),
                    Some((_, Err(reason))) => Err(reason.clone()),
                    None => Err("it is not known where it is (--peer, --lan)".to_owned()),
                };
                ValidatorRow { name, key, answer }
            })
            .collect();
        let head = seen.head.as_ref();
        Overview {
            name: self.genesis.name.to_string(),
            chain: self.genesis.chain().to_string(),
            asked: seen.asked.map_or_else(now, |(_, at)| at),
            height: head.map_or(0, |head| head.height.get()),
            time: head.map(|head| unix(head.time)),
            epoch: head.map_or(0, |head| head.epoch.get()),
            receipts: head.map_or(0, |head| head.log_size),
            tolerated: validators.len().saturating_sub(1) / 3,
            validators,
            blocks: seen.blocks.iter().copied().collect(),
            arrivals: seen.arrivals.iter().map(|(one, _)| one.clone()).collect(),
            faults,
            own: self.own.as_ref().map(|keeper| keeper.standing()),
        }
    }

    /// The files of evidence in the folders, by name.
    fn evidence_files(&self) -> Vec<(String, PathBuf)> {
        let mut files: Vec<(String, PathBuf)> = self
            .folders
            .iter()
            .filter_map(|folder| std::fs::read_dir(folder).ok())
            .flatten()
            .filter_map(Result::ok)
            .filter_map(|file| {
                let name = file.file_name().into_string().ok()?;
                name.ends_with(".evidence").then(|| (name, file.path()))
            })
            .collect();
        // Several nodes have seen the same: one file has one name.
        files.sort();
        files.dedup_by(|one, other| one.0 == other.0);
        files.truncate(FAULTS);
        files
    }

    /// What the files of evidence show. One that was read before is not read again.
    fn faults(&self) -> Vec<FaultRow> {
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let mut here = HashMap::new();
        let mut rows = Vec::new();
        for (name, path) in self.evidence_files() {
            let Ok(file) = std::fs::metadata(&path) else {
                continue;
            };
            let key = (name, file.len());
            let known = judged.remove(&key);
            let Some(row) = known.or_else(|| self.judge(&key.0, &path)) else {
                continue;
            };
            rows.push(row.clone());
            here.insert(key, row);
        }
        // What is not there any more is forgotten.
        *judged = here;
        rows
    }

    /// What a file of evidence shows, if it is one.
    fn judge(&self, name: &str, path: &Path) -> Option<FaultRow> {
        let bytes = read_evidence(path)?;
        let evidence = Evidence::from_bytes(&bytes).ok()?;
        let trust = Trust {
            now: Timestamp::from_unix_ms(0).ok()?,
            genesis: Some(&self.genesis),
            policy: None,
        };
        let verdict = verify_evidence(&bytes, &trust);
        let who = match &evidence {
            Evidence::Votes { voter, .. } => match self.genesis.validators.index_of(voter) {
                Some(index) => format!(
                    "validator {}",
                    self.genesis.validators.as_slice()[index].name
                ),
                None => format!("the key {voter}"),
            },
            Evidence::Checkpoints { signer, .. } => signer.name.to_string(),
        };
        Some(FaultRow {
            name: name.to_owned(),
            sentence: format!(
                "{who} signed what excludes each other: {}",
                evidence.in_words()
            ),
            convicts: verdict.is_verified(),
        })
    }
}

fn read_evidence(path: &Path) -> Option<Vec<u8>> {
    let length = std::fs::metadata(path).ok()?.len();
    if length > MAX_EVIDENCE_BYTES as u64 {
        return None;
    }
    std::fs::read(path).ok()
}

impl LedgerView for Watched {
    fn overview(&self) -> Later<'_, Overview> {
        Box::pin(async {
            let mut rounds = self.0.rounds.subscribe();
            let has_some = self.0.ask();
            let longest = if has_some { AGAIN } else { FIRST };
            // What there is by then is shown.
            let _ = tokio::time::timeout(longest, rounds.changed()).await;
            let inner = Arc::clone(&self.0);
            // From a disk.
            let faults = tokio::task::spawn_blocking(move || inner.faults()).await;
            self.0.overview(faults.unwrap_or_default())
        })
    }

    fn receipt<'a>(
        &'a self,
        digest: &'a str,
    ) -> Later<'a, Result<Option<SettledReceipt>, LedgerError>> {
        Box::pin(async move {
            let Ok(wanted) = digest.parse::<Digest>() else {
                return Err(LedgerError::NoDigest(digest.to_owned()));
            };
            let inner = Arc::clone(&self.0);
            let ask = move || async move { inner.prove(wanted).await };
            let asked = self.0.proofs.of(wanted, ask).await?;
            let Some(found) = asked else {
                return Ok(None);
            };
            let proof = found.proof.clone();
            let entry = *proof.entry();
            let (block, document) = self.0.seen().find(wanted, &entry, proof.index());
            // A few blocks at most are asked for: a reader may look at any number of receipts.
            let document = match (document, block) {
                (None, Some(block)) if entry.in_full => self.0.read_from(block, wanted).await,
                (document, _) => document,
            };
            // With the receipt inside, one file has everything.
            let proof = match &document {
                Some(document) => proof.clone().with_receipt(document).unwrap_or(proof),
                None => proof,
            };
            let words = document
                .and_then(|document| Receipt::parse(&document).ok())
                .map(|receipt| receipt.in_words())
                .unwrap_or_default()
                .into_iter()
                .map(|said| (said.about.to_owned(), said.words))
                .collect();
            let header = proof.finality().map(|finality| &finality.header);
            Ok(Some(SettledReceipt {
                digest: digest.to_owned(),
                node: entry.node.to_string(),
                sequence: entry.sequence.get(),
                index: proof.index(),
                log_size: header.map_or(0, |header| header.log_size),
                height: header.map_or(0, |header| header.height.get()),
                time: header.map_or(UnixMs(0), |header| unix(header.time)),
                in_full: entry.in_full,
                block,
                words,
                proof: proof.to_bytes(),
            }))
        })
    }

    fn genesis(&self) -> &str {
        &self.0.genesis_text
    }

    fn evidence(&self, name: &str) -> Option<Vec<u8>> {
        // Compared with what is there, and never made part of a path.
        let (_, path) = self
            .0
            .evidence_files()
            .into_iter()
            .find(|(found, _)| found == name)?;
        read_evidence(&path)
    }
}

fn unix(time: Timestamp) -> UnixMs {
    UnixMs(i64::try_from(time.unix_ms()).unwrap_or(i64::MAX))
}

fn now() -> UnixMs {
    use tally_vault::Clock as _;
    UnixMs(i64::try_from(tally_vault::SystemClock.now_ms()).unwrap_or(i64::MAX))
}

/// An explorer by itself, listening.
pub(crate) struct Listening {
    listener: tokio::net::TcpListener,
    explorer: Explorer,
    endpoint: Endpoint,
    names: Vec<String>,
    /// Where a browser finds it.
    pub(crate) url: String,
}

/// Listens for those who want to look at a network.
pub(crate) async fn listen(
    address: SocketAddr,
    network: &Network,
    start: Start,
    folders: Vec<PathBuf>,
    verifier: &Verifier,
) -> Result<Listening, Failure> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .or_environment(format_args!("listen on {address}"))?;
    let address = listener.local_addr().or_environment("listen")?;
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "[::1]"]
        .map(str::to_owned)
        .into();
    names.extend(address::own_name(address.ip()));
    let watched = Watched::new(network, start, folders, None).await?;
    Ok(Listening {
        listener,
        endpoint: watched.endpoint(),
        explorer: watched.explorer(verifier)?,
        names,
        url: format!("http://{}/ledger", address::shown(address)),
    })
}

impl Listening {
    /// Answers until `end` is ready.
    pub(crate) async fn serve(self, end: impl Future<Output = ()>) -> std::io::Result<()> {
        let served =
            tally_gateway::serve(self.listener, self.explorer.router(self.names), end).await;
        self.endpoint.close().await;
        served
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{Ready, ready};

    use tally_ledger::{ChainId, HEADER_BYTES, NodeId, Sequence, Transaction};
    use tally_receipt::SigningKey;

    use super::*;

    fn header(height: u64) -> Header {
        let mut header = Header::from_bytes(&[0; HEADER_BYTES]).expect("a header");
        header.height = Height::new(height);
        header
    }

    fn settle(first: u64, receipts: Settlement) -> Transaction {
        let key = SigningKey::from_seed(&[1; 32]);
        let request = Request::Settle {
            node: NodeId::new(key.public_key()),
            first: Sequence::new(first),
            receipts,
        };
        let chain = ChainId::new(Digest::of(b"a chain"));
        request.sign(chain, &[&key]).expect("within limits")
    }

    /// A block with a receipt in full.
    fn block(height: u64) -> Block {
        let receipt = height.to_be_bytes().as_slice().into();
        Block {
            header: header(height),
            transactions: vec![settle(height, Settlement::Full(vec![receipt]))],
        }
    }

    #[tokio::test]
    async fn a_block_that_is_here_is_asked_for_by_no_view() {
        let mut seen = Seen::default();
        seen.take(vec![block(8), block(9)], header(9));
        // Settled by digests alone: there is nothing to read in it.
        let empty = Block {
            header: header(10),
            transactions: vec![settle(0, Settlement::Hashes(vec![Digest::of(b"one")]))],
        };
        seen.take(vec![empty.clone()], header(10));
        let seen = Mutex::new(seen);
        // One that came with the overview.
        let never = |_| -> Ready<Vec<Block>> { unreachable!("it is here") };
        let found = final_block(&seen, 9, never).await.expect("it is here");
        assert_eq!(*found, block(9));
        // One that was read for a view before.
        let asked = Cell::new(0);
        for _ in 0..2 {
            let ask = |head: Header| {
                assert_eq!(head, header(10));
                asked.set(asked.get() + 1);
                ready(vec![block(7), block(8), block(9), empty.clone()])
            };
            let found = final_block(&seen, 7, ask).await.expect("it is given");
            assert_eq!(*found, block(7));
        }
        assert_eq!(asked.get(), 1);
        assert!(locked(&seen).kept.get(10).is_none());
        // Nobody has it: the next view asks again.
        assert!(final_block(&seen, 6, |_| ready(Vec::new())).await.is_none());
    }

    #[test]
    fn blocks_are_kept_in_so_many_bytes_and_the_longest_unused_goes_first() {
        let most = 3 * Block::body_bytes(&block(0).transactions);
        let mut kept = Kept::default();
        for height in [1, 2, 3, 3] {
            kept.keep(Arc::new(block(height)), most);
        }
        assert!(kept.get(1).is_some());
        kept.keep(Arc::new(block(4)), most);
        let here: Vec<u64> = (1..=4)
            .filter(|&height| kept.get(height).is_some())
            .collect();
        assert_eq!(here, [1, 3, 4]);
        assert_eq!(kept.bytes, most);
        // One that is larger than all that may be kept is not kept.
        let mut kept = Kept::default();
        kept.keep(Arc::new(block(1)), most / 4);
        assert!(kept.get(1).is_none() && kept.bytes == 0);
    }

    #[test]
    fn an_entry_is_in_the_one_block_that_is_shown_with_it_or_in_none() {
        let mut header = header(0);
        header.log_size = 20;
        let row = |height, receipts| BlockRow {
            height,
            time: UnixMs(0),
            transactions: 1,
            receipts,
        };
        let mut seen = Seen {
            head: Some(header.clone()),
            blocks: VecDeque::from([row(9, 3), row(8, 0), row(7, 5)]),
            ..Seen::default()
        };
        let places = [
            (19, Some(9)),
            (17, Some(9)),
            (16, Some(7)),
            (12, Some(7)),
            (11, None),
            (20, None),
        ];
        for (entry, block) in places {
            assert_eq!(seen.block_of(entry), block, "{entry}");
        }
        // A block that says of itself what cannot be.
        header.log_size = 2;
        seen.head = Some(header);
        assert_eq!(seen.block_of(0), None);
    }

    #[test]
    fn a_receipt_is_read_from_its_block_where_it_was_settled_in_full() {
        let block = Block {
            header: header(0),
            transactions: vec![
                settle(0, Settlement::Hashes(vec![Digest::of(b"one")])),
                settle(
                    1,
                    Settlement::Full(vec![b"two".as_slice().into(), b"three".as_slice().into()]),
                ),
            ],
        };
        let found = |receipt: &[u8]| settled_in_full(&block, Digest::of(receipt));
        assert_eq!(found(b"three").as_deref(), Some(b"three".as_slice()));
        assert_eq!(found(b"one"), None);
    }
}
