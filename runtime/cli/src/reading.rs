//! Files of strangers, read in a process of its own: what a parser does with a hostile file ends with that process.
//!
//! ```text
//! to the reader, its stdin      options as one line of JSON, then the file
//! from it, its stdout           lines of JSON: {"format": …}, {"item": …} as each is read, and at the end {"report": …} or {"error": …}
//! ```
//!
//! The reader is this program as `__read`. It has no environment, no core file, [`MEMORY`] beside the file and one copy of it, and
//! [`TIME`] of processor time, which bounds what a file costs; and before it sees a byte of the file it gives up all system calls but those
//! that read, write and end (`confine`), which bounds what code could do that took the reader over: say something else. So what comes from it
//! is parsed as from anybody, and of one item no more than [`ITEM`] is held.

mod confine;

use std::io::{BufRead, BufReader, BufWriter, Read as _, Write};
use std::ops::ControlFlow;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};
use tally_import::{Format, ImportError, Item, Options, Report};

use crate::failure::{OrFail, Outcome};

/// The verb of the reader.
pub(crate) const VERB: &str = "__read";

/// Memory of a reader, this program's own code among it, without the file and a copy of it: some archives and PDFs unpack to
/// two gigabytes (`tally_import::Limits`).
const MEMORY: u64 = 3 << 30; // bytes
/// Processor time of a reader.
const TIME: u64 = 600; // seconds
/// The longest line of a reader.
const ITEM: u64 = 1 << 30; // bytes
/// The longest first line, which says what a file is or why it is none.
const FIRST: u64 = 1 << 20; // bytes

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Format(Format),
    Item(Item),
    Report(Report),
    Error(ImportError),
}

/// Tells what a file is as [`tally_import::detect`] does, elsewhere: an archive is opened for it.
pub(crate) fn detect(bytes: &[u8], options: &Options) -> Result<Format, ImportError> {
    ask(bytes, options, first).unwrap_or_else(|| Err(failed(options.format)))
}

/// Reads a file as [`tally_import::read`] does, elsewhere.
pub(crate) fn read(
    bytes: &[u8],
    options: &Options,
    take: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> Result<Report, ImportError> {
    let mut told = options.format;
    let mut taken = Taken::default();
    let mut take = |item| {
        taken.add(&item);
        take(item)
    };
    let report = ask(bytes, options, |from| listen(from, &mut told, &mut take));
    report.unwrap_or_else(|| match failed(told) {
        ImportError::ParserFailed { format } if taken.any() => Ok(taken.until_it_failed(format)),
        error => Err(error),
    })
}

/// Gives a file to a reader and hears as much of what it says as somebody wants to; none if that does not come.
fn ask<T>(
    bytes: &[u8],
    options: &Options,
    hear: impl FnOnce(BufReader<ChildStdout>) -> Option<T>,
) -> Option<T> {
    let mut reader = match start() {
        Ok(reader) => reader,
        Err(error) => {
            tracing::error!(%error, "the process that reads files did not start");
            return None;
        }
    };
    let mut to = reader.stdin.take().expect("it is piped");
    let from = reader.stdout.take().expect("it is piped");
    let heard = std::thread::scope(|scope| {
        scope.spawn(move || {
            // A reader that has seen enough hangs up.
            let _ = serde_json::to_writer(&mut to, options)
                .map_err(std::io::Error::from)
                .and_then(|()| to.write_all(b"\n"))
                .and_then(|()| to.write_all(bytes));
        });
        let heard = hear(BufReader::new(from));
        // Or it, and whoever writes to it, would wait for somebody to go on reading.
        let _ = reader.kill();
        heard
    });
    let status = reader.wait();
    if heard.is_none() {
        tracing::warn!(
            ?status,
            "the process that reads files ended in the middle of one"
        );
    }
    heard
}

/// What was handed on.
#[derive(Default)]
struct Taken {
    conversations: u64,
    turns: u64,
    documents: u64,
    passages: u64,
    text_len: u64,
}

impl Taken {
    fn add(&mut self, item: &Item) {
        let mut texts: Vec<&str> = Vec::new();
        match item {
            Item::Conversation(chat) => {
                self.conversations += 1;
                self.turns += chat.turns.len() as u64;
                texts.extend(chat.turns.iter().map(|turn| turn.text.as_str()));
            }
            Item::Document(document) => {
                self.documents += 1;
                self.passages += document.passages.len() as u64;
                texts.extend(document.passages.iter().map(|one| one.text.as_str()));
            }
        }
        self.text_len += texts.iter().map(|text| text.len() as u64).sum::<u64>();
    }

    fn any(&self) -> bool {
        self.conversations + self.documents > 0
    }

    fn until_it_failed(self, format: Format) -> Report {
        Report {
            format,
            conversations: self.conversations,
            turns: self.turns,
            documents: self.documents,
            passages: self.passages,
            text_len: self.text_len,
            left_out: Vec::new(),
            assumptions: Vec::new(),
            fault: Some(format!(
                "the parser of {format} failed; what came before that was taken"
            )),
            stopped: false,
        }
    }
}

fn start() -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg(VERB)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

/// `told` is what the file was told to be, if it came so far.
fn failed(told: Option<Format>) -> ImportError {
    match told {
        Some(format) => ImportError::ParserFailed { format },
        None => ImportError::Unrecognized {
            found: "the process that looked at it did not come to an end".to_owned(),
        },
    }
}

/// What a reader says first; none if that is not what a file is, or why it is none.
fn first(mut from: impl BufRead) -> Option<Result<Format, ImportError>> {
    let mut line = Vec::new();
    from.by_ref()
        .take(FIRST)
        .read_until(b'\n', &mut line)
        .ok()?;
    match serde_json::from_slice(&line).ok()? {
        Said::Format(format) => Some(Ok(format)),
        Said::Error(error) => Some(Err(error)),
        Said::Item(_) | Said::Report(_) => None,
    }
}

/// Hands on what a reader says, to its end; none if it ends in the middle.
fn listen(
    mut from: impl BufRead,
    told: &mut Option<Format>,
    take: &mut dyn FnMut(Item) -> ControlFlow<()>,
) -> Option<Result<Report, ImportError>> {
    let mut stopped = false;
    let mut line = Vec::new();
    loop {
        line.clear();
        from.by_ref().take(ITEM).read_until(b'\n', &mut line).ok()?;
        match serde_json::from_slice(&line).ok()? {
            Said::Format(format) => *told = Some(format),
            Said::Item(_) if stopped => {}
            Said::Item(item) => stopped = take(item).is_break(),
            Said::Report(report) => return Some(Ok(Report { stopped, ..report })),
            Said::Error(error) => return Some(Err(error)),
        }
    }
}

/// The other process.
pub(crate) fn serve() -> Outcome {
    let none = Some(0);
    limit(Resource::Core, none)?;
    limit(Resource::Cpu, Some(TIME))?;
    let mut from = std::io::stdin().lock();
    let mut line = Vec::new();
    from.by_ref()
        .take(1 << 20)
        .read_until(b'\n', &mut line)
        .or_environment("read the options")?;
    let options: Options = serde_json::from_slice(&line).or_misuse("use the options")?;
    confine::confine()?;
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)
        .or_environment("read the file")?;
    limit(Resource::As, Some(MEMORY + 2 * bytes.len() as u64))?;
    let mut to = BufWriter::new(std::io::stdout().lock());
    let format = match options.format {
        Some(format) => Ok(format),
        None => tally_import::detect(&bytes, &options),
    };
    let end = format.and_then(|format| {
        let options = Options {
            format: Some(format),
            ..options
        };
        // Where nobody listens any more, the first item says so too.
        let _ = say(&mut to, &Said::Format(format));
        tally_import::read(
            &bytes,
            &options,
            &mut |item| match say(&mut to, &Said::Item(item)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            },
        )
    });
    let end = end.map_or_else(Said::Error, Said::Report);
    say(&mut to, &end).or_environment("say what was read")
}

