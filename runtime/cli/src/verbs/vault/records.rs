//! `tally vault add`, `get`, `retract`: records.

use std::fs::File;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;

use clap::Args as ClapArgs;
use tally_vault::format::OpId;
use tally_vault::{Change, NewContent, NewRecord, Record, Stored, Vault};

use crate::failure::{Failure, OrFail, Outcome};
use crate::private;
use crate::ui::{Progress, grouped, printable, say};
use crate::vaults::{MEMORY, Names, Which, moment, namespace, namespace_text, reading, writing};

/// Longest text that a list shows of a record.
const SHOWN: usize = 72;
/// Longest content that `get` prints; more goes to a file.
const PRINTED: u64 = 1 << 20;

/// Write a record.
#[derive(ClapArgs)]
pub(crate) struct Add {
    /// What to remember; else --file, else what comes on stdin.
    text: Option<String>,
    /// Where to.
    #[arg(long, default_value = MEMORY, value_name = "NAME")]
    namespace: String,
    /// What it is: a media type, or a name like `tally.fact/1`.
    #[arg(long = "type", default_value = "text/plain", value_name = "TYPE")]
    type_: String,
    /// Take the content from a file.
    #[arg(long, conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Write it in place of this record.
    #[arg(long, value_name = "ID")]
    replaces: Vec<String>,
    #[command(flatten)]
    which: Which,
}

/// Show one record, or list them.
#[derive(ClapArgs)]
pub(crate) struct Get {
    /// The record: its id, or the beginning of it.
    id: Option<String>,
    /// Only of this namespace.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Only of types that begin so.
    #[arg(long = "type", default_value = "", value_name = "PREFIX")]
    type_: String,
    /// Write the content to a file.
    #[arg(long, requires = "id", value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
}

/// Hide records.
#[derive(ClapArgs)]
pub(crate) struct Retract {
    /// The records: their ids, or the beginnings of them.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Why; it stays in the audit trail.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    which: Which,
}

/// Destroy records.
#[derive(ClapArgs)]
pub(crate) struct Redact {
    /// The records: their ids, or the beginnings of them.
    #[arg(required = true)]
    ids: Vec<String>,
    /// Why; it stays in the audit trail.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn add(args: Add, json: bool) -> Outcome {
    // Read before the passphrase is asked for: a file that is not there is said at once.
    let mut file = match &args.file {
        Some(path) => {
            let file = File::open(path).or_misuse(format_args!("open {}", path.display()))?;
            let meta = file
                .metadata()
                .or_misuse(format_args!("read {}", path.display()))?;
            if !meta.is_file() {
                return Err(Failure::misuse(format_args!(
                    "{} is no file",
                    path.display()
                )));
            }
            Some((file, meta.len()))
        }
        None => None,
    };
    let mut bytes = Vec::new();
    match args.text {
        Some(text) => bytes = text.into_bytes(),
        None if file.is_none() => {
            if std::io::stdin().is_terminal() {
                return Err(Failure::misuse("there is nothing to add")
                    .advise("give a text, a file (--file), or something on stdin"));
            }
            std::io::stdin()
                .lock()
                .take(64 << 20)
                .read_to_end(&mut bytes)
                .or_environment("read stdin")?;
            if bytes.is_empty() {
                return Err(Failure::misuse("there is nothing to add: stdin is empty")
                    .advise("give a text or a file (--file); '' is a text"));
            }
        }
        None => {}
    }
    let mut vault = args.which.write()?;
    let place = namespace(&mut vault, &args.namespace)?;
    let targets = find_all(&mut vault, &args.replaces)?;
    let bar = Progress::spinner("writing");
    let content = match &mut file {
        Some((reader, len)) => NewContent::Stream { reader, len: *len },
        None => NewContent::Bytes(&bytes),
    };
    let record = NewRecord {
        record_type: &args.type_,
        run: None,
        receipt: None,
        content,
    };
    let change = if targets.is_empty() {
        Change::Add(record)
    } else {
        Change::Supersede { targets, record }
    };
    let ids = vault.append(&place, vec![change]).map_err(writing)?;
    drop(bar);
    if json {
        super::answer(
            &vault,
            serde_json::json!({ "id": ids[0].to_string(), "namespace": args.namespace }),
        );
    } else {
        say!("{}", ids[0]);
    }
    Ok(())
}

pub(crate) fn get(args: &Get, json: bool) -> Outcome {
    let mut vault = args.which.read()?;
    match &args.id {
        Some(id) => {
            let id = find(&mut vault, id)?;
            one(&mut vault, id, args, json)
        }
        None => list(&mut vault, args, json),
    }
}

