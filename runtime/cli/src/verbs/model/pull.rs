//! `tally model pull`: a model from a hub, a server or a file, checked before it enters the store.
//!
//! The way: understand the reference → see whether the model is here already → bring the bytes (`tally_fetch`) → read
//! the header and let llama.cpp judge it → move it into the store. Until the last step the store is as it was.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args as ClapArgs;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tally_fetch::{
    Checksums, Client, Event, Expected, FetchError, Fetched, Hub, Reference, ReferenceError,
    Request, Retry, VouchedBy,
};
use tally_inference::{ModelName, ModelRecord, ModelStore, StoreError};
use zeroize::Zeroizing;

use super::Judged;
use crate::failure::{Failure, Outcome};
use crate::local_model::store_failure;
use crate::ui::{grouped, printable};

/// Bring a model here, and keep it.
#[derive(ClapArgs)]
#[command(after_help = "\
Examples:
  tally model pull hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q8_0.gguf
  tally model pull hf:owner/repo/file.gguf@v1.0 --name mine --default
  tally model pull https://example.org/model.gguf --sha256 0123…
  tally model pull ./brought-on-a-stick.gguf

A pull that was stopped goes on where it stopped when the same command is typed again.

Environment:
  HF_ENDPOINT    the hub, else https://huggingface.co
  HF_TOKEN       your token for the hub; nobody else is sent it
  HTTPS_PROXY    a proxy
  SSL_CERT_FILE  certificates to trust, else the system's")]
pub(crate) struct Args {
    /// hf:owner/repo/file.gguf[@revision], an https address, or a file.
    #[arg(value_name = "REF")]
    reference: String,
    /// What to call it; else by the file's name.
    #[arg(long)]
    name: Option<String>,
    /// The BLAKE3 that the file must have, 64 hex digits.
    #[arg(long, value_name = "HEX")]
    blake3: Option<String>,
    /// The SHA-256 that the file must have, 64 hex digits.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Make it the model of its kind that is used where none is named.
    #[arg(long)]
    default: bool,
}

pub(super) async fn pull(store: &ModelStore, args: Args, json: bool) -> Outcome {
    let hub = hub()?;
    let reference =
        Reference::parse(&args.reference, &hub).map_err(|error| misunderstood(&error))?;
    if let Reference::File(path) = &reference {
        is_there(path, &args.reference)?;
    }
    let file_name = reference.file_name();
    if let Some(parts) = parts_of_split(&file_name) {
        return Err(Failure::misuse(format_args!(
            "{} is one of {parts} files of one model, and models are kept as one file here",
            printable(&file_name)
        ))
        .advise("take a smaller quantisation that is one file, or merge the parts first: llama-gguf-split --merge FIRST-PART OUT.gguf"));
    }
    let name = match &args.name {
        Some(text) => super::name(text)?,
        None => ModelName::from_any(strip_gguf(&file_name)),
    };
    let expected = Expected {
        sha256: hash("--sha256", args.sha256.as_deref())?,
        blake3: hash("--blake3", args.blake3.as_deref())?,
    };
    let client = Arc::new(Client::new(hub, token()));
    let wanted = Wanted {
        reference,
        name,
        expected,
    };
    let screen = Screen::new(json);
    let outcome = tokio::select! {
        biased;
        outcome = wanted.obtain(store, &client, &screen) => outcome,
        // What is on the disk is good at every moment, and the threads end with the process.
        _ = tokio::signal::ctrl_c() => Err(wanted.stopped(store)),
    };
    screen.clear();
    let (record, how) = outcome?;
    let came = match how {
        How::WasHere => serde_json::json!({ "downloaded": 0 }),
        How::Came {
            downloaded,
            checksums,
            vouched_by,
            commit,
        } => {
            if !json {
                vouch(&vouched_by, &record);
            }
            serde_json::json!({
                "downloaded": downloaded,
                "resumed_from": record.bytes - downloaded,
                "sha256": hex::encode(checksums.sha256),
                "commit": commit,
                "vouched_by": match &vouched_by {
                    VouchedBy::Caller => "caller",
                    VouchedBy::Hub(host) => host,
                    VouchedBy::Nobody => "nobody",
                },
            })
        }
    };
    super::finish(store, record, args.default, json, came).await
}

