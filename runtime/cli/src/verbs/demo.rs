//! `tally demo`: the whole story on this machine, with nothing simulated.
//!
//! An agent (a component built from `sample-agents/answer-with-sources`) answers a question from a document with a local
//! model; every inference has a receipt; the run is executed again without the model; then copies of the evidence are
//! altered, and the check says what no longer holds. Then the agents of two apps share a vault ([`vault`]). Last, a person tells the
//! memory in it a few things, which are learnt from ([`memory`]). The run, its journal, the receipts and the vault stay in the data
//! directory.

mod memory;
mod vault;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args as ClapArgs;
use tally_engine::contract::{Attachment, Input};
use tally_engine::{Engine, JournalTo, Outcome as Ended, Plan, ReplayOptions, Start, inspect};
use tally_inference::ModelKind;
use tally_journal::Journal;
use tally_receipt::{Context, Operation, Receipt, Status, verify_bytes};
use tally_vault::Place;

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::local_model::store_failure;
use crate::setup::{self, Consent, Live, Screen};
use crate::trust::{Trust, moment};
use crate::ui::{Progress, grouped, printable, say, short};
use crate::verbs::{replay, run, verify};

/// The whole story on this machine.
#[derive(ClapArgs)]
#[command(
    after_help = "Examples:\n  tally demo --components ~/.cache/tally/components\n  tally demo --question 'How much does a ticket cost?'\n\nIn a checkout, `make demo` builds the components first."
)]
pub(crate) struct Args {
    /// Where the sample components are; `make demo` builds them there.
    #[arg(long, value_name = "DIR")]
    components: Option<PathBuf>,
    /// What to ask about the document.
    #[arg(long, default_value = QUESTION)]
    question: String,
    /// The model; else this machine's default, else the one that comes with the program.
    #[arg(long)]
    model: Option<String>,
    /// The embedding model: a name, or `none` for words alone; else the default one, or the only one there is.
    #[arg(long, value_name = "MODEL", env = "TALLY_EMBEDDING")]
    embedding: Option<String>,
}

const QUESTION: &str = "When does the museum in Ghent open?";
const DOCUMENT: &str = include_str!("demo/museum.md");
const AGENT: &str = "answer-with-sources.wasm";
/// What the agent says where vectors took part in its search.
const BY_MEANING: &str = "words and meaning";

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    crate::runtime()?.block_on(story(args, json))
}