fn one(vault: &mut Vault, id: OpId, args: &Get, json: bool) -> Outcome {
    let record = vault.get(&id).map_err(reading)?;
    if let Some(path) = &args.out {
        let mut file = private::create_new(path)
            .or_misuse(format_args!("make {}", path.display()))
            .map_err(|failure| failure.advise("name a file that is not there yet"))?;
        let bar = Progress::bytes("writing", record.len());
        let written = vault.read_content(&record, &mut file).map_err(reading);
        drop(bar);
        if let Err(failure) = written.and_then(|()| {
            tally_durable::sync(path).or_environment(format_args!("write {}", path.display()))
        }) {
            // Half of a content looks like a whole one.
            let _ = std::fs::remove_file(path);
            return Err(failure);
        }
        if json {
            super::answer(
                vault,
                serde_json::json!({ "id": id.to_string(), "bytes": record.len(), "file": path }),
            );
        } else {
            eprintln!(
                "{} bytes written to {}",
                grouped(record.len()),
                path.display()
            );
        }
        return Ok(());
    }
    if record.len() > PRINTED {
        return Err(Failure::misuse(format_args!(
            "the record has {} bytes",
            grouped(record.len())
        ))
        .advise("write it to a file with --out FILE"));
    }
    let mut content = Vec::new();
    vault.read_content(&record, &mut content).map_err(reading)?;
    if json {
        let described = describe(vault, id, &record, Some(&content))?;
        super::answer(vault, serde_json::json!({ "record": described }));
    } else {
        match std::str::from_utf8(&content) {
            Ok(text) => say!("{}", printable(text)),
            Err(_) if std::io::stdout().is_terminal() => {
                return Err(Failure::misuse("the content is not text")
                    .advise("write it to a file with --out FILE"));
            }
            Err(_) => std::io::stdout()
                .write_all(&content)
                .or_environment("write the content")?,
        }
    }
    Ok(())
}

fn list(vault: &mut Vault, args: &Get, json: bool) -> Outcome {
    let only = match &args.namespace {
        Some(name) => Some(vec![namespace(vault, name)?]),
        None => None,
    };
    let mut found: Vec<(OpId, Record)> = Vec::new();
    vault
        .for_each_current(only.as_deref(), |id, record| {
            if record.record_type.starts_with(&args.type_) {
                let content = match &record.content {
                    Stored::Inline(bytes) => Stored::Inline(bytes.clone()),
                    Stored::Blob(blob) => Stored::Blob(blob.clone()),
                };
                found.push((
                    id,
                    Record {
                        record_type: record.record_type.clone(),
                        run: record.run,
                        receipt: record.receipt,
                        content,
                    },
                ));
            }
            Ok(())
        })
        .map_err(reading)?;
    let view = vault.view();
    found.sort_by_cached_key(|(id, _)| view.row(id).map(|row| (row.time, row.operation)));
    // The members' names are for the vault's own use; whoever asks for them sees them.
    let members = vault.namespace(crate::vaults::MEMBERS);
    if args.namespace.is_none() {
        let view = vault.view();
        found.retain(|(id, _)| view.row(id).map(|row| row.namespace) != members);
    }
    if json {
        let mut records = Vec::with_capacity(found.len());
        for (id, record) in &found {
            let content = match &record.content {
                Stored::Inline(bytes) => Some(bytes.as_slice()),
                Stored::Blob(_) => None,
            };
            records.push(describe(vault, *id, record, content)?);
        }
        super::answer(vault, serde_json::json!({ "records": records }));
        return Ok(());
    }
    if found.is_empty() {
        eprintln!("no records");
        return Ok(());
    }
    for (id, record) in &found {
        let row = vault.view().row(id);
        let (when, place) = row.map_or_else(Default::default, |row| {
            (moment(row.time), namespace_text(vault, &row.namespace))
        });
        let text = match &record.content {
            Stored::Inline(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => {
                    let line: String = printable(text)
                        .replace('\n', " ")
                        .chars()
                        .take(SHOWN)
                        .collect();
                    line
                }
                Err(_) => format!("({} bytes)", grouped(record.len())),
            },
            Stored::Blob(_) => format!("({} bytes)", grouped(record.len())),
        };
        say!(
            "{}  {when}  {place:<10}  {:<16}  {text}",
            &id.to_string()[..12],
            record.record_type
        );
    }
    Ok(())
}

