//! Every file that cannot run gets a sentence that says why, and compiled code is believed only when it is ours.

mod common;

use common::*;
use tally_engine::{ComponentKind, Engine, EngineOptions, LoadError, LoadStep, PoolKind, inspect};

fn refusal(bytes: &[u8]) -> LoadError {
    inspect(bytes).expect_err("it is not a component")
}

#[test]
fn what_is_no_component_is_told_apart() {
    assert!(matches!(refusal(b""), LoadError::Empty));
    assert!(matches!(refusal(b"#!/bin/sh"), LoadError::NotWasm));
    assert!(matches!(refusal(b"\x7fELF"), LoadError::NotWasm));
    assert!(matches!(refusal(b"\0as"), LoadError::Truncated { len: 3 }));
    assert!(matches!(refusal(b"\0asm\x01\0\0\0"), LoadError::CoreModule));
    assert!(matches!(
        refusal(b"\0asm\x09\0\0\0"),
        LoadError::UnknownFormat(9)
    ));
    assert!(matches!(
        refusal(b"\0asm\x0d\0\x01\0"),
        LoadError::WrongWorld { .. }
    ));
    assert!(matches!(
        refusal(b"\0asm\x0d\0\x01\0\xff\xff"),
        LoadError::Truncated { .. } | LoadError::Invalid(_)
    ));
    assert!(matches!(
        refusal(&vec![0; (256 << 20) + 1]),
        LoadError::TooLarge { .. }
    ));
}

#[test]
fn a_component_cut_anywhere_is_refused() {
    let bytes = agent_bytes();
    for len in (8..bytes.len()).step_by(997) {
        match inspect(&bytes[..len]) {
            Err(
                LoadError::Truncated { .. } | LoadError::Invalid(_) | LoadError::WrongWorld { .. },
            ) => {}
            // Cut between two sections after the exports: only the manifest is missing.
            Ok(inspection) => assert!(inspection.manifest.is_none()),
            Err(other) => panic!("cut at {len}: {other}"),
        }
    }
}

/// A component that imports and exports instances of these names, and does nothing.
fn component(imports: &[&str], exports: &[&str]) -> Vec<u8> {
    use wasm_encoder::{
        Component, ComponentExportKind, ComponentExportSection, ComponentImportSection,
        ComponentInstanceSection, ComponentTypeRef, ComponentTypeSection, InstanceType,
    };
    let mut component = Component::new();
    let mut types = ComponentTypeSection::new();
    types.instance(&InstanceType::new());
    component.section(&types);
    let mut section = ComponentImportSection::new();
    for import in imports {
        section.import(*import, ComponentTypeRef::Instance(0));
    }
    component.section(&section);
    let mut instances = ComponentInstanceSection::new();
    instances.export_items(std::iter::empty::<(&str, ComponentExportKind, u32)>());
    component.section(&instances);
    let mut section = ComponentExportSection::new();
    for export in exports {
        section.export(
            *export,
            ComponentExportKind::Instance,
            imports.len() as u32,
            None,
        );
    }
    component.section(&section);
    component.finish()
}

const HANDLER: &str = "tally:agent/handler@0.1.0";

#[test]
fn worlds_and_versions_are_named() {
    assert!(
        matches!(inspect(&component(&[], &[HANDLER])), Ok(i) if i.kind == ComponentKind::Agent)
    );
    let error = refusal(&component(&[], &["wasi:cli/run@0.2.0"]));
    assert!(
        matches!(&error, LoadError::WrongWorld { exports } if exports == "wasi:cli/run@0.2.0"),
        "{error}"
    );
    let older = refusal(&component(&[], &["tally:agent/handler@0.0.9"]));
    assert!(
        matches!(older, LoadError::OtherVersion { age: "older", .. }),
        "{older}"
    );
    let newer = refusal(&component(&["tally:agent/env@0.2.0"], &[HANDLER]));
    assert!(
        matches!(newer, LoadError::OtherVersion { age: "newer", .. }),
        "{newer}"
    );
    let unknown = refusal(&component(
        &["wasi:http/types@0.2.0", "acme:thing/x@1.0.0"],
        &[HANDLER],
    ));
    assert!(
        matches!(&unknown, LoadError::UnknownImports { imports } if imports == &["acme:thing/x@1.0.0", "wasi:http/types@0.2.0"]),
        "{unknown}"
    );
    // A tool is given less than an agent.
    let tool = component(&["tally:agent/output@0.1.0"], &["tally:agent/tools@0.1.0"]);
    assert!(matches!(refusal(&tool), LoadError::UnknownImports { .. }));
}

#[test]
fn a_manifest_is_read_without_executing_anything() {
    let inspection = inspect(&agent_bytes()).unwrap();
    assert_eq!(
        inspection.manifest.as_deref(),
        Some(manifest("agent").as_bytes())
    );
    assert!(inspection.uses_wasi());
    let twice = with_section(agent_bytes(), "tally:manifest", b"{}");
    assert!(matches!(refusal(&twice), LoadError::Manifest(_)));
    let broken = with_section(bare_guest("probe"), "tally:manifest", b"{");
    assert!(matches!(
        ENGINE.load(&broken, |_| {}),
        Err(LoadError::Manifest(_))
    ));
    let other_world = with_section(
        bare_guest("probe"),
        "tally:manifest",
        manifest("tool").as_bytes(),
    );
    assert!(matches!(
        ENGINE.load(&other_world, |_| {}),
        Err(LoadError::Manifest(_))
    ));
}

#[test]
fn a_component_that_lies_about_its_exports_is_refused() {
    // The handler is there by name and holds no function.
    assert!(matches!(
        ENGINE.load(&component(&[], &[HANDLER]), |_| {}),
        Err(LoadError::Invalid(_))
    ));
}

#[test]
fn small_components_go_to_the_native_pool() {
    assert_eq!(AGENT.pool(), PoolKind::Native);
    assert_eq!(AGENT.kind(), ComponentKind::Agent);
    assert_eq!(TOOL.kind(), ComponentKind::Tool);
}

#[tokio::test]
async fn compiled_code_is_used_again_and_a_damaged_entry_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let options = EngineOptions {
        cache_dir: Some(dir.path().join("code")),
        ..small()
    };
    let engine = Engine::new(&options).unwrap();
    let steps = |engine: &Engine| {
        let mut steps = Vec::new();
        let agent = engine.load(&tool_bytes(), |step| steps.push(step)).unwrap();
        assert_eq!(agent.digest(), TOOL.digest());
        steps
            .into_iter()
            .map(|step| matches!(step, LoadStep::FromCache))
            .next()
            .unwrap()
    };
    assert!(!steps(&engine), "the first time it is compiled");
    assert!(steps(&engine), "the second time it is not");
    assert!(
        steps(&Engine::new(&options).unwrap()),
        "another process finds it too"
    );

    let entry = std::fs::read_dir(dir.path().join("code"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "cwasm")
        })
        .unwrap();
    let good = std::fs::read(&entry).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    for damaged in [&bad[..], &good[..good.len() - 1], b"", b"not code at all"] {
        std::fs::write(&entry, damaged).unwrap();
        assert!(!steps(&engine), "it is compiled again");
        assert_eq!(
            std::fs::read(&entry).unwrap().len(),
            good.len(),
            "and replaced"
        );
        assert!(steps(&engine));
    }
    // Code that some other tool compiled, with a tag of nobody.
    let foreign = [vec![0; 32], good[32..].to_vec()].concat();
    std::fs::write(&entry, foreign).unwrap();
    assert!(!steps(&engine));
}
