//! What a run may use, and what it means that a limit is used up.
//!
//! The limits are those of `tally-capability`: the grant's budgets, lowered by the manifest's, with defaults. Every limit
//! is on; each ends a run, or a call, in a way that is named.

use tally_capability::{Bytes, Calls, Fuel, Handles, Millis, Tokens};
pub use tally_capability::{DEFAULT_LIMITS, Limits};

/// The limits as a journal's first entry lists them.
pub(crate) fn to_named(limits: &Limits) -> Vec<(String, u64)> {
    limits
        .to_named()
        .into_iter()
        .map(|(name, amount)| (name.to_owned(), amount))
        .collect()
}

/// Reads what [`to_named`] wrote; `None` when a name is missing or unknown.
pub(crate) fn from_named(named: &[(String, u64)]) -> Option<Limits> {
    let get = |name: &str| {
        named
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, amount)| *amount)
    };
    let limits = Limits {
        fuel: Fuel::new(get("fuel")?),
        memory: Bytes::new(get("memory-bytes")?),
        wall: Millis::new(get("wall-ms")?),
        call_wall: Millis::new(get("call-wall-ms")?),
        tokens: Tokens::new(get("tokens")?),
        output: Bytes::new(get("output-bytes")?),
        handles: Handles::new(get("handles")?),
        calls: Calls::new(get("calls")?),
        request: Bytes::new(get("request-bytes")?),
        input: Bytes::new(get("input-bytes")?),
    };
    (limits.to_named().len() == named.len()).then_some(limits)
}

/// A limit that ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// Fuel.
    Fuel,
    /// Memories and tables together.
    Memory,
    /// Wall time.
    WallTime,
    /// The guest's stack: endless or very deep recursion.
    Stack,
    /// Host calls.
    Calls,
    /// Bytes shown and logged.
    OutputBytes,
    /// Bytes of one request or reply.
    RequestBytes,
}

impl Exhausted {
    /// The name in journals and receipts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fuel => "fuel",
            Self::Memory => "memory-bytes",
            Self::WallTime => "wall-ms",
            Self::Stack => "stack",
            Self::Calls => "calls",
            Self::OutputBytes => "output-bytes",
            Self::RequestBytes => "request-bytes",
        }
    }
}

/// Sums every memory and table of a store, and stops the guest at the first byte too many.
///
/// Growth is refused by this count and never by the operating system, so that it happens at the same instruction
/// wherever the run is repeated.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    limit: u64,
    used: u64,
    peak: u64,
}

/// The guest asked for more memory than its limit.
#[derive(Debug, thiserror::Error)]
#[error("the guest asked for {wanted} bytes of memory in all; its limit is {limit}")]
pub(crate) struct MemoryExceeded {
    wanted: u64,
    limit: u64,
}

impl MemoryMeter {
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            limit,
            used: 0,
            peak: 0,
        }
    }

    /// The most that was used at once, a callee's peak included when it was reported with [`MemoryMeter::callee`].
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    pub(crate) fn callee(&mut self, peak: u64) {
        self.peak = self.peak.max(self.used + peak);
    }

    pub(crate) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    fn grow(&mut self, by: u64) -> wasmtime::Result<bool> {
        let wanted = self.used.saturating_add(by);
        if wanted > self.limit {
            return Err(wasmtime::Error::new(MemoryExceeded {
                wanted,
                limit: self.limit,
            }));
        }
        self.used = wanted;
        self.peak = self.peak.max(wanted);
        Ok(true)
    }
}

/// What one table element takes in the host.
const TABLE_ELEMENT_BYTES: u64 = 8;

impl wasmtime::ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // beyond the guest's own declaration: its own business
        }
        self.grow((desired - current) as u64)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow((desired - current) as u64 * TABLE_ELEMENT_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_survive_a_journal() {
        let limits = Limits {
            fuel: Fuel::new(7),
            ..DEFAULT_LIMITS
        };
        let named = to_named(&limits);
        assert!(named.is_sorted());
        assert_eq!(from_named(&named), Some(limits));
        assert_eq!(from_named(&named[1..]), None);
        let more = [named, vec![("zeal".into(), 1)]].concat();
        assert_eq!(from_named(&more), None, "an unknown limit is not ignored");
    }

    #[test]
    fn memories_and_tables_are_summed() {
        use wasmtime::ResourceLimiter as _;
        let mut meter = MemoryMeter::new(200);
        assert!(meter.memory_growing(0, 100, None).unwrap());
        assert!(meter.memory_growing(0, 60, None).unwrap());
        assert!(meter.table_growing(0, 5, None).unwrap());
        assert!(meter.memory_growing(100, 101, None).is_err());
        assert_eq!((meter.left(), meter.peak()), (0, 200));
    }
}