/// How a model got into the store.
enum How {
    /// It was there.
    WasHere,
    /// It was fetched.
    Came {
        downloaded: u64,
        checksums: Checksums,
        vouched_by: VouchedBy,
        commit: Option<String>,
    },
}

fn vouch(by: &VouchedBy, record: &ModelRecord) {
    match by {
        VouchedBy::Caller => eprintln!("checked: it has the hash that was asked for"),
        VouchedBy::Hub(host) => eprintln!("checked: it has the SHA-256 that {host} states"),
        VouchedBy::Nobody => eprintln!(
            "nobody vouched for it: its length and form were checked, its origin was not. To have the same file again: --blake3 {}",
            record.weights
        ),
    }
}

/// Where downloads lie until they are whole: on the store's file system, so that they can be moved into it.
pub(super) fn dir(store: &ModelStore) -> PathBuf {
    store.dir().join("pull")
}

/// The hub, where its users say it is.
fn hub() -> Result<Hub, Failure> {
    let endpoint = std::env::var("HF_ENDPOINT")
        .ok()
        .filter(|text| !text.trim().is_empty());
    Hub::at(endpoint.as_deref().unwrap_or(Hub::PUBLIC)).map_err(|error| {
        Failure::environment(format_args!("HF_ENDPOINT cannot be used: {error}"))
            .advise("give the address of a hub, as https://huggingface.co")
    })
}

fn token() -> Option<Zeroizing<String>> {
    let token = Zeroizing::new(std::env::var("HF_TOKEN").ok()?);
    let token = Zeroizing::new(token.trim().to_owned());
    (!token.is_empty()).then_some(token)
}

fn hash(option: &str, text: Option<&str>) -> Result<Option<[u8; 32]>, Failure> {
    text.map(Expected::parse_hash)
        .transpose()
        .map_err(|error| Failure::misuse(format_args!("{option} is no hash: {error}")))
}

fn misunderstood(error: &ReferenceError) -> Failure {
    let failure = Failure::misuse(error);
    match error {
        ReferenceError::NoFile { listing: Some(page), .. } => {
            failure.advise(format_args!("its files are listed on {page}"))
        }
        ReferenceError::NoFile { .. } | ReferenceError::BadPart { .. } => failure.advise(
            "for example hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q8_0.gguf, and @revision after it when it is not main",
        ),
        _ => failure,
    }
}

/// A reference without a scheme is a file; one that is not there was perhaps meant for the hub.
fn is_there(path: &Path, typed: &str) -> Outcome {
    let failure = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => return Ok(()),
        Ok(_) => Failure::misuse(format_args!("{} is no file", path.display())),
        Err(error) => Failure::misuse(format_args!("cannot open {}: {error}", path.display())),
    };
    let parts = typed.split('/').count();
    Err(
        if parts >= 3 && !typed.starts_with(['/', '.', '~']) && !typed.starts_with("file:") {
            failure.advise(format_args!(
                "for a file on the hub: tally model pull hf:{typed}"
            ))
        } else {
            failure.advise("give a file, an https address, or hf:owner/repo/file.gguf; docs/models.md lists models that are known to work")
        },
    )
}

fn strip_gguf(name: &str) -> &str {
    match name
        .len()
        .checked_sub(5)
        .and_then(|at| name.split_at_checked(at))
    {
        Some((stem, end)) if end.eq_ignore_ascii_case(".gguf") => stem,
        _ => name,
    }
}

