//! The one configuration of wasmtime: what a guest can observe, and how many guests fit.
//!
//! Two engines share every setting that compiled code depends on and differ in their pools only. *Native* has many
//! slots for components of one memory (Rust, C); *interpreted* has fewer slots, each with room for the many core
//! instances and several memories that JavaScript and Python components are made of.
//!
//! Determinism: NaNs are canonical, relaxed SIMD is strict, there are no threads, no garbage-collected types, no
//! component-model async, and fuel counts every instruction. There is no epoch: it would make the code differ.
//!
//! Each linear memory reserves 4 GiB of address space and a 32 MiB guard, which lets compiled code leave out bounds
//! checks. Where the address space is limited (`ulimit -v`), pools shrink until they fit, and [`Pools`] says so.

use crate::cache::CodeCache;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use tally_journal::{Digest, EngineFingerprint};
use tokio::sync::Semaphore;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

/// The version of wasmtime in `Cargo.lock`. Fuel counts are bound to it.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// Deepest guest stack, in bytes. Beyond it the guest ends with the limit `stack`.
const STACK_BYTES: usize = 1 << 20;
/// The stack that host functions called by a guest have besides.
const HOST_STACK_BYTES: usize = 1 << 20;
const RESERVATION_BYTES: u64 = 4 << 30;
const GUARD_BYTES: u64 = 32 << 20;
/// Fuel between two looks at the clock: some milliseconds of a busy loop.
pub(crate) const YIELD_FUEL: u64 = 10_000_000;

/// How to set up an [`Engine`].
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where compiled code is kept; nowhere when `None`.
    pub cache_dir: Option<PathBuf>,
    /// Runs of single-memory components at once.
    pub native_slots: u32,
    /// Runs of interpreter components at once.
    pub interpreted_slots: u32,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            cache_dir: None,
            native_slots: 4_096,
            interpreted_slots: 1_000,
        }
    }
}

/// Which pool a component runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// One memory, few core instances.
    Native,
    /// Several memories, many core instances.
    Interpreted,
}

/// How many runs fit at once, and whether that is what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pools {
    /// Slots of the native pool.
    pub native: u32,
    /// Slots of the interpreted pool.
    pub interpreted: u32,
    /// Address space was short: there are fewer slots than were asked for.
    pub reduced: bool,
}

/// Why an engine could not be set up. All of it is for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// Not even the smallest pool fits.
    #[error(
        "reserve address space for {slots} agents: {reason}; raise the limit on virtual memory (`ulimit -v unlimited`)"
    )]
    AddressSpace {
        /// The smallest pool that was tried.
        slots: u32,
        /// What wasmtime said.
        reason: String,
    },
    /// The directory of compiled code cannot be used.
    #[error("use {path} for compiled code: {source}", path = path.display())]
    Cache {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// One of the two wasmtime engines, and who may enter it.
pub(crate) struct Pool {
    pub(crate) kind: PoolKind,
    pub(crate) engine: wasmtime::Engine,
    /// One permit for each slot: a run waits here rather than fail in the allocator.
    pub(crate) admission: Semaphore,
    /// As many again for tools, so that agents that fill the pool can still call them.
    pub(crate) tools: Semaphore,
    pub(crate) slots: u32,
    pub(crate) linkers: crate::host::Linkers,
}

pub(crate) struct EngineInner {
    pub(crate) native: Pool,
    pub(crate) interpreted: Pool,
    pub(crate) reduced: bool,
    pub(crate) cache: Option<CodeCache>,
    pub(crate) fingerprint: EngineFingerprint,
}

/// Loads, runs and replays components. Cheap to clone; one for each process is enough.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<EngineInner>);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("pools", &self.pools())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Reserves the pools and opens the cache of compiled code.
    pub fn new(options: &EngineOptions) -> Result<Self, EngineError> {
        let cache = match &options.cache_dir {
            Some(path) => Some(CodeCache::open(path).map_err(|source| EngineError::Cache {
                path: path.clone(),
                source,
            })?),
            None => None,
        };
        let native = pool(PoolKind::Native, options.native_slots)?;
        let interpreted = pool(PoolKind::Interpreted, options.interpreted_slots)?;
        let reduced =
            native.slots < options.native_slots || interpreted.slots < options.interpreted_slots;
        if reduced {
            tracing::warn!(
                native = native.slots,
                interpreted = interpreted.slots,
                "address space is limited: fewer agents fit at once than were asked for"
            );
        }
        Ok(Self(Arc::new(EngineInner {
            native,
            interpreted,
            reduced,
            cache,
            fingerprint: fingerprint(),
        })))
    }

    /// What executes here. Fuel and results are comparable only between equal fingerprints.
    pub fn fingerprint(&self) -> &EngineFingerprint {
        &self.0.fingerprint
    }

    /// How many runs fit at once.
    pub fn pools(&self) -> Pools {
        Pools {
            native: self.0.native.slots,
            interpreted: self.0.interpreted.slots,
            reduced: self.0.reduced,
        }
    }

    pub(crate) fn pool(&self, kind: PoolKind) -> &Pool {
        match kind {
            PoolKind::Native => &self.0.native,
            PoolKind::Interpreted => &self.0.interpreted,
        }
    }
}

