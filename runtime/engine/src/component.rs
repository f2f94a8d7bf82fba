//! From bytes to a component that can run, or to a sentence that says why not.
//!
//! [`inspect`] reads what a component says of itself without executing or compiling anything: kind, imports, exports,
//! manifest. [`Engine::load`] compiles it (or takes compiled code from the cache) and links it to the host, once; a run
//! then only instantiates.
//!
//! The manifest is the custom section `tally:manifest`: one, anywhere in the component.

use crate::config::{Engine, Pool, PoolKind};
use crate::contract::{self, AGENT_WORLD, TOOL_WORLD, VERSION};
use crate::host::{AgentPre, ToolPre};
use crate::policy::{Manifest, parse_manifest};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_journal::Digest;
use wasmparser::{Encoding, Parser, Payload};

/// Name of the custom section that holds the manifest.
pub const MANIFEST_SECTION: &str = "tally:manifest";
/// Largest component, in bytes. Python's is 18 MB.
pub const COMPONENT_LEN_MAX: usize = 256 << 20;
/// Largest manifest, in bytes.
const MANIFEST_LEN_MAX: usize = 64 << 10;

/// What a component is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentKind {
    /// Exports `handler`.
    Agent,
    /// Exports `tools`.
    Tool,
}

impl ComponentKind {
    /// The world, as journals name it.
    pub fn world(self) -> &'static str {
        match self {
            Self::Agent => AGENT_WORLD,
            Self::Tool => TOOL_WORLD,
        }
    }
}

/// Why bytes cannot run. All of it is for whoever supplies the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// No bytes.
    #[error("the file is empty")]
    Empty,
    /// Some other kind of file.
    #[error("not a WebAssembly file; build the agent first (`tally agent build`)")]
    NotWasm,
    /// A module that was not made into a component.
    #[error(
        "a core module, not a component; build for wasm32-wasip2 or turn it into a component (`tally agent build`)"
    )]
    CoreModule,
    /// Binary format of another day.
    #[error("WebAssembly binary format {0:#x}, which this version does not know")]
    UnknownFormat(u32),
    /// Too few bytes.
    #[error("the component is cut off after {len} bytes; copy it again")]
    Truncated {
        /// How many there are.
        len: usize,
    },
    /// Damaged, or not valid.
    #[error("not a valid component: {0}")]
    Invalid(String),
    /// Too many bytes.
    #[error("{len} bytes is too large for a component; the most is {COMPONENT_LEN_MAX}")]
    TooLarge {
        /// How many there are.
        len: usize,
    },
    /// It exports nothing that can be run.
    #[error(
        "it exports no {}, so it is neither an agent nor a tool; its exports: {exports}",
        contract::HANDLER
    )]
    WrongWorld {
        /// What it exports.
        exports: String,
    },
    /// Made for another version of the contract.
    #[error(
        "it is built for {found}, {age} than {} which this version gives; {todo}",
        VERSION
    )]
    OtherVersion {
        /// The interface it names.
        found: String,
        /// `older` or `newer`.
        age: &'static str,
        /// What to do about it.
        todo: &'static str,
    },
    /// It imports what nobody gives.
    #[error("it imports {}, which no host gives; {}", .imports.join(", "), hint(.imports))]
    UnknownImports {
        /// What it imports.
        imports: Vec<String>,
    },
    /// The manifest is unreadable.
    #[error("its manifest does not hold: {0}")]
    Manifest(String),
    /// It needs more core instances, memories or tables than any pool has.
    #[error("it is larger than any pool allows: {0}")]
    Unplaceable(String),
}

fn hint(imports: &[String]) -> &'static str {
    if imports
        .iter()
        .any(|i| i.starts_with("wasi:http") || i.starts_with("wasi:sockets"))
    {
        "an agent reaches the network through tools only"
    } else {
        "rebuild it against this version's wit folder"
    }
}

/// What a component says of itself.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Agent or tool.
    pub kind: ComponentKind,
    /// BLAKE3 of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub len: usize,
    /// What it imports, sorted.
    pub imports: Vec<String>,
    /// What it exports, sorted.
    pub exports: Vec<String>,
    /// The manifest as it stands in the component.
    pub manifest: Option<Vec<u8>>,
}

impl Inspection {
    /// Whether it is a stock WASI build. It then gets a clock, chance and streams that are functions of the journal.
    pub fn uses_wasi(&self) -> bool {
        self.imports
            .iter()
            .any(|import| import.starts_with("wasi:"))
    }
}

