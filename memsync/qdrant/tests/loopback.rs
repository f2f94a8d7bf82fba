//! Parity of results, and what a server gets to see, over Qdrant's own engine and wire.
//!
//! Without a Qdrant server at hand the server is ours: Qdrant's generated gRPC services, answered by Qdrant's engine. What is *not*
//! tried so is the server's own program. `TALLY_QDRANT_URL` names a real one, and the tests that need no look inside run on it instead.
#![cfg(feature = "loopback")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use qdrant_client::qdrant::collections_server::{Collections, CollectionsServer};
use qdrant_client::qdrant::points_server::{Points, PointsServer};
use qdrant_client::qdrant::{self as wire, point_id::PointIdOptions};
use qdrant_edge::external::uuid::Uuid;
use qdrant_edge::{
    Distance, EdgeConfig, EdgeShard, EdgeVectorParams, NamedQuery, PointId, PointInsertOperations,
    PointOperations, PointStructPersisted, QueryEnum, SearchRequest, UpdateOperation,
    VectorInternal, VectorStructPersisted,
};
use tally_qdrant::edge::{Shard, place};
use tally_qdrant::rotation::RotationKey;
use tally_qdrant::server::{Collection, ServerOptions};
use tally_qdrant::{Assisted, Candidates, CandidatesError};
use tally_recall::{ExactVectors, VectorIndex};
use tonic::{Request, Response, Status};

const DIMENSIONS: usize = 64;

/// Vectors in clusters, as those of texts are; the same each time.
fn vectors(count: usize) -> Vec<Vec<f32>> {
    let mut state = 7u64;
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32) / ((1u64 << 24) as f32) - 0.5
    };
    let centres: Vec<Vec<f32>> = (0..50)
        .map(|_| (0..DIMENSIONS).map(|_| next()).collect())
        .collect();
    (0..count)
        .map(|n| {
            centres[n % centres.len()]
                .iter()
                .map(|x| x + 0.4 * next())
                .collect()
        })
        .collect()
}

fn filled(candidates: impl Candidates + 'static, vectors: &[Vec<f32>]) -> (Assisted, ExactVectors) {
    let (mut assisted, mut exact) = (Assisted::new(Box::new(candidates), 1), ExactVectors::new());
    for (slot, vector) in (0u32..).zip(vectors) {
        assisted.insert(slot, vector);
        exact.insert(slot, vector);
    }
    (assisted, exact)
}

/// How many of the exact ten best were found, of a hundred questions, and that none was placed wrongly.
fn recall(assisted: &Assisted, exact: &ExactVectors, vectors: &[Vec<f32>]) -> f64 {
    let mut found = 0;
    for query in vectors.iter().step_by(vectors.len() / 100) {
        let wanted = exact.nearest(query, 10, &|_| true);
        let got = assisted.nearest(query, 10, &|_| true);
        assert!(got.is_sorted_by(|a, b| a.1 >= b.1));
        for (slot, cosine) in &got {
            assert_eq!(exact.similarity(query, *slot), Some(*cosine));
        }
        found += wanted.iter().filter(|one| got.contains(one)).count();
    }
    assert_eq!(assisted.failures(), 0, "the source did not answer");
    found as f64 / 1000.0
}

#[test]
fn the_engine_in_this_process_finds_what_comparing_with_all_finds() {
    let vectors = vectors(3_000);
    let shard = Shard::new(&place()).expect("there is a place for it");
    let folder = shard.folder().to_owned();
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(&folder)
            .expect("it is there")
            .permissions(),
    );
    assert_eq!(mode & 0o777, 0o700, "for this user alone");
    let (mut assisted, mut exact) = filled(shard, &vectors);
    let share = recall(&assisted, &exact, &vectors);
    assert!(share > 0.99, "{share}");
    for slot in (0..3_000).step_by(3) {
        assisted.remove(slot);
        exact.remove(slot);
    }
    assert!(recall(&assisted, &exact, &vectors) > 0.99);
    drop(assisted);
    assert!(!folder.exists(), "vectors were left on the disk");
}

