//! `tally vault status` and `log`: what there is, who may use it, and what was done by whom.

use clap::Args as ClapArgs;
use tally_vault::format::{GrantId, MemberKind, Time};
use tally_vault::state::{GrantRow, GrantStanding, LogRow, Status as Standing, What};
use tally_vault::{Clock as _, SystemClock, Vault};

use crate::failure::Outcome;
use crate::ui::{grouped, printable, say};
use crate::vaults::{Names, Which, moment, namespace, namespace_text};

/// What is in the vault.
#[derive(ClapArgs)]
pub(crate) struct Status {
    /// Show grants that have ended, too.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    which: Which,
}

/// The audit trail.
#[derive(ClapArgs)]
pub(crate) struct Log {
    /// Only this namespace.
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Only the newest so many.
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn status(args: &Status, json: bool) -> Outcome {
    let mut vault = args.which.read()?;
    let names = Names::of(&mut vault)?;
    let namespaces = vault.namespaces();
    let mut counts = std::collections::BTreeMap::<_, u64>::new();
    let view = vault.view();
    for id in view.current() {
        if let Some(row) = view.row(&id) {
            *counts.entry(row.namespace).or_default() += 1;
        }
    }
    let now = Time::from_millis(SystemClock.now_ms());
    let grants: Vec<GrantRow> = vault
        .grants()
        .into_iter()
        .filter(|row| row.id != GrantId::ROOT)
        .filter(|row| args.all || (row.standing == GrantStanding::Valid && !ended(row, now)))
        .collect();
    let operations = vault.view().log().len();
    if json {
        let namespaces: Vec<_> = namespaces
            .iter()
            .map(|one| {
                serde_json::json!({ "id": one.id.to_string(), "name": one.name, "right": one.right.map(|right| right.name()),
                    "records": counts.get(&one.id).copied().unwrap_or(0), "keys": one.keys.keys.len() })
            })
            .collect();
        let grants: Vec<_> = grants
            .iter()
            .map(|row| describe(&vault, &names, row, now))
            .collect();
        let folder = vault.folder().to_owned();
        super::answer(
            &vault,
            serde_json::json!({ "folder": folder, "operations": operations, "namespaces": namespaces, "grants": grants }),
        );
        return Ok(());
    }
    say!("vault {}", vault.id());
    say!("  folder      {}", vault.folder().display());
    say!("  begun       {}", moment(vault.genesis().created()));
    say!("  operations  {}", grouped(operations as u64));
    say!("namespaces");
    for one in &namespaces {
        let records = counts.get(&one.id).copied().unwrap_or(0);
        match &one.name {
            Some(name) => say!(
                "  {:<12}  {:>8} records  you may {}",
                printable(name),
                grouped(records),
                one.right.map_or("nothing", |right| right.name())
            ),
            None => say!("  {}  not shared with this key", one.id),
        }
    }
    say!("grants");
    for row in &grants {
        let rights: Vec<String> = row
            .rights
            .iter()
            .map(|(id, right)| format!("{}={}", namespace_text(&vault, id), right.name()))
            .collect();
        say!(
            "  {}  {:<7} {:<16}  {}  {}",
            &row.id.to_string()[..12],
            row.card.kind().name(),
            printable(&names.text(&row.card.member())),
            printable(&rights.join(" ")),
            standing(row, now)
        );
    }
    Ok(())
}

fn ended(row: &GrantRow, now: Time) -> bool {
    row.expires.is_some_and(|end| end < now)
}

fn standing(row: &GrantRow, now: Time) -> String {
    match (&row.standing, row.expires) {
        (GrantStanding::Revoked(_), _) => "revoked".to_owned(),
        (GrantStanding::Void(why), _) => format!("does not count: {why}"),
        (GrantStanding::Valid, Some(end)) if end < now => format!("ended {}", moment(end)),
        (GrantStanding::Valid, Some(end)) => format!("until {}", moment(end)),
        (GrantStanding::Valid, None) => "without end".to_owned(),
    }
}

pub(super) fn describe(
    vault: &Vault,
    names: &Names,
    row: &GrantRow,
    now: Time,
) -> serde_json::Value {
    let rights: serde_json::Map<String, serde_json::Value> = row
        .rights
        .iter()
        .map(|(id, right)| (namespace_text(vault, id), right.name().into()))
        .collect();
    serde_json::json!({
        "id": row.id.to_string(),
        "member": row.card.member().to_string(),
        "name": names.label(&row.card.member()),
        "kind": row.card.kind().name(),
        "by": row.by.to_string(),
        "by_name": names.label(&row.by),
        "made": row.made.map(moment),
        "expires": row.expires.map(moment),
        "depth": row.depth,
        "rights": rights,
        "standing": standing(row, now),
        "valid": row.standing == GrantStanding::Valid && !ended(row, now),
    })
}

pub(crate) fn log(args: &Log, json: bool) -> Outcome {
    let mut vault = args.which.read()?;
    let names = Names::of(&mut vault)?;
    let only = match args.namespace.as_deref() {
        Some("control") => Some(tally_vault::format::NamespaceId::CONTROL),
        Some(name) => Some(namespace(&mut vault, name)?),
        None => None,
    };
    let mut rows = vault.log();
    if let Some(only) = only {
        rows.retain(|row| row.namespace == only);
    }
    if let Some(last) = args.last {
        rows.drain(..rows.len().saturating_sub(last));
    }
    if json {
        let rows: Vec<_> = rows.iter().map(|row| line(&vault, &names, row)).collect();
        super::answer(&vault, serde_json::json!({ "log": rows }));
        return Ok(());
    }
    for row in &rows {
        let mut text = format!(
            "{}  {}  {:<16}  {:<10}  {}",
            moment(row.time),
            &row.operation.to_string()[..12],
            printable(&names.text(&row.author)),
            printable(&namespace_text(&vault, &row.namespace)),
            sentence(&vault, &names, &row.what)
        );
        if let Some(run) = row.run {
            text += &format!("  in run {}", &run.to_string()[..12]);
        }
        if let Some(receipt) = row.receipt {
            text += &format!("  on receipt {}", &receipt.to_string()[..12]);
        }
        if row.grant != GrantId::ROOT {
            text += &format!("  under grant {}", &row.grant.to_string()[..12]);
        }
        match (&row.why, row.status) {
            (Some(why), _) => text += &format!("  DOES NOT COUNT: {why}"),
            (None, Standing::Valid) => {}
            (None, status) => text += &format!("  ({} since)", status.name()),
        }
        say!("{text}");
    }
    Ok(())
}

fn line(vault: &Vault, names: &Names, row: &LogRow) -> serde_json::Value {
    serde_json::json!({
        "operation": row.operation.to_string(),
        "time": moment(row.time),
        "author": row.author.to_string(),
        "author_name": names.label(&row.author),
        "namespace": namespace_text(vault, &row.namespace),
        "sequence": row.sequence,
        "what": word(&row.what),
        "says": sentence(vault, names, &row.what),
        "grant": row.grant.to_string(),
        "run": row.run.map(|run| run.to_string()),
        "receipt": row.receipt.map(|receipt| receipt.to_string()),
        "status": row.status.name(),
        "why": row.why.map(|why| why.to_string()),
        "why_code": row.why.map(|why| why.code()),
    })
}

fn word(what: &What) -> &'static str {
    match what {
        What::Add => "add",
        What::Supersede(_) => "supersede",
        What::Retract(_) => "retract",
        What::Redact(_) => "redact",
        What::Grant { .. } => "grant",
        What::Revoke { .. } => "revoke",
        What::Rotate { .. } => "rotate",
        What::Checkpoint(_) => "checkpoint",
    }
}

