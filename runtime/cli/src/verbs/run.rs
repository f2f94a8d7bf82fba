//! `tally run`: run an agent once, streaming, with a journal.
//!
//! stdout carries what the agent shows and its reply (or, with `--json`, one object); stderr carries the rest. The exit
//! code is 1 when the agent failed or a limit stopped it, and 0 when it replied, even where something was denied on
//! the way: a denial is an answer, and the report lists it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;
use tally_engine::contract::Error;
use tally_engine::{
    Engine, JournalTo, Outcome as Ended, Plan, PlanError, RunError, RunReport, Start,
};
use tally_journal::{CreateError, FileSink};

use crate::failure::{Failure, OrFail, Outcome};
use crate::home::Home;
use crate::memories::Keeping;
use crate::memory_service;
use crate::private;
use crate::settling::Asked;
use crate::setup::{self, Consent, Live, Screen, ToolArg};
use crate::ui::{grouped, printable, say, short};
use crate::vaults::{self, Which};
use tally_vault::Key;

/// Run an agent once.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    tally run helper.wasm --input 'what is due today?'\n  \
    tally run answer.wasm --input 'when do you open?' --attach hours.md --grant-asked\n  \
    tally run plan.wasm --input @wish.txt --tool text-tools.wasm --grant grant.toml --json\n\n\
    Exit code 0: the agent replied. 1: it failed or a limit stopped it. 2: misuse. 3: something is missing here.")]
pub(crate) struct Args {
    /// The component.
    agent: PathBuf,
    /// What the agent is asked: text, @FILE, or - for stdin.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        allow_hyphen_values = true
    )]
    input: String,
    /// A text file that goes with it. May be given several times.
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// A setting the agent may read. May be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    #[command(flatten)]
    given: Given,
    /// The model used where the agent names none.
    #[arg(long)]
    model: Option<String>,
    /// Where the journal goes; never overwritten. Else into the data directory.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Also write each receipt, and what opens it, readable by you alone, into this new folder.
    #[arg(long, value_name = "DIR")]
    receipts: Option<PathBuf>,
    #[command(flatten)]
    settling: Asked,
    #[command(flatten)]
    shared: Shared,
}

/// The vault that an agent may use, and the memories in it.
#[derive(ClapArgs)]
pub(crate) struct Shared {
    /// The vault that the agent may use, with the memories in it, as far as it was shared with it (`tally vault share --agent`).
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    pub(crate) vault: Option<Option<PathBuf>>,
    /// Which of this machine's agents it is to the vault; else the name in its manifest.
    #[arg(long = "as", value_name = "AGENT", requires = "vault")]
    identity: Option<String>,
    /// The embedding model of the agent where it names none, and of the memories that it searches: a name, or `none` for words alone;
    /// else the default one, or the only one there is.
    #[arg(long, value_name = "MODEL", env = "TALLY_EMBEDDING")]
    embedding: Option<String>,
    #[command(flatten)]
    keeping: Keeping,
}

impl Shared {
    /// The embedding model that is asked for.
    pub(crate) fn embedding(&self) -> Option<&str> {
        self.embedding.as_deref()
    }

    /// Gives it to a run. The vault is opened with the agent's own key; without a folder it is the one of commands that name none.
    pub(crate) fn give(&self, plan: &Plan, home: &Home, live: &mut Live) -> Result<(), Failure> {
        let Some(folder) = &self.vault else {
            return Ok(());
        };
        let place = Which::of(folder.clone()).place()?;
        let agent = match &self.identity {
            Some(name) => name.clone(),
            None => plan.component().manifest().name().to_string(),
        };
        let key = vaults::agent_identity(&agent, &vaults::vault_id(&place)?)?;
        let vault = vaults::open(&place, Key::Member(key), false, false)?;
        memory_service::give(
            &mut live.services,
            agent,
            vault,
            home.clone(),
            live.models.service.clone(),
            self.embedding.clone(),
            self.keeping.identifiers(),
        );
        Ok(())
    }
}