#[test]
fn a_graph_finds_nearly_all_that_comparing_with_all_finds() {
    // Enough that a graph is built.
    let vectors = vectors(40_000);
    let mut shard = Shard::new(&place()).expect("there is a place for it");
    for (at, some) in vectors.chunks(1_000).enumerate() {
        let some: Vec<(u32, Vec<f32>)> = (at as u32 * 1_000..).zip(some.iter().cloned()).collect();
        shard.put(&some).expect("it takes them");
    }
    shard.settle();
    let (assisted, exact) = filled(shard, &vectors);
    let share = recall(&assisted, &exact, &vectors);
    assert!(share > 0.9, "{share}");
}

#[test]
fn folders_of_processes_that_were_killed_are_removed_and_those_of_the_living_are_not() {
    let parent = tempfile::tempdir().expect("a temporary folder can be made");
    let mut living = Shard::new(parent.path()).expect("there is a place for it");
    living.put(&[(0, vec![1.0, 0.0])]).expect("it takes it");
    let abandoned = parent.path().join("tally-vectors-dead");
    std::fs::create_dir(&abandoned).expect("writable");
    std::fs::write(abandoned.join("held"), "").expect("writable");
    std::fs::create_dir(parent.path().join("another-program")).expect("writable");
    assert_eq!(Shard::sweep(parent.path()).expect("it can be listed"), 1);
    assert!(!abandoned.exists() && living.folder().exists());
    assert!(parent.path().join("another-program").exists());
    assert_eq!(living.nearest(&[1.0, 0.1], 1).expect("it lives"), [0]);
}

/// A server of ours, unless there is a real one; what it has seen.
fn server() -> (String, Option<Seen>) {
    if let Ok(url) = std::env::var("TALLY_QDRANT_URL") {
        eprintln!("on the Qdrant server at {url}");
        return (url, None);
    }
    eprintln!(
        "no TALLY_QDRANT_URL: Qdrant's engine behind Qdrant's wire, and not the server's own program"
    );
    let seen = Seen::default();
    let service = Service {
        shards: Arc::default(),
        seen: seen.clone(),
    };
    let (say, hear) = std::sync::mpsc::channel::<SocketAddr>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async move {
            let incoming = tonic::transport::server::TcpIncoming::bind(
                "127.0.0.1:0".parse().expect("an address"),
            )
            .expect("a free port");
            say.send(incoming.local_addr().expect("it is bound"))
                .expect("the test waits");
            tonic::transport::Server::builder()
                .add_service(PointsServer::new(service.clone()))
                .add_service(CollectionsServer::new(service))
                .serve_with_incoming(incoming)
                .await
                .expect("it serves");
        });
    });
    let address = hear.recv().expect("the server starts");
    (format!("http://{address}"), Some(seen))
}

fn collection(url: &str, key: u8) -> Collection {
    Collection::new(ServerOptions {
        url: url.to_owned(),
        api_key: None,
        key: RotationKey::from_bytes([key; 32]),
        patience: Duration::from_secs(30),
    })
    .expect("the address is one")
}

#[test]
fn a_server_finds_what_comparing_with_all_finds_and_sees_no_vector_and_no_word() {
    let (url, seen) = server();
    let vectors = vectors(2_500);
    let (mut assisted, mut exact) = filled(collection(&url, 1), &vectors);
    let share = recall(&assisted, &exact, &vectors);
    assert!(share > 0.99, "{share}");
    for slot in (0..2_500).step_by(2) {
        assisted.remove(slot);
        exact.remove(slot);
    }
    assert!(recall(&assisted, &exact, &vectors) > 0.99);
    let Some(seen) = seen else { return };
    let seen = seen.lock().expect("nobody panicked");
    assert!(seen.vectors.len() >= 2_500 && seen.payloads == 0);
    for image in &seen.vectors {
        let nearest = vectors
            .iter()
            .map(|vector| cosine(vector, image))
            .fold(-1.0, f32::max);
        // What a direction by chance has with the nearest of 2,500.
        assert!(nearest < 0.75, "a vector went out as it was: {nearest}");
    }
}

