//! A WASI 0.2 that is a function of the journal, for stock `wasm32-wasip2` builds.
//!
//! Nothing of the outside is in it. Clocks start from the journal's first entry and move on by themselves; random sources
//! are seeded from it; there are no arguments, variables, files or sockets; standard input is empty; what is printed goes
//! to the log, journaled at the next host call or at the end of the frame. Sleeping takes no time: a timer is ready at
//! once and moves the clock to where it would have rung.
//!
//! So that a journal needs no entry for a WASI call, each is a pure function of the guest's own calls and of:
//!
//! ```text
//! wall clock       clock_base + ticks, one microsecond a look
//! monotonic clock  ticks
//! secure random    BLAKE3 XOF of derive_key("tally engine v1 wasi secure random", seed || u32le(frame))
//! insecure random  the same with "… insecure random"; its seed for hash maps is the first 16 bytes of it
//! ```

use super::Host;
use crate::cbor::Bytes as ByteString;
use crate::contract::Level;
use crate::effects::{WASI_STDERR, WASI_STDOUT};
use crate::limits::Exhausted;
use crate::policy::Verdict;
use crate::session::{Begun, Stop, open};
use bytes::Bytes;
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{
    DynPollable, OutputStream, Pollable, StreamError, StreamResult, subscribe,
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

/// Interfaces of WASI 0.2 that are linked.
const GIVEN: [&str; 29] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    // Linked because standard libraries import them; every call is refused.
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/types",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
    "wasi:filesystem/environment",
];

/// Bytes printed between two host calls beyond which the guest is stopped.
const PRINTED_MAX: usize = 1 << 20;
/// What one look at a clock adds to it.
const TICK: u64 = 1_000; // nanoseconds

/// Whether an import is a WASI interface that is linked.
pub(crate) fn gives(import: &str) -> bool {
    import
        .split_once('@')
        .is_some_and(|(name, version)| GIVEN.contains(&name) && version.starts_with("0.2."))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

type Printed = Arc<Mutex<Vec<(Stream, Vec<u8>)>>>;

/// The WASI of one frame.
pub(crate) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
    ticks: Arc<AtomicU64>,
    printed: Printed,
}

impl Wasi {
    pub(crate) fn new(seed: &[u8; 32], frame: u32, clock_base: Duration) -> Self {
        let ticks = Arc::new(AtomicU64::new(0));
        let printed = Printed::default();
        let secure = Stretched::new("tally engine v1 wasi secure random", seed, frame);
        let mut insecure = Stretched::new("tally engine v1 wasi insecure random", seed, frame);
        let mut hash_seed = [0; 16];
        insecure.0.fill(&mut hash_seed);
        let mut builder = WasiCtx::builder();
        builder
            .secure_random(secure)
            .insecure_random(insecure)
            .insecure_random_seed(u128::from_le_bytes(hash_seed))
            .max_random_size(1 << 20)
            .wall_clock(WallClock {
                base: clock_base,
                ticks: ticks.clone(),
            })
            .monotonic_clock(Monotonic(ticks.clone()))
            .stdout(Pipe {
                stream: Stream::Stdout,
                printed: printed.clone(),
            })
            .stderr(Pipe {
                stream: Stream::Stderr,
                printed: printed.clone(),
            })
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        let mut table = ResourceTable::new();
        table.set_max_capacity(1024);
        Self {
            ctx: builder.build(),
            table,
            ticks,
            printed,
        }
    }

    pub(crate) fn has_printed(&self) -> bool {
        !self
            .printed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_empty()
    }
}

impl WasiView for Host {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = self
            .wasi
            .as_mut()
            .expect("a component that imports WASI is given one");
        WasiCtxView {
            ctx: &mut wasi.ctx,
            table: &mut wasi.table,
        }
    }
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<Host, Timers>(linker, |host| {
        let wasi = host
            .wasi
            .as_mut()
            .expect("a component that imports WASI is given one");
        TimersView {
            ticks: &wasi.ticks,
            table: &mut wasi.table,
        }
    })?;
    linker.allow_shadowing(false);
    Ok(())
}

/// A stream of bytes that a seed determines.
struct Stretched(blake3::OutputReader);

impl Stretched {
    fn new(context: &str, seed: &[u8; 32], frame: u32) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(seed).update(&frame.to_le_bytes());
        Self(hasher.finalize_xof())
    }
}

