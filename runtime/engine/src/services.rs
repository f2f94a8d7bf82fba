//! What a run is given from outside: models, a screen, a clock, chance. Whoever starts runs implements these.
//!
//! Rules for implementers: a future or a [`Generation`] that is dropped stops its work at once and leaves nothing
//! running; an error says whose turn it is (`invalid`: the agent's, `unavailable`: try again, `failed`: neither); no
//! method is called during replay.

use crate::contract::memory::{Forgotten, Portrait, Question, Recalled, Remembered, Turn};
use crate::contract::{ChatRequest, Error, Event, Level, VaultDraft, VaultItem, VaultPage};
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use tally_capability::Access;
use tally_journal::{Digest, EntryHash, RunId, Timestamp};
use zeroize::{Zeroize as _, Zeroizing};

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which call of which run a request belongs to: what a receipt links to.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The run.
    pub run: RunId,
    /// Which execution in it: 0 is the agent, tools count from 1.
    pub frame: u32,
    /// How many inference calls the run made before this one.
    pub step: u64,
    /// 32 bytes that only this call of this run has, derived from the run's seed (see [`nonce`]).
    pub nonce: [u8; 32],
    /// Digest of the previous receipt of this run.
    pub previous: Option<Digest>,
    /// Tokens, of prompt and completion together, that the run may still use.
    pub tokens_left: u64,
    /// The request as it stands in the journal. A receipt that commits to these bytes can be compared with the journal.
    pub asked: Vec<u8>,
}

/// The nonce of inference call `step` of the run whose journal's first entry holds `seed` and `run`.
///
/// ```text
/// nonce = BLAKE3 derive_key("tally engine v1 inference nonce", seed || run || u64le(step))
/// ```
///
/// A branch shares its parent's seed and not its name, so no nonce is used twice.
pub fn nonce(seed: &[u8; 32], run: &RunId, step: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("tally engine v1 inference nonce");
    hasher
        .update(seed)
        .update(run.as_bytes())
        .update(&step.to_le_bytes());
    *hasher.finalize().as_bytes()
}

/// A receipt that an inference call brought.
#[derive(Clone, Debug)]
pub struct ReceiptBytes {
    /// The DSSE envelope, as JSON. It is kept in the journal verbatim.
    pub envelope: Vec<u8>,
    /// The digest of the envelope.
    pub digest: Digest,
    /// The public key that signed it, 32 bytes in lower-case hexadecimal.
    pub signer: String,
    /// Opens the receipt's commitment to the request. It is kept in the journal, where the request stands in the clear.
    pub asked_salt: Option<[u8; 32]>,
    /// Opens its commitment to the text of a generation, or to the vectors of an embedding. As `asked_salt`.
    pub answered_salt: Option<[u8; 32]>,
}

/// Vectors, and the receipt for them.
#[derive(Debug)]
pub struct Embeddings {
    /// One for each text, in order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that were read.
    pub tokens: u64,
    /// The receipt, where the service makes one.
    pub receipt: Option<ReceiptBytes>,
}

/// Language models.
pub trait Inference: Send + Sync {
    /// The models that can be used, with the digest of their weights, the default one first.
    fn models(&self) -> Vec<(String, Digest)>;

    /// The model that makes vectors where a guest names none, one of [`models`](Self::models); or why there is none, in a sentence
    /// that the guest may see.
    fn embedding_model(&self) -> Result<String, String>;

    /// Whether a request to `model` leaves this machine. If so, the journal is durable before it does.
    fn leaves_machine(&self, model: &str) -> bool;

    /// Starts a generation. `request.model` is the name of a model, never empty.
    fn chat<'a>(
        &'a self,
        request: ChatRequest,
        context: CallContext,
    ) -> BoxFuture<'a, Result<Box<dyn Generation>, Error>>;

    /// One vector for each text, in order.
    fn embed<'a>(
        &'a self,
        model: &'a str,
        texts: Vec<String>,
        context: CallContext,
    ) -> BoxFuture<'a, Result<Embeddings, Error>>;
}