async fn story(args: &Args, json: bool) -> Outcome {
    let tell = |text: &str| {
        if !json {
            say!("{text}");
        }
    };
    let home = Home::open()?;
    let agent = agent_path(args)?;
    let key = home.node_key()?.public_key();

    tell("1  An agent is one file, and says what it asks for before it runs.\n");
    let bytes = setup::read_component(&agent)?;
    let inspection = inspect(&bytes).map_err(|error| setup::unusable(&agent, &error))?;
    let engine = setup::engine(Some(&home))?;
    let component = setup::load(&engine, &agent)?;
    tell(&format!(
        "   {AGENT}  {} bytes  blake3 {}…",
        grouped(bytes.len() as u64),
        short(&inspection.digest.to_string())
    ));
    for line in component.manifest().explain() {
        tell(&format!(
            "   {} {}",
            if line.may { "•" } else { " " },
            printable(&line.sentence)
        ));
    }

    let model_name = ready_model(&home, args.model.as_deref()).await?;
    let asked = args.embedding.as_deref();
    let embedding = memory::embedding(&home, asked).await?;
    tell(&format!(
        "\n2  It answers with a model on this machine ({model_name}), through a journal.\n"
    ));
    tell(&format!("   question: {}\n", args.question));
    let grant = setup::grant(&component, &agent, None, Consent::AsAsked)?;
    let plan = Plan::new(
        &engine,
        &component,
        &grant,
        Vec::new(),
        std::collections::BTreeMap::new(),
    )
    .or_misuse("grant the agent what it asks for")?;
    let live = setup::live(&home, Some(&model_name), asked).await?;
    let journal_path = run::fresh_journal(&home)?;
    let screen = Screen::new(true);
    let progress = Progress::spinner("the model reads and writes");
    let began = Instant::now();
    let result = engine
        .run(
            &plan,
            Start {
                journal: JournalTo::Sink(Box::new(run::create_journal(&journal_path)?)),
                signing: Some(live.signing.clone()),
                ..Start::new(
                    Input {
                        text: args.question.clone(),
                        attachments: vec![Attachment {
                            name: "museum.md".into(),
                            media_type: "text/markdown".into(),
                            text: DOCUMENT.into(),
                        }],
                    },
                    live.services.clone(),
                    Box::new(screen.clone()),
                )
            },
        )
        .await;
    let live_time = began.elapsed();
    drop(progress);
    // Told last, and done while the model is loaded.
    let told = RefCell::new(Vec::new());
    let keep = |line: &str| told.borrow_mut().push(line.to_owned());
    let ended = match result {
        Ok(report) => {
            let folder = journal_path.with_extension("vault");
            let models = (model_name.as_str(), &embedding);
            in_a_vault(&engine, &home, &agent, folder, &live, models, &keep)
                .await
                .map(|kept| (report, kept))
        }
        Err(error) => Err(run::run_failure(&error, &journal_path)),
    };
    live.models.service.shut_down().await;
    let (report, kept) = ended?;
    let InAVault {
        place,
        shared,
        remembered,
    } = kept;
    let Ended::Replied(reply) = &report.outcome else {
        return Err(Failure::no(format_args!(
            "the demo's agent did not reply: {}",
            report.outcome.sentence()
        )));
    };
    for line in reply.text.lines() {
        tell(&format!("   {}", printable(line)));
    }
    let searched = searched(reply.data_json.as_deref());
    match &embedding {
        Ok(model) if searched == BY_MEANING => tell(&format!(
            "   (its passages were found by words and with the embedding model {})",
            model.name
        )),
        _ => tell("   (its passages were found by words alone)"),
    }

    tell(
        "\n3  Each inference has a receipt, signed over what executed: token ids, weights, sampling, engine.\n",
    );
    let journal_bytes = std::fs::read(&journal_path)
        .or_environment(format_args!("read {}", journal_path.display()))?;
    let journal = Arc::new(
        Journal::parse(journal_bytes.clone())
            .or_environment("read the journal that was just written")?,
    );
    let now = moment(None)?;
    let (policy, _) = Trust::default().policy()?;
    let context = Context {
        policy: policy.as_ref(),
        ..Context::at(now)
    };
    let mut receipts = Vec::new();
    for (entry, envelope) in journal.receipts() {
        let (receipt, verdict) = verify_bytes(envelope, &context);
        let line = receipt.as_ref().map_or_else(String::new, describe);
        let good = verdict.is_verified();
        tell(&format!(
            "   entry {entry}: {line}  {}",
            if good {
                "signature holds"
            } else {
                "NOT VERIFIED"
            }
        ));
        if !good {
            return Err(Failure::no(format_args!(
                "the receipt of entry {entry} does not verify"
            )));
        }
        receipts.push(envelope.to_vec());
    }
    if receipts.is_empty() {
        return Err(Failure::no(
            "the agent asked the model nothing, so there is no receipt to show",
        ));
    }
    let of_this_agent = Context {
        expected_component: Some(component.digest()),
        ..context
    };
    let judged = verify::judge_journal(journal_bytes.clone(), &of_this_agent);
    tell(&format!(
        "\n   the run itself, signed by {}…:",
        short(&key.to_string())
    ));
    if !json {
        judged.print_checks("   ");
    }
    if !judged.is_verified() {
        return Err(Failure::no(
            "the journal that was just written does not verify",
        ));
    }

    tell(
        "\n4  Anyone who holds the journal executes the agent again, without model, network or key.\n",
    );
    let began = Instant::now();
    let again = replay::execute(
        &engine,
        &journal,
        &component,
        Vec::new(),
        ReplayOptions::default(),
    )
    .await?;
    let replay_time = began.elapsed();
    tell(&format!("   replay: {}", replay::sentence(&again)));
    tell(&format!(
        "   {:.1} ms; live it took {:.0} ms",
        replay_time.as_secs_f64() * 1e3,
        live_time.as_secs_f64() * 1e3
    ));
    if !again.is_identical() {
        return Err(Failure::no("the replay of the demo's run differs"));
    }

    tell("\n5  One byte is changed in copies of the evidence.\n");
    let mut caught = Vec::new();
    let at = byte_of_an_answer(&journal_bytes, &reply.text).unwrap_or(journal_bytes.len() / 2);
    let mut altered = journal_bytes;
    altered[at] ^= 0x01;
    let judged = verify::judge_journal(altered, &context);
    caught.push(("journal", at, first_failure(judged.checks())?));
    let mut altered = receipts[0].clone();
    let at = altered.len() / 2;
    altered[at] ^= 0x01;
    let (_, verdict) = verify_bytes(&altered, &context);
    caught.push(("receipt", at, first_failure(verdict.checks())?));
    for (what, at, sentence) in &caught {
        tell(&format!(
            "   byte {at} of the {what}:  FAIL  {}",
            printable(sentence)
        ));
    }

    let mut number = 6;
    if shared.is_some() {
        tell(&format!(
            "\n{number}  The agents of two apps share what somebody remembers, each inside its grant.\n"
        ));
        told.into_inner().iter().for_each(|line| tell(line));
        number += 1;
    }

    tell(&format!(
        "\n{number}  What a person says is kept, and learnt from: {model_name} proposes, code decides, each fact has its receipt.\n"
    ));
    remembered.lines().iter().for_each(|line| tell(line));

    if json {
        say!(
            "{}",
            serde_json::json!({
                "vault": shared.as_ref().map(vault::Shown::to_json),
                "memory": remembered.to_json(),
                "answer": reply.text,
                "searched": searched,
                "model": model_name,
                "journal": journal_path,
                "receipts": receipts.len(),
                "replay": { "identical": again.is_identical(), "calls": again.calls, "fuel": again.fuel },
                "tampering": caught.iter().map(|(what, at, sentence)| serde_json::json!({ "of": what, "byte": at, "caught": sentence })).collect::<Vec<_>>(),
                "live_ms": u64::try_from(live_time.as_millis()).unwrap_or(u64::MAX),
                "replay_ms": u64::try_from(replay_time.as_millis()).unwrap_or(u64::MAX),
            })
        );
    } else {
        say!("\nThe evidence is yours to try:");
        say!("   tally verify {}", journal_path.display());
        say!(
            "   tally replay {} --agent {}",
            journal_path.display(),
            agent.display()
        );
        say!("   tally replay {} --view", journal_path.display());
        match &shared {
            Some(shown) => say!(
                "   tally vault log --vault {} --as {}",
                shown.folder.display(),
                vault::READER
            ),
            None => say!(
                "(Apps that share the vault were not shown: their agents are not among the components.)"
            ),
        }
        say!(
            "   tally memory verify --vault {} --as {}",
            place.folder.display(),
            memory::NOTEBOOK
        );
    }
    Ok(())
}

