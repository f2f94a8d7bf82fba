//! The model store: weights by content, records by name.
//!
//! ```text
//! DIR/weights/<64 hex>.gguf     a model file, or a symbolic link to one (`AddMode::Link`), named by its BLAKE3
//! DIR/models/<name>.json        a ModelRecord
//! DIR/default                   the name of the default chat model
//! DIR/default-embedding         the name of the default embedding model
//! DIR/default-reranking         the name of the default reranking model
//! DIR/tmp/                      files being written; left-overs are removed by the next `add`
//! ```
//!
//! Other folders in DIR are not the store's; the command line keeps unfinished downloads in one. Stores from before the other
//! kinds had a default lack their two files, and programs of that time pass over them.
//!
//! Invariants:
//! - A file under `weights` or `models` is complete: it was written elsewhere, synced, and renamed into place. A full
//!   disk, a crash or a bad file leaves the store as it was.
//! - A header is parsed ([`crate::GgufHeader`]) before a byte is copied.
//! - Names are plain (letters, digits, `._-`, at most 100), so that a record is never outside the store.
//!
//! Records are not trusted for security: weights are hashed again before each load.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::gguf::{self, GgufError, GgufHeader, ModelKind};
use crate::weights::{WeightsDigest, copy_hashed};

/// Longest model name, in bytes.
const MAX_NAME_BYTES: usize = 100;
/// Longest record that is read or written, in bytes. JSON writes a control character in six.
const MAX_RECORD_BYTES: u64 = 20 << 20;
const _: () = assert!(
    2 * 6 * gguf::MAX_KEPT_BYTES + (1 << 20) < MAX_RECORD_BYTES,
    "a record of the longest name and chat template that are parsed can be read again"
);

/// What a model is called in a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct ModelName(String);

impl ModelName {
    /// The name, if it is one: 1 to 100 letters, digits or `._-`, beginning with a letter or digit.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let good = text.len() <= MAX_NAME_BYTES
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(plain);
        good.then(|| Self(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name made from a file's name or whatever else is at hand.
    #[must_use]
    pub fn from_any(text: &str) -> Self {
        let mut name: String = text
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "._-".contains(c) {
                    c
                } else {
                    '-'
                }
            })
            .take(MAX_NAME_BYTES)
            .collect();
        let lead = name.len()
            - name
                .trim_start_matches(|c: char| !c.is_ascii_alphanumeric())
                .len();
        name.drain(..lead);
        Self(if name.is_empty() {
            "model".to_owned()
        } else {
            name
        })
    }
}

impl std::fmt::Display for ModelName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ModelName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a model name"))
    }
}

/// One model of a store, as kept in its record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// What it is called.
    pub name: ModelName,
    /// BLAKE3 of the whole file.
    pub weights: WeightsDigest,
    /// Size of the file.
    pub bytes: u64,
    /// Where it was added from.
    pub source: PathBuf,
    /// What its header says.
    pub header: GgufHeader,
}

impl ModelRecord {
    /// Chat, embedding or reranking.
    #[must_use]
    pub fn kind(&self) -> ModelKind {
        // A record from before there were reranking models calls one an embedding model.
        match self.header.pooling.as_deref() {
            Some("rank") => ModelKind::Reranking,
            _ => self.header.kind,
        }
    }

    /// Its bytes in the store, at `path`, when they can be read again from there.
    fn to_json(&self, path: &Path) -> Result<Vec<u8>, StoreError> {
        let unwritable = |reason: String| StoreError::BadRecord {
            path: path.to_owned(),
            reason,
        };
        let json =
            serde_json::to_vec_pretty(self).map_err(|error| unwritable(error.to_string()))?;
        if json.len() as u64 > MAX_RECORD_BYTES {
            return Err(unwritable(format!(
                "{} bytes, more than {MAX_RECORD_BYTES}",
                json.len()
            )));
        }
        Ok(json)
    }
}

/// What a store holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// The models, by name.
    pub models: Vec<ModelRecord>,
    /// Records that cannot be read: a [`StoreError::BadRecord`] each.
    pub damaged: Vec<StoreError>,
}

