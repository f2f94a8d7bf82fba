//! Where the vectors of a memory are searched: here by comparing with all, by Qdrant's engine in this process, or on a Qdrant server.
//!
//! The last two are features of the build, since each brings hundreds of crates; without them asking for one is an error that
//! says how to build it. What a server gets to see: `docs/qdrant.md`.

use std::sync::Arc;

use tally_memory::MakeVectors;
use tally_recall::ExactVectors;

use crate::failure::Failure;
use crate::home::Home;

/// Asked for on the command line or by `TALLY_VECTORS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vectors {
    /// Compared with all, here.
    Exact,
    /// Qdrant's engine, in this process.
    Edge,
    /// A Qdrant server's address.
    Server(String),
}

impl std::str::FromStr for Vectors {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "exact" => Ok(Self::Exact),
            "edge" => Ok(Self::Edge),
            url if url.starts_with("http://") || url.starts_with("https://") => {
                Ok(Self::Server(url.to_owned()))
            }
            _ => Err(
                "`exact`, `edge`, or the address of a Qdrant server such as http://localhost:6334"
                    .to_owned(),
            ),
        }
    }
}

impl Vectors {
    /// What makes the index of the memory that is called `name` on this machine.
    pub(crate) fn maker(&self, home: &Home, name: &str) -> Result<MakeVectors, Failure> {
        match self {
            Self::Exact => Ok(Arc::new(|| Box::new(ExactVectors::new()))),
            Self::Edge => edge(),
            Self::Server(url) => server(home, name, url),
        }
    }
}

#[cfg(feature = "qdrant-edge")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it fails")]
fn edge() -> Result<MakeVectors, Failure> {
    use tally_qdrant::edge::{Shard, place};
    /// Below this, comparing with all takes a few milliseconds.
    const FROM: usize = 50_000;
    let _ = Shard::sweep(&place());
    Ok(Arc::new(|| match Shard::new(&place()) {
        Ok(shard) => Box::new(tally_qdrant::Assisted::new(Box::new(shard), FROM)),
        Err(error) => {
            eprintln!("tally: {error}; vectors are compared with all");
            Box::new(ExactVectors::new())
        }
    }))
}

#[cfg(not(feature = "qdrant-edge"))]
fn edge() -> Result<MakeVectors, Failure> {
    Err(absent("Qdrant's engine", "qdrant-edge"))
}

#[cfg(feature = "qdrant-server")]
fn server(home: &Home, name: &str, url: &str) -> Result<MakeVectors, Failure> {
    use tally_qdrant::rotation::RotationKey;
    use tally_qdrant::server::{Collection, ServerOptions};
    let seed = crate::home::seed_or_new(&home.path().join("vectors.key"))?;
    let (name, url) = (name.to_owned(), url.to_owned());
    let api_key = std::env::var("TALLY_QDRANT_API_KEY")
        .ok()
        .map(zeroize::Zeroizing::new);
    Ok(Arc::new(move || {
        // Another for each memory, so that a server does not learn which belong together.
        let key = blake3::keyed_hash(&seed, name.as_bytes());
        let options = ServerOptions {
            url: url.clone(),
            api_key: api_key.clone(),
            key: RotationKey::from_bytes(*key.as_bytes()),
            patience: std::time::Duration::from_secs(10),
        };
        match Collection::new(options) {
            Ok(collection) => Box::new(tally_qdrant::Assisted::new(Box::new(collection), 1)),
            Err(error) => {
                eprintln!("tally: {error}; vectors are compared with all");
                Box::new(ExactVectors::new())
            }
        }
    }))
}

#[cfg(not(feature = "qdrant-server"))]
fn server(_: &Home, _: &str, _: &str) -> Result<MakeVectors, Failure> {
    Err(absent("a client for Qdrant servers", "qdrant-server"))
}

#[cfg(not(all(feature = "qdrant-edge", feature = "qdrant-server")))]
fn absent(what: &str, feature: &str) -> Failure {
    Failure::environment(format_args!("this tally was built without {what}")).advise(format_args!(
        "cargo build --release -p tally-cli --features {feature}; or leave --vectors out: up to some 100,000 memories nothing is lost"
    ))
}
