//! How much a run may use.

use crate::units::{Bytes, Calls, Fuel, Handles, Millis, Tokens};

/// The limits of one run. All are on; none can be switched off, only set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Instructions.
    pub fuel: Fuel,
    /// All linear memories and tables together.
    pub memory: Bytes,
    /// From start to end, host calls included.
    pub wall: Millis,
    /// The longest single host call.
    pub call_wall: Millis,
    /// Of all inference calls, prompt and completion.
    pub tokens: Tokens,
    /// Shown and logged.
    pub output: Bytes,
    /// Open at once.
    pub handles: Handles,
    /// Into the host.
    pub calls: Calls,
    /// One request to the host, or one answer.
    pub request: Bytes,
    /// What the run is started with.
    pub input: Bytes,
}

/// What a run gets when its grant does not say: enough for an interpreted agent with a small local model, and little
/// enough that a mistake ends while somebody is watching.
pub const DEFAULT_LIMITS: Limits = Limits {
    // About ten seconds of a busy loop. CPython spends about one billion on a large import, QuickJS far less.
    fuel: Fuel::new(20_000_000_000),
    // A CPython guest starts with about 30 MiB and grows by what it reads; a Rust guest needs one or two.
    memory: Bytes::new(256 << 20),
    // A small model on two cores writes about 20 tokens a second: ten minutes are some 10,000 tokens and the thinking.
    wall: Millis::new(600_000),
    // One long generation, and no more than half the run.
    call_wall: Millis::new(300_000),
    // Ten turns that each read a context of 8,000 tokens and write 2,000.
    tokens: Tokens::new(100_000),
    // Far more than a person reads.
    output: Bytes::new(4 << 20),
    // Generations running at once: eight times what one model is scheduled with.
    handles: Handles::new(64),
    // At some 300 bytes an entry, a journal of 30 MiB.
    calls: Calls::new(100_000),
    // A long document, several times over; the journal takes eight times as much.
    request: Bytes::new(8 << 20),
    // The same, and a 100 MB input is refused before anything runs.
    input: Bytes::new(8 << 20),
};

/// Budgets as a file states them: none where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// See [`Limits::fuel`].
    pub fuel: Option<Fuel>,
    /// See [`Limits::memory`].
    pub memory: Option<Bytes>,
    /// See [`Limits::wall`].
    pub wall: Option<Millis>,
    /// See [`Limits::call_wall`].
    pub call_wall: Option<Millis>,
    /// See [`Limits::tokens`].
    pub tokens: Option<Tokens>,
    /// See [`Limits::output`].
    pub output: Option<Bytes>,
    /// See [`Limits::handles`].
    pub handles: Option<Handles>,
    /// See [`Limits::calls`].
    pub calls: Option<Calls>,
    /// See [`Limits::request`].
    pub request: Option<Bytes>,
    /// See [`Limits::input`].
    pub input: Option<Bytes>,
}

/// Runs `$body` for each budget; adding one is one line here and one field in each struct.
macro_rules! for_each_budget {
    ($mac:ident) => {
        $mac! {
            call_wall: Millis = "call-wall-ms";
            calls: Calls = "calls";
            fuel: Fuel = "fuel";
            handles: Handles = "handles";
            input: Bytes = "input-bytes";
            memory: Bytes = "memory-bytes";
            output: Bytes = "output-bytes";
            request: Bytes = "request-bytes";
            tokens: Tokens = "tokens";
            wall: Millis = "wall-ms";
        }
    };
}

macro_rules! budgets {
    ($($field:ident: $unit:ident = $key:literal;)*) => {
        impl Budgets {
            /// The keys that a file may use, sorted.
            pub(crate) const KEYS: &[&str] = &[$($key),*];

            /// Every budget set to the limit.
            pub fn of(limits: &Limits) -> Self {
                Self { $($field: Some(limits.$field)),* }
            }

            /// The smaller of both, budget by budget. Saying nothing is saying the default here, so what only one side
            /// states cannot raise the other's.
            #[must_use]
            pub fn narrow(&self, other: &Self) -> Self {
                Self { $($field: smaller(self.$field, other.$field, DEFAULT_LIMITS.$field)),* }
            }

            /// These limits, lowered to what is stated here.
            pub(crate) fn lower(&self, limits: &Limits) -> Limits {
                Limits { $($field: self.$field.map_or(limits.$field, |stated| stated.min(limits.$field))),* }
            }

            /// What is stated here, and the default where nothing is.
            pub(crate) fn or_default(&self) -> Limits {
                Limits { $($field: self.$field.unwrap_or(DEFAULT_LIMITS.$field)),* }
            }

            pub(crate) fn set(&mut self, key: &str, amount: u64) {
                match key {
                    $($key => self.$field = Some($unit::new(amount)),)*
                    _ => unreachable!("the document's keys were checked against KEYS"),
                }
            }

            /// Key and amount of each budget stated, sorted by key.
            pub fn to_named(&self) -> Vec<(&'static str, u64)> {
                [$(($key, self.$field.map($unit::get))),*]
                    .into_iter()
                    .filter_map(|(key, amount)| Some((key, amount?)))
                    .collect()
            }
        }

        impl Limits {
            /// Key and amount of each limit, sorted by key: how a journal records them.
            pub fn to_named(&self) -> Vec<(&'static str, u64)> {
                vec![$(($key, self.$field.get())),*]
            }
        }
    };
}

for_each_budget!(budgets);

fn smaller<T: Ord>(a: Option<T>, b: Option<T>, default: T) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (Some(stated), None) | (None, Some(stated)) => Some(stated.min(default)),
        (None, None) => None,
    }
}