fn describe(
    vault: &mut Vault,
    id: OpId,
    record: &Record,
    content: Option<&[u8]>,
) -> Result<serde_json::Value, Failure> {
    let names = Names::of(vault)?;
    let view = vault.view();
    let row = view.row(&id);
    let conflicts: Vec<String> = view
        .record(&id)
        .map(|lineage| lineage.conflicts.iter().map(ToString::to_string).collect())
        .unwrap_or_default();
    let mut value = serde_json::json!({
        "id": id.to_string(),
        "type": record.record_type,
        "bytes": record.len(),
        "run": record.run.map(|run| run.to_string()),
        "receipt": record.receipt.map(|receipt| receipt.to_string()),
        "conflicts": conflicts,
    });
    if let Some(row) = row {
        value["namespace"] = namespace_text(vault, &row.namespace).into();
        value["author"] = row.author.to_string().into();
        value["author_name"] = names.label(&row.author).into();
        value["written"] = moment(row.time).into();
        value["status"] = row.status.name().into();
    }
    if let Some(content) = content {
        match std::str::from_utf8(content) {
            Ok(text) => value["text"] = text.into(),
            Err(_) => value["hex"] = hex::encode(content).into(),
        }
    }
    Ok(value)
}

pub(crate) fn retract(args: &Retract, json: bool) -> Outcome {
    let mut vault = args.which.write()?;
    let targets = find_all(&mut vault, &args.ids)?;
    let mut done = Vec::new();
    for (place, targets) in by_namespace(&mut vault, &targets) {
        let change = Change::Retract {
            targets,
            reason: &args.reason,
        };
        done.extend(vault.append(&place, vec![change]).map_err(writing)?);
    }
    if json {
        let done: Vec<String> = done.iter().map(ToString::to_string).collect();
        super::answer(
            &vault,
            serde_json::json!({ "operations": done, "retracted": targets.len() }),
        );
    } else {
        eprintln!(
            "{} hidden; in the history they stay, and `tally vault redact` destroys",
            targets.len()
        );
    }
    Ok(())
}

pub(crate) fn redact(args: &Redact, json: bool) -> Outcome {
    let mut vault = args.which.write()?;
    let targets = find_all(&mut vault, &args.ids)?;
    let bar = Progress::spinner("destroying");
    let (mut operations, mut boxes, mut blobs) = (Vec::new(), 0, 0);
    let mut remains = std::collections::BTreeSet::new();
    for (place, targets) in by_namespace(&mut vault, &targets) {
        let done = vault
            .redact(&place, &targets, &args.reason)
            .map_err(writing)?;
        operations.push(done.operation.to_string());
        boxes += done.boxes;
        blobs += done.blobs.len();
        remains.extend(done.remains);
    }
    drop(bar);
    if json {
        super::answer(
            &vault,
            serde_json::json!({ "operations": operations, "redacted": targets.len(), "boxes": boxes, "blobs": blobs, "remains": remains }),
        );
    } else {
        eprintln!(
            "{} destroyed in this copy; their ids stay in the history",
            targets.len()
        );
        for place in remains {
            eprintln!("note: {place}");
        }
    }
    Ok(())
}

/// Records by the namespaces they are in: an operation touches one.
pub(super) fn by_namespace(
    vault: &mut Vault,
    ids: &[OpId],
) -> Vec<(tally_vault::format::NamespaceId, Vec<OpId>)> {
    let view = vault.view();
    let mut parts = std::collections::BTreeMap::<_, Vec<OpId>>::new();
    for id in ids {
        if let Some(row) = view.row(id) {
            parts.entry(row.namespace).or_default().push(*id);
        }
    }
    parts.into_iter().collect()
}

pub(super) fn find_all(vault: &mut Vault, texts: &[String]) -> Result<Vec<OpId>, Failure> {
    texts.iter().map(|text| find(vault, text)).collect()
}

/// A record by its id or the beginning of it.
pub(super) fn find(vault: &mut Vault, text: &str) -> Result<OpId, Failure> {
    let text = text.trim_end_matches('…');
    if let Ok(id) = text.parse::<OpId>() {
        return Ok(id);
    }
    let digits = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() < 4 || !digits {
        return Err(Failure::misuse(format_args!("{text:?} is no record"))
            .advise("name a record by its id or at least four digits of its beginning; tally vault get lists them"));
    }
    let found: Vec<OpId> = vault
        .view()
        .log()
        .map(|row| row.operation)
        .filter(|id| id.to_string().starts_with(text))
        .collect();
    match found[..] {
        [one] => Ok(one),
        [] => Err(
            Failure::misuse(format_args!("no record's id begins with {text}"))
                .advise("tally vault get lists them"),
        ),
        _ => Err(
            Failure::misuse(format_args!("{} ids begin with {text}", found.len()))
                .advise("type more of it"),
        ),
    }
}
