//! A Qdrant server or cluster (`qdrant-client`, gRPC), for those whom one machine's engine does not serve.
//!
//! A point is called by a keyed hash of its vector and carries nothing but the vector's image under a secret rotation: no text, no
//! ids, no times. The name says what the point holds, so whoever comes with the same key later knows without asking further what
//! is there already: [`Collection`] lists the points once, sends what is missing and deletes what nobody has any more. Two memories with one
//! vector are one point.
//!
//! Everything happens on one thread with a runtime of its own, so callers may be inside another runtime or none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::time::Duration;

use qdrant_client::Qdrant;
use qdrant_client::qdrant::point_id::PointIdOptions;
use qdrant_client::qdrant::{
    CreateCollectionBuilder, DeletePointsBuilder, Distance, PointId, PointStruct, PointsIdsList,
    QueryPointsBuilder, ScrollPointsBuilder, UpsertPointsBuilder, VectorParamsBuilder,
};

use crate::rotation::{Rotation, RotationKey};
use crate::{BATCH, Candidates, CandidatesError};

/// Points listed at once.
const PAGE: u32 = 10_000;

/// Where the server is, and what this vault is called there.
pub struct ServerOptions {
    /// For example `http://localhost:6334`: the gRPC port.
    pub url: String,
    /// What the server asks for, if it asks for something.
    pub api_key: Option<zeroize::Zeroizing<String>>,
    /// The secret that vectors are turned by, and points and the collection called by. Whoever loses it sends everything anew, under another name.
    pub key: RotationKey,
    /// How long one answer may take.
    pub patience: Duration,
}

/// The name of a point: a UUID of version 8 (RFC 9562), which is what a keyed hash may be.
type Name = String;

enum Order {
    Put(Vec<(Name, Vec<f32>)>),
    Remove(Vec<Name>),
    /// These and no others are to stay.
    Keep(BTreeSet<Name>),
    Nearest(Vec<f32>, usize),
    /// The collection itself is to go.
    Delete,
}

enum Done {
    Nothing,
    Names(Vec<Name>),
}

type Answer = Result<Done, CandidatesError>;

/// The vectors of one vault on a server.
pub struct Collection {
    orders: mpsc::Sender<(Order, mpsc::Sender<Answer>)>,
    patience: Duration,
    naming: [u8; 32],
    key: RotationKey,
    rotation: Option<Rotation>,
    names: BTreeMap<u32, Name>,
    slots: BTreeMap<Name, BTreeSet<u32>>,
    /// Whether what earlier sessions left was compared with what is here.
    is_swept: bool,
}

impl Collection {
    /// The vectors of the vault that `key` was made for. Nothing is sent yet.
    ///
    /// # Errors
    /// [`CandidatesError::Refused`] where the address is none.
    pub fn new(options: ServerOptions) -> Result<Self, CandidatesError> {
        let ServerOptions {
            url,
            api_key,
            key,
            patience,
        } = options;
        let name = blake3::Hash::from(key.derive("tally vectors v1 collection"));
        let naming = key.derive("tally vectors v1 point");
        let collection = format!("tally-{}", &name.to_hex()[..32]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CandidatesError::Unreachable(error.to_string()))?;
        let client = {
            let _inside = runtime.enter();
            let mut config = Qdrant::from_url(&url)
                .timeout(patience)
                .skip_compatibility_check();
            if let Some(api_key) = &api_key {
                config = config.api_key(api_key.as_str());
            }
            config
                .build()
                .map_err(|error| CandidatesError::Refused(error.to_string()))?
        };
        let (orders, received) = mpsc::channel::<(Order, mpsc::Sender<Answer>)>();
        std::thread::spawn(move || {
            let mut remote = Remote {
                client,
                collection,
                present: None,
            };
            while let Ok((order, answer)) = received.recv() {
                // Whoever asked may have lost patience.
                let _ = answer.send(runtime.block_on(remote.obey(order)));
            }
        });
        Ok(Self {
            orders,
            patience,
            naming,
            key,
            rotation: None,
            names: BTreeMap::new(),
            slots: BTreeMap::new(),
            is_swept: false,
        })
    }

    /// Deletes it on the server, with all that is in it.
    ///
    /// # Errors
    /// [`CandidatesError`]; then it may still be there.
    pub fn delete(self) -> Result<(), CandidatesError> {
        self.ask(Order::Delete).map(drop)
    }