/// Reads what a component says of itself.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, LoadError> {
    let len = bytes.len();
    if len > COMPONENT_LEN_MAX {
        return Err(LoadError::TooLarge { len });
    }
    match bytes {
        [] => return Err(LoadError::Empty),
        [b'\0', b'a', b's', b'm', rest @ ..] => match rest {
            [1, 0, 0, 0, ..] => return Err(LoadError::CoreModule),
            [0x0d, 0, 1, 0, ..] => {}
            [a, b, c, d, ..] => {
                return Err(LoadError::UnknownFormat(u32::from_le_bytes([
                    *a, *b, *c, *d,
                ])));
            }
            _ => return Err(LoadError::Truncated { len }),
        },
        _ if len < 4 && b"\0asm".starts_with(bytes) => return Err(LoadError::Truncated { len }),
        _ => return Err(LoadError::NotWasm),
    }
    let mut imports = Vec::new();
    let mut exports = Vec::new();
    let mut manifest: Option<Vec<u8>> = None;
    let mut depth = 0usize;
    let mut complete = false;
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|error| classify(&error, len))?;
        match payload {
            Payload::Version { encoding, .. } => {
                if depth == 0 && encoding != Encoding::Component {
                    return Err(LoadError::CoreModule);
                }
                depth += 1;
            }
            Payload::End(_) => {
                depth = depth.saturating_sub(1);
                complete = depth == 0;
            }
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    imports.push(
                        import
                            .map_err(|error| classify(&error, len))?
                            .name
                            .name
                            .to_owned(),
                    );
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(
                        export
                            .map_err(|error| classify(&error, len))?
                            .name
                            .name
                            .to_owned(),
                    );
                }
            }
            Payload::CustomSection(section) if section.name() == MANIFEST_SECTION => {
                if section.data().len() > MANIFEST_LEN_MAX {
                    return Err(LoadError::Manifest(format!(
                        "it is larger than {MANIFEST_LEN_MAX} bytes"
                    )));
                }
                if manifest.replace(section.data().to_vec()).is_some() {
                    return Err(LoadError::Manifest(
                        "there is more than one, so it is not clear which holds".into(),
                    ));
                }
            }
            _ => {}
        }
    }
    if !complete {
        return Err(LoadError::Truncated { len });
    }
    imports.sort();
    exports.sort();
    let kind = check_world(&imports, &exports)?;
    Ok(Inspection {
        kind,
        digest: digest(bytes),
        len,
        imports,
        exports,
        manifest,
    })
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(*blake3::hash(bytes).as_bytes())
}

fn classify(error: &wasmparser::BinaryReaderError, len: usize) -> LoadError {
    if error.message().contains("unexpected end") || error.message().contains("unexpected EOF") {
        LoadError::Truncated { len }
    } else {
        LoadError::Invalid(error.to_string())
    }
}

/// The interfaces of our package that the host gives to each kind.
fn given(kind: ComponentKind) -> &'static [&'static str] {
    match kind {
        ComponentKind::Agent => &[
            "types",
            "inference",
            "vault",
            "memory",
            "tools",
            "output",
            "env",
        ],
        ComponentKind::Tool => &["types", "inference", "env"],
    }
}

fn check_world(imports: &[String], exports: &[String]) -> Result<ComponentKind, LoadError> {
    for name in exports.iter().chain(imports) {
        check_version(name)?;
    }
    let kind = if exports.iter().any(|e| e == contract::HANDLER) {
        ComponentKind::Agent
    } else if exports.iter().any(|e| e == contract::TOOLS) {
        ComponentKind::Tool
    } else {
        let exports = if exports.is_empty() {
            "none".into()
        } else {
            exports.join(", ")
        };
        return Err(LoadError::WrongWorld { exports });
    };
    let unknown: Vec<String> = imports
        .iter()
        .filter(|import| {
            let ours = import
                .strip_prefix("tally:agent/")
                .and_then(|rest| rest.strip_suffix(concat!("@", "0.1.0")))
                .is_some_and(|interface| given(kind).contains(&interface));
            !ours && !crate::host::wasi::gives(import)
        })
        .cloned()
        .collect();
    if unknown.is_empty() {
        Ok(kind)
    } else {
        Err(LoadError::UnknownImports { imports: unknown })
    }
}

/// Refuses a name of our package with a version that is not ours.
fn check_version(name: &str) -> Result<(), LoadError> {
    let Some((_, version)) = name
        .strip_prefix("tally:agent/")
        .and_then(|rest| rest.split_once('@'))
    else {
        return Ok(());
    };
    if version == VERSION {
        return Ok(());
    }
    let numbers = |v: &str| -> Vec<u64> {
        v.split(['.', '-', '+'])
            .take(3)
            .map(|n| n.parse().unwrap_or(u64::MAX))
            .collect()
    };
    let (age, todo) = if numbers(version) < numbers(VERSION) {
        (
            "older",
            "rebuild the agent against this version's wit folder",
        )
    } else {
        (
            "newer",
            "update tally, or rebuild the agent against this version's wit folder",
        )
    };
    Err(LoadError::OtherVersion {
        found: name.to_owned(),
        age,
        todo,
    })
}

/// What loading is doing, for a progress line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadStep {
    /// Compiled code was found.
    FromCache,
    /// Compiling; Python takes 5 to 20 seconds.
    Compiling {
        /// Bytes of the component.
        len: usize,
    },
    /// Compiled, after this long.
    Compiled {
        /// How long it took.
        took: Duration,
    },
}

/// What is linked and waits to be instantiated.
pub(crate) enum Pre {
    Agent(AgentPre),
    Tool(ToolPre),
}