/// A running generation. Dropping it cancels it.
pub trait Generation: Send {
    /// The next event; none after `done`. Dropping the future must not lose an event.
    fn next<'a>(&'a mut self) -> BoxFuture<'a, Result<Option<Event>, Error>>;

    /// The receipt, once `done` has been pulled.
    fn receipt<'a>(&'a mut self) -> BoxFuture<'a, Result<ReceiptBytes, Error>>;

    /// Stops it. The next event is then `done` with the reason `cancelled`, or none.
    fn cancel(&mut self);
}

/// Which records of a vault.
#[derive(Clone, Debug)]
pub struct VaultQuery {
    /// The namespace's name.
    pub namespace: String,
    /// What the type begins with; empty for all.
    pub type_prefix: String,
    /// What the page before gave as `next`.
    pub after: Option<String>,
    /// Most records, at least 1.
    pub limit: usize,
}

/// A person's vault, opened with the key of one agent. What that key was not granted is refused or not seen, whatever
/// the run's own grant says.
///
/// Requests have been checked for their form and allowed by the policy. `curate` says whether the policy lets the agent
/// change what others wrote; without it an operation on others' versions is denied. Writes are durable when they return,
/// and each names the run by the hash of its journal's first entry, which covers component, grant, input and seed.
pub trait Vault: Send + Sync {
    /// The namespaces shared with the agent.
    fn namespaces<'a>(&'a self) -> BoxFuture<'a, Result<Vec<(String, Access)>, Error>>;

    /// Current records, the oldest first.
    fn list<'a>(&'a self, query: VaultQuery) -> BoxFuture<'a, Result<VaultPage, Error>>;

    /// One current version, by its own id or its lineage.
    fn get<'a>(
        &'a self,
        namespace: String,
        id: String,
    ) -> BoxFuture<'a, Result<Option<VaultItem>, Error>>;

    /// Adds records, all or none.
    fn append<'a>(
        &'a self,
        namespace: String,
        drafts: Vec<VaultDraft>,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>>;

    /// Writes a version in place of others.
    fn supersede<'a>(
        &'a self,
        namespace: String,
        targets: Vec<String>,
        draft: VaultDraft,
        run: Option<EntryHash>,
        curate: bool,
    ) -> BoxFuture<'a, Result<String, Error>>;

    /// Hides versions.
    fn retract<'a>(
        &'a self,
        namespace: String,
        targets: Vec<String>,
        reason: String,
        run: Option<EntryHash>,
        curate: bool,
    ) -> BoxFuture<'a, Result<String, Error>>;
}

/// A person's long-term memory, as far as one agent may use it.
///
/// Requests have been checked for their lengths and allowed by the policy, and what is said in the person's name is what the person
/// said. Whether the agent's own key may do it is the implementer's to check. Writes are durable when they return, and each
/// names the run as those of a [`Vault`] do.
pub trait Memory: Send + Sync {
    /// Takes in turns.
    fn remember<'a>(
        &'a self,
        namespace: String,
        turns: Vec<Turn>,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Remembered, Error>>;

    /// Answers a question. Of its numbers 0 means the memory's own.
    fn recall<'a>(
        &'a self,
        namespace: String,
        question: Question,
    ) -> BoxFuture<'a, Result<Recalled, Error>>;

    /// Who the person is.
    fn profile<'a>(&'a self, namespace: String) -> BoxFuture<'a, Result<Portrait, Error>>;

    /// Puts a text in the place of a fact; an empty one says that it is wrong.
    fn correct<'a>(
        &'a self,
        namespace: String,
        id: String,
        text: String,
        why: String,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<String, Error>>;

    /// Destroys memories and what is derived from them.
    fn forget<'a>(
        &'a self,
        namespace: String,
        ids: Vec<String>,
        reason: String,
        run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Forgotten, Error>>;
}

/// Where a run's output goes while it goes on. Called with the journal entry already written.
pub trait OutputSink: Send {
    /// Shows text.
    fn emit(&mut self, text: &str) -> io::Result<()>;