/// `…-00001-of-00003.gguf`: how llama.cpp names the files of a split model.
fn parts_of_split(name: &str) -> Option<u32> {
    let (rest, parts) = strip_gguf(name).rsplit_once("-of-")?;
    let (_, part) = rest.rsplit_once('-')?;
    let number = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok())?;
    number(part)?;
    number(parts).filter(|parts| *parts > 1)
}

struct Wanted {
    reference: Reference,
    name: ModelName,
    expected: Expected,
}

impl Wanted {
    /// The whole way, from a look into the store to a record in it.
    async fn obtain(
        &self,
        store: &ModelStore,
        client: &Arc<Client>,
        screen: &Screen,
    ) -> Result<(ModelRecord, How), Failure> {
        if let Some(record) = self.already_here(store, client, screen).await? {
            return Ok((record, How::WasHere));
        }
        let fetched = self.bring(client, dir(store), screen).await?;
        let how = How::Came {
            downloaded: fetched.bytes - fetched.resumed_from,
            checksums: fetched.checksums,
            vouched_by: fetched.vouched_by.clone(),
            commit: fetched.commit.clone(),
        };
        let record = self.keep(store, fetched).await?;
        Ok((record, how))
    }

    /// The model, when the store has it and nobody says that it should be another. What is said of its weights is read from
    /// them: a record alone is no model.
    async fn already_here(
        &self,
        store: &ModelStore,
        client: &Arc<Client>,
        screen: &Screen,
    ) -> Result<Option<ModelRecord>, Failure> {
        let records = store.list().await.map_err(store_failure)?;
        let named = records.iter().find(|record| record.name == self.name);
        // A record that cannot be read has the name all the same, which is better said before anything comes.
        if named.is_none()
            && let Err(error @ StoreError::BadRecord { .. }) =
                store.resolve(self.name.as_str()).await
        {
            return Err(store_failure(error));
        }
        if let Some(blake3) = self.expected.blake3 {
            return self.known_by(blake3, named, &records, store, screen).await;
        }
        let Some(record) = named else {
            return Ok(None);
        };
        let sha256 = match self.expected.sha256 {
            Some(sha256) => Some(sha256),
            None => {
                let (client, reference) = (client.clone(), self.reference.clone());
                match in_thread(move || tally_fetch::look(&client, &reference)).await? {
                    Ok(announced) if announced.bytes.is_some_and(|bytes| bytes != record.bytes) => {
                        return Err(self.taken());
                    }
                    Ok(announced) => announced.sha256,
                    Err(error)
                        if error.is_offline()
                            && record.source == Path::new(&self.reference.to_string()) =>
                    {
                        if sound(store, record, screen).await?.is_none() {
                            return Err(self.failure(error));
                        }
                        screen.say(&format!(
                            "{error}: whether it has changed there is not known"
                        ));
                        return Ok(Some(record.clone()));
                    }
                    Err(error) => return Err(self.failure(error)),
                }
            }
        };
        let Some(sha256) = sha256 else {
            return Ok(None);
        };
        match sound(store, record, screen).await? {
            Some(found) if found.sha256 == sha256 => Ok(Some(record.clone())),
            Some(_) => Err(self.taken()),
            None => Ok(None),
        }
    }

    /// The model whose weights have this BLAKE3, whatever it is called; it is called by the wanted name then, too.
    async fn known_by(
        &self,
        blake3: [u8; 32],
        named: Option<&ModelRecord>,
        records: &[ModelRecord],
        store: &ModelStore,
        screen: &Screen,
    ) -> Result<Option<ModelRecord>, Failure> {
        let has_it = |record: &&ModelRecord| *record.weights.as_bytes() == blake3;
        let record = match named {
            Some(record) if !has_it(&record) => return Err(self.taken()),
            Some(record) => record,
            None => match records.iter().find(has_it) {
                Some(record) => record,
                None => return Ok(None),
            },
        };
        let Some(found) = sound(store, record, screen).await? else {
            return Ok(None);
        };
        if let Some(sha256) = self.expected.sha256
            && sha256 != found.sha256
        {
            return Err(Failure::no(format_args!(
                "the file with this BLAKE3 is here as {}, and its SHA-256 is {}, not {}",
                record.name,
                hex::encode(found.sha256),
                hex::encode(sha256)
            ))
            .advise("the two hashes are of two files; nothing was downloaded"));
        }
        store
            .name_also(record, self.name.clone())
            .await
            .map(Some)
            .map_err(store_failure)
    }