impl rand_core::TryRng for Stretched {
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
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

fn look(ticks: &AtomicU64) -> u64 {
    ticks.fetch_add(TICK, Ordering::Relaxed)
}

struct WallClock {
    base: Duration,
    ticks: Arc<AtomicU64>,
}

impl HostWallClock for WallClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(TICK)
    }
    fn now(&self) -> Duration {
        self.base + Duration::from_nanos(look(&self.ticks))
    }
}

struct Monotonic(Arc<AtomicU64>);

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        TICK
    }
    fn now(&self) -> u64 {
        look(&self.0)
    }
}

struct Timers;

impl wasmtime::component::HasData for Timers {
    type Data<'a> = TimersView<'a>;
}

struct TimersView<'a> {
    ticks: &'a Arc<AtomicU64>,
    table: &'a mut ResourceTable,
}

impl TimersView<'_> {
    fn timer(&mut self, at: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let timer = self.table.push(Timer {
            at,
            ticks: self.ticks.clone(),
        })?;
        subscribe(self.table, timer)
    }
}

impl monotonic_clock::Host for TimersView<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        Ok(look(self.ticks))
    }
    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(TICK)
    }
    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.timer(when)
    }
    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.timer(self.ticks.load(Ordering::Relaxed).saturating_add(duration))
    }
}

/// Rings when it is looked at, and says that its time has come.
struct Timer {
    at: u64,
    ticks: Arc<AtomicU64>,
}

#[wasmtime_wasi::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        self.ticks.fetch_max(self.at, Ordering::Relaxed);
    }
}

/// Standard output or error.
#[derive(Clone)]
struct Pipe {
    stream: Stream,
    printed: Printed,
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    // Not reached: it belongs to WASI 0.3, which is not linked.
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        Box::new(Nowhere)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Pipe {
    async fn ready(&mut self) {}
}

impl OutputStream for Pipe {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
        if printed.iter().map(|(_, chunk)| chunk.len()).sum::<usize>() + bytes.len() > PRINTED_MAX {
            return Err(StreamError::Trap(
                Stop::Limit(Exhausted::OutputBytes).raise(),
            ));
        }
        match printed.last_mut() {
            Some((stream, chunk)) if *stream == self.stream => chunk.extend_from_slice(&bytes),
            _ => printed.push((self.stream, bytes.to_vec())),
        }
        Ok(())
    }
    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

struct Nowhere;

impl tokio::io::AsyncWrite for Nowhere {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Serialize)]
struct Write {
    bytes: ByteString,
}

/// Journals and shows what was printed since the last host call.
pub(crate) fn drain(cx: &mut StoreContextMut<'_, Host>) -> wasmtime::Result<()> {
    let Some(wasi) = &cx.data().wasi else {
        return Ok(());
    };
    let printed = std::mem::take(&mut *wasi.printed.lock().unwrap_or_else(PoisonError::into_inner));
    for (stream, chunk) in printed {
        let (effect, level) = match stream {
            Stream::Stdout => (&WASI_STDOUT, Level::Info),
            Stream::Stderr => (&WASI_STDERR, Level::Warn),
        };
        let request = Write {
            bytes: ByteString(chunk),
        };
        let pending = match open(cx, effect, &request, Verdict::given, false)? {
            Begun::Answered(()) => None,
            Begun::Live(pending) => Some(pending),
        };
        let text = String::from_utf8_lossy(&request.bytes.0);
        super::env::print(cx, pending, level, text.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::TryRng as _;

    #[test]
    fn only_the_second_version_of_wasi_is_given() {
        assert!(gives("wasi:cli/stdout@0.2.6"));
        assert!(!gives("wasi:cli/stdout@0.3.0"));
        assert!(!gives("wasi:http/types@0.2.0"));
        assert!(!gives("wasi:cli/stdout"));
    }

    #[test]
    fn chance_is_a_function_of_seed_and_frame() {
        let draw = |context: &str, seed: u8, frame| {
            Stretched::new(context, &[seed; 32], frame)
                .try_next_u64()
                .unwrap_or_else(|never| match never {})
        };
        assert_eq!(draw("a", 1, 0), draw("a", 1, 0));
        assert_ne!(draw("a", 1, 0), draw("a", 1, 1));
        assert_ne!(draw("a", 1, 0), draw("a", 2, 0));
        assert_ne!(draw("a", 1, 0), draw("b", 1, 0));
    }
}
