//! `tally devnet`: a whole ledger on this machine, one process for each validator.
//!
//! ```text
//! DIR/genesis.toml                 the network's file, for --network and `tally ledger use`
//! DIR/v0/vote.key  DIR/v0/data/    one folder for each validator
//! DIR/v0/pid       DIR/v0/log      its process, and what it says
//! ```
//!
//! The same folder starts the same network again, on what its disks have.

use std::fs::{self, File};
use std::io::BufRead as _;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use clap::Args as ClapArgs;
use tally_ledger::{Credits, Faucet, Genesis, Name, Parameters, Validator, ValidatorSet};
use tally_receipt::SigningKey;

use crate::explorer::{self, Verifier};
use crate::failure::{Failure, OrFail, Outcome};
use crate::home;
use crate::network::Network;
use crate::node_keys::{checkpoint_seed, devnet_key};
use crate::trust;
use crate::trusted::Start;
use crate::ui::{interrupted, say};

/// Start a whole ledger on this machine.
#[derive(ClapArgs)]
#[command(after_help = "Examples:\n  \
    tally devnet                                     four validators, in ./devnet\n  \
    tally devnet --validators 7 --dir /tmp/seven\n  \
    tally devnet --explorer                          and look at it in a browser\n  \
    tally ledger status --network devnet/genesis.toml        from another terminal\n\n\
    While it runs, it takes lines on stdin: `kill 2`, `start 2`, `status`, `quit`. The same folder starts the same network\n\
    again. Ctrl-C stops every process.")]
pub(crate) struct Args {
    /// How many validators. One, two or three tolerate nobody; four tolerate one.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=32))]
    validators: u16,
    /// Where the network's files are.
    #[arg(long, value_name = "DIR", default_value = "devnet")]
    dir: PathBuf,
    /// The shortest time between two blocks, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 25)]
    block_ms: u64,
    /// Hold every message between validators for so long, to stand for distance.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// Make the files, say how to start each validator, and stop.
    #[arg(long)]
    files_only: bool,
    /// Show the network in a browser.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = explorer::ADDRESS)]
    explorer: Option<SocketAddr>,
    #[command(flatten)]
    verifier: Verifier,
}

/// A network whose processes are this one's children: they end when it is dropped.
pub(crate) struct Devnet {
    dir: PathBuf,
    block_ms: u64,
    delay_ms: u64,
    children: Vec<Option<Child>>,
}

pub(crate) fn run(args: &Args, json: bool) -> Outcome {
    let network = files(&args.dir, args.validators)?;
    let count = network.genesis.validators.len();
    if count != usize::from(args.validators) {
        return Err(Failure::misuse(format_args!(
            "{} has a network of {count} validators",
            args.dir.display()
        ))
        .advise("name another folder with --dir"));
    }
    let genesis = &network.file;
    let chain = network.genesis.chain();
    let tolerated = network.genesis.validators.tolerated();
    let runtime = crate::runtime()?;
    let explorer = match args.explorer {
        Some(address) if !args.files_only => {
            let folders = (0..count)
                .map(|number| args.dir.join(format!("v{number}/data/evidence")))
                .collect();
            // It may be gone tomorrow, and nothing of it is kept.
            let start = Start::default();
            let listening = explorer::listen(address, &network, start, folders, &args.verifier);
            let listening = runtime.block_on(listening)?;
            let url = listening.url.clone();
            let (end, ended) = tokio::sync::oneshot::channel::<()>();
            let serving = runtime.spawn(listening.serve(async {
                // Also when it is dropped.
                let _ = ended.await;
            }));
            Some((url, end, serving))
        }
        _ => None,
    };
    if json {
        say!(
            "{}",
            serde_json::json!({
                "chain": chain.to_string(), "genesis": genesis, "validators": count, "tolerates": tolerated,
                "explorer": explorer.as_ref().map(|(url, ..)| url),
            })
        );
    } else {
        eprintln!("chain {chain}");
        eprintln!(
            "{count} validator{}; {}",
            if count == 1 { "" } else { "s" },
            match tolerated {
                0 => "it tolerates nobody: all must run".to_owned(),
                1 => "one may be away or lie".to_owned(),
                more => format!("{more} may be away or lie"),
            }
        );
        eprintln!("network file {}", genesis.display());
        if let Some((url, ..)) = &explorer {
            eprintln!("explorer {url}");
        }
    }
    if args.files_only {
        return Ok(());
    }
    let mut devnet = Devnet::start(&args.dir, count, args.block_ms, args.delay_ms)?;
    eprintln!("running; `kill N`, `start N`, `status`, `quit`, or Ctrl-C");
    let ended = devnet.serve(&runtime);
    if let Some((_, end, serving)) = explorer {
        drop(end);
        // What goes wrong in the explorer is not the network's trouble.
        let _ = runtime.block_on(serving);
    }
    ended
}