    fn ask(&self, order: Order) -> Answer {
        let gone = || CandidatesError::Unreachable("its thread has ended".to_owned());
        let (answer, received) = mpsc::channel();
        self.orders.send((order, answer)).map_err(|_| gone())?;
        // The first order also lists and creates: a few answers and not one.
        received
            .recv_timeout(self.patience * 8)
            .map_err(|error| match error {
                mpsc::RecvTimeoutError::Timeout => {
                    CandidatesError::Unreachable("no answer in time".to_owned())
                }
                mpsc::RecvTimeoutError::Disconnected => gone(),
            })?
    }

    fn name(&self, vector: &[f32]) -> Name {
        let mut hasher = blake3::Hasher::new_keyed(&self.naming);
        for x in vector {
            hasher.update(&x.to_le_bytes());
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        uuid::Builder::from_custom_bytes(bytes)
            .into_uuid()
            .to_string()
    }

    fn turned(&mut self, vector: &[f32]) -> Result<Vec<f32>, CandidatesError> {
        if self.rotation.is_none() {
            self.rotation = Some(Rotation::new(&self.key, vector.len()));
        }
        let rotation = self.rotation.as_ref().expect("it was just made");
        if rotation.dimensions() != vector.len() {
            return Err(CandidatesError::Refused(
                "vectors of two dimensions".to_owned(),
            ));
        }
        Ok(rotation.apply(vector))
    }

    /// Takes a slot off its point; the point's name if no slot is left on it.
    fn forget(&mut self, slot: u32) -> Option<Name> {
        let name = self.names.remove(&slot)?;
        let slots = self.slots.get_mut(&name)?;
        slots.remove(&slot);
        if slots.is_empty() {
            self.slots.remove(&name);
            return Some(name);
        }
        None
    }
}

impl Candidates for Collection {
    fn put(&mut self, vectors: &[(u32, Vec<f32>)]) -> Result<(), CandidatesError> {
        let mut points = BTreeMap::new();
        let mut left = BTreeSet::new();
        for (slot, vector) in vectors {
            let name = self.name(vector);
            if self.names.get(slot).is_some_and(|known| *known != name) {
                left.extend(self.forget(*slot));
            }
            self.names.insert(*slot, name.clone());
            self.slots.entry(name.clone()).or_default().insert(*slot);
            points.insert(name, self.turned(vector)?);
        }
        self.ask(Order::Put(points.into_iter().collect()))?;
        left.retain(|name| !self.slots.contains_key(name));
        if !left.is_empty() {
            self.ask(Order::Remove(left.into_iter().collect()))?;
        }
        Ok(())
    }

    fn remove(&mut self, slots: &[u32]) -> Result<(), CandidatesError> {
        let names: Vec<Name> = slots
            .iter()
            .filter_map(|slot| {
                let name = self.names.get(slot)?.clone();
                let alone = self
                    .slots
                    .get(&name)
                    .is_none_or(|on| on.iter().all(|one| slots.contains(one)));
                alone.then_some(name)
            })
            .collect();
        if !names.is_empty() {
            self.ask(Order::Remove(names))?;
        }
        for slot in slots {
            self.forget(*slot);
        }
        Ok(())
    }

    fn settled(&mut self) -> Result<(), CandidatesError> {
        if !self.is_swept {
            self.ask(Order::Keep(self.slots.keys().cloned().collect()))?;
            self.is_swept = true;
        }
        Ok(())
    }