/// What an agent is given.
#[derive(ClapArgs)]
pub(crate) struct Given {
    /// What the agent may do (docs/manifest.md). Without it you are asked, or it may do nothing.
    #[arg(long, value_name = "FILE")]
    grant: Option<PathBuf>,
    /// Grant the agent and its tools what their manifests ask for.
    #[arg(long, conflicts_with = "grant")]
    grant_asked: bool,
    /// A tool plugin, FILE or FILE=GRANT. May be given several times.
    #[arg(long = "tool", value_name = "FILE")]
    pub(crate) tools: Vec<ToolArg>,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    crate::runtime()?.block_on(async {
        let home = Home::open()?;
        let engine = setup::engine(Some(&home))?;
        let settings = args.settings.iter().cloned().collect();
        let plan = plan(&engine, &args.agent, &args.given, settings).await?;
        let input = setup::input(&args.input, &args.attach)?;
        let mut live = setup::live(&home, args.model.as_deref(), args.shared.embedding()).await?;
        args.shared.give(&plan, &home, &mut live)?;
        let receipts = args.receipts.as_deref().map(new_folder).transpose()?;
        let settling = args.settling.of_run(&home)?;
        let journal = match &args.journal {
            Some(path) => path.clone(),
            None => fresh_journal(&home)?,
        };
        let screen = Screen::new(json);
        let start = Start {
            run_id: None,
            input,
            services: live.services.clone(),
            output: Box::new(screen.clone()),
            journal: JournalTo::Sink(Box::new(create_journal(&journal)?)),
            signing: Some(live.signing.clone()),
            cancel: Some(Box::pin(interrupted())),
        };
        let result = engine.run(&plan, start).await;
        live.models.service.shut_down().await;
        let report = result.map_err(|error| run_failure(&error, &journal))?;
        if let Some(folder) = receipts {
            write_receipts(&folder, &live, &report)?;
        }
        let settling = match settling {
            Some(settling) => settling.keep(&live, &report)?,
            None => None,
        };
        let ended = finish(&report, &journal, &screen, json);
        if let Some(settling) = settling {
            if !json {
                settling.say_where();
            }
            settling.say_trouble(&home);
            settling.begin();
        }
        ended
    })
}

/// Ready when the person at the terminal presses Ctrl-C. A second Ctrl-C ends the process: nothing else listens then.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Component, grant and tools, resolved.
pub(crate) async fn plan(
    engine: &Engine,
    agent: &Path,
    given: &Given,
    settings: std::collections::BTreeMap<String, String>,
) -> Result<Plan, Failure> {
    let component = setup::load(engine, agent)?;
    if component.kind() != tally_engine::ComponentKind::Agent {
        return Err(Failure::misuse(format_args!(
            "{} is a tool plugin, which agents call",
            agent.display()
        ))
        .advise(format_args!(
            "give it to an agent: tally run AGENT --tool {}",
            agent.display()
        )));
    }
    let consent = if given.grant_asked {
        Consent::AsAsked
    } else {
        Consent::Ask
    };
    let grant = setup::grant(&component, agent, given.grant.as_deref(), consent)?;
    let tools = setup::tools(engine, &given.tools, consent).await?;
    Plan::new(engine, &component, &grant, tools, settings).map_err(|error| match error {
        PlanError::Grant(error) => Failure::no(format_args!(
            "this grant is not for {}: {error}",
            agent.display()
        )),
        error => Failure::misuse(error),
    })
}

/// `runs/20261121T120000Z-1a2b3c4d.tally`
pub(crate) fn fresh_journal(home: &Home) -> Result<PathBuf, Failure> {
    let mut tail = [0u8; 4];
    getrandom::fill(&mut tail).or_environment("draw a name from the system's random source")?;
    let now = crate::trust::moment(None)?.to_string();
    let stamp: String = now
        .chars()
        .take(19)
        .filter(char::is_ascii_alphanumeric)
        .collect();
    Ok(home
        .runs()?
        .join(format!("{stamp}Z-{}.tally", hex::encode(tail))))
}

pub(crate) fn create_journal(path: &Path) -> Result<FileSink, Failure> {
    FileSink::create(path).map_err(|error| match error {
        CreateError::Exists { .. } | CreateError::InUse { .. } => Failure::misuse(&error),
        error => Failure::environment(&error),
    })
}

pub(crate) fn run_failure(error: &RunError, journal: &Path) -> Failure {
    match error {
        RunError::InputTooLarge { .. } => Failure::misuse(error),
        RunError::Diverged(_) => Failure::no(error),
        error => Failure::environment(error).advise(format_args!(
            "what was durable is kept in {}; `tally verify` says how far it goes",
            journal.display()
        )),
    }
}

fn new_folder(path: &Path) -> Result<PathBuf, Failure> {
    std::fs::create_dir(path)
        .or_misuse(format_args!("create {}", path.display()))
        .map_err(|failure| failure.advise("--receipts names a folder that does not exist yet"))?;
    Ok(path.to_owned())
}

