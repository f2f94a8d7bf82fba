//! The demo's vault: the agents of two apps share one namespace of it, and neither gets out of its grant; in another lies the
//! person's memory, which one app's agent tells and another's asks. What is learnt from it is shown by [`super::memory`].

use std::path::{Path, PathBuf};

use tally_engine::contract::Input;
use tally_engine::{Engine, Outcome as Ended, Plan, RunReport, Start};
use tally_vault::format::SlotCost;
use tally_vault::{Create, Environment, Key, Place, Share, Vault};

use super::memory::NOTEBOOK;
use crate::failure::{Failure, OrFail};
use crate::home::Home;
use crate::memory_service;
use crate::setup::{self, Consent, Live, Screen};
use crate::ui::printable;
use crate::vaults::{self, agent_identity_or_new, namespace, right, writing};

const WRITER: &str = "trip-notes";
pub(super) const READER: &str = "trip-brief";
const SHARED: &str = "trips";
const CLOSED: &str = "health";
const NOTE: &str = "keep The train to Ghent leaves at 9:15.";
/// An agent that may be in two apps, each with a key of its own.
const KEEPER: &str = "remember-and-ask";
const TELLING: &str = "diary";
const ASKING: &str = "concierge";
const MEMORY: &str = vaults::MEMORY;
const TOLD: &str = "I always take the window seat, and never before nine.";
const ASKED: &str = "Which seat do I take?";
const QUESTION: &str = "When does the train to Ghent leave?";

/// What the step showed.
pub(super) struct Shown {
    pub(super) folder: PathBuf,
    pub(super) kept: String,
    pub(super) answer: String,
    pub(super) notes_read: u64,
    pub(super) refused: String,
    pub(super) recalled: String,
    pub(super) not_said: String,
}

impl Shown {
    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "folder": self.folder,
            "kept": self.kept,
            "answer": self.answer,
            "notes_read": self.notes_read,
            "refused": self.refused,
            "recalled": self.recalled,
            "not_said": self.not_said,
        })
    }
}

/// Whether the agents are among the components.
pub(super) fn can(components: &Path) -> bool {
    [WRITER, READER, KEEPER]
        .iter()
        .all(|agent| components.join(format!("{agent}.wasm")).is_file())
}

/// Makes a vault in `folder`, and shares parts of it with agents of this machine.
pub(super) fn make(home: &Home, folder: PathBuf) -> Result<Place, Failure> {
    let place = Place {
        folder,
        local: home.vaults()?,
    };
    let mut vault = create(&place)?;
    for (agent, place, word) in [
        (WRITER, SHARED, "append"),
        (READER, SHARED, "read"),
        (TELLING, MEMORY, "append"),
        (ASKING, MEMORY, "read"),
        (NOTEBOOK, MEMORY, "curate"),
    ] {
        let card = *agent_identity_or_new(agent, &vault.id())?.card();
        let rights = vec![(namespace(&mut vault, place)?, right(word)?)];
        let share = Share {
            card,
            rights,
            expires: None,
            depth: 0,
        };
        vault.share(&share).map_err(writing)?;
    }
    // What was granted is on the disk; the agents open the vault with their own keys.
    Ok(place)
}

/// Runs agents of `components` in the vault: two share one of its namespaces, and two apps its memory.
pub(super) async fn step(
    engine: &Engine,
    home: &Home,
    components: &Path,
    place: &Place,
    live: &Live,
    tell: &dyn Fn(&str),
) -> Result<Shown, Failure> {
    tell(&format!(
        "   a vault with the namespaces {SHARED} and {CLOSED}; {WRITER} may append to {SHARED}, {READER} may read it, for 30 days"
    ));
    let stage = Stage {
        engine,
        home,
        components,
        place,
        live,
    };
    let run = async |agent: &str, input: &str, namespace: &str| {
        stage.run(agent, agent, input, namespace).await
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
    let refused = refusal(WRITER, &outside)?;
    tell(&format!(
        "   {WRITER}, told to write to {CLOSED}:\n      {}",
        printable(&refused)
    ));

    tell(&format!(
        "   in the same vault lies a memory; {KEEPER} is the agent of two apps, {TELLING}, which may append to it, and {ASKING}, which may read it"
    ));
    let heard = reply(TELLING, &stage.run(KEEPER, TELLING, TOLD, MEMORY).await?)?;
    tell(&format!(
        "   {TELLING}, told “{TOLD}”:\n      {}",
        printable(&heard)
    ));
    let recalled = reply(ASKING, &stage.run(KEEPER, ASKING, ASKED, MEMORY).await?)?;
    tell(&format!(
        "   {ASKING}, asked “{ASKED}”:\n      {}",
        printable(&recalled)
    ));
    let not_said = refusal(ASKING, &stage.run(KEEPER, ASKING, TOLD, MEMORY).await?)?;
    tell(&format!(
        "   {ASKING}, told to remember something:\n      {}",
        printable(&not_said)
    ));
    Ok(Shown {
        folder: place.folder.clone(),
        kept,
        answer,
        notes_read,
        refused,
        recalled,
        not_said,
    })
}

/// A vault for this demo. Nobody is to type its passphrase, so it is drawn and thrown away.
pub(super) fn create(place: &Place) -> Result<Vault, Failure> {
    let mut drawn = [0; 32];
    getrandom::fill(&mut drawn)
        .or_environment("draw a passphrase from the system's random source")?;
    let passphrase = hex::encode(drawn);
    let create = Create {
        passphrase: &passphrase,
        cost: SlotCost::LEAST,
        namespaces: &[SHARED, CLOSED, MEMORY, vaults::MEMBERS],
    };
    Vault::create(Environment::of_this_computer(), place, &create)
        .map(|made| made.vault)
        .or_environment(format_args!("make a vault in {}", place.folder.display()))
}

/// What every run of the step is made with.
struct Stage<'a> {
    engine: &'a Engine,
    home: &'a Home,
    components: &'a Path,
    place: &'a Place,
    live: &'a Live,
}

impl Stage<'_> {
    /// Runs a component as one of this machine's agents.
    async fn run(
        &self,
        component: &str,
        agent: &str,
        input: &str,
        namespace: &str,
    ) -> Result<RunReport, Failure> {
        let path = self.components.join(format!("{component}.wasm"));
        let component = setup::load(self.engine, &path)?;
        let grant = setup::grant(&component, &path, None, Consent::AsAsked)?;
        let settings = [("namespace".to_owned(), namespace.to_owned())].into();
        let plan = Plan::new(self.engine, &component, &grant, Vec::new(), settings)
            .or_misuse("grant the agent what it asks for")?;
        let key = vaults::agent_identity(agent, &vaults::vault_id(self.place)?)?;
        let vault = vaults::open(self.place, Key::Member(key), false, false)?;
        let mut services = self.live.services.clone();
        // By words alone: the memory's own step searches by meaning, where there is a model for it.
        memory_service::give(
            &mut services,
            agent.to_owned(),
            vault,
            self.home.clone(),
            self.live.models.service.clone(),
            Some("none".to_owned()),
            None,
        );
        let start = Start::new(Input::text(input), services, Box::new(Screen::new(true)));
        self.engine
            .run(&plan, start)
            .await
            .or_environment(format_args!("run {agent}"))
    }
}

/// How a run was refused, which it has to be.
fn refusal(agent: &str, report: &RunReport) -> Result<String, Failure> {
    match &report.outcome {
        Ended::Failed(error) => Ok(error.sentence()),
        other => Err(Failure::no(format_args!(
            "{agent} did what was not shared with it: {}",
            other.sentence()
        ))),
    }
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
