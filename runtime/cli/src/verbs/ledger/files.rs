//! Files that people hand to one another: decisions, registrations, vouchers.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use tally_durable::Access;
use tally_ledger::{ChainId, NotAValidator, Validator};
use tally_node::Governance;

use crate::failure::{Failure, OrFail, Outcome};
use crate::network::Network;

pub(super) fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).or_misuse(format_args!("read {}", path.display()))
}

/// Makes a file. One that is there is not written over: others may have signed it.
pub(super) fn make(path: &Path, text: &str) -> Outcome {
    File::create_new(path)
        .and_then(|mut new| new.write_all(text.as_bytes()))
        .and_then(|()| tally_durable::sync(path))
        .or_misuse(format_args!("make {}", path.display()))
}

/// Writes a file anew, all of it or nothing.
pub(super) fn replace(path: &Path, text: &str) -> Outcome {
    tally_durable::write_file(path, text.as_bytes(), Access::Umask)
        .or_environment(format_args!("write {}", path.display()))
}

/// Why a file is not used that is of another chain than the network's.
pub(super) fn of_another_chain(path: &Path, of: ChainId, network: &Network) -> Failure {
    Failure::misuse(format_args!(
        "{} is of the chain {of}, and {} begins the chain {}",
        path.display(),
        network.file.display(),
        network.genesis.chain()
    ))
    .advise("name the genesis file of its chain with --network FILE")
}

/// Why a key does not sign, and who may.
pub(super) fn has_no_say(error: NotAValidator, governance: &Governance) -> Failure {
    Failure::no(error).advise(format_args!(
        "who votes now: {}",
        names(governance.validators.as_slice()).join(", ")
    ))
}

pub(super) fn names<'a>(validators: impl IntoIterator<Item = &'a Validator>) -> Vec<&'a str> {
    let validators = validators.into_iter();
    validators.map(|one| one.name.as_str()).collect()
}