/// Each receipt and its openings: the receipt is to be shown, the openings are for whoever may see inside, and nobody else on this
/// machine.
fn write_receipts(folder: &Path, live: &Live, report: &RunReport) -> Result<(), Failure> {
    let write = |name: String, bytes: &[u8]| {
        let path = folder.join(name);
        std::fs::write(&path, bytes).or_environment(format_args!("write {}", path.display()))
    };
    let keep = |name: String, bytes: &[u8]| {
        let path = folder.join(name);
        private::create_new(&path)
            .and_then(|mut file| file.write_all(bytes))
            .or_environment(format_args!("write {}", path.display()))
    };
    for (index, kept) in live.models.kept.all().iter().enumerate() {
        write(
            format!("inference-{}.receipt.json", index + 1),
            &kept.envelope,
        )?;
        keep(
            format!("inference-{}.openings.json", index + 1),
            &kept.openings().to_json(),
        )?;
    }
    if let Some(proof) = &report.proof {
        write("run.receipt.json".into(), &proof.receipt.to_json())?;
        keep("run.openings.json".into(), &proof.openings.to_json())?;
    }
    Ok(())
}

/// The word for programs.
pub(crate) fn outcome_word(outcome: &Ended) -> &'static str {
    match outcome {
        Ended::Replied(_) => "replied",
        Ended::Failed(_) => "failed",
        Ended::Exhausted(_) => "limit",
        Ended::Trapped(_) => "trapped",
        Ended::Cancelled => "cancelled",
    }
}

/// Reports, and turns the outcome into an exit code.
pub(crate) fn finish(report: &RunReport, journal: &Path, screen: &Screen, json: bool) -> Outcome {
    let replied = matches!(report.outcome, Ended::Replied(_));
    if json {
        say!("{}", to_json(report, journal, screen));
    } else {
        if let Ended::Replied(reply) = &report.outcome {
            let shown = screen.shown();
            // What was streamed is not said again.
            if shown.trim_end() != reply.text.trim_end() {
                if !shown.is_empty() && !shown.ends_with('\n') {
                    say!();
                }
                say!("{}", printable(&reply.text));
            } else if !shown.ends_with('\n') {
                say!();
            }
        }
        for denial in &report.denials {
            eprintln!(
                "denied: {} ({})",
                denial.function,
                printable(&denial.reason)
            );
        }
        let used = &report.used;
        eprintln!(
            "run {}: {} receipt{}, {} calls, {} fuel, {} tokens, {:.1} s",
            report.run_id,
            report.receipts.len(),
            if report.receipts.len() == 1 { "" } else { "s" },
            grouped(used.calls),
            grouped(used.fuel),
            grouped(used.tokens),
            report.wall.as_secs_f64()
        );
        eprintln!("journal {}", journal.display());
        if let Some(head) = &report.head {
            eprintln!(
                "head    {}… of {} entries, signed",
                short(&head.hash.to_string()),
                head.entries
            );
        }
    }
    if replied {
        Ok(())
    } else if json {
        Err(Failure::reported())
    } else {
        let failure = Failure::no(printable(&report.outcome.sentence()));
        Err(match &report.outcome {
            Ended::Failed(Error::Denied(_)) => failure.advise(
                "grant it with --grant FILE, or all that the agent asks for with --grant-asked",
            ),
            _ => failure.advise(format_args!(
                "tally replay {} --view shows each call",
                journal.display()
            )),
        })
    }
}

fn to_json(report: &RunReport, journal: &Path, screen: &Screen) -> serde_json::Value {
    let reply = match &report.outcome {
        Ended::Replied(reply) => serde_json::json!({
            "text": reply.text,
            "data": reply.data_json.as_deref().and_then(|data| serde_json::from_str::<serde_json::Value>(data).ok()),
        }),
        _ => serde_json::Value::Null,
    };
    let denied: Vec<_> = report
        .denials
        .iter()
        .map(|denial| {
            serde_json::json!({
                "entry": denial.entry.map(tally_journal::Seq::get),
                "frame": denial.frame,
                "function": denial.function,
                "reason": denial.reason,
            })
        })
        .collect();
    serde_json::json!({
        "run": report.run_id.to_string(),
        "outcome": outcome_word(&report.outcome),
        "sentence": report.outcome.sentence(),
        "reply": reply,
        "output": screen.shown(),
        "receipts": report.receipts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "denied": denied,
        "used": {
            "fuel": report.used.fuel,
            "calls": report.used.calls,
            "tokens": report.used.tokens,
            "memory_bytes": report.used.memory_bytes,
        },
        "wall_ms": u64::try_from(report.wall.as_millis()).unwrap_or(u64::MAX),
        "journal": journal,
        "head": report.head.as_ref().map(|head| head.hash.to_string()),
        "entries": report.head.as_ref().map(|head| head.entries),
    })
}