    /// Shows a line of the guest's log. `frame` 0 is the agent, tools count from 1.
    fn log(&mut self, frame: u32, level: Level, message: &str) -> io::Result<()>;
}

/// The time.
pub trait Clock: Send + Sync {
    /// Now, since 1970-01-01T00:00:00Z.
    fn now(&self) -> Timestamp;
}

/// Chance.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` with what nobody can guess.
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()>;
}

/// Everything a run is given, apart from its output.
#[derive(Clone)]
pub struct Services {
    /// Language models.
    pub inference: Arc<dyn Inference>,
    /// The person's vault.
    pub vault: Arc<dyn Vault>,
    /// The person's long-term memory.
    pub memory: Arc<dyn Memory>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

impl Services {
    /// The clock and the randomness of this machine, the given models, no vault and no memory.
    pub fn system(inference: Arc<dyn Inference>) -> Self {
        Self {
            inference,
            vault: Arc::new(NoVault),
            memory: Arc::new(NoMemory),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        }
    }
}

/// No models at all: for agents that need none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoInference;

impl Inference for NoInference {
    fn models(&self) -> Vec<(String, Digest)> {
        Vec::new()
    }

    fn embedding_model(&self) -> Result<String, String> {
        Err("no embedding model here".into())
    }

    fn leaves_machine(&self, _model: &str) -> bool {
        false
    }

    fn chat<'a>(
        &'a self,
        request: ChatRequest,
        _context: CallContext,
    ) -> BoxFuture<'a, Result<Box<dyn Generation>, Error>> {
        Box::pin(async move {
            Err(Error::Unavailable(format!(
                "no model {:?} here",
                request.model
            )))
        })
    }

    fn embed<'a>(
        &'a self,
        model: &'a str,
        _texts: Vec<String>,
        _context: CallContext,
    ) -> BoxFuture<'a, Result<Embeddings, Error>> {
        Box::pin(async move { Err(Error::Unavailable(format!("no model {model:?} here"))) })
    }
}

/// No vault: the run was started without one.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoVault;

impl NoVault {
    fn answer<'a, T: Send + 'a>(self) -> BoxFuture<'a, Result<T, Error>> {
        Box::pin(async {
            Err(Error::Unavailable(
                "the run was started without a vault".into(),
            ))
        })
    }
}

impl Vault for NoVault {
    fn namespaces<'a>(&'a self) -> BoxFuture<'a, Result<Vec<(String, Access)>, Error>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn list<'a>(&'a self, _query: VaultQuery) -> BoxFuture<'a, Result<VaultPage, Error>> {
        self.answer()
    }

    fn get<'a>(
        &'a self,
        _namespace: String,
        _id: String,
    ) -> BoxFuture<'a, Result<Option<VaultItem>, Error>> {
        self.answer()
    }

    fn append<'a>(
        &'a self,
        _namespace: String,
        _drafts: Vec<VaultDraft>,
        _run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Vec<String>, Error>> {
        self.answer()
    }

    fn supersede<'a>(
        &'a self,
        _namespace: String,
        _targets: Vec<String>,
        _draft: VaultDraft,
        _run: Option<EntryHash>,
        _curate: bool,
    ) -> BoxFuture<'a, Result<String, Error>> {
        self.answer()
    }

    fn retract<'a>(
        &'a self,
        _namespace: String,
        _targets: Vec<String>,
        _reason: String,
        _run: Option<EntryHash>,
        _curate: bool,
    ) -> BoxFuture<'a, Result<String, Error>> {
        self.answer()
    }
}

/// No memory: the run was started without a vault, where memories lie.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn remember<'a>(
        &'a self,
        _namespace: String,
        _turns: Vec<Turn>,
        _run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Remembered, Error>> {
        NoVault.answer()
    }

    fn recall<'a>(
        &'a self,
        _namespace: String,
        _question: Question,
    ) -> BoxFuture<'a, Result<Recalled, Error>> {
        NoVault.answer()
    }

    fn profile<'a>(&'a self, _namespace: String) -> BoxFuture<'a, Result<Portrait, Error>> {
        NoVault.answer()
    }

    fn correct<'a>(
        &'a self,
        _namespace: String,
        _id: String,
        _text: String,
        _why: String,
        _run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<String, Error>> {
        NoVault.answer()
    }

    fn forget<'a>(
        &'a self,
        _namespace: String,
        _ids: Vec<String>,
        _reason: String,
        _run: Option<EntryHash>,
    ) -> BoxFuture<'a, Result<Forgotten, Error>> {
        NoVault.answer()
    }
}