/// What [`ModelStore::remove`] removed.
#[derive(Debug)]
pub enum Removed {
    /// A model.
    Model(Box<ModelRecord>),
    /// A record that could not be read. Which weights were its is not known, so none were removed.
    Damaged(ModelName),
}

impl Removed {
    /// What it was called.
    #[must_use]
    pub fn name(&self) -> &ModelName {
        match self {
            Self::Model(record) => &record.name,
            Self::Damaged(name) => name,
        }
    }
}

/// How `add` brings weights into the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddMode {
    /// Copies the file. The store then needs nothing outside itself.
    #[default]
    Copy,
    /// Links to the file where it is. Saves the space; when the file changes, loading says so.
    Link,
}

/// How a file gets its place under `weights`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Copy,
    Link,
    Move,
}

/// Options of [`ModelStore::add`].
#[derive(Clone, Debug, Default)]
pub struct AddOptions {
    /// What to call the model; from the file's name when absent.
    pub name: Option<ModelName>,
    /// Copy or link.
    pub mode: AddMode,
    /// Whether another model that is called so loses its name to this one. Its weights stay.
    pub takes_name: bool,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The caller gives another file.
    #[error("{}: {fault}", path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: GgufError,
    },
    /// The caller chooses another name, or removes the model that has it.
    #[error(
        "a model named {name} with other weights is in the store; remove it or choose another name"
    )]
    NameTaken {
        /// The name.
        name: ModelName,
    },
    /// The caller names a model that exists.
    #[error("no model {name:?} in the store; `tally model list` shows what there is")]
    Unknown {
        /// What was asked for, cut to 128 characters.
        name: String,
    },
    /// The caller gives more digits.
    #[error("{prefix:?} begins the digest of several models; give more digits")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
    },
    /// The operator makes one of them the default, or the caller names one.
    #[error(
        "the store has several {kind} models and none of them is the default ({known}); choose one with `tally model default NAME`"
    )]
    Undecided {
        /// Of which kind a model was wanted.
        kind: ModelKind,
        /// The names of those there are, separated by commas.
        known: String,
    },
    /// The operator frees space.
    #[error("no space left for {}; free some space, the store is unchanged", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The operator repairs or removes the record.
    #[error("the record {} is damaged ({reason}); remove the model and add it again", path.display())]
    BadRecord {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The operator looks at the file system.
    #[error("{doing} {}: {error}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Models on this machine. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ModelStore {
    dir: Arc<PathBuf>,
}

impl ModelStore {
    /// A store in `dir`, which is made when something is added.
    #[must_use]
    pub fn open(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: Arc::new(dir.into()),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds the model file at `source`, and makes it the default when it is the first chat model.
    ///
    /// Adding the same file under the same name again changes nothing. `progress` is called on another thread with the
    /// bytes done and the bytes there are.
    ///
    /// # Errors
    /// [`StoreError::NotAModel`], [`StoreError::NameTaken`], [`StoreError::DiskFull`], [`StoreError::Io`]. The store is
    /// then as it was.
    pub async fn add(
        &self,
        source: &Path,
        options: AddOptions,
        progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<ModelRecord, StoreError> {
        let (store, source) = (self.clone(), source.to_owned());
        blocking(move || store.add_now(&source, options, progress)).await
    }

    /// Adds the model file at `file`, which is the caller's own and on the store's file system, by moving it: the disk
    /// need not hold it twice. When its weights are in the store already the file stays where it is, for the caller to
    /// remove. `origin` is what the record says about where it came from.
    ///
    /// # Errors
    /// As [`ModelStore::add`]. The store and the file are then as they were.
    pub async fn take(
        &self,
        file: &Path,
        name: ModelName,
        origin: &str,
        progress: impl FnMut(u64, u64) + Send + 'static,
    ) -> Result<ModelRecord, StoreError> {
        let (store, file, origin) = (self.clone(), file.to_owned(), origin.to_owned());
        blocking(move || store.bring_in(&file, name, false, origin, How::Move, progress)).await
    }

    /// Calls a model of the store by another name besides, when no other model has it. Nothing is copied.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`], [`StoreError::BadRecord`], [`StoreError::DiskFull`], [`StoreError::Io`].
    pub async fn name_also(
        &self,
        record: &ModelRecord,
        name: ModelName,
    ) -> Result<ModelRecord, StoreError> {
        let (store, record) = (
            self.clone(),
            ModelRecord {
                name,
                ..record.clone()
            },
        );
        blocking(move || {
            let path = store.record_path(&record.name);
            match read_record(&path)? {
                Some(old) if old.weights != record.weights => {
                    return Err(StoreError::NameTaken { name: record.name });
                }
                Some(old) => return Ok(old),
                None => {}
            }
            store.write_file(&path, &record.to_json(&path)?)?;
            store.make_default_if_first(&record)?;
            Ok(record)
        })
        .await
    }

    /// All models whose records can be read, by name.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn list(&self) -> Result<Vec<ModelRecord>, StoreError> {
        self.survey().await.map(|listing| listing.models)
    }

    /// All models by name, and the records that are passed over because they cannot be read.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn survey(&self) -> Result<Listing, StoreError> {
        let store = self.clone();
        blocking(move || store.survey_now()).await
    }

