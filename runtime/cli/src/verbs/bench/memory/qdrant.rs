//! A Qdrant server on the same vectors as the scan: what the network and its index take to name the best hundred. Tally itself
//! asks it for twice as many and computes the cosines here (`docs/qdrant.md`), which is not in this figure.
//!
//! The collection has a name of its own, and is deleted at the end.

use serde_json::{Value, json};

/// The server that `TALLY_QDRANT_URL` names, holding these rows; or why there is no figure.
#[cfg(feature = "qdrant-server")]
pub(super) fn measure(bare: &[f32], dimensions: usize, questions: &[Vec<f32>]) -> Value {
    let Ok(url) = std::env::var("TALLY_QDRANT_URL") else {
        return json!("not measured: TALLY_QDRANT_URL names no server");
    };
    served::measure(url, bare, dimensions, questions)
        .unwrap_or_else(|error| json!(format!("not measured: {error:#}")))
}

#[cfg(not(feature = "qdrant-server"))]
pub(super) fn measure(_: &[f32], _: usize, _: &[Vec<f32>]) -> Value {
    json!("not measured: this tally was built without the feature qdrant-server")
}

#[cfg(feature = "qdrant-server")]
mod served {
    use std::collections::BTreeSet;
    use std::time::{Duration, Instant};

    use anyhow::Context as _;
    use serde_json::{Value, json};
    use tally_qdrant::Candidates as _;
    use tally_qdrant::rotation::RotationKey;
    use tally_qdrant::server::{Collection, ServerOptions};

    use crate::verbs::bench::memory::{PEER_BEST, nearest, percentiles};

    /// Vectors sent at once.
    const TOGETHER: usize = 1_024;
    const PATIENCE: Duration = Duration::from_secs(30);

    pub(super) fn measure(
        url: String,
        bare: &[f32],
        dimensions: usize,
        questions: &[Vec<f32>],
    ) -> anyhow::Result<Value> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let mut collection = Collection::new(ServerOptions {
            url,
            api_key: std::env::var("TALLY_QDRANT_API_KEY")
                .ok()
                .map(zeroize::Zeroizing::new),
            key: RotationKey::from_bytes(key),
            patience: PATIENCE,
        })?;
        let figures = asked(&mut collection, bare, dimensions, questions);
        let deleted = collection.delete().context("delete the collection");
        let figures = figures?;
        deleted?;
        Ok(figures)
    }

    fn asked(
        collection: &mut Collection,
        bare: &[f32],
        dimensions: usize,
        questions: &[Vec<f32>],
    ) -> anyhow::Result<Value> {
        let began = Instant::now();
        for (from, some) in (0u32..)
            .step_by(TOGETHER)
            .zip(bare.chunks(TOGETHER * dimensions))
        {
            let rows = some.chunks_exact(dimensions).map(<[f32]>::to_vec);
            let vectors: Vec<(u32, Vec<f32>)> = (from..).zip(rows).collect();
            collection.put(&vectors).context("send vectors")?;
        }
        collection.settled().context("send vectors")?;
        let sent_s = began.elapsed().as_secs_f64();
        let mut took = Vec::new();
        let (mut found, mut wanted) = (0, 0);
        for question in questions {
            let began = Instant::now();
            let named = collection.nearest(question, PEER_BEST).context("ask it")?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
            let named: BTreeSet<usize> = named.iter().map(|slot| *slot as usize).collect();
            let best = nearest(bare, question);
            wanted += best.len();
            found += best.iter().filter(|(row, _)| named.contains(row)).count();
        }
        Ok(json!({
            "nearestMs": percentiles(&mut took),
            "ofTheScansBest": f64::from(u32::try_from(found)?) / f64::from(u32::try_from(wanted)?),
            "sendSeconds": sent_s,
        }))
    }
}
