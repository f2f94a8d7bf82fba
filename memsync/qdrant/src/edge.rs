//! Qdrant's engine in this process (`qdrant-edge`), in a private folder that is wiped.
//!
//! For vaults of hundreds of thousands of memories, where comparing with every vector takes too long: a graph (HNSW) is built beside the
//! searches and finds nearly all of the nearest. The engine writes vectors to files **in the clear**, so the folder is made
//! anew each time, for this user alone, in memory (`/dev/shm`) where there is such a place, and is removed when the index is dropped. A
//! process that is killed leaves it behind: [`Shard::sweep`] removes what no living process holds.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use qdrant_edge::{
    Distance, EdgeConfig, EdgeShard, EdgeVectorParams, NamedQuery, PointId, PointInsertOperations,
    PointOperations, PointStructPersisted, QueryEnum, SearchRequest, UpdateOperation,
    VectorInternal, VectorStructPersisted, WalOptions,
};

use crate::{Candidates, CandidatesError};

/// How folders of this engine are called.
const PREFIX: &str = "tally-vectors-";
/// The file in it that a living process holds locked.
const HELD: &str = "held";
/// Name of the one vector of a point: Qdrant's default.
const VECTOR: &str = "";
/// The graph is built again after so many changes, or a tenth of all if that is more.
const CHANGES: usize = 20_000;

/// One engine, of vectors of one dimension.
pub struct Shard {
    folder: PathBuf,
    /// Locked while this process lives.
    held: File,
    shard: Option<Arc<EdgeShard>>,
    dimensions: usize,
    points: usize,
    changed: usize,
    building: Option<JoinHandle<()>>,
    is_building: Arc<AtomicBool>,
}

fn engine(error: impl std::fmt::Display) -> CandidatesError {
    CandidatesError::Engine(error.to_string())
}

/// Where the folder is made: memory, or the folder for temporary files.
#[must_use]
pub fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    }
}

impl Shard {
    /// An empty engine in a new private folder inside `parent`.
    ///
    /// # Errors
    /// [`CandidatesError::Engine`] if there can be no such folder.
    pub fn new(parent: &Path) -> Result<Self, CandidatesError> {
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(engine)?
            .keep();
        let held = File::create(folder.join(HELD)).map_err(engine)?;
        held.lock().map_err(engine)?;
        Ok(Self {
            folder,
            held,
            shard: None,
            dimensions: 0,
            points: 0,
            changed: 0,
            building: None,
            is_building: Arc::default(),
        })
    }

    /// Removes folders in `parent` that processes left behind when they were killed; says how many.
    ///
    /// # Errors
    /// What listing `parent` gives. A folder that cannot be removed is passed over.
    pub fn sweep(parent: &Path) -> std::io::Result<usize> {
        let mut removed = 0;
        for entry in std::fs::read_dir(parent)?.flatten() {
            if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
                continue;
            }
            let abandoned =
                File::open(entry.path().join(HELD)).is_ok_and(|held| held.try_lock().is_ok());
            if abandoned && std::fs::remove_dir_all(entry.path()).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// The folder, for whoever wants to see that it is gone.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Waits until the graph that is being built is ready. Searches do not need this.
    pub fn settle(&mut self) {
        if let Some(building) = self.building.take() {
            // A graph that failed is named in the log; searches compare with every vector then.
            let _ = building.join();
        }
    }

    fn open(&mut self, dimensions: usize) -> Result<Arc<EdgeShard>, CandidatesError> {
        if let Some(shard) = &self.shard {
            if dimensions != self.dimensions {
                return Err(engine("vectors of two dimensions"));
            }
            return Ok(shard.clone());
        }
        let config = EdgeConfig::builder()
            .vector(
                VECTOR,
                EdgeVectorParams::builder(dimensions, Distance::Cosine).build(),
            )
            .wal_options(WalOptions {
                segment_capacity: 4 << 20,
                ..WalOptions::default()
            })
            .build();
        let shard = Arc::new(EdgeShard::new(&self.folder, config).map_err(engine)?);
        self.dimensions = dimensions;
        self.shard = Some(shard.clone());
        Ok(shard)
    }

    /// Builds the graph in a thread of its own once enough has changed.
    fn build(&mut self) {
        if self.changed < CHANGES.max(self.points / 10)
            || self.is_building.swap(true, Ordering::AcqRel)
        {
            return;
        }
        self.settle();
        self.changed = 0;
        let Some(shard) = self.shard.clone() else {
            return;
        };
        let is_building = self.is_building.clone();
        self.building = Some(std::thread::spawn(move || {
            if let Err(error) = shard.optimize() {
                tracing::warn!(%error, "vectors have no graph, and are compared one by one");
            }
            is_building.store(false, Ordering::Release);
        }));
    }
}

impl Candidates for Shard {
    fn put(&mut self, vectors: &[(u32, Vec<f32>)]) -> Result<(), CandidatesError> {
        let Some((_, first)) = vectors.first() else {
            return Ok(());
        };
        let shard = self.open(first.len())?;
        let points = vectors
            .iter()
            .map(|(slot, vector)| PointStructPersisted {
                id: PointId::NumId(u64::from(*slot)),
                vector: VectorStructPersisted::Single(vector.clone()),
                payload: None,
            })
            .collect();
        shard
            .update(UpdateOperation::PointOperation(
                PointOperations::UpsertPoints(PointInsertOperations::PointsList(points)),
            ))
            .map_err(engine)?;
        self.points += vectors.len();
        self.changed += vectors.len();
        self.build();
        Ok(())
    }

    fn remove(&mut self, slots: &[u32]) -> Result<(), CandidatesError> {
        let Some(shard) = &self.shard else {
            return Ok(());
        };
        let ids = slots
            .iter()
            .map(|slot| PointId::NumId(u64::from(*slot)))
            .collect();
        shard
            .update(UpdateOperation::PointOperation(
                PointOperations::DeletePoints { ids },
            ))
            .map_err(engine)?;
        self.points = self.points.saturating_sub(slots.len());
        self.changed += slots.len();
        Ok(())
    }

    fn nearest(&mut self, query: &[f32], count: usize) -> Result<Vec<u32>, CandidatesError> {
        let Some(shard) = &self.shard else {
            return Ok(Vec::new());
        };
        let found = shard
            .search(SearchRequest {
                query: QueryEnum::Nearest(NamedQuery {
                    query: VectorInternal::Dense(query.to_vec()),
                    using: None,
                }),
                filter: None,
                params: None,
                limit: count,
                offset: 0,
                with_payload: None,
                with_vector: None,
                score_threshold: None,
            })
            .map_err(engine)?;
        Ok(found
            .into_iter()
            .filter_map(|point| match point.id {
                PointId::NumId(slot) => u32::try_from(slot).ok(),
                PointId::Uuid(_) => None,
            })
            .collect())
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.settle();
        // The engine writes when it is dropped, so it goes first.
        self.shard = None;
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "vectors are left behind");
        }
        let _ = self.held.unlock();
    }
}