    /// The model with this name, this digest or a digest that begins with these 8 or more hex digits.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], [`StoreError::Ambiguous`], [`StoreError::BadRecord`], [`StoreError::Io`].
    pub async fn resolve(&self, name: &str) -> Result<ModelRecord, StoreError> {
        let (store, name) = (self.clone(), name.to_owned());
        blocking(move || store.resolve_now(&name)).await
    }

    /// The default model of this kind, if there is one.
    ///
    /// # Errors
    /// [`StoreError::BadRecord`], [`StoreError::Io`].
    pub async fn default_model(&self, kind: ModelKind) -> Result<Option<ModelRecord>, StoreError> {
        let store = self.clone();
        blocking(move || store.default_now(kind)).await
    }

    /// The model of this kind for somebody who names none: the default, else the only one there is; none in a store without any.
    ///
    /// # Errors
    /// [`StoreError::Undecided`], [`StoreError::BadRecord`], [`StoreError::Io`].
    pub async fn default_or_only(
        &self,
        kind: ModelKind,
    ) -> Result<Option<ModelRecord>, StoreError> {
        let store = self.clone();
        blocking(move || store.default_or_only_now(kind)).await
    }

    /// Makes this model the default of its kind.
    ///
    /// # Errors
    /// As [`ModelStore::resolve`], and [`StoreError::DiskFull`].
    pub async fn set_default(&self, name: &str) -> Result<ModelRecord, StoreError> {
        let (store, name) = (self.clone(), name.to_owned());
        blocking(move || {
            let record = store.resolve_now(&name)?;
            store.write_default(&record)?;
            Ok(record)
        })
        .await
    }

    /// Removes a model's record, and its weights when no other record has them: while one is there that cannot be read, they
    /// stay. A linked file itself stays. A record that cannot be read goes by its name.
    ///
    /// # Errors
    /// As [`ModelStore::resolve`], but for a damaged record.
    pub async fn remove(&self, name: &str) -> Result<Removed, StoreError> {
        let (store, name) = (self.clone(), name.to_owned());
        blocking(move || store.remove_now(&name)).await
    }

    /// Reads the header of any file, in the store or not.
    ///
    /// # Errors
    /// [`StoreError::NotAModel`], [`StoreError::Io`].
    pub async fn inspect(path: &Path) -> Result<GgufHeader, StoreError> {
        let path = path.to_owned();
        blocking(move || open_model(&path).map(|(_, header, _)| header)).await
    }

    /// Where the weights with this digest are, when they are in the store.
    #[must_use]
    pub fn weights_path(&self, digest: &WeightsDigest) -> PathBuf {
        self.dir.join("weights").join(format!("{digest}.gguf"))
    }

