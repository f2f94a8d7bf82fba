//! Everything a vault takes from outside: a file system, a clock, randomness, and how many cores it may use.
//!
//! A test passes its own of each; a program calls [`Environment::of_this_computer`].

use std::convert::Infallible;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rand_core::{TryCryptoRng, TryRng};
use zeroize::{Zeroize as _, Zeroizing};

use crate::fs::{Fs, RealFs};

/// A wall clock.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// A source of randomness fit for keys.
pub trait Random: Send + Sync {
    /// Fills `buffer`.
    ///
    /// # Errors
    /// When the source is dry; the caller then writes nothing.
    fn fill(&self, buffer: &mut [u8]) -> io::Result<()>;
}

/// What a vault takes from outside.
#[derive(Clone)]
pub struct Environment {
    /// Where files are.
    pub fs: Arc<dyn Fs>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where keys come from.
    pub random: Arc<dyn Random>,
    /// How many threads opening a vault may use.
    pub threads: NonZeroUsize,
}

impl Environment {
    /// The real disk, clock and randomness, and all cores.
    #[must_use]
    pub fn of_this_computer() -> Self {
        Self {
            fs: Arc::new(RealFs),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// The computer's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        // A clock before 1970 is a clock at 1970: times in a log increase all the same.
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) -> io::Result<()> {
        getrandom::fill(buffer).map_err(io::Error::other)
    }
}

/// Randomness for one piece of work: drawn once, so that it can only fail before anything was written, and then
/// expanded by BLAKE3.
pub(crate) struct Rng(blake3::OutputReader);

impl Rng {
    pub(crate) fn new(environment: &Environment) -> io::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        environment.random.fill(&mut *seed)?;
        let mut hasher = blake3::Hasher::new_derive_key("tally vault v1 2026-11-21 randomness");
        hasher.update(&*seed);
        let reader = hasher.finalize_xof();
        hasher.zeroize();
        Ok(Self(reader))
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }
}

impl Drop for Rng {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl TryRng for Rng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(buffer);
        Ok(())
    }
}

impl TryCryptoRng for Rng {}