pub(crate) struct Loaded {
    pub(crate) inspection: Inspection,
    pub(crate) pool: PoolKind,
    pub(crate) pre: Pre,
    pub(crate) wasi: bool,
    pub(crate) manifest: Manifest,
    pub(crate) compiled: wasmtime::component::Component,
}

/// A component that can run. Cheap to clone.
#[derive(Clone)]
pub struct Component(pub(crate) Arc<Loaded>);

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component")
            .field("digest", &self.digest())
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}

impl Component {
    /// Agent or tool.
    pub fn kind(&self) -> ComponentKind {
        self.0.inspection.kind
    }

    /// BLAKE3 of its bytes.
    pub fn digest(&self) -> Digest {
        self.0.inspection.digest
    }

    /// What it says of itself.
    pub fn inspection(&self) -> &Inspection {
        &self.0.inspection
    }

    /// The pool it runs in.
    pub fn pool(&self) -> PoolKind {
        self.0.pool
    }

    /// What it asks for at most.
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }
}

impl Engine {
    /// Makes a component of bytes. Blocks while compiling.
    pub fn load(
        &self,
        bytes: &[u8],
        mut progress: impl FnMut(LoadStep),
    ) -> Result<Component, LoadError> {
        let inspection = inspect(bytes)?;
        let manifest = parse_manifest(inspection.manifest.as_deref(), inspection.kind)?;
        let (compiled, pool) = self.compiled(bytes, &inspection, &mut progress)?;
        // Otherwise the first run pays for it.
        if let Err(error) = compiled.initialize_copy_on_write_image() {
            tracing::debug!(%error, "no copy-on-write image");
        }
        let linkers = &self.pool(pool).linkers;
        let wasi = inspection.uses_wasi();
        let pre = match inspection.kind {
            ComponentKind::Agent => linkers.agent(&compiled, wasi).map(Pre::Agent),
            ComponentKind::Tool => linkers.tool(&compiled, wasi).map(Pre::Tool),
        }
        .map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
        Ok(Component(Arc::new(Loaded {
            inspection,
            pool,
            pre,
            wasi,
            manifest,
            compiled,
        })))
    }

    fn compiled(
        &self,
        bytes: &[u8],
        inspection: &Inspection,
        progress: &mut dyn FnMut(LoadStep),
    ) -> Result<(wasmtime::component::Component, PoolKind), LoadError> {
        let cache = self.0.cache.as_ref();
        let name = cache_name(&inspection.digest, &self.0.native);
        if let Some(code) = cache.and_then(|cache| cache.get(&name)) {
            match self.place(&code) {
                Ok(placed) => {
                    progress(LoadStep::FromCache);
                    return Ok(placed);
                }
                Err(error) => {
                    tracing::warn!(%error, "compiled code is not for this engine: compiling again");
                    cache.inspect(|cache| cache.discard(&name));
                }
            }
        }
        progress(LoadStep::Compiling { len: bytes.len() });
        let began = Instant::now();
        let code = self
            .0
            .native
            .engine
            .precompile_component(bytes)
            .map_err(|error| {
                let reason = format!("{error:#}");
                if reason.contains("unexpected end") {
                    LoadError::Truncated { len: bytes.len() }
                } else {
                    LoadError::Invalid(reason)
                }
            })?;
        progress(LoadStep::Compiled {
            took: began.elapsed(),
        });
        let placed = self.place(&code)?;
        if let Some(cache) = cache {
            cache.put(&name, &code);
        }
        Ok(placed)
    }

    /// Loads code into the smallest pool that has room for it.
    fn place(&self, code: &[u8]) -> Result<(wasmtime::component::Component, PoolKind), LoadError> {
        let mut refusal = String::new();
        for pool in [&self.0.native, &self.0.interpreted] {
            match deserialize(pool, code) {
                Ok(component) => return Ok((component, pool.kind)),
                Err(error) => refusal = format!("{error:#}"),
            }
        }
        Err(LoadError::Unplaceable(refusal))
    }
}

#[allow(
    unsafe_code,
    reason = "loading compiled code runs it; there is no safe way"
)]
fn deserialize(pool: &Pool, code: &[u8]) -> wasmtime::Result<wasmtime::component::Component> {
    // SAFETY: `code` comes from `precompile_component` of this process, or from `CodeCache::get`, which has checked a
    // tag over exactly these bytes under a key that only this user can read; so it is what an engine of this user made.
    // wasmtime itself refuses code of another version or configuration.
    unsafe { wasmtime::component::Component::deserialize(&pool.engine, code) }
}

fn cache_name(digest: &Digest, pool: &Pool) -> String {
    use std::hash::{Hash as _, Hasher as _};
    let mut hasher = std::hash::DefaultHasher::new();
    pool.engine
        .precompile_compatibility_hash()
        .hash(&mut hasher);
    format!(
        "{}-{:016x}",
        blake3::Hash::from_bytes(*digest.as_bytes()).to_hex(),
        hasher.finish()
    )
}
