//! Imports in the background: what is going on, and what came of the last ones.
//!
//! A job lives in memory. After a restart its status is gone, not what it kept; the same file again adds only what is missing.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;
use crate::gateway::{FileReader, Gateway, lock, random};
use crate::service::{MemoryService, Remembered, ServiceError};
use crate::time::UnixMs;

/// Jobs that are remembered.
const KEPT: usize = 100;
/// Files that are on their way, looked at or read at once: each is held in memory.
const OPEN: usize = 4;

/// How an import stands.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct JobStatus {
    /// Its id.
    pub(crate) id: String,
    /// The same, as MemSync's documentation calls it.
    pub(crate) integration_id: String,
    /// The file's name.
    pub(crate) name: String,
    /// `running`, `done` or `failed`.
    pub(crate) status: JobState,
    /// When it began.
    pub(crate) created_at: UnixMs,
    /// When it ended.
    pub(crate) finished_at: Option<UnixMs>,
    /// What the file was read as.
    pub(crate) format: Option<String>,
    /// Turns and passages that were new.
    pub(crate) memories_created: u64,
    /// Turns and passages that were there already.
    pub(crate) already_known: u64,
    /// Those that were forgotten before, and stay so.
    pub(crate) forgotten_before: u64,
    /// Those without words.
    pub(crate) without_words: u64,
    /// Secrets that were in them and were not kept.
    pub(crate) secrets_not_kept: u64,
    /// Conversations and documents that were read.
    pub(crate) items: u64,
    /// What was left out of the file, and why.
    pub(crate) left_out: Vec<LeftOutStatus>,
    /// What was assumed to read it.
    pub(crate) assumptions: Vec<String>,
    /// Why nothing is learnt from it, or not yet: that goes on after the import.
    pub(crate) note: Option<String>,
    /// Why it failed, or where the file broke off.
    pub(crate) error: Option<String>,
}

/// How an import stands, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobState {
    /// It is being read.
    Running,
    /// It was read to its end.
    Done,
    /// It was not.
    Failed,
}

/// What was left out for one reason.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct LeftOutStatus {
    /// A code.
    pub(crate) reason: String,
    /// The same for a person.
    pub(crate) meaning: String,
    /// How many.
    pub(crate) count: u64,
    /// The first few, by name or place.
    pub(crate) examples: Vec<String>,
}

struct Job {
    /// Who may ask for it.
    owner: String,
    status: JobStatus,
}

pub(crate) struct Jobs {
    list: Mutex<VecDeque<Arc<Mutex<Job>>>>,
    places: Arc<Semaphore>,
}

/// A file's place, from its first byte until it was read or refused. It is free again when it is dropped.
pub(crate) type Place = OwnedSemaphorePermit;

impl Default for Jobs {
    fn default() -> Self {
        Self {
            list: Mutex::default(),
            places: Arc::new(Semaphore::new(OPEN)),
        }
    }
}

impl Jobs {
    /// A place for a file, unless all are taken.
    pub(crate) fn place(&self) -> Result<Place, ApiError> {
        Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| ApiError {
                retry_after_s: Some(5),
                ..ApiError::from(ServiceError::Busy(format!(
                    "{OPEN} files are being imported; try again when one of them is"
                )))
            })
    }

    /// The status of a job of this caller.
    pub(crate) fn status(&self, id: &str, owner: &str) -> Option<JobStatus> {
        lock(&self.list).iter().find_map(|job| {
            let job = lock(job);
            (job.status.id == id && job.owner == owner).then(|| job.status.clone())
        })
    }

    fn open(&self, job: Job) -> Arc<Mutex<Job>> {
        let mut list = lock(&self.list);
        if list.len() >= KEPT {
            // One that runs has a place, and there are fewer of those than are remembered.
            let is_over = |job: &Arc<Mutex<Job>>| lock(job).status.status != JobState::Running;
            if let Some(oldest) = list.iter().position(is_over) {
                list.remove(oldest);
            }
        }
        let job = Arc::new(Mutex::new(job));
        list.push_back(Arc::clone(&job));
        job
    }
}

impl Gateway {
    /// Begins the import of the file that has this place. `app` and `options` say what the caller knows of it.
    pub(crate) fn import(
        &self,
        place: Place,
        owner: &str,
        app: Option<String>,
        name: String,
        bytes: Vec<u8>,
        options: tally_import::Options,
    ) -> Result<JobStatus, ApiError> {
        let mut id = [0; 8];
        random(&mut id).map_err(ApiError::internal)?;
        let status = JobStatus {
            id: hex::encode(id),
            integration_id: hex::encode(id),
            name,
            status: JobState::Running,
            created_at: self.now(),
            finished_at: None,
            format: options.format.map(|format| format.name().to_owned()),
            memories_created: 0,
            already_known: 0,
            forgotten_before: 0,
            without_words: 0,
            secrets_not_kept: 0,
            items: 0,
            left_out: Vec::new(),
            assumptions: Vec::new(),
            note: None,
            error: None,
        };
        let job = self.state.jobs.open(Job {
            owner: owner.to_owned(),
            status: status.clone(),
        });
        let (service, gateway) = (self.service(), self.clone());
        tokio::task::spawn_blocking(move || {
            // A panic below must not leave a job that runs for ever.
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let files = &gateway.state.config.files;
                run(&*service, files, app.as_deref(), &bytes, &options, &job)
            }));
            // Before it is said to be over, so that whoever waited for that finds the place.
            drop((bytes, place));
            let mut job = lock(&job);
            let status = &mut job.status;
            status.finished_at = Some(gateway.now());
            let error = match outcome {
                Ok(Ok(())) => None,
                Ok(Err(sentence)) => Some(sentence),
                Err(_) => Some("the import failed; the server's log says where".to_owned()),
            };
            status.status = if error.is_some() {
                JobState::Failed
            } else {
                JobState::Done
            };
            status.error = error.or(status.error.take());
        });
        Ok(status)
    }
}

/// Reads the file and keeps item by item.
fn run(
    service: &dyn MemoryService,
    files: &FileReader,
    app: Option<&str>,
    bytes: &[u8],
    options: &tally_import::Options,
    job: &Mutex<Job>,
) -> Result<(), String> {
    let mut failed = None;
    let report = files
        .read(
            bytes,
            options,
            &mut |item| match service.ingest(item, app) {
                Ok(Remembered {
                    episodes,
                    known,
                    forgotten,
                    empty,
                    secrets,
                    // Learning comes after the import.
                    facts: _,
                    note,
                }) => {
                    let status = &mut lock(job).status;
                    status.items += 1;
                    status.memories_created += episodes;
                    status.already_known += known;
                    status.forgotten_before += forgotten;
                    status.without_words += empty;
                    status.secrets_not_kept += secrets;
                    // What was said of the last item that had anything new is so of all.
                    if note.is_some() {
                        status.note = note;
                    }
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Some(ApiError::from(error).message);
                    ControlFlow::Break(())
                }
            },
        )
        .map_err(|error| error.to_string())?;
    let status = &mut lock(job).status;
    status.format = Some(report.format.name().to_owned());
    status.left_out = report
        .left_out
        .into_iter()
        .map(|left| LeftOutStatus {
            reason: left.reason.code().to_owned(),
            meaning: left.reason.to_string(),
            count: left.count,
            // Names and places only: how they begin may hold secrets.
            examples: left
                .examples
                .iter()
                .map(|one| service.without_secrets(&one.place))
                .collect(),
        })
        .collect();
    status.assumptions = report.assumptions;
    status.error = report.fault;
    match failed {
        Some(sentence) => Err(sentence),
        None => Ok(()),
    }
}