    fn nearest(&mut self, query: &[f32], count: usize) -> Result<Vec<u32>, CandidatesError> {
        let turned = self.turned(query)?;
        let Done::Names(names) = self.ask(Order::Nearest(turned, count))? else {
            return Ok(Vec::new());
        };
        // A name that nobody here has is not from here.
        Ok(names
            .iter()
            .filter_map(|name| self.slots.get(name))
            .flatten()
            .copied()
            .collect())
    }
}

/// What runs on the thread.
struct Remote {
    client: Qdrant,
    collection: String,
    /// The points that the server has, once it was asked.
    present: Option<BTreeSet<Name>>,
}

fn failed(error: qdrant_client::QdrantError) -> CandidatesError {
    use qdrant_client::QdrantError as E;
    match error {
        E::ResponseError { status } => {
            // gRPC: what a server that is away, overloaded or slow gives, beside what one that does not want gives.
            match status.code() as i32 {
                1 | 2 | 4 | 8 | 14 => CandidatesError::Unreachable(status.message().to_owned()),
                _ => CandidatesError::Refused(status.message().to_owned()),
            }
        }
        other => CandidatesError::Unreachable(other.to_string()),
    }
}

fn point(name: &Name) -> PointId {
    PointId::from(name.clone())
}

impl Remote {
    async fn obey(&mut self, order: Order) -> Answer {
        match order {
            Order::Put(points) => {
                let dimensions = points.first().map_or(0, |(_, vector)| vector.len());
                let present = self.present(dimensions).await?;
                let missing: Vec<&(Name, Vec<f32>)> = points
                    .iter()
                    .filter(|(name, _)| !present.contains(name))
                    .collect();
                if missing.is_empty() {
                    return Ok(Done::Nothing);
                }
                let structs: Vec<PointStruct> = missing
                    .iter()
                    .map(|(name, vector)| {
                        PointStruct::new(point(name), vector.clone(), qdrant_client::Payload::new())
                    })
                    .collect();
                let names: Vec<Name> = missing.iter().map(|(name, _)| name.clone()).collect();
                self.client
                    .upsert_points(UpsertPointsBuilder::new(&self.collection, structs).wait(true))
                    .await
                    .map_err(failed)?;
                self.present.get_or_insert_default().extend(names);
                Ok(Done::Nothing)
            }
            Order::Remove(names) => self.delete(names).await,
            Order::Keep(names) => {
                let stale = match &self.present {
                    Some(present) => present.difference(&names).cloned().collect(),
                    None => Vec::new(),
                };
                for some in stale.chunks(BATCH) {
                    self.delete(some.to_vec()).await?;
                }
                Ok(Done::Nothing)
            }
            Order::Delete => {
                self.client
                    .delete_collection(&self.collection)
                    .await
                    .map_err(failed)?;
                self.present = None;
                Ok(Done::Nothing)
            }
            Order::Nearest(vector, count) => {
                let answer = self
                    .client
                    .query(
                        QueryPointsBuilder::new(&self.collection)
                            .query(vector)
                            .limit(count as u64),
                    )
                    .await
                    .map_err(failed)?;
                let names = answer
                    .result
                    .into_iter()
                    .filter_map(|found| name_of(found.id))
                    .collect();
                Ok(Done::Names(names))
            }
        }
    }

    async fn delete(&mut self, names: Vec<Name>) -> Answer {
        let ids: Vec<PointId> = names.iter().map(point).collect();
        self.client
            .delete_points(
                DeletePointsBuilder::new(&self.collection)
                    .points(PointsIdsList { ids })
                    .wait(true),
            )
            .await
            .map_err(failed)?;
        if let Some(present) = &mut self.present {
            for name in &names {
                present.remove(name);
            }
        }
        Ok(Done::Nothing)
    }

    /// What the server has; the collection is made if it is not there.
    async fn present(&mut self, dimensions: usize) -> Result<&BTreeSet<Name>, CandidatesError> {
        if self.present.is_none() {
            if !self
                .client
                .collection_exists(&self.collection)
                .await
                .map_err(failed)?
            {
                let vectors = VectorParamsBuilder::new(dimensions as u64, Distance::Cosine);
                self.client
                    .create_collection(
                        CreateCollectionBuilder::new(&self.collection).vectors_config(vectors),
                    )
                    .await
                    .map_err(failed)?;
            }
            let mut present = BTreeSet::new();
            let mut offset = None;
            loop {
                let mut page = ScrollPointsBuilder::new(&self.collection)
                    .limit(PAGE)
                    .with_payload(false)
                    .with_vectors(false);
                if let Some(offset) = offset {
                    page = page.offset::<PointId>(offset);
                }
                let answer = self.client.scroll(page).await.map_err(failed)?;
                present.extend(
                    answer
                        .result
                        .into_iter()
                        .filter_map(|found| name_of(found.id)),
                );
                offset = answer.next_page_offset;
                if offset.is_none() {
                    break;
                }
            }
            self.present = Some(present);
        }
        Ok(self.present.get_or_insert_default())
    }
}

fn name_of(id: Option<PointId>) -> Option<Name> {
    match id?.point_id_options? {
        PointIdOptions::Uuid(name) => Some(name),
        PointIdOptions::Num(_) => None,
    }
}