/// What is done while the model of the run is still loaded.
struct InAVault {
    place: Place,
    shared: Option<vault::Shown>,
    remembered: memory::Shown,
}

/// Makes a vault in `folder`; agents that lie beside `agent` share it, and what a person says is learnt from in it.
async fn in_a_vault(
    engine: &Engine,
    home: &Home,
    agent: &Path,
    folder: PathBuf,
    live: &Live,
    (model, embedding): (&str, &memory::Embedding),
    tell: &dyn Fn(&str),
) -> Result<InAVault, Failure> {
    let place = vault::make(home, folder)?;
    let shared = match agent.parent() {
        Some(components) if vault::can(components) => {
            let _progress = Progress::spinner("two agents share a vault");
            Some(vault::step(engine, home, components, &place, live, tell).await?)
        }
        _ => None,
    };
    let remembered = memory::step(&place, live, model, embedding).await?;
    Ok(InAVault {
        place,
        shared,
        remembered,
    })
}

fn agent_path(args: &Args) -> Result<PathBuf, Failure> {
    let dir = args
        .components
        .clone()
        .unwrap_or_else(|| PathBuf::from("."));
    let path = dir.join(AGENT);
    if path.is_file() {
        return Ok(path);
    }
    Err(
        Failure::environment(format_args!("{} is not there", path.display())).advise(
            "run `make demo` in a checkout, or name the folder that holds it with --components",
        ),
    )
}

/// The model of the demo: the one named, the machine's default, or the one that comes with the program.
async fn ready_model(home: &Home, named: Option<&str>) -> Result<String, Failure> {
    let store = setup::store(home).await?;
    if let Some(name) = named {
        return Ok(store
            .resolve(name)
            .await
            .map_err(store_failure)?
            .name
            .to_string());
    }
    let default = store.default_model(ModelKind::Chat).await;
    let default = default.map_err(store_failure)?;
    default
        .map(|record| record.name.to_string())
        .ok_or_else(|| {
            Failure::environment("this machine's models are all for embedding, none to chat with")
                .advise("add one: tally model add FILE.gguf")
        })
}

/// What the agent says its passages were found by.
fn searched(data: Option<&str>) -> String {
    let data: serde_json::Value =
        serde_json::from_str(data.unwrap_or_default()).unwrap_or_default();
    data["searched"].as_str().unwrap_or_default().to_owned()
}

fn describe(receipt: &Receipt) -> String {
    match receipt.as_inference() {
        Some(inference) => format!(
            "{}…  {}  weights {}…",
            short(&receipt.digest().to_string()),
            match inference.operation {
                Operation::Embed => format!("{} tokens as vectors", inference.prompt.count),
                Operation::Chat | Operation::Rank => format!(
                    "{} + {} tokens",
                    inference.prompt.count, inference.output.count
                ),
            },
            short(&inference.model.weights.to_string()),
        ),
        None => short(&receipt.digest().to_string()).to_owned(),
    }
}

/// Where the journal holds a piece of the model's answer: the byte a forger would want to change.
fn byte_of_an_answer(journal: &[u8], answer: &str) -> Option<usize> {
    let word = answer
        .split_whitespace()
        .find(|word| word.len() >= 4)?
        .as_bytes();
    journal
        .windows(word.len())
        .rposition(|window| window == word)
}

fn first_failure(checks: &[tally_receipt::Check]) -> Result<String, Failure> {
    checks
        .iter()
        .find(|check| check.status == Status::Fail)
        .map(|check| check.sentence.to_string())
        .ok_or_else(|| {
            Failure::no("a changed byte was not caught: this must never happen, please report it")
        })
}
