//! The model store: what goes in comes out, and bad files leave it as it was.

#![expect(clippy::disallowed_methods, reason = "somebody else moves these files")]

mod support;

use std::path::Path;

use support::*;
use tally_inference::{
    AddMode, AddOptions, GgufError, ModelKind, ModelName, ModelStore, Removed, StoreError,
};
use tally_seed_model::{Array, Dtype, GgufWriter, SEED, Value};

/// All files of a store with their bytes, to compare before and after.
fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(next) = todo.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                todo.push(path);
            } else {
                files.push((
                    path.display().to_string(),
                    std::fs::read(&path).expect("a file"),
                ));
            }
        }
    }
    files.sort();
    files
}

async fn add_bytes(world: &World, bytes: &[u8]) -> Result<(), StoreError> {
    let path = world.dir.path().join("candidate.gguf");
    std::fs::write(&path, bytes).expect("the file is written");
    world
        .store
        .add(&path, AddOptions::default(), |_, _| {})
        .await
        .map(drop)
}

async fn refusal(world: &World, bytes: &[u8]) -> GgufError {
    match add_bytes(world, bytes).await {
        Err(StoreError::NotAModel { fault, .. }) => fault,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

#[tokio::test]
async fn models_are_found_by_name_digest_and_prefix() {
    let world = World::new().await;
    let record = world.store.resolve(CHAT).await.expect("it is there");
    assert_eq!(record.kind(), ModelKind::Chat);
    assert_eq!(record.header.architecture, "llama");
    assert_eq!(record.header.context_tokens, 2048);
    assert_eq!(record.header.quantisation, "F16");
    assert!(record.header.chat_template.is_some());
    assert!(record.header.parameters > 500_000);
    let digest = record.weights.to_string();
    assert_eq!(
        world.store.resolve(&digest).await.expect("by digest"),
        record
    );
    assert_eq!(
        world.store.resolve(&digest[..8]).await.expect("by prefix"),
        record
    );
    assert!(matches!(
        world.store.resolve(&digest[..7]).await,
        Err(StoreError::Unknown { .. })
    ));
    for name in ["nobody", "../../etc/passwd", "", "00000000"] {
        assert!(
            matches!(
                world.store.resolve(name).await,
                Err(StoreError::Unknown { .. })
            ),
            "{name}"
        );
    }
    let embed = world.store.resolve(EMBED).await.expect("it is there");
    assert_eq!(
        (embed.kind(), embed.header.pooling.as_deref()),
        (ModelKind::Embedding, Some("mean"))
    );
    let names: Vec<String> = world
        .store
        .list()
        .await
        .expect("a list")
        .iter()
        .map(|record| record.name.to_string())
        .collect();
    assert_eq!(names, [CHAT, EMBED]);
}

#[tokio::test]
async fn the_first_chat_model_is_the_default_until_another_is_chosen() {
    let world = World::new().await;
    assert_eq!(
        world
            .store
            .default_model(ModelKind::Chat)
            .await
            .expect("read")
            .expect("one")
            .name
            .as_str(),
        CHAT
    );
    world.add("other", &tally_seed_model::chat_model(5)).await;
    assert_eq!(
        world
            .store
            .default_model(ModelKind::Chat)
            .await
            .expect("read")
            .expect("one")
            .name
            .as_str(),
        CHAT
    );
    world.store.set_default("other").await.expect("chosen");
    assert_eq!(
        world
            .store
            .default_model(ModelKind::Chat)
            .await
            .expect("read")
            .expect("one")
            .name
            .as_str(),
        "other"
    );
    world.store.remove("other").await.expect("removed");
    assert!(
        world
            .store
            .default_model(ModelKind::Chat)
            .await
            .expect("read")
            .is_none()
    );
}

/// The default of a kind, by name.
async fn default(world: &World, kind: ModelKind) -> Option<String> {
    let default = world.store.default_model(kind).await.expect("read");
    default.map(|record| record.name.to_string())
}

/// What somebody gets who names no model of a kind, by name.
async fn unnamed(world: &World, kind: ModelKind) -> Result<Option<String>, StoreError> {
    let found = world.store.default_or_only(kind).await?;
    Ok(found.map(|record| record.name.to_string()))
}

#[tokio::test]
async fn each_kind_has_a_default_of_its_own() {
    let world = World::new().await;
    world.add_reranker().await;
    let kinds = [
        (ModelKind::Chat, CHAT),
        (ModelKind::Embedding, EMBED),
        (ModelKind::Reranking, RERANK),
    ];
    for kind in [ModelKind::Embedding, ModelKind::Reranking] {
        assert_eq!(default(&world, kind).await, None, "{kind} is not chosen");
    }
    for (_, name) in kinds {
        world.store.set_default(name).await.expect("chosen");
    }
    for (kind, name) in kinds {
        assert_eq!(default(&world, kind).await.as_deref(), Some(name));
    }
    world.store.remove(EMBED).await.expect("removed");
    for (kind, name) in kinds {
        let left = (name != EMBED).then_some(name);
        assert_eq!(default(&world, kind).await.as_deref(), left, "{kind}");
    }
    // Its name does not bring the choice back.
    let bytes = tally_seed_model::embedding_model(SEED);
    world.add(EMBED, &bytes).await;
    assert_eq!(default(&world, ModelKind::Embedding).await, None);
}

#[tokio::test]
async fn who_names_none_gets_the_default_or_the_only_one_and_of_several_is_told_the_names() {
    let world = World::new().await;
    let kind = ModelKind::Embedding;
    let none = unnamed(&world, ModelKind::Reranking).await;
    assert_eq!(none.expect("read"), None);
    let only = unnamed(&world, kind).await.expect("read");
    assert_eq!(only.as_deref(), Some(EMBED));
    let bytes = tally_seed_model::embedding_model(5);
    world.add("other", &bytes).await;
    let error = unnamed(&world, kind).await.expect_err("which?");
    let said = error.to_string();
    assert!(
        matches!(error, StoreError::Undecided { .. })
            && said.contains(&format!("(other, {EMBED})"))
            && said.contains("several embedding models")
            && said.contains("tally model default NAME"),
        "{said}"
    );
    for name in ["other", EMBED] {
        world.store.set_default(name).await.expect("chosen");
        let chosen = unnamed(&world, kind).await.expect("read");
        assert_eq!(chosen.as_deref(), Some(name));
    }
}

#[tokio::test]
async fn a_store_with_the_one_default_of_before_is_read_and_old_programs_read_a_new_one() {
    let world = World::new().await;
    let file = |name: &str| world.store.dir().join(name);
    // As it was when only chat models had a default: one file, of this name.
    assert_eq!(
        std::fs::read(file("default")).expect("it is there"),
        format!("{CHAT}\n").as_bytes()
    );
    for name in ["default-embedding", "default-reranking"] {
        assert!(!file(name).exists(), "{name}");
    }
    assert_eq!(
        default(&world, ModelKind::Chat).await.as_deref(),
        Some(CHAT)
    );
    let only = unnamed(&world, ModelKind::Embedding).await.expect("read");
    assert_eq!(only.as_deref(), Some(EMBED));

    world.store.set_default(EMBED).await.expect("chosen");
    assert_eq!(
        std::fs::read(file("default")).expect("it is there"),
        format!("{CHAT}\n").as_bytes()
    );
    assert_eq!(
        std::fs::read(file("default-embedding")).expect("it is there"),
        format!("{EMBED}\n").as_bytes()
    );

    // A file that names a model of another kind chooses nothing.
    std::fs::write(file("default"), format!("{EMBED}\n")).expect("the file is written");
    assert_eq!(default(&world, ModelKind::Chat).await, None);
    std::fs::write(file("default-embedding"), "no name\n").expect("the file is written");
    assert!(matches!(
        world.store.default_model(ModelKind::Embedding).await,
        Err(StoreError::BadRecord { .. })
    ));
}

#[tokio::test]
async fn weights_are_shared_and_go_with_the_last_record() {
    let world = World::new().await;
    let bytes = tally_seed_model::chat_model(SEED);
    world.add("twin", &bytes).await;
    world.add("twin", &bytes).await;
    let digest = world
        .store
        .resolve("twin")
        .await
        .expect("it is there")
        .weights
        .to_string();
    world.store.remove(CHAT).await.expect("removed");
    assert!(world.weights(&digest).exists());
    world.store.remove("twin").await.expect("removed");
    assert!(!world.weights(&digest).exists());
}

#[tokio::test]
async fn a_taken_name_is_refused_and_nothing_changes() {
    let world = World::new().await;
    let before = snapshot(world.store.dir());
    let path = world.dir.path().join("candidate.gguf");
    std::fs::write(&path, tally_seed_model::chat_model(9)).expect("the file is written");
    let options = AddOptions {
        name: ModelName::parse(CHAT),
        mode: AddMode::Copy,
        ..AddOptions::default()
    };
    assert!(matches!(
        world.store.add(&path, options, |_, _| {}).await,
        Err(StoreError::NameTaken { .. })
    ));
    assert_eq!(snapshot(world.store.dir()), before);
}

#[tokio::test]
async fn a_taken_file_is_moved_and_its_origin_recorded() {
    let world = World::new().await;
    let path = world.store.dir().join("download");
    let bytes = tally_seed_model::chat_model(11);
    let name = || ModelName::parse("taken").expect("it is a name");
    std::fs::write(&path, &bytes).expect("the file is written");
    let record = world
        .store
        .take(&path, name(), "hf:owner/repo/file.gguf", |_, _| {})
        .await
        .expect("taken");
    assert!(!path.exists(), "it was moved, not copied");
    assert_eq!(record.source, Path::new("hf:owner/repo/file.gguf"));
    let there = world.store.weights_path(&record.weights);
    assert_eq!(std::fs::read(there).expect("it is there"), bytes);

    // A file that is no good, or whose name is taken, stays with its owner, and the store as it was.
    let before = snapshot(&world.store.dir().join("models"));
    for other in [tally_seed_model::chat_model(12), b"GGUF".to_vec()] {
        std::fs::write(&path, &other).expect("the file is written");
        world
            .store
            .take(&path, name(), "elsewhere", |_, _| {})
            .await
            .expect_err("refused");
        assert_eq!(std::fs::read(&path).expect("it is still there"), other);
    }
    assert_eq!(snapshot(&world.store.dir().join("models")), before);
}

#[tokio::test]
async fn a_linked_model_is_not_copied() {
    let world = World::new().await;
    let path = world.dir.path().join("linked.gguf");
    std::fs::write(&path, tally_seed_model::chat_model(11)).expect("the file is written");
    let options = AddOptions {
        name: None,
        mode: AddMode::Link,
        ..AddOptions::default()
    };
    let record = world
        .store
        .add(&path, options, |_, _| {})
        .await
        .expect("added");
    assert_eq!(record.name.as_str(), "linked");
    let weights = world.weights(&record.weights.to_string());
    assert!(
        weights
            .symlink_metadata()
            .expect("it is there")
            .is_symlink()
    );
    world.store.remove("linked").await.expect("removed");
    assert!(path.exists(), "the file itself stays");
}

#[tokio::test]
async fn progress_ends_at_the_whole() {
    let world = World::new().await;
    let seen = std::sync::Arc::new(std::sync::Mutex::new((0, 0)));
    let path = world.dir.path().join("p.gguf");
    std::fs::write(&path, tally_seed_model::chat_model(12)).expect("the file is written");
    let progress = {
        let seen = std::sync::Arc::clone(&seen);
        move |done, all| *seen.lock().expect("not poisoned") = (done, all)
    };
    let record = world
        .store
        .add(&path, AddOptions::default(), progress)
        .await
        .expect("added");
    assert_eq!(
        *seen.lock().expect("not poisoned"),
        (record.bytes, record.bytes)
    );
}

#[tokio::test]
async fn files_that_are_no_models_are_named_and_the_store_stays_as_it_was() {
    let world = World::new().await;
    let before = snapshot(world.store.dir());
    let good = tally_seed_model::chat_model(SEED);
    let patched = |at: usize, bytes: &[u8]| {
        let mut copy = good.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        copy
    };
    assert_eq!(refusal(&world, b"").await, GgufError::Empty);
    assert_eq!(
        refusal(&world, b"PK\x03\x04 a zip file").await,
        GgufError::WrongMagic
    );
    assert_eq!(
        refusal(&world, b"GG").await,
        GgufError::Truncated {
            part: "the magic number"
        }
    );
    assert_eq!(
        refusal(&world, &patched(4, &3u32.to_be_bytes())).await,
        GgufError::BigEndian
    );
    assert_eq!(
        refusal(&world, &patched(4, &9u32.to_le_bytes())).await,
        GgufError::UnknownVersion { found: 9 }
    );
    assert_eq!(
        refusal(&world, &patched(4, &1u32.to_le_bytes())).await,
        GgufError::UnknownVersion { found: 1 }
    );
    // Absurd counts: tensors, keys, the length of the first key.
    for at in [8, 16, 24] {
        for count in [u64::MAX, 1 << 40] {
            assert!(
                matches!(
                    refusal(&world, &patched(at, &count.to_le_bytes())).await,
                    GgufError::TooLarge { .. }
                ),
                "{at}"
            );
        }
    }
    // The first key's name is not text.
    assert_eq!(
        refusal(&world, &patched(32, &[0xff, 0xfe])).await,
        GgufError::NotUtf8 {
            what: "a key".into()
        }
    );
    // Its value type is unknown; its text is not text.
    let key = 32 + "general.architecture".len();
    assert!(matches!(
        refusal(&world, &patched(key, &77u32.to_le_bytes())).await,
        GgufError::UnknownValueType { found: 77, .. }
    ));
    assert!(matches!(
        refusal(&world, &patched(key + 12, &[0xff])).await,
        GgufError::NotUtf8 { .. }
    ));
    assert_eq!(
        snapshot(world.store.dir()),
        before,
        "the old models stay and nothing is left over"
    );
}

/// A file with these keys and one tensor claim.
fn claim(shape: [u64; 2], offset: u64, extra: &[(&str, Value)]) -> Vec<u8> {
    let mut file = GgufWriter::new();
    for (name, value) in [
        ("general.architecture", Value::Text("llama".into())),
        ("llama.context_length", Value::U32(128)),
        ("llama.embedding_length", Value::U32(64)),
        ("llama.block_count", Value::U32(1)),
        ("tokenizer.ggml.model", Value::Text("gpt2".into())),
        (
            "tokenizer.ggml.tokens",
            Value::Array(Array::Text(vec!["a".into(), "b".into()])),
        ),
    ] {
        if !extra.iter().any(|(other, _)| *other == name) {
            file.key(name, &value);
        }
    }
    for (name, value) in extra {
        file.key(name, value);
    }
    file.tensor("token_embd.weight", &[2, 2], Dtype::F32, &[0.0; 4]);
    let mut bytes = file.finish();
    // The tensor's information: name, 2, two extents, type, offset.
    let name = b"token_embd.weight";
    let at = bytes
        .windows(name.len())
        .rposition(|window| window == name)
        .expect("it is there")
        + name.len()
        + 4;
    bytes[at..at + 8].copy_from_slice(&shape[0].to_le_bytes());
    bytes[at + 8..at + 16].copy_from_slice(&shape[1].to_le_bytes());
    bytes[at + 20..at + 28].copy_from_slice(&offset.to_le_bytes());
    bytes
}

#[tokio::test]
async fn claims_beyond_the_file_are_refused() {
    let world = World::new().await;
    assert!(
        add_bytes(&world, &claim([2, 2], 0, &[])).await.is_ok(),
        "the unaltered claim is a file we take"
    );
    // One gigabyte in a file of some hundred bytes.
    assert!(matches!(
        refusal(&world, &claim([1 << 14, 1 << 14], 0, &[])).await,
        GgufError::TensorOutside { .. }
    ));
    assert!(matches!(
        refusal(&world, &claim([2, 2], 1 << 40, &[])).await,
        GgufError::TensorOutside { .. }
    ));
    assert!(matches!(
        refusal(&world, &claim([2, 2], u64::MAX - 31, &[])).await,
        GgufError::TensorOutside { .. }
    ));
    assert!(matches!(
        refusal(&world, &claim([2, 2], 3, &[])).await,
        GgufError::BadTensor { .. }
    ));
    assert!(matches!(
        refusal(&world, &claim([u64::MAX, 2], 0, &[])).await,
        GgufError::BadTensor { .. }
    ));
    assert!(matches!(
        refusal(&world, &claim([1 << 62, 1 << 62], 0, &[])).await,
        GgufError::BadTensor { .. }
    ));
    assert!(matches!(
        refusal(&world, &claim([0, 2], 0, &[])).await,
        GgufError::BadTensor { .. }
    ));
}

#[tokio::test]
async fn files_that_are_not_whole_models_are_named() {
    let world = World::new().await;
    let text = |text: &str| Value::Text(text.into());
    for (key, value) in [
        ("general.architecture", text("../../etc")),
        ("general.architecture", Value::U32(5)),
        ("llama.context_length", Value::U32(0)),
        ("tokenizer.ggml.tokens", Value::U32(1)),
        ("general.alignment", Value::U32(7)),
    ] {
        let fault = refusal(&world, &claim([2, 2], 0, &[(key, value)])).await;
        assert_eq!(fault, GgufError::Missing { key: key.into() });
    }
    let split = claim([2, 2], 0, &[("split.count", Value::U32(3))]);
    assert_eq!(refusal(&world, &split).await, GgufError::Split { parts: 3 });
    let adapter = claim([2, 2], 0, &[("general.type", text("adapter"))]);
    assert_eq!(
        refusal(&world, &adapter).await,
        GgufError::NotAModel {
            found: "adapter".into()
        }
    );
    let twice = claim([2, 2], 0, &[("x", Value::U32(1)), ("x", Value::U32(2))]);
    assert_eq!(
        refusal(&world, &twice).await,
        GgufError::Duplicate { name: "x".into() }
    );
}

#[tokio::test]
async fn a_file_truncated_anywhere_is_refused() {
    let world = World::new().await;
    let bytes = tally_seed_model::embedding_model(SEED);
    // Every length through the head of the file, then coarser; the last bytes are padding after the last tensor.
    let lengths = (1..400).chain((400..bytes.len() - 64).step_by(4099));
    for length in lengths {
        let fault = refusal(&world, &bytes[..length]).await;
        assert!(
            matches!(
                fault,
                GgufError::Truncated { .. } | GgufError::TensorOutside { .. }
            ),
            "{length} bytes: {fault:?}"
        );
    }
}

#[tokio::test]
async fn any_flipped_header_byte_gives_an_answer_and_not_a_panic() {
    let world = World::new().await;
    let bytes = tally_seed_model::embedding_model(SEED);
    let path = world.dir.path().join("flipped.gguf");
    for at in 0..2000 {
        let mut copy = bytes.clone();
        copy[at] ^= 0xff;
        std::fs::write(&path, &copy).expect("the file is written");
        // Either is right, depending on the byte; a name may be any text.
        let _ = ModelStore::inspect(&path).await;
    }
}

#[tokio::test]
async fn a_damaged_record_is_named() {
    let world = World::new().await;
    let path = world
        .store
        .dir()
        .join("models")
        .join(format!("{CHAT}.json"));
    std::fs::write(&path, b"{").expect("the file is written");
    assert!(matches!(
        world.store.resolve(CHAT).await,
        Err(StoreError::BadRecord { .. })
    ));
    let other = std::fs::read(
        world
            .store
            .dir()
            .join("models")
            .join(format!("{EMBED}.json")),
    )
    .expect("it is there");
    std::fs::write(&path, other).expect("the file is written");
    let listing = world.store.survey().await.expect("the rest is listed");
    assert!(
        matches!(
            listing.damaged.as_slice(),
            [StoreError::BadRecord { path: named, .. }] if *named == path
        ),
        "a record under another's name: {listing:?}"
    );
    assert_eq!(listing.models.len(), 1);
}

/// One record that cannot be read is no reason to refuse the others, nor one to be there for ever.
#[tokio::test]
async fn a_damaged_record_is_passed_over_and_can_be_removed_and_replaced() {
    let world = World::new().await;
    let models = world.store.dir().join("models");
    let path = models.join(format!("{CHAT}.json"));
    let bytes = tally_seed_model::chat_model(SEED);
    std::fs::File::create(&path)
        .and_then(|file| file.set_len((20 << 20) + 1))
        .expect("the file is written");
    let names = || async {
        let listed = world.store.list().await.expect("a list");
        let names: Vec<_> = listed
            .into_iter()
            .map(|record| record.name.to_string())
            .collect();
        names
    };
    assert_eq!(names().await, [EMBED]);
    // Another model comes and goes meanwhile.
    world.add("other", &tally_seed_model::chat_model(5)).await;
    assert!(matches!(
        world.store.remove("other").await,
        Ok(Removed::Model(_))
    ));
    assert!(matches!(
        world.store.remove(CHAT).await,
        Ok(Removed::Damaged(name)) if name.as_str() == CHAT
    ));
    assert!(!path.exists());
    world.add(CHAT, &bytes).await;
    assert_eq!(names().await, [CHAT, EMBED]);

    // Whoever may take the name from another model may take it from a record that is none.
    std::fs::write(&path, b"{").expect("the file is written");
    let source = world.dir.path().join("again.gguf");
    std::fs::write(&source, &bytes).expect("the file is written");
    let options = |takes_name| AddOptions {
        name: ModelName::parse(CHAT),
        takes_name,
        ..AddOptions::default()
    };
    assert!(matches!(
        world.store.add(&source, options(false), |_, _| {}).await,
        Err(StoreError::BadRecord { .. })
    ));
    world
        .store
        .add(&source, options(true), |_, _| {})
        .await
        .expect("added");
    assert_eq!(names().await, [CHAT, EMBED]);
}

/// Two names of one model, and the record of one of them is damaged: which weights are its is not known.
#[tokio::test]
async fn weights_that_a_damaged_record_may_have_stay_when_another_model_goes() {
    let world = World::new().await;
    let record = world.store.resolve(CHAT).await.expect("it is there");
    let weights = world.store.weights_path(&record.weights);
    let other = ModelName::parse("other").expect("a name");
    world.store.name_also(&record, other).await.expect("named");
    let path = world.store.dir().join("models").join("other.json");
    let whole = std::fs::read(&path).expect("it is there");
    std::fs::write(&path, b"{").expect("the file is written");
    assert!(matches!(
        world.store.remove(CHAT).await,
        Ok(Removed::Model(_))
    ));
    assert!(weights.exists());
    std::fs::write(&path, whole).expect("the file is written");
    assert!(matches!(
        world.store.remove("other").await,
        Ok(Removed::Model(_))
    ));
    assert!(!weights.exists());
}

/// Each control character takes six bytes of a record: what is let in must be readable again.
#[tokio::test]
async fn a_name_or_a_template_that_no_record_could_hold_is_refused_before_anything_moves() {
    let world = World::new().await;
    let before = snapshot(world.store.dir());
    let text = |length: usize| Value::Text("\u{1}".repeat(length));
    for (key, most) in [
        ("general.name", 1 << 20),
        ("tokenizer.chat_template", 1 << 20),
        ("tokenizer.ggml.model", 1024),
    ] {
        let fault = refusal(&world, &claim([2, 2], 0, &[(key, text(most + 1))])).await;
        assert!(
            matches!(fault, GgufError::TooLarge { limit, .. } if limit == most as u64),
            "{key}: {fault:?}"
        );
    }
    assert_eq!(snapshot(world.store.dir()), before);
    let longest = claim(
        [2, 2],
        0,
        &[
            ("general.name", text(1 << 20)),
            ("tokenizer.chat_template", text(1 << 20)),
            ("tokenizer.ggml.model", text(1024)),
        ],
    );
    add_bytes(&world, &longest).await.expect("added");
    let listing = world.store.survey().await.expect("a list");
    assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
    assert_eq!(listing.models.len(), 3);
}

#[tokio::test]
async fn a_path_that_is_not_utf8_is_no_hindrance() {
    use std::os::unix::ffi::OsStrExt as _;
    let world = World::new().await;
    let path = world
        .dir
        .path()
        .join(std::ffi::OsStr::from_bytes(b"m\xffodel.gguf"));
    std::fs::write(&path, tally_seed_model::chat_model(11)).expect("the file is written");
    for mode in [AddMode::Copy, AddMode::Link] {
        let options = AddOptions {
            mode,
            ..AddOptions::default()
        };
        let record = world
            .store
            .add(&path, options, |_, _| {})
            .await
            .expect("added");
        assert!(record.source.ends_with("m\u{fffd}odel.gguf"), "{record:?}");
        let found = world.store.resolve(record.name.as_str()).await;
        assert_eq!(found.expect("it is there"), record);
        assert!(world.weights(&record.weights.to_string()).exists());
        world
            .store
            .remove(record.name.as_str())
            .await
            .expect("removed");
    }
}

#[tokio::test]
async fn a_model_has_as_many_names_as_it_is_given() {
    let world = World::new().await;
    let name = |text| ModelName::parse(text).expect("it is a name");
    let record = world.store.resolve(CHAT).await.expect("it is there");
    for _ in 0..2 {
        let twin = world.store.name_also(&record, name("twin")).await;
        assert_eq!(twin.expect("named").weights, record.weights);
    }
    assert!(matches!(
        world.store.name_also(&record, name(EMBED)).await,
        Err(StoreError::NameTaken { .. })
    ));
    world.store.remove(CHAT).await.expect("removed");
    assert!(world.weights(&record.weights.to_string()).exists());
    let twin = world.store.resolve("twin").await.expect("it is there");
    assert_eq!((twin.name, twin.weights), (name("twin"), record.weights));
}

#[tokio::test]
async fn a_write_that_fails_leaves_the_store_as_it_was() {
    let world = World::new().await;
    let before = snapshot(world.store.dir());
    let path = world.dir.path().join("big.gguf");
    std::fs::write(&path, tally_seed_model::chat_model(77)).expect("the file is written");
    // `weights` becomes a place that cannot be written to: a file where the directory was.
    let weights = world.store.dir().join("weights");
    let aside = world.dir.path().join("weights-aside");
    std::fs::rename(&weights, &aside).expect("moved aside");
    std::fs::write(&weights, b"").expect("the file is written");
    let failed = world
        .store
        .add(&path, AddOptions::default(), |_, _| {})
        .await;
    assert!(matches!(failed, Err(StoreError::Io { .. })), "{failed:?}");
    std::fs::remove_file(&weights).expect("removed");
    std::fs::rename(&aside, &weights).expect("moved back");
    assert_eq!(snapshot(world.store.dir()), before);
}

/// A disk that is full in earnest: `/dev/full` cannot hold a directory, so a file system of one page is mounted where the
/// test may do that, in a mount namespace of its own. Elsewhere the test says that it did not run.
#[test]
fn a_full_disk_is_named_and_leaves_the_store_as_it_was() {
    const INSIDE: &str = "TALLY_TEST_SMALL_DISK";
    if let Some(dir) = std::env::var_os(INSIDE) {
        let dir = Path::new(&dir);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        let outcome = runtime.block_on(ModelStore::open(dir.join("disk/store")).add(
            &dir.join("m.gguf"),
            AddOptions::default(),
            |_, _| {},
        ));
        assert!(
            matches!(outcome, Err(StoreError::DiskFull { .. })),
            "{outcome:?}"
        );
        assert!(
            snapshot(&dir.join("disk")).is_empty(),
            "nothing is left over"
        );
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("m.gguf"), tally_seed_model::chat_model(1))
        .expect("the file is written");
    std::fs::create_dir(dir.path().join("disk")).expect("made");
    let script = "mount -t tmpfs -o size=64k none \"$0/disk\" || exit 77; exec \"$1\" --exact a_full_disk_is_named_and_leaves_the_store_as_it_was";
    let status = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(dir.path())
        .arg(std::env::current_exe().expect("this test"))
        .env(INSIDE, dir.path())
        .stdout(std::process::Stdio::null())
        .status();
    match status.ok().and_then(|status| status.code()) {
        Some(0) => {}
        None | Some(1 | 77)
            if std::process::Command::new("unshare")
                .args(["--user", "--map-root-user", "--mount", "true"])
                .status()
                .is_ok_and(|status| !status.success()) =>
        {
            eprintln!("NOT RUN: this machine does not let a test mount a file system");
        }
        code => panic!("the test inside ended with {code:?}"),
    }
}

#[tokio::test]
async fn adding_again_repairs_damaged_weights_and_leaves_good_ones_alone() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new().await;
    let bytes = tally_seed_model::chat_model(SEED);
    let record = world.store.resolve(CHAT).await.expect("it is there");
    let path = world.weights(&record.weights.to_string());
    let inode = || std::fs::metadata(&path).expect("it is there").ino();
    let before = inode();
    world.add(CHAT, &bytes).await;
    assert_eq!(inode(), before);
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, b"GGUF and no more").expect("written");
    world.add(CHAT, &bytes).await;
    assert_eq!(std::fs::read(&path).expect("it is there"), bytes);
}