    fn taken(&self) -> Failure {
        store_failure(StoreError::NameTaken {
            name: self.name.clone(),
        })
    }

    /// What somebody who pressed Ctrl-C is told.
    fn stopped(&self, store: &ModelStore) -> Failure {
        match &self.reference {
            Reference::File(path) => {
                // Half a copy is worth nothing. One that cannot be removed is named by `tally model list`.
                let _ = tally_fetch::discard_copy(path, &dir(store));
                Failure::environment("stopped; the file stays where it is")
            }
            Reference::Hub(_) | Reference::Web(_) => {
                Failure::environment("stopped; what came is kept")
            }
        }
        .advise(self.again())
    }

    /// What the same command does after it was stopped.
    fn again(&self) -> &'static str {
        match self.reference {
            Reference::File(_) => "the same command copies it again",
            Reference::Hub(_) | Reference::Web(_) => "the same command goes on from there",
        }
    }

    /// What becomes of the bytes that are here when there is no room for more.
    fn kept(&self) -> &'static str {
        match self.reference {
            Reference::File(_) => "its copy was removed",
            Reference::Hub(_) | Reference::Web(_) => "what came is kept",
        }
    }

    async fn bring(
        &self,
        client: &Arc<Client>,
        dir: PathBuf,
        screen: &Screen,
    ) -> Result<Fetched, Failure> {
        let (client, reference, expected) = (client.clone(), self.reference.clone(), self.expected);
        let (name, watcher) = (self.name.clone(), screen.clone());
        in_thread(move || {
            let request = Request {
                reference: &reference,
                expected,
                magic: ("GGUF", b"GGUF"),
                retry: Retry::default(),
            };
            tally_fetch::fetch(&client, &request, &dir, &mut |event| {
                watcher.show(&name, event)
            })
        })
        .await?
        .map_err(|error| self.failure(error))
    }

    /// Judges what came and moves it into the store.
    async fn keep(&self, store: &ModelStore, fetched: Fetched) -> Result<ModelRecord, Failure> {
        let file = fetched.part.path();
        match super::judge(file, &self.reference).await {
            Ok(()) => {}
            Err(Judged::Unable(failure)) => return Err(failure),
            Err(Judged::Bad(failure)) => {
                // It becomes no better by being gone on with.
                fetched
                    .part
                    .remove()
                    .map_err(|error| Failure::environment(&error))?;
                return Err(failure);
            }
        }
        let origin = self.reference.to_string();
        let record = store
            .take(file, self.name.clone(), &origin, |_, _| {})
            .await
            .map_err(|error| match error {
                StoreError::NameTaken { .. } => store_failure(error)
                    .advise("the same command with another --name; nothing is downloaded again"),
                error => store_failure(error),
            })?;
        fetched
            .part
            .remove()
            .map_err(|error| Failure::environment(&error))?;
        Ok(record)
    }

    fn failure(&self, error: FetchError) -> Failure {
        let typed = match &self.reference {
            Reference::Hub(file) => format!("hf:{}/{}", file.owner, file.repo),
            _ => String::new(),
        };
        let message = error.to_string();
        match &error {
            FetchError::Unreachable { .. } => Failure::environment(&message).advise(self.by_hand()),
            FetchError::Certificate { .. } => Failure::environment(&message).advise(format_args!(
                "if a proxy of yours stands between, set SSL_CERT_FILE to its certificate; else {}",
                self.by_hand()
            )),
            FetchError::NotThere { .. } => match &self.reference {
                Reference::Hub(file) => Failure::misuse(&message).advise(format_args!(
                    "what is there is listed on {}/tree/{}",
                    self.page(), file.revision
                )),
                _ => Failure::misuse(&message),
            },
            FetchError::NotAllowed { with_token, .. } => {
                let failure = Failure::environment(&message);
                match &self.reference {
                    Reference::Hub(_) if *with_token => failure.advise(format_args!(
                        "check the spelling of {typed}; if it asks you to accept a licence, do so on {}",
                        self.page()
                    )),
                    Reference::Hub(_) => failure.advise(format_args!(
                        "check the spelling of {typed}; if it wants you signed in, accept its licence on {} and set HF_TOKEN to a token of yours",
                        self.page()
                    )),
                    _ => failure,
                }
            }
            FetchError::OtherKind { begins, .. } => {
                let advice = if begins.trim_start().starts_with('<') {
                    "that is a web page; give the address of the file itself, which the page's download button has"
                } else if begins.starts_with("version https://") {
                    "that is a pointer to the file, from a git checkout without its large files; give the file itself"
                } else {
                    "give a model in GGUF format"
                };
                Failure::misuse(&message).advise(advice)
            }
            FetchError::WrongHash { .. } => {
                Failure::no(format_args!("{}: {message}", self.reference)).advise("nothing was added. Check the hash, or whether somebody changed the file")
            }
            FetchError::HubDiffers { .. } => Failure::no(&message)
                .advise("nothing was downloaded. The version you know has a commit: give it as @COMMIT after the file"),
            FetchError::NoSpace { needed, free, .. } => {
                Failure::environment(&message).advise(format_args!(
                    "free {} bytes more; {}, and {}",
                    grouped(needed.saturating_sub(*free)),
                    self.kept(),
                    self.again()
                ))
            }
            FetchError::Full { needed, .. } => Failure::environment(&message).advise(format_args!(
                "make room{}; {}, and {}",
                needed.map_or_else(String::new, |needed| format!(" for {} bytes", grouped(needed))),
                self.kept(),
                self.again()
            )),
            FetchError::Interrupted { .. } => {
                Failure::environment(&message).advise("what came is kept; the same command goes on from there")
            }
            FetchError::Busy { .. } => Failure::environment(&message).advise("wait for it to end"),
            _ => Failure::environment(&message),
        }
    }

    /// What to do where this machine does not reach the file.
    fn by_hand(&self) -> String {
        let Some(address) = self.address() else {
            return String::new();
        };
        let mut command = format!("tally model pull ./{}", self.reference.file_name());
        if self.name.as_str()
            != ModelName::from_any(strip_gguf(&self.reference.file_name())).as_str()
        {
            command.push_str(&format!(" --name {}", self.name));
        }
        for (option, hash) in [
            ("--sha256", self.expected.sha256),
            ("--blake3", self.expected.blake3),
        ] {
            if let Some(hash) = hash {
                command.push_str(&format!(" {option} {}", hex::encode(hash)));
            }
        }
        let mirror = match self.reference {
            Reference::Hub(_) => {
                "\n       (or set HF_ENDPOINT to a mirror that this machine reaches)"
            }
            _ => "",
        };
        format!(
            "without a connection: download {address} elsewhere,\n       bring the file to this machine, into any folder, and there type: {command}{mirror}"
        )
    }

    fn address(&self) -> Option<String> {
        Some(match &self.reference {
            Reference::Hub(file) => hub().ok()?.place(file).to_string(),
            Reference::Web(place) => place.to_string(),
            Reference::File(_) => return None,
        })
    }

    fn page(&self) -> String {
        match (&self.reference, hub()) {
            (Reference::Hub(file), Ok(hub)) => hub.page(&file.owner, &file.repo),
            _ => String::new(),
        }
    }
}