fn sentence(vault: &Vault, names: &Names, what: &What) -> String {
    let ids = |targets: &[tally_vault::format::OpId]| {
        let short: Vec<String> = targets
            .iter()
            .map(|id| id.to_string()[..12].to_owned())
            .collect();
        short.join(", ")
    };
    match what {
        What::Add => "added a record".to_owned(),
        What::Supersede(targets) => format!("wrote a version in place of {}", ids(targets)),
        What::Retract(targets) => format!("hid {}", ids(targets)),
        What::Redact(targets) => format!("destroyed {}", ids(targets)),
        What::Grant {
            card,
            rights,
            expires,
            ..
        } => {
            let rights: Vec<String> = rights
                .iter()
                .map(|(id, right)| format!("{}={}", namespace_text(vault, id), right.name()))
                .collect();
            let end = expires.map_or_else(
                || "without end".to_owned(),
                |end| format!("until {}", moment(end)),
            );
            let kind = if card.kind() == MemberKind::Slot {
                ""
            } else {
                card.kind().name()
            };
            printable(&format!(
                "admitted {kind} {} ({}) {end}",
                names.text(&card.member()),
                rights.join(" ")
            ))
            .replace("  ", " ")
        }
        What::Revoke { grant, subject } => match subject {
            Some(member) => printable(&format!(
                "revoked grant {} of {}",
                &grant.to_string()[..12],
                names.text(member)
            )),
            None => format!("revoked grant {}", &grant.to_string()[..12]),
        },
        What::Rotate {
            namespace,
            number,
            full,
            ..
        } => printable(&format!(
            "gave {} key {number}{}",
            namespace_text(vault, namespace),
            if *full {
                ", everything to be encrypted anew"
            } else {
                ""
            }
        )),
        What::Checkpoint(heads) => format!("noted the newest of {heads} others"),
    }
}