    fn add_now(
        &self,
        source: &Path,
        options: AddOptions,
        progress: impl FnMut(u64, u64),
    ) -> Result<ModelRecord, StoreError> {
        let name = options.name.unwrap_or_else(|| {
            ModelName::from_any(&source.file_stem().unwrap_or_default().to_string_lossy())
        });
        // What it says is for a person: a path that is not UTF-8 is written as well as it can be.
        let origin = fs::canonicalize(source)
            .map_err(io_error("open", source))?
            .to_string_lossy()
            .into_owned();
        let how = match options.mode {
            AddMode::Copy => How::Copy,
            AddMode::Link => How::Link,
        };
        self.bring_in(source, name, options.takes_name, origin, how, progress)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "files are synced before, and the folder after all of it"
    )]
    fn bring_in(
        &self,
        source: &Path,
        name: ModelName,
        takes_name: bool,
        origin: String,
        how: How,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<ModelRecord, StoreError> {
        let (mut file, header, bytes) = open_model(source)?;
        let source = fs::canonicalize(source).map_err(io_error("resolve", source))?;
        let temporary = self.dir.join("tmp");
        for dir in [
            &temporary,
            &self.dir.join("weights"),
            &self.dir.join("models"),
        ] {
            fs::create_dir_all(dir).map_err(io_error("make", dir))?;
        }
        self.clear_leftovers(&temporary);

        let mut into = match how {
            How::Copy => Some(new_temporary(&temporary)?),
            How::Link | How::Move => None,
        };
        let copy = into.as_mut().map(tempfile::NamedTempFile::as_file_mut);
        let weights = copy_hashed(&mut file, copy, &mut |done| progress(done, bytes))
            .map_err(io_error("copy", &source))?;
        let path = self.weights_path(&weights);

        // Checked after hashing, since only then is it known whether it is the same model.
        let record_path = self.record_path(&name);
        match read_record(&record_path) {
            Ok(Some(old)) if old.weights != weights && !takes_name => {
                return Err(StoreError::NameTaken { name });
            }
            Ok(_) => {}
            // Who may take a model's name may take that of a record which nobody can read.
            Err(StoreError::BadRecord { .. }) if takes_name => {}
            Err(error) => return Err(error),
        }
        let record = ModelRecord {
            name,
            weights,
            bytes,
            source: PathBuf::from(origin),
            header,
        };
        // Before the weights get their place, which no weights without a record should have.
        let json = record.to_json(&record_path)?;
        // Replacing a good file would look like a change to a worker that has it mapped; a damaged one is replaced.
        let is_there = File::open(&path)
            .and_then(|mut there| copy_hashed(&mut there, None, &mut |_| {}))
            .is_ok_and(|there| there == weights);
        match into {
            _ if is_there => {}
            Some(into) => {
                finish_file(into.as_file()).map_err(io_error("write", &path))?;
                into.persist(&path)
                    .map_err(|error| io_error("write", &path)(error.error))?;
            }
            None if how == How::Move => {
                finish_file(&file).map_err(io_error("write", &source))?;
                fs::rename(&source, &path).map_err(io_error("move", &source))?;
            }
            None => {
                let link = temporary.join(format!("{weights}.link"));
                match fs::remove_file(&link) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(io_error("remove", &link)(error));
                    }
                    _ => {}
                }
                std::os::unix::fs::symlink(&source, &link).map_err(io_error("link", &link))?;
                fs::rename(&link, &path).map_err(io_error("link", &path))?;
            }
        }
        sync_dir(&self.dir.join("weights"))?;

        self.write_file(&record_path, &json)?;
        self.make_default_if_first(&record)?;
        Ok(record)
    }

    /// The first chat model is the default.
    fn make_default_if_first(&self, record: &ModelRecord) -> Result<(), StoreError> {
        if record.kind() != ModelKind::Chat {
            return Ok(());
        }
        match self.default_now(ModelKind::Chat) {
            Ok(None) => self.write_default(record),
            // One was chosen; that its record is damaged is for whoever asks for it.
            Ok(Some(_)) | Err(StoreError::BadRecord { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn list_now(&self) -> Result<Vec<ModelRecord>, StoreError> {
        self.survey_now().map(|listing| listing.models)
    }

    fn survey_now(&self) -> Result<Listing, StoreError> {
        let dir = self.dir.join("models");
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
            Err(error) => return Err(io_error("list", &dir)(error)),
        };
        let mut found = Listing::default();
        for entry in entries {
            let path = entry.map_err(io_error("list", &dir))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                match read_record(&path) {
                    Ok(record) => found.models.extend(record),
                    Err(error @ StoreError::BadRecord { .. }) => found.damaged.push(error),
                    Err(error) => return Err(error),
                }
            }
        }
        found.models.sort_by(|a, b| a.name.cmp(&b.name));
        found.damaged.sort_by_key(ToString::to_string);
        Ok(found)
    }

    fn resolve_now(&self, text: &str) -> Result<ModelRecord, StoreError> {
        if let Some(name) = ModelName::parse(text)
            && let Some(record) = read_record(&self.record_path(&name))?
        {
            return Ok(record);
        }
        let unknown = || StoreError::Unknown {
            name: text.chars().take(128).collect(),
        };
        let is_prefix =
            (8..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_prefix {
            return Err(unknown());
        }
        let mut found: Vec<_> = self
            .list_now()?
            .into_iter()
            .filter(|record| record.weights.to_string().starts_with(text))
            .collect();
        found.dedup_by_key(|record| record.weights);
        match found.len() {
            0 => Err(unknown()),
            1 => Ok(found.remove(0)),
            _ => Err(StoreError::Ambiguous {
                prefix: text.to_owned(),
            }),
        }
    }

    fn default_now(&self, kind: ModelKind) -> Result<Option<ModelRecord>, StoreError> {
        let path = self.default_path(kind);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &path)(error)),
        };
        let Some(name) = ModelName::parse(text.trim_end()) else {
            return Err(StoreError::BadRecord {
                path,
                reason: "it holds no model name".to_owned(),
            });
        };
        // Another model may have taken the name since, one of another kind.
        Ok(read_record(&self.record_path(&name))?.filter(|record| record.kind() == kind))
    }

    fn default_or_only_now(&self, kind: ModelKind) -> Result<Option<ModelRecord>, StoreError> {
        if let Some(default) = self.default_now(kind)? {
            return Ok(Some(default));
        }
        let mut there = self.list_now()?;
        there.retain(|record| record.kind() == kind);
        if there.len() > 1 {
            let names: Vec<_> = there.iter().map(|record| record.name.as_str()).collect();
            return Err(StoreError::Undecided {
                kind,
                known: names.join(", "),
            });
        }
        Ok(there.pop())
    }

    fn remove_now(&self, text: &str) -> Result<Removed, StoreError> {
        let removed = match (self.resolve_now(text), ModelName::parse(text)) {
            (Ok(record), _) => Removed::Model(Box::new(record)),
            // Only the record of that very name is read for it.
            (Err(StoreError::BadRecord { .. }), Some(name)) => Removed::Damaged(name),
            (Err(error), _) => return Err(error),
        };
        let name = removed.name();
        let path = self.record_path(name);
        fs::remove_file(&path).map_err(io_error("remove", &path))?;
        if let Removed::Model(record) = &removed {
            let rest = self.survey_now()?;
            let shared = rest
                .models
                .iter()
                .any(|other| other.weights == record.weights);
            // Which weights are those of a record that cannot be read is not known.
            if !shared && rest.damaged.is_empty() {
                let path = self.weights_path(&record.weights);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(io_error("remove", &path)(error));
                    }
                    _ => {}
                }
            }
        }
        for kind in [ModelKind::Chat, ModelKind::Embedding, ModelKind::Reranking] {
            let default = self.default_path(kind);
            if fs::read_to_string(&default).is_ok_and(|text| text.trim_end() == name.as_str()) {
                fs::remove_file(&default).map_err(io_error("remove", &default))?;
            }
        }
        Ok(removed)
    }

    fn record_path(&self, name: &ModelName) -> PathBuf {
        self.dir.join("models").join(format!("{name}.json"))
    }

    /// The file with the name of this kind's default. That of chat models has its name from when there was no other.
    fn default_path(&self, kind: ModelKind) -> PathBuf {
        self.dir.join(match kind {
            ModelKind::Chat => "default",
            ModelKind::Embedding => "default-embedding",
            ModelKind::Reranking => "default-reranking",
        })
    }

    fn write_default(&self, record: &ModelRecord) -> Result<(), StoreError> {
        self.write_file(
            &self.default_path(record.kind()),
            format!("{}\n", record.name).as_bytes(),
        )
    }

    /// Writes a small file so that a reader sees the old bytes or the new, whatever happens.
    #[expect(
        clippy::disallowed_methods,
        reason = "files and folder are synced here"
    )]
    fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let mut file = new_temporary(&self.dir.join("tmp"))?;
        file.write_all(bytes).map_err(io_error("write", path))?;
        file.as_file().sync_all().map_err(io_error("write", path))?;
        file.persist(path)
            .map_err(|error| io_error("write", path)(error.error))?;
        sync_dir(path.parent().unwrap_or(&self.dir))
    }

    /// Removes files that a crashed `add` left. One that another process writes now is younger than a day.
    fn clear_leftovers(&self, temporary: &Path) {
        let Ok(entries) = fs::read_dir(temporary) else {
            return;
        };
        for entry in entries.flatten() {
            let old = entry
                .metadata()
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 24 * 60 * 60));
            if old {
                // A left-over that cannot be removed harms nothing but space.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Io {
                doing: "finish",
                path: PathBuf::new(),
                error: io::Error::other("the runtime is shutting down"),
            }),
        },
    }
}

