//! The list of all vectors, and the files they are.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tally_vault_format::VaultId;

/// A single object and what a reader says of it.
pub(crate) struct Object {
    object: &'static str,
    name: String,
    class: String,
    code: String,
    error: String,
    what: String,
    inputs: BTreeMap<&'static str, String>,
}

impl Object {
    pub(crate) fn new(
        object: &'static str,
        name: &str,
        class: &str,
        code: &str,
        error: &str,
        what: &str,
    ) -> Self {
        assert_eq!(
            class == "success",
            error.is_empty(),
            "{object}-{name}: an error unless it succeeds"
        );
        Self {
            object,
            name: format!("{object}-{name}"),
            class: class.into(),
            code: code.into(),
            error: error.into(),
            what: what.into(),
            inputs: BTreeMap::new(),
        }
    }

    pub(crate) fn vault(self, vault: &VaultId) -> Self {
        self.with("vault", &vault.to_string())
    }

    /// An input; an empty one is left out.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.inputs.insert(name, value.into());
        }
        self
    }
}

/// Everything that is written: file names with their bytes.
#[derive(Default)]
pub(crate) struct Manifest {
    objects: Vec<Value>,
    vaults: Vec<Value>,
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

impl Manifest {
    pub(crate) fn object(&mut self, object: Object, bytes: &[u8]) {
        let extension = match object.object {
            "genesis" => "vault",
            "slot" => "slot",
            "keyring" => "key",
            "frame" => "frame",
            "segment" => "seg",
            "portable" => "vex",
            "blob" => "blob",
            _ => "txt",
        };
        let file = format!("objects/{}.{extension}", object.name);
        let mut entry = json!({
            "name": object.name, "object": object.object, "what": object.what, "file": file,
            "inputs": object.inputs, "expect": object.class,
        });
        if !object.error.is_empty() {
            entry["error"] = object.error.into();
        }
        if !object.code.is_empty() {
            entry["code"] = object.code.into();
        }
        assert!(
            self.files.insert(file, bytes.to_vec()).is_none(),
            "{} twice",
            object.name
        );
        self.objects.push(entry);
    }

    pub(crate) fn vault(&mut self, entry: Value, files: BTreeMap<String, Vec<u8>>) {
        for (name, bytes) in files {
            assert!(
                self.files.insert(name.clone(), bytes).is_none(),
                "{name} twice"
            );
        }
        self.vaults.push(entry);
    }

    /// `manifest.json` with the rest.
    pub(crate) fn finish(mut self) -> BTreeMap<String, Vec<u8>> {
        let manifest = json!({ "format": "tally vault, version 1", "objects": self.objects, "vaults": self.vaults });
        let mut text = serde_json::to_string_pretty(&manifest).unwrap();
        text.push('\n');
        self.files.insert("manifest.json".into(), text.into_bytes());
        self.files
    }
}