fn say(to: &mut impl Write, said: &Said) -> std::io::Result<()> {
    serde_json::to_writer(&mut *to, said)?;
    to.write_all(b"\n")?;
    to.flush()
}

fn limit(resource: Resource, most: Option<u64>) -> Outcome {
    let limit = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(resource, limit).or_environment("limit what a file may cost")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(said: &[u8]) -> (usize, Option<Result<Report, ImportError>>) {
        let mut count = 0;
        let end = listen(said, &mut None, &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        });
        (count, end)
    }

    fn lines(said: &[Said]) -> Vec<u8> {
        let mut lines = Vec::new();
        for one in said {
            say(&mut lines, one).unwrap();
        }
        lines
    }

    fn read_here(text: &[u8]) -> Vec<Said> {
        let (items, report) = tally_import::read_all(text, &Options::default()).unwrap();
        let items = items.into_iter().map(Said::Item);
        items.chain([Said::Report(report)]).collect()
    }

    #[test]
    fn what_a_reader_says_comes_out_as_it_was_read() {
        let said = lines(&read_here(b"A title\n\nA text of some words.\n"));
        let (count, end) = items(&said);
        assert_eq!(count, 1);
        let (_, report) =
            tally_import::read_all(b"A title\n\nA text of some words.\n", &Options::default())
                .unwrap();
        assert_eq!(end, Some(Ok(report)));
    }

    #[test]
    fn what_a_file_is_is_what_a_reader_says_first() {
        let none = ImportError::Unrecognized {
            found: "a picture".to_owned(),
        };
        let said = lines(&[Said::Format(Format::Text), Said::Error(none.clone())]);
        assert_eq!(first(&said[..]), Some(Ok(Format::Text)));
        let said = lines(&[Said::Error(none.clone())]);
        assert_eq!(first(&said[..]), Some(Err(none)));
        for nonsense in [&lines(&read_here(b"Some words.\n"))[..], &said[..9], b""] {
            assert_eq!(first(nonsense), None);
        }
    }

    #[test]
    fn what_was_taken_before_a_reader_failed_is_counted() {
        let text = b"31.12.23, 21:41 - Anna: Hi\n31.12.23, 21:42 - Ben: Ho\n";
        let (items, report) = tally_import::read_all(text, &Options::default()).unwrap();
        let mut taken = Taken::default();
        assert!(!taken.any());
        items.iter().for_each(|item| taken.add(item));
        assert!(taken.any());
        let broken = taken.until_it_failed(report.format);
        assert_eq!((broken.conversations, broken.turns), (1, 2));
        assert_eq!(broken.text_len, report.text_len);
        assert!(broken.fault.is_some());
    }

    #[test]
    fn a_reader_that_breaks_off_or_says_nonsense_has_not_read_the_file() {
        let said = lines(&read_here(b"A title\n\nA text of some words.\n"));
        for cut in [0, 1, said.len() / 2, said.len() - 2] {
            assert_eq!(items(&said[..cut]).1, None, "{cut}");
        }
        assert_eq!(items(b"{\"item\": 5}\n").1, None);
        assert_eq!(items(b"\xff\xfe\n").1, None);
        assert_eq!(items(b"[[[[[[[[\n").1, None);
    }
}
