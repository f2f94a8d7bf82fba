//! What a node counts, for Prometheus.

use commonware_runtime::Metrics as Registry;
use commonware_runtime::telemetry::metrics::{Counter, Gauge};

/// The counts. Names and meanings are on `docs/node.md`.
pub(crate) struct Metrics {
    pub(crate) height: Gauge,
    pub(crate) validators: Gauge,
    pub(crate) votes: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) blocks: Counter,
    pub(crate) transactions: Counter,
    pub(crate) receipts: Counter,
    pub(crate) submitted: Counter,
    pub(crate) proposed: Counter,
    pub(crate) refused: Counter,
    pub(crate) faults: Counter,
}

impl Metrics {
    pub(crate) fn new(context: &impl Registry) -> Self {
        let gauge = |name: &str, help: &str| context.register(name, help, Default::default());
        let counter = |name: &str, help: &str| context.register(name, help, Default::default());
        Self {
            height: gauge("tally_height", "The last final block"),
            validators: gauge("tally_validators", "Validators of this epoch"),
            votes: gauge("tally_votes", "Whether this node is one of them"),
            waiting: gauge("tally_waiting", "Transactions that wait for a block"),
            blocks: counter("tally_blocks", "Final blocks"),
            transactions: counter("tally_transactions", "Transactions in final blocks"),
            receipts: counter("tally_receipts", "Receipts in final blocks"),
            submitted: counter("tally_submitted", "Transactions that were acknowledged"),
            proposed: counter("tally_proposed", "Blocks that this node made"),
            refused: counter("tally_refused", "Blocks of others that this node refused"),
            faults: counter(
                "tally_faults",
                "Proofs that a validator signed what excludes each other",
            ),
        }
    }
}