/// Output that nobody wants to see.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoOutput;

impl OutputSink for NoOutput {
    fn emit(&mut self, _text: &str) -> io::Result<()> {
        Ok(())
    }

    fn log(&mut self, _frame: u32, _level: Level, _message: &str) -> io::Result<()> {
        Ok(())
    }
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_epoch(now)
    }
}

/// The randomness of this machine's operating system, stretched so that a run does not wait for a system call.
///
/// Each thread has a pool, keyed by the operating system at first use. To fill it, the BLAKE3 stream of its key is taken:
/// the first 32 bytes are the next key, the rest is given out, each byte once and wiped as it goes. So what was given out
/// cannot be found again from what is in memory later.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

/// Eight runs' worth; the stream is made sixteen blocks of 64 bytes at a time.
const POOL_LEN: usize = 1024;
const KEY_LEN: usize = 32;

/// A key, and after it what may still be given out, from `next` on.
struct EntropyPool {
    bytes: Zeroizing<[u8; POOL_LEN]>,
    next: usize,
}

impl EntropyPool {
    fn new() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; POOL_LEN]);
        getrandom::fill(&mut bytes[..KEY_LEN]).map_err(io::Error::from)?;
        Ok(Self {
            bytes,
            next: POOL_LEN,
        })
    }

    fn refill(&mut self) {
        let key = self
            .bytes
            .first_chunk::<KEY_LEN>()
            .expect("the pool is longer than its key");
        let mut stream = blake3::Hasher::new_keyed(key).finalize_xof();
        stream.fill(&mut *self.bytes);
        self.next = KEY_LEN;
    }

    fn draw(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            if self.next == POOL_LEN {
                self.refill();
            }
            let len = out.len().min(POOL_LEN - self.next);
            let (now, later) = out.split_at_mut(len);
            let given = &mut self.bytes[self.next..self.next + len];
            now.copy_from_slice(given);
            given.zeroize();
            self.next += len;
            out = later;
        }
    }
}

thread_local! {
    static ENTROPY: RefCell<Option<EntropyPool>> = const { RefCell::new(None) };
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) -> io::Result<()> {
        ENTROPY.with_borrow_mut(|slot| {
            let pool = match slot {
                Some(pool) => pool,
                None => slot.insert(EntropyPool::new()?),
            };
            pool.draw(bytes);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_does_not_repeat() {
        let draw = || {
            let mut bytes = [0; 24];
            SystemEntropy
                .fill(&mut bytes)
                .expect("the operating system has randomness");
            bytes
        };
        let here: std::collections::BTreeSet<_> = (0..1000).map(|_| draw()).collect();
        assert_eq!(here.len(), 1000);
        let there = std::thread::spawn(draw)
            .join()
            .expect("drawing does not panic");
        assert!(!here.contains(&there), "another thread has another key");
    }

    #[test]
    fn what_was_given_out_is_no_longer_there() {
        let mut pool = EntropyPool::new().expect("the operating system has randomness");
        let mut out = [0; 3 * POOL_LEN];
        for len in [1, 31, 500, POOL_LEN, 3 * POOL_LEN] {
            let out = &mut out[..len];
            pool.draw(out);
            assert!(
                pool.bytes[KEY_LEN..pool.next].iter().all(|byte| *byte == 0),
                "{len}"
            );
            assert!(len < 31 || out.iter().any(|byte| *byte != 0));
            // Nor is the key that made them: the next one is not the last.
            let key = pool.bytes[..KEY_LEN].to_vec();
            pool.refill();
            assert_ne!(key, pool.bytes[..KEY_LEN]);
        }
    }
}
