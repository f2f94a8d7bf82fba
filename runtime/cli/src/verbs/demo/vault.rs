//! The demo's vault: the agents of two apps share one namespace of it, and neither gets out of its grant.

use std::path::{Path, PathBuf};

use tally_engine::contract::Input;
use tally_engine::{Engine, Outcome as Ended, Plan, RunReport, Services, Start};
use tally_vault::format::SlotCost;
use tally_vault::{Create, Environment, Key, Place, Share, Vault};

use crate::failure::{Failure, OrFail};
use crate::home::Home;
use crate::setup::{self, Consent, Screen};
use crate::ui::printable;
use crate::vault_service::AgentVault;
use crate::vaults::{self, agent_identity_or_new, namespace, right, writing};

const WRITER: &str = "trip-notes";
pub(super) const READER: &str = "trip-brief";
const SHARED: &str = "trips";
const CLOSED: &str = "health";
const NOTE: &str = "keep The train to Ghent leaves at 9:15.";
const QUESTION: &str = "When does the train to Ghent leave?";

/// What the step showed.
pub(super) struct Shown {
    pub(super) folder: PathBuf,
    pub(super) kept: String,
    pub(super) answer: String,
    pub(super) notes_read: u64,
    pub(super) refused: String,
}

impl Shown {
    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "folder": self.folder,
            "kept": self.kept,
            "answer": self.answer,
            "notes_read": self.notes_read,
            "refused": self.refused,
        })
    }
}

/// Whether the agents are among the components.
pub(super) fn can(components: &Path) -> bool {
    [WRITER, READER]
        .iter()
        .all(|agent| components.join(format!("{agent}.wasm")).is_file())
}

/// Makes a vault in `folder`, shares one of its two namespaces with two agents of `components`, and runs both.
pub(super) async fn step(
    engine: &Engine,
    home: &Home,
    components: &Path,
    folder: PathBuf,
    services: &Services,
    tell: &dyn Fn(&str),
) -> Result<Shown, Failure> {
    let place = Place {
        folder,
        local: home.vaults()?,
    };
    let mut vault = create(&place)?;
    for (agent, word) in [(WRITER, "append"), (READER, "read")] {
        let card = *agent_identity_or_new(agent, &vault.id())?.card();
        let rights = vec![(namespace(&mut vault, SHARED)?, right(word)?)];
        let share = Share {
            card,
            rights,
            expires: None,
            depth: 0,
        };
        vault.share(&share).map_err(writing)?;
    }
    // What was granted is on the disk; the agents open the vault with their own keys.
    drop(vault);
    tell(&format!(
        "   a vault with the namespaces {SHARED} and {CLOSED}; {WRITER} may append to {SHARED}, {READER} may read it, for 30 days"
    ));
    let run = async |agent: &str, input: &str, namespace: &str| {
        run(
            engine, components, &place, services, agent, input, namespace,
        )
        .await
    };

    let kept = reply(WRITER, &run(WRITER, NOTE, SHARED).await?)?;
    tell(&format!(
        "   {WRITER}, told “{NOTE}”:\n      {}",
        printable(&kept)
    ));
    let report = run(READER, QUESTION, SHARED).await?;
    let answer = reply(READER, &report)?;
    let notes_read = notes(&report);
    tell(&format!(
        "   {READER}, of another app, asked “{QUESTION}”, reads {notes_read} note and says:\n      {}",
        printable(&answer)
    ));
    let outside = run(WRITER, NOTE, CLOSED).await?;
    let refused = match &outside.outcome {
        Ended::Failed(error) => error.sentence(),
        other => {
            return Err(Failure::no(format_args!(
                "{WRITER} was not shared {CLOSED} and was not refused: {}",
                other.sentence()
            )));
        }
    };
    tell(&format!(
        "   {WRITER}, told to write to {CLOSED}:\n      {}",
        printable(&refused)
    ));
    Ok(Shown {
        folder: place.folder,
        kept,
        answer,
        notes_read,
        refused,
    })
}

/// A vault for this demo. Nobody is to type its passphrase, so it is drawn and thrown away.
fn create(place: &Place) -> Result<Vault, Failure> {
    let mut drawn = [0; 32];
    getrandom::fill(&mut drawn)
        .or_environment("draw a passphrase from the system's random source")?;
    let passphrase = hex::encode(drawn);
    let create = Create {
        passphrase: &passphrase,
        cost: SlotCost::LEAST,
        namespaces: &[SHARED, CLOSED, vaults::MEMBERS],
    };
    Vault::create(Environment::of_this_computer(), place, &create)
        .map(|made| made.vault)
        .or_environment(format_args!("make a vault in {}", place.folder.display()))
}

async fn run(
    engine: &Engine,
    components: &Path,
    place: &Place,
    services: &Services,
    agent: &str,
    input: &str,
    namespace: &str,
) -> Result<RunReport, Failure> {
    let path = components.join(format!("{agent}.wasm"));
    let component = setup::load(engine, &path)?;
    let grant = setup::grant(&component, &path, None, Consent::AsAsked)?;
    let settings = [("namespace".to_owned(), namespace.to_owned())].into();
    let plan = Plan::new(engine, &component, &grant, Vec::new(), settings)
        .or_misuse("grant the agent what it asks for")?;
    let key = vaults::agent_identity(agent, &vaults::vault_id(place)?)?;
    let vault = vaults::open(place, Key::Member(key), false, false)?;
    let services = Services {
        vault: AgentVault::new(vault),
        ..services.clone()
    };
    let start = Start::new(Input::text(input), services, Box::new(Screen::new(true)));
    engine
        .run(&plan, start)
        .await
        .or_environment(format_args!("run {agent}"))
}

fn reply(agent: &str, report: &RunReport) -> Result<String, Failure> {
    match &report.outcome {
        Ended::Replied(reply) => Ok(reply.text.trim_end().to_owned()),
        other => Err(Failure::no(format_args!("{agent}: {}", other.sentence()))),
    }
}

/// How many notes the reader says it read.
fn notes(report: &RunReport) -> u64 {
    let Ended::Replied(reply) = &report.outcome else {
        return 0;
    };
    let data = reply.data_json.as_deref().unwrap_or_default();
    let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    data["notes"].as_u64().unwrap_or_default()
}