fn open_model(path: &Path) -> Result<(File, GgufHeader, u64), StoreError> {
    let mut file = File::open(path).map_err(io_error("open", path))?;
    let metadata = file.metadata().map_err(io_error("read", path))?;
    if !metadata.is_file() {
        return Err(io_error("open", path)(io::Error::other(
            "it is not a regular file",
        )));
    }
    let header = gguf::parse(
        &mut io::BufReader::with_capacity(1 << 16, &file),
        metadata.len(),
    )
    .map_err(|fault| StoreError::NotAModel {
        path: path.to_owned(),
        fault,
    })?;
    file.seek(SeekFrom::Start(0))
        .map_err(io_error("read", path))?;
    Ok((file, header, metadata.len()))
}

fn read_record(path: &Path) -> Result<Option<ModelRecord>, StoreError> {
    let bad = |reason: String| StoreError::BadRecord {
        path: path.to_owned(),
        reason,
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path)(error)),
    };
    if metadata.len() > MAX_RECORD_BYTES {
        return Err(bad(format!(
            "{} bytes, more than {MAX_RECORD_BYTES}",
            metadata.len()
        )));
    }
    let bytes = fs::read(path).map_err(io_error("read", path))?;
    let record: ModelRecord =
        serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
    if path
        .file_stem()
        .is_none_or(|stem| stem != record.name.as_str())
    {
        return Err(bad(format!(
            "it names another model, {:?}",
            record.name.as_str()
        )));
    }
    Ok(Some(record))
}

/// Makes a file what it has to be before it gets its name under `weights`: on the disk, and for reading.
fn finish_file(file: &File) -> io::Result<()> {
    file.sync_all()?;
    let mut permissions = file.metadata()?.permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o444);
    file.set_permissions(permissions)
}

fn new_temporary(dir: &Path) -> Result<tempfile::NamedTempFile, StoreError> {
    tempfile::Builder::new()
        .prefix("new-")
        .tempfile_in(dir)
        .map_err(io_error("make a file in", dir))
}

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error("sync", dir))
}

fn io_error(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull {
            path: path.to_owned(),
        },
        _ => StoreError::Io {
            doing,
            path: path.to_owned(),
            error,
        },
    }
}