/// Tries the wanted number of slots, then a quarter of it, and so on.
fn pool(kind: PoolKind, wanted: u32) -> Result<Pool, EngineError> {
    let mut slots = wanted.max(1);
    loop {
        match wasmtime::Engine::new(&config(kind, slots.saturating_mul(2))) {
            Ok(engine) => {
                let linkers = crate::host::Linkers::new(&engine);
                return Ok(Pool {
                    kind,
                    engine,
                    admission: Semaphore::new(slots as usize),
                    tools: Semaphore::new(slots as usize),
                    slots,
                    linkers,
                });
            }
            Err(_) if slots > 4 => slots = (slots / 4).max(4),
            Err(error) => {
                return Err(EngineError::AddressSpace {
                    slots,
                    reason: format!("{error:#}"),
                });
            }
        }
    }
}

/// The configuration of a pool with room for this many stores.
fn config(kind: PoolKind, slots: u32) -> Config {
    let mut config = Config::new();
    // What a guest can observe; `observable` must name each of these.
    config
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(true)
        .relaxed_simd_deterministic(true)
        .concurrency_support(false)
        .gc_support(false)
        .wasm_gc(false)
        .wasm_memory64(false)
        .shared_memory(false)
        .consume_fuel(true)
        .max_wasm_stack(STACK_BYTES);
    // How it is done.
    config
        .async_stack_size(STACK_BYTES + HOST_STACK_BYTES)
        .memory_reservation(RESERVATION_BYTES)
        .memory_guard_size(GUARD_BYTES)
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(8))
        .parallel_compilation(true);
    let (instances, memories, tables) = match kind {
        PoolKind::Native => (8, 1, 4),
        PoolKind::Interpreted => (64, 4, 8),
    };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(instances))
        .total_memories(slots.saturating_mul(memories))
        .total_tables(slots.saturating_mul(tables))
        .total_stacks(slots)
        .max_core_instances_per_component(instances)
        .max_memories_per_component(memories)
        .max_tables_per_component(tables)
        .table_elements(20_000)
        .max_memory_size(RESERVATION_BYTES as usize)
        .max_core_instance_size(1 << 20)
        .max_component_instance_size(1 << 20)
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(512 << 10)
        .max_unused_warm_slots(100)
        .decommit_batch_size(16)
        .pagemap_scan(Enabled::Auto);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// Everything in [`config`] that a guest can observe, as the text whose digest stands in every journal.
fn observable() -> String {
    let mut text = String::from("tally engine v1\n");
    for (name, value) in [
        ("nan-canonicalization", 1),
        ("relaxed-simd-deterministic", 1),
        ("threads", 0),
        ("gc", 0),
        ("function-references", 0),
        ("exceptions", 0),
        ("memory64", 0),
        ("component-model-async", 0),
        ("fuel", 1),
        ("stack-bytes", STACK_BYTES),
        ("table-element-bytes", 8),
        ("yield-fuel", YIELD_FUEL as usize),
    ] {
        let _ = writeln!(text, "{name}={value}"); // writing to a String cannot fail
    }
    text
}

fn fingerprint() -> EngineFingerprint {
    EngineFingerprint {
        name: "wasmtime".into(),
        version: WASMTIME_VERSION.into(),
        config: Digest::from_bytes(*blake3::hash(observable().as_bytes()).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_linked() {
        let lock =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"))
                .unwrap();
        assert!(lock.contains(&format!(
            "name = \"wasmtime\"\nversion = \"{WASMTIME_VERSION}\"\n"
        )));
    }

    #[test]
    fn pools_of_any_size_can_be_had_and_share_compiled_code() {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let hash = |pool: &Pool| {
            let mut hasher = DefaultHasher::new();
            pool.engine
                .precompile_compatibility_hash()
                .hash(&mut hasher);
            hasher.finish()
        };
        let native = pool(PoolKind::Native, 3).unwrap();
        let interpreted = pool(PoolKind::Interpreted, 2).unwrap();
        assert_eq!((native.slots, interpreted.slots), (3, 2));
        assert_eq!(
            hash(&native),
            hash(&interpreted),
            "code compiled for one loads in the other"
        );
    }

    #[test]
    fn a_pool_that_does_not_fit_is_made_smaller() {
        // 4 GiB for each of 2^20 slots is more than 47 bits of address space.
        let pool = pool(PoolKind::Native, 1 << 20).unwrap();
        assert!(pool.slots < 1 << 20, "{}", pool.slots);
    }
}