#[test]
fn whoever_comes_back_sends_only_what_is_new_and_removes_what_is_gone() {
    let (url, seen) = server();
    let vectors = vectors(600);
    let (assisted, exact) = filled(collection(&url, 2), &vectors[..500]);
    recall(&assisted, &exact, &vectors[..500]);
    drop(assisted);
    let sent = seen
        .as_ref()
        .map(|seen| seen.lock().expect("nobody panicked").vectors.len());
    // Another process, with other slots: the first hundred are gone, a hundred are new.
    let (assisted, exact) = filled(collection(&url, 2), &vectors[100..]);
    assert!(recall(&assisted, &exact, &vectors[100..]) > 0.99);
    let Some(seen) = seen else { return };
    let seen = seen.lock().expect("nobody panicked");
    assert_eq!(seen.vectors.len() - sent.expect("it was counted"), 100);
    assert_eq!(seen.deleted, 100);
}

#[test]
fn a_collection_that_was_deleted_is_not_there_any_more() {
    let (url, _) = server();
    let points: Vec<(u32, Vec<f32>)> = (0..).zip(vectors(300)).collect();
    let mut made = collection(&url, 4);
    made.put(&points).expect("it takes them");
    let asked = &points[0].1;
    assert_eq!(made.nearest(asked, 1).expect("it answers"), [0]);
    made.delete().expect("it is deleted");
    assert!(matches!(
        collection(&url, 4).nearest(asked, 1),
        Err(CandidatesError::Refused(_))
    ));
}