/// The hashes of a model's weights, when they are those that its record names; else they have to come again.
async fn sound(
    store: &ModelStore,
    record: &ModelRecord,
    screen: &Screen,
) -> Result<Option<Checksums>, Failure> {
    let path = store.weights_path(&record.weights);
    screen.begin(&format!("comparing {}", record.name), 0, Some(record.bytes));
    let progress = screen.clone();
    let found = in_thread(move || Checksums::of_file(&path, &mut |done| progress.at(done))).await?;
    let fault = match found {
        Ok(found) if found.blake3 == *record.weights.as_bytes() => return Ok(Some(found)),
        Ok(_) => "are damaged".to_owned(),
        Err(error) => format!("cannot be read ({error})"),
    };
    screen.say(&format!(
        "the weights of {} that are here {fault}: they have to come again",
        record.name
    ));
    Ok(None)
}

/// Runs blocking work on a thread that nobody waits for when the command ends first.
async fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || send.send(work()));
    receive
        .await
        .map_err(|_| Failure::environment("the download ended in a way that is our mistake"))
}

/// What a person sees meanwhile: a bar on a terminal, sentences anywhere, nothing for a program.
#[derive(Clone)]
struct Screen {
    bar: ProgressBar,
    quiet: bool,
}

impl Screen {
    fn new(quiet: bool) -> Self {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        Self {
            bar: ProgressBar::with_draw_target(None, target),
            quiet,
        }
    }