/// The network's files, made if they are not there.
pub(crate) fn files(dir: &Path, validators: u16) -> Result<Network, Failure> {
    let file = dir.join("genesis.toml");
    if file.exists() {
        return Network::read(&file);
    }
    let mut set = Vec::new();
    let mut addresses = Vec::new();
    // Held until all are known, so that no two are the same.
    let mut sockets = Vec::new();
    for number in 0..validators {
        let folder = dir.join(format!("v{number}"));
        fs::create_dir_all(&folder).or_environment(format_args!("create {}", folder.display()))?;
        let seed = home::seed_or_new(&devnet_key(&folder))?;
        let vote_key = SigningKey::from_seed(&seed).public_key();
        let socket =
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).or_environment("find a free port")?;
        let address = socket.local_addr().or_environment("find a free port")?;
        sockets.push(socket);
        addresses.push((vote_key, vec![address]));
        set.push(Validator {
            vote_key,
            checkpoint_key: SigningKey::from_seed(&checkpoint_seed(&seed)).public_key(),
            name: Name::new(&format!("v{number}")).expect("a letter and a number"),
        });
    }
    addresses.sort_by_key(|(key, _)| *key);
    let genesis = Genesis {
        name: Name::new("devnet").expect("letters"),
        time: trust::moment(None)?,
        parameters: Parameters::default(),
        validators: ValidatorSet::new(set).or_environment("make validators")?,
        addresses: addresses
            .into_iter()
            .map(|(_, addresses): (_, Vec<SocketAddr>)| addresses)
            .collect(),
        accounts: Vec::new(),
        faucet: Some(Faucet {
            each: Credits::new(1_000_000),
            total: Credits::new(1_000_000_000_000),
        }),
    };
    fs::write(&file, genesis.to_toml()).or_environment(format_args!("write {}", file.display()))?;
    Network::read(&file)
}

impl Devnet {
    /// Starts every validator.
    pub(crate) fn start(
        dir: &Path,
        validators: usize,
        block_ms: u64,
        delay_ms: u64,
    ) -> Result<Self, Failure> {
        let mut devnet = Self {
            dir: dir.to_owned(),
            block_ms,
            delay_ms,
            children: (0..validators).map(|_| None).collect(),
        };
        for number in 0..validators {
            devnet.start_one(number)?;
        }
        Ok(devnet)
    }

    /// Starts one validator, if it does not run.
    pub(crate) fn start_one(&mut self, number: usize) -> Result<(), Failure> {
        if self.children[number].is_some() {
            return Ok(());
        }
        let folder = self.dir.join(format!("v{number}"));
        let program = std::env::current_exe().or_environment("find this program's own file")?;
        let log = File::options()
            .append(true)
            .create(true)
            .open(folder.join("log"))
            .or_environment("open a log")?;
        let child = Command::new(program)
            .args(["node", "--role", "validator", "--json", "--genesis"])
            .arg(self.dir.join("genesis.toml"))
            .arg("--key")
            .arg(devnet_key(&folder))
            .arg("--data")
            .arg(folder.join("data"))
            .args(["--block-ms", &self.block_ms.to_string()])
            .args(["--delay-ms", &self.delay_ms.to_string()])
            .arg("--until-stdin-ends")
            .env("TALLY_HOME", folder.join("home"))
            .env(
                "TALLY_LOG",
                std::env::var_os("TALLY_LOG").unwrap_or_else(|| "tally_node=info".into()),
            )
            // However this process ends, they end with it.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .or_environment("start a validator")?;
        fs::write(folder.join("pid"), format!("{}\n", child.id()))
            .or_environment("write a process number")?;
        self.children[number] = Some(child);
        Ok(())
    }

    /// Kills one validator, as a power cut would.
    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.children[number].take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Obeys stdin until it says `quit` or an interrupt comes. Without a terminal, it just runs.
    fn serve(&mut self, runtime: &tokio::runtime::Runtime) -> Outcome {
        let (send, receive) = std::sync::mpsc::channel();
        let interrupts = send.clone();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if send.send(Some(line)).is_err() {
                    return;
                }
            }
        });
        runtime.spawn(async move {
            interrupted().await;
            let _ = interrupts.send(None);
        });
        loop {
            match receive.recv_timeout(std::time::Duration::from_millis(500)) {
                Ok(Some(line)) => match line.split_whitespace().collect::<Vec<_>>()[..] {
                    ["quit"] => return Ok(()),
                    ["status"] => self.say_status(),
                    [verb @ ("kill" | "start"), number] => match number.parse::<usize>() {
                        Ok(number) if number < self.children.len() => {
                            if verb == "kill" {
                                self.kill(number);
                            } else {
                                self.start_one(number)?;
                            }
                            self.say_status();
                        }
                        _ => eprintln!("validators are numbered from 0"),
                    },
                    [] => {}
                    _ => eprintln!("`kill N`, `start N`, `status`, `quit`"),
                },
                Ok(None) => return Ok(()),
                Err(_) => self.notice_ends(),
            }
        }
    }

    fn say_status(&self) {
        for (number, child) in self.children.iter().enumerate() {
            match child {
                Some(child) => eprintln!("v{number} runs, process {}", child.id()),
                None => eprintln!("v{number} is down"),
            }
        }
    }

    /// Says which validators have ended by themselves.
    fn notice_ends(&mut self) {
        for (number, child) in self.children.iter_mut().enumerate() {
            if let Some(running) = child
                && let Ok(Some(status)) = running.try_wait()
            {
                eprintln!("v{number} ended: {status}; see its log, or `start {number}`");
                *child = None;
            }
        }
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        for number in 0..self.children.len() {
            self.kill(number);
        }
    }
}