#[test]
fn a_server_that_is_away_costs_nothing_but_time() {
    let vectors = vectors(200);
    let (assisted, exact) = filled(collection("http://127.0.0.1:1", 3), &vectors);
    for query in &vectors[..40] {
        assert_eq!(
            assisted.nearest(query, 10, &|_| true),
            exact.nearest(query, 10, &|_| true)
        );
    }
    assert_eq!(assisted.failures(), 2, "it is asked again after a rest");
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

type Seen = Arc<Mutex<Record>>;

#[derive(Default)]
struct Record {
    vectors: Vec<Vec<f32>>,
    payloads: usize,
    deleted: usize,
}

struct Held {
    shard: EdgeShard,
    names: BTreeMap<Uuid, ()>,
    _folder: tempfile::TempDir,
}

#[derive(Clone)]
struct Service {
    shards: Arc<Mutex<BTreeMap<String, Held>>>,
    seen: Seen,
}

fn uuid(id: Option<wire::PointId>) -> Result<Uuid, Status> {
    match id.and_then(|id| id.point_id_options) {
        Some(PointIdOptions::Uuid(text)) => {
            Uuid::parse_str(&text).map_err(|_| Status::invalid_argument("a name is a UUID"))
        }
        _ => Err(Status::invalid_argument("a name is a UUID")),
    }
}

fn id(name: &Uuid) -> Option<wire::PointId> {
    Some(wire::PointId::from(name.to_string()))
}

fn internal(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

type Reply<T> = Result<Response<T>, Status>;

/// What our client never asks.
fn absent<T>() -> Reply<T> {
    Err(Status::unimplemented("the test's server does not do this"))
}

impl Service {
    fn on<T>(
        &self,
        collection: &str,
        act: impl FnOnce(&mut Held) -> Result<T, Status>,
    ) -> Result<T, Status> {
        let mut shards = self.shards.lock().map_err(internal)?;
        act(shards
            .get_mut(collection)
            .ok_or_else(|| Status::not_found("no such collection"))?)
    }
}

fn update(held: &Held, operation: PointOperations) -> Result<(), Status> {
    held.shard
        .update(UpdateOperation::PointOperation(operation))
        .map_err(internal)
}

fn dense(vectors: Option<wire::Vectors>) -> Result<Vec<f32>, Status> {
    use wire::vector::Vector as Kind;
    use wire::vectors::VectorsOptions;
    let wrong = || Status::invalid_argument("one dense vector");
    match vectors.and_then(|vectors| vectors.vectors_options) {
        #[expect(
            deprecated,
            reason = "clients before 1.16 write it there, and this one may"
        )]
        Some(VectorsOptions::Vector(vector)) => match vector.vector {
            Some(Kind::Dense(dense)) => Ok(dense.data),
            None => Ok(vector.data),
            Some(_) => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

#[tonic::async_trait]
impl Points for Service {
    async fn upsert(
        &self,
        request: Request<wire::UpsertPoints>,
    ) -> Reply<wire::PointsOperationResponse> {
        let request = request.into_inner();
        let mut points = Vec::new();
        let mut seen = self.seen.lock().map_err(internal)?;
        for point in request.points {
            seen.payloads += usize::from(!point.payload.is_empty());
            let vector = dense(point.vectors)?;
            seen.vectors.push(vector.clone());
            points.push((uuid(point.id)?, vector));
        }
        self.on(&request.collection_name, |held| {
            held.names
                .extend(points.iter().map(|(name, _)| (*name, ())));
            let points = points
                .into_iter()
                .map(|(name, vector)| PointStructPersisted {
                    id: PointId::Uuid(name),
                    vector: VectorStructPersisted::Single(vector),
                    payload: None,
                })
                .collect();
            update(
                held,
                PointOperations::UpsertPoints(PointInsertOperations::PointsList(points)),
            )
        })?;
        Ok(Response::new(wire::PointsOperationResponse::default()))
    }

    async fn delete(
        &self,
        request: Request<wire::DeletePoints>,
    ) -> Reply<wire::PointsOperationResponse> {
        use wire::points_selector::PointsSelectorOneOf;
        let request = request.into_inner();
        let Some(PointsSelectorOneOf::Points(list)) = request
            .points
            .and_then(|points| points.points_selector_one_of)
        else {
            return Err(Status::invalid_argument("a list of points"));
        };
        let names = list
            .ids
            .into_iter()
            .map(|id| uuid(Some(id)))
            .collect::<Result<Vec<_>, _>>()?;
        self.seen.lock().map_err(internal)?.deleted += names.len();
        self.on(&request.collection_name, |held| {
            held.names.retain(|name, ()| !names.contains(name));
            let ids = names.into_iter().map(PointId::Uuid).collect();
            update(held, PointOperations::DeletePoints { ids })
        })?;
        Ok(Response::new(wire::PointsOperationResponse::default()))
    }

    async fn scroll(&self, request: Request<wire::ScrollPoints>) -> Reply<wire::ScrollResponse> {
        let request = request.into_inner();
        let from = request
            .offset
            .map(|offset| uuid(Some(offset)))
            .transpose()?
            .unwrap_or_default();
        // Pages of 64, so that listing takes several.
        let limit = request.limit.unwrap_or(10).min(64) as usize;
        let mut names = self.on(&request.collection_name, |held| {
            Ok(held
                .names
                .range(from..)
                .map(|(name, ())| *name)
                .take(limit + 1)
                .collect::<Vec<_>>())
        })?;
        let next = if names.len() > limit {
            names.pop()
        } else {
            None
        };
        Ok(Response::new(wire::ScrollResponse {
            next_page_offset: next.as_ref().and_then(id),
            result: names
                .iter()
                .map(|name| wire::RetrievedPoint {
                    id: id(name),
                    ..wire::RetrievedPoint::default()
                })
                .collect(),
            ..wire::ScrollResponse::default()
        }))
    }

    async fn query(&self, request: Request<wire::QueryPoints>) -> Reply<wire::QueryResponse> {
        use wire::{query::Variant, vector_input};
        let request = request.into_inner();
        let Some(Variant::Nearest(wire::VectorInput {
            variant: Some(vector_input::Variant::Dense(vector)),
        })) = request.query.and_then(|query| query.variant)
        else {
            return Err(Status::invalid_argument("the nearest of a vector"));
        };
        let found = self.on(&request.collection_name, |held| {
            held.shard
                .search(SearchRequest {
                    query: QueryEnum::Nearest(NamedQuery {
                        query: VectorInternal::Dense(vector.data),
                        using: None,
                    }),
                    filter: None,
                    params: None,
                    limit: request.limit.unwrap_or(10) as usize,
                    offset: 0,
                    with_payload: None,
                    with_vector: None,
                    score_threshold: None,
                })
                .map_err(internal)
        })?;
        let result = found
            .into_iter()
            .filter_map(|point| match point.id {
                PointId::Uuid(name) => Some(wire::ScoredPoint {
                    id: id(&name),
                    score: point.score,
                    ..wire::ScoredPoint::default()
                }),
                PointId::NumId(_) => None,
            })
            .collect();
        Ok(Response::new(wire::QueryResponse {
            result,
            ..wire::QueryResponse::default()
        }))
    }

    async fn get(&self, _: Request<wire::GetPoints>) -> Reply<wire::GetResponse> {
        absent()
    }
    async fn update_vectors(
        &self,
        _: Request<wire::UpdatePointVectors>,
    ) -> Reply<wire::PointsOperationResponse> {
        absent()
    }
    async fn delete_vectors(
        &self,
        _: Request<wire::DeletePointVectors>,
    ) -> Reply<wire::PointsOperationResponse> {
        absent()
    }
    async fn set_payload(
        &self,
        _: Request<wire::SetPayloadPoints>,
    ) -> Reply<wire::PointsOperationResponse> {
        absent()
    }
    async fn overwrite_payload(
        &self,
        _: Request<wire::SetPayloadPoints>,
    ) -> Reply<wire::PointsOperationResponse> {
        absent()
    }
    async fn delete_payload(
        &self,
        _: Request<wire::DeletePayloadPoints>,
    ) -> Reply<wire::PointsOperationResponse> {
        absent()
    }
    async fn clear_payload(
        &self,
        _: Request<wire::ClearPayloadPoints>,
    ) -> Reply<wire::PointsOperationResponse> {
        absent()
    }
    async fn create_field_index(
        &self,
        _: Request<wire::CreateFieldIndexCollection>,
    ) -> Reply<wire::PointsOperationResponse> {
        absent()
    }
    async fn delete_field_index(
        &self,
        _: Request<wire::DeleteFieldIndexCollection>,
    ) -> Reply<wire::PointsOperationResponse> {
        absent()
    }
    async fn create_vector_name(
        &self,
        _: Request<wire::CreateVectorNameRequest>,
    ) -> Reply<wire::PointsOperationResponse> {
        absent()
    }
    async fn delete_vector_name(
        &self,
        _: Request<wire::DeleteVectorNameRequest>,
    ) -> Reply<wire::PointsOperationResponse> {
        absent()
    }
    async fn search(&self, _: Request<wire::SearchPoints>) -> Reply<wire::SearchResponse> {
        absent()
    }
    async fn search_batch(
        &self,
        _: Request<wire::SearchBatchPoints>,
    ) -> Reply<wire::SearchBatchResponse> {
        absent()
    }
    async fn search_groups(
        &self,
        _: Request<wire::SearchPointGroups>,
    ) -> Reply<wire::SearchGroupsResponse> {
        absent()
    }
    async fn recommend(&self, _: Request<wire::RecommendPoints>) -> Reply<wire::RecommendResponse> {
        absent()
    }
    async fn recommend_batch(
        &self,
        _: Request<wire::RecommendBatchPoints>,
    ) -> Reply<wire::RecommendBatchResponse> {
        absent()
    }
    async fn recommend_groups(
        &self,
        _: Request<wire::RecommendPointGroups>,
    ) -> Reply<wire::RecommendGroupsResponse> {
        absent()
    }
    async fn discover(&self, _: Request<wire::DiscoverPoints>) -> Reply<wire::DiscoverResponse> {
        absent()
    }
    async fn discover_batch(
        &self,
        _: Request<wire::DiscoverBatchPoints>,
    ) -> Reply<wire::DiscoverBatchResponse> {
        absent()
    }
    async fn count(&self, _: Request<wire::CountPoints>) -> Reply<wire::CountResponse> {
        absent()
    }
    async fn update_batch(
        &self,
        _: Request<wire::UpdateBatchPoints>,
    ) -> Reply<wire::UpdateBatchResponse> {
        absent()
    }
    async fn query_batch(
        &self,
        _: Request<wire::QueryBatchPoints>,
    ) -> Reply<wire::QueryBatchResponse> {
        absent()
    }
    async fn query_groups(
        &self,
        _: Request<wire::QueryPointGroups>,
    ) -> Reply<wire::QueryGroupsResponse> {
        absent()
    }
    async fn facet(&self, _: Request<wire::FacetCounts>) -> Reply<wire::FacetResponse> {
        absent()
    }
    async fn search_matrix_pairs(
        &self,
        _: Request<wire::SearchMatrixPoints>,
    ) -> Reply<wire::SearchMatrixPairsResponse> {
        absent()
    }
    async fn search_matrix_offsets(
        &self,
        _: Request<wire::SearchMatrixPoints>,
    ) -> Reply<wire::SearchMatrixOffsetsResponse> {
        absent()
    }
}

#[tonic::async_trait]
impl Collections for Service {
    async fn create(
        &self,
        request: Request<wire::CreateCollection>,
    ) -> Reply<wire::CollectionOperationResponse> {
        use wire::vectors_config::Config;
        let request = request.into_inner();
        let Some(Config::Params(params)) = request.vectors_config.and_then(|config| config.config)
        else {
            return Err(Status::invalid_argument("one vector"));
        };
        let folder = tempfile::tempdir().map_err(internal)?;
        let config = EdgeConfig::builder()
            .vector(
                "",
                EdgeVectorParams::builder(params.size as usize, Distance::Cosine).build(),
            )
            .build();
        let shard = EdgeShard::new(folder.path(), config).map_err(internal)?;
        let held = Held {
            shard,
            names: BTreeMap::new(),
            _folder: folder,
        };
        self.shards
            .lock()
            .map_err(internal)?
            .insert(request.collection_name, held);
        Ok(Response::new(wire::CollectionOperationResponse {
            result: true,
            time: 0.0,
        }))
    }

    async fn collection_exists(
        &self,
        request: Request<wire::CollectionExistsRequest>,
    ) -> Reply<wire::CollectionExistsResponse> {
        let name = request.into_inner().collection_name;
        let exists = self.shards.lock().map_err(internal)?.contains_key(&name);
        Ok(Response::new(wire::CollectionExistsResponse {
            result: Some(wire::CollectionExists { exists }),
            time: 0.0,
        }))
    }

    async fn get(
        &self,
        _: Request<wire::GetCollectionInfoRequest>,
    ) -> Reply<wire::GetCollectionInfoResponse> {
        absent()
    }
    async fn list(
        &self,
        _: Request<wire::ListCollectionsRequest>,
    ) -> Reply<wire::ListCollectionsResponse> {
        absent()
    }
    async fn update(
        &self,
        _: Request<wire::UpdateCollection>,
    ) -> Reply<wire::CollectionOperationResponse> {
        absent()
    }
    async fn delete(
        &self,
        request: Request<wire::DeleteCollection>,
    ) -> Reply<wire::CollectionOperationResponse> {
        let name = request.into_inner().collection_name;
        let held = self.shards.lock().map_err(internal)?.remove(&name);
        Ok(Response::new(wire::CollectionOperationResponse {
            result: held.is_some(),
            time: 0.0,
        }))
    }
    async fn update_aliases(
        &self,
        _: Request<wire::ChangeAliases>,
    ) -> Reply<wire::CollectionOperationResponse> {
        absent()
    }
    async fn list_collection_aliases(
        &self,
        _: Request<wire::ListCollectionAliasesRequest>,
    ) -> Reply<wire::ListAliasesResponse> {
        absent()
    }
    async fn list_aliases(
        &self,
        _: Request<wire::ListAliasesRequest>,
    ) -> Reply<wire::ListAliasesResponse> {
        absent()
    }
    async fn collection_cluster_info(
        &self,
        _: Request<wire::CollectionClusterInfoRequest>,
    ) -> Reply<wire::CollectionClusterInfoResponse> {
        absent()
    }
    async fn update_collection_cluster_setup(
        &self,
        _: Request<wire::UpdateCollectionClusterSetupRequest>,
    ) -> Reply<wire::UpdateCollectionClusterSetupResponse> {
        absent()
    }
    async fn create_shard_key(
        &self,
        _: Request<wire::CreateShardKeyRequest>,
    ) -> Reply<wire::CreateShardKeyResponse> {
        absent()
    }
    async fn delete_shard_key(
        &self,
        _: Request<wire::DeleteShardKeyRequest>,
    ) -> Reply<wire::DeleteShardKeyResponse> {
        absent()
    }
    async fn list_shard_keys(
        &self,
        _: Request<wire::ListShardKeysRequest>,
    ) -> Reply<wire::ListShardKeysResponse> {
        absent()
    }
}
