//! `tally vault share`, `revoke`, `rotate`, `recover`: who may use the vault, and under which keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args as ClapArgs;
use tally_vault::format::{Card, MemberKind, NamespaceId, to_phrase};
use tally_vault::{Key, Revoked, RotatedInFull, Share as ShareWith, Vault};

use crate::failure::{Failure, OrFail, Outcome};
use crate::secret;
use crate::ui::{Progress, printable, say};
use crate::vaults::{
    self, Names, Which, Work, agent_identity_or_new, end, grant, moment, name_member, namespace,
    namespace_text, right, writing,
};

/// Let a member use namespaces.
#[derive(ClapArgs)]
#[command(group(clap::ArgGroup::new("who").required(true).args(["agent", "card"])))]
pub(crate) struct Share {
    /// What it may do where: NAMESPACE=RIGHT, or `*=RIGHT` for every namespace, present and future. A right is relay,
    /// read, append, curate or admin.
    #[arg(required = true, value_name = "NAMESPACE=RIGHT")]
    rights: Vec<String>,
    /// An agent of this machine, by name. Its key is made if it has none.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// A member elsewhere, by the card that `tally vault card` printed there.
    #[arg(long, value_name = "CARD", requires = "name")]
    card: Option<String>,
    /// What to call it.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// How long: 30d, 12h, 2026-12-31T00:00:00Z, never. An agent: 30 days unless said, and never without end.
    #[arg(long, value_name = "END")]
    expires: Option<String>,
    /// How many grants it may make below its own, one below the other.
    #[arg(long, default_value_t = 0)]
    depth: u8,
    #[command(flatten)]
    which: Which,
}

/// Print a card.
#[derive(ClapArgs)]
pub(crate) struct CardOf {
    /// The agent of this machine whose card it is.
    #[arg(long, value_name = "NAME")]
    agent: String,
    #[command(flatten)]
    which: Which,
}

/// Take a grant back.
#[derive(ClapArgs)]
pub(crate) struct Revoke {
    /// The member's name, or the beginning of the grant's id.
    grant: String,
    /// A grant below it that is to stand; the others go too.
    #[arg(long, value_name = "GRANT")]
    keep: Vec<String>,
    #[command(flatten)]
    which: Which,
}

/// Give namespaces new keys.
#[derive(ClapArgs)]
pub(crate) struct Rotate {
    /// Only these; else every one.
    #[arg(long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// Also encrypt everything anew, and drop the old keys.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    which: Which,
}

/// Come back with the 24 words.
#[derive(ClapArgs)]
pub(crate) struct Recover {
    /// Read the recovery phrase, or enough shares of it, one a line, from this file descriptor instead of the terminal.
    #[arg(long, value_name = "N")]
    phrase_fd: Option<u32>,
    /// Read the new passphrase from this file descriptor instead of the terminal.
    #[arg(long, value_name = "N")]
    new_passphrase_fd: Option<u32>,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    which: Which,
}