    fn begin(&self, what: &str, have: u64, total: Option<u64>) {
        let template = match total {
            Some(_) => "{msg} {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left",
            None => "{msg} {spinner} {bytes}  {bytes_per_sec}",
        };
        let style = ProgressStyle::with_template(template)
            .expect("the templates are constants that the tests draw");
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.set_position(have);
        self.bar.set_message(what.to_owned());
        self.bar.set_style(style);
        // What was here before did not come at any rate.
        self.bar.reset_eta();
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn at(&self, done: u64) {
        self.bar.set_position(done);
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            self.bar.suspend(|| eprintln!("{}", printable(text)));
        }
    }

    fn clear(&self) {
        self.bar.disable_steady_tick();
        self.bar.finish_and_clear();
        self.bar.set_draw_target(ProgressDrawTarget::hidden());
    }

    fn show(&self, name: &ModelName, event: Event<'_>) {
        match event {
            Event::Rereading { done: 0, .. } => {}
            Event::Rereading { done, total } => {
                if self.bar.length() != Some(total) {
                    self.begin(&format!("reading what is here of {name}"), 0, Some(total));
                }
                self.at(done);
            }
            Event::Begun { have, total } => {
                if have > 0 {
                    self.say(&format!("going on from {} bytes", grouped(have)));
                }
                self.begin(&format!("pulling {name}"), have, total);
            }
            Event::At(done) => self.at(done),
            Event::Again { reason } => self.say(&format!("from the beginning: {reason}")),
            Event::Waiting { error, pause } => {
                self.say(&format!("{error}; again in {} s", pause.as_secs_f32()))
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Screen, parts_of_split, strip_gguf};

    #[test]
    fn names_lose_the_ending_and_nothing_else() {
        assert_eq!(strip_gguf("a.b.gguf"), "a.b");
        assert_eq!(strip_gguf("a.GGUF"), "a");
        assert_eq!(strip_gguf("gguf"), "gguf");
        assert_eq!(strip_gguf("é.gguf"), "é");
        assert_eq!(strip_gguf("ééé"), "ééé");
    }

    #[test]
    fn parts_of_a_split_model_are_known_by_their_names() {
        assert_eq!(parts_of_split("m-q8_0-00001-of-00003.gguf"), Some(3));
        assert_eq!(parts_of_split("m-00001-of-00001.gguf"), None);
        assert_eq!(parts_of_split("best-of-both.gguf"), None);
    }

    #[test]
    fn the_bars_can_be_drawn() {
        let screen = Screen::new(true);
        screen.begin("a", 0, None);
        screen.begin("a", 1, Some(2));
        screen.clear();
    }
}