/// Change the passphrase.
#[derive(ClapArgs)]
pub(crate) struct Passphrase {
    /// Read the new passphrase from this file descriptor instead of the terminal.
    #[arg(long, value_name = "N")]
    new_passphrase_fd: Option<u32>,
    #[command(flatten)]
    work: Work,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn share(args: &Share, json: bool) -> Outcome {
    let mut wanted = Vec::with_capacity(args.rights.len());
    for text in &args.rights {
        let (name, word) = text.rsplit_once('=').ok_or_else(|| {
            Failure::misuse(format_args!("{text:?} is not NAMESPACE=RIGHT"))
                .advise("for example: trips=append diary=read")
        })?;
        wanted.push((name, right(word)?));
    }
    let expires = match args.expires.as_deref() {
        None => None,
        Some(text) => match end(text)? {
            None if args.agent.is_some() => {
                return Err(Failure::misuse("an agent's grant has an end")
                    .advise("say for how long, for example --expires 365d"));
            }
            end => end,
        },
    };
    let id = vaults::vault_id(&args.which.place()?)?;
    let (card, label) = match (&args.agent, &args.card) {
        (Some(agent), _) => (
            *agent_identity_or_new(agent, &id)?.card(),
            args.name.clone().unwrap_or_else(|| agent.clone()),
        ),
        (None, Some(text)) => (read_card(text)?, args.name.clone().unwrap_or_default()),
        (None, None) => unreachable!("the arguments name one of the two"),
    };
    if card.kind() == MemberKind::Agent && args.expires.as_deref() == Some("never") {
        return Err(Failure::misuse("an agent's grant has an end")
            .advise("say for how long, for example --expires 365d"));
    }
    let mut vault = args.which.write()?;
    let mut rights = Vec::with_capacity(wanted.len());
    for (name, right) in wanted {
        let id = if name == "*" {
            NamespaceId::ALL
        } else {
            namespace(&mut vault, name)?
        };
        rights.push((id, right));
    }
    let asked = ShareWith {
        card,
        rights,
        expires,
        depth: args.depth,
    };
    let grant = vault.share(&asked).map_err(writing)?;
    name_member(&mut vault, &card.member(), &label)?;
    let row = vault.grants().into_iter().find(|row| row.id == grant);
    let until = row.and_then(|row| row.expires).map(moment);
    if json {
        super::answer(
            &vault,
            serde_json::json!({ "grant": grant.to_string(), "member": card.member().to_string(), "name": label, "expires": until }),
        );
    } else {
        say!("{grant}");
        eprintln!(
            "{} may use {} {}. It can read what is there now, too. Take it back: tally vault revoke {}",
            printable(&label),
            args.rights.join(" "),
            until.map_or_else(
                || "without end".to_owned(),
                |until| format!("until {until}")
            ),
            printable(&label)
        );
    }
    Ok(())
}

fn read_card(text: &str) -> Result<Card, Failure> {
    let bytes = URL_SAFE_NO_PAD
        .decode(text.trim())
        .ok()
        .and_then(|bytes| <[u8; Card::LEN]>::try_from(bytes).ok());
    let bytes = bytes.ok_or_else(|| {
        Failure::misuse("this is no card")
            .advise("a card is the one line that `tally vault card` prints on the other machine")
    })?;
    Card::parse(&bytes).or_misuse("use this card")
}

pub(crate) fn card(args: &CardOf, json: bool) -> Outcome {
    let id = vaults::vault_id(&args.which.place()?)?;
    let identity = agent_identity_or_new(&args.agent, &id)?;
    let text = URL_SAFE_NO_PAD.encode(identity.card().encode());
    if json {
        say!(
            "{}",
            serde_json::json!({ "vault": id.to_string(), "card": text, "member": identity.member().to_string(), "kind": "agent" })
        );
    } else {
        say!("{text}");
    }
    Ok(())
}

pub(crate) fn revoke(args: &Revoke, json: bool) -> Outcome {
    let mut vault = args.which.write()?;
    let names = Names::of(&mut vault)?;
    let id = grant(&mut vault, &names, &args.grant)?;
    let keep = args
        .keep
        .iter()
        .map(|text| grant(&mut vault, &names, text))
        .collect::<Result<Vec<_>, _>>()?;
    let bar = Progress::spinner("revoking, and making new keys");
    let done = vault.revoke(&id, &keep).map_err(writing)?;
    drop(bar);
    let text = |ids: &[NamespaceId]| {
        ids.iter()
            .map(|id| namespace_text(&vault, id))
            .collect::<Vec<_>>()
    };
    let (rotated, not_rotated) = (text(&done.rotated), text(&done.not_rotated));
    let grants: Vec<String> = done.grants.iter().map(ToString::to_string).collect();
    let kept: Vec<String> = done.kept.iter().map(ToString::to_string).collect();
    if json {
        super::answer(
            &vault,
            serde_json::json!({ "revoked": grants, "kept": kept, "rotated": rotated, "not_rotated": not_rotated, "caveat": Revoked::CAVEAT }),
        );
        return Ok(());
    }
    for grant in &grants {
        say!("revoked {grant}");
    }
    if !rotated.is_empty() {
        eprintln!("new keys for {}", printable(&rotated.join(", ")));
    }
    if !not_rotated.is_empty() {
        eprintln!(
            "tally: the keys of {} are unchanged: an admin of them has to rotate",
            printable(&not_rotated.join(", "))
        );
    }
    eprintln!("note: {}", Revoked::CAVEAT);
    Ok(())
}

pub(crate) fn rotate(args: &Rotate, json: bool) -> Outcome {
    let mut vault = args.which.write()?;
    let ids = chosen(&mut vault, &args.namespaces)?;
    if args.full {
        let bar = Progress::spinner("encrypting everything anew");
        let done = vault.rotate_full(&ids).map_err(writing)?;
        drop(bar);
        if json {
            super::answer(
                &vault,
                serde_json::json!({ "boxes": done.boxes, "left": done.left, "keyrings_removed": done.keyrings, "caveat": RotatedInFull::CAVEAT }),
            );
            return Ok(());
        }
        eprintln!(
            "{} boxes encrypted anew, {} old keyrings removed",
            done.boxes, done.keyrings
        );
        if done.left > 0 {
            eprintln!(
                "tally: {} boxes cannot be opened here, so the older keys had to stay",
                done.left
            );
        }
        eprintln!("note: {}", RotatedInFull::CAVEAT);
        return Ok(());
    }
    let bar = Progress::spinner("making new keys");
    for id in &ids {
        vault.rotate(id).map_err(writing)?;
    }
    drop(bar);
    let names: Vec<String> = ids.iter().map(|id| namespace_text(&vault, id)).collect();
    if json {
        super::answer(&vault, serde_json::json!({ "rotated": names }));
    } else {
        eprintln!("new keys for {}", printable(&names.join(", ")));
    }
    Ok(())
}

fn chosen(vault: &mut Vault, names: &[String]) -> Result<Vec<NamespaceId>, Failure> {
    if names.is_empty() {
        return Ok(vault
            .namespaces()
            .into_iter()
            .filter(|one| one.name.is_some())
            .map(|one| one.id)
            .collect());
    }
    names.iter().map(|name| namespace(vault, name)).collect()
}

pub(crate) fn recover(args: &Recover, json: bool) -> Outcome {
    let place = args.which.place()?;
    let words = secret::ask("recovery phrase, or shares one a line", args.phrase_fd)?;
    let phrase = to_phrase(&vaults::root_seed(&vaults::vault_id(&place)?, &words)?);
    let mut vault = vaults::open(
        &place,
        Key::Phrase(&phrase),
        true,
        args.which.accept_rollback,
    )?;
    let passphrase = secret::choose("passphrase", args.new_passphrase_fd)?;
    let bar = Progress::spinner("making a new slot");
    let grant = vault
        .recover(&passphrase, args.work.cost()?)
        .map_err(writing)?;
    vault.forget_root();
    drop(bar);
    let others: Vec<_> = vault
        .grants()
        .into_iter()
        .filter(|row| {
            row.card.kind() == MemberKind::Slot
                && row.id != grant
                && row.standing == tally_vault::state::GrantStanding::Valid
        })
        .map(|row| row.id.to_string())
        .collect();
    if json {
        super::answer(
            &vault,
            serde_json::json!({ "slot": grant.to_string(), "older_slots": others }),
        );
        return Ok(());
    }
    eprintln!("the vault opens with the new passphrase, and this computer is a device of it");
    for other in &others {
        eprintln!(
            "the older passphrase still opens it: tally vault revoke {}",
            &other[..12]
        );
    }
    Ok(())
}

pub(crate) fn passphrase(args: &Passphrase, json: bool) -> Outcome {
    let mut vault = args.which.write()?;
    let passphrase = secret::choose("passphrase", args.new_passphrase_fd)?;
    let bar = Progress::spinner("sealing");
    vault
        .change_passphrase(&passphrase, args.work.cost()?)
        .map_err(writing)?;
    drop(bar);
    if json {
        super::answer(&vault, serde_json::json!({ "changed": true }));
    } else {
        eprintln!(
            "changed. An old copy of the vault still opens with the old one: if somebody knows it, use `tally vault recover` and revoke the older slot"
        );
    }
    Ok(())
}
