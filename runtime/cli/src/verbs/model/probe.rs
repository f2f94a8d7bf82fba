//! Whether llama.cpp can run a file, asked before the file enters the store.
//!
//! Our own reader has seen that the file is a whole GGUF. Only llama.cpp knows which architectures and tokenizers it
//! has and which tensors each needs, so it is asked: everything is loaded but the tensors' bytes, in a process of its
//! own, because llama.cpp aborts on what it does not expect. The answer costs milliseconds and no memory to speak of,
//! whatever the size of the model.
//!
//! Out of scope: whether this machine has the memory to run it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use tokio::io::AsyncReadExt;

use crate::failure::{Failure, OrFail, Outcome};
use crate::ui::printable;

/// Longest that llama.cpp may think. The largest headers take it two seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Most that is kept of what it writes meanwhile.
const MAX_LOG_BYTES: u64 = 16 << 20;
/// Address space of the other process beyond the file: many times what the largest headers take. A GPU's driver reserves more
/// addresses than any limit that would mean something.
const MAX_MEMORY_BYTES: Option<u64> = if cfg!(feature = "cuda") {
    None
} else {
    Some(8 << 30)
};

/// Asks another process of this program, and gives why the file cannot be run, if it cannot.
///
/// # Errors
/// When nobody could judge it: the file may be good.
pub(crate) async fn refusal(file: &Path, architecture: &str) -> Result<Option<String>, Failure> {
    let missing = tally_inference::worker::missing_cpu_features();
    if !missing.is_empty() {
        return Err(Failure::environment(format_args!(
            "this processor lacks {}, which llama.cpp was built with",
            missing.join(", ")
        )));
    }
    let program = std::env::current_exe()
        .or_environment("find this program's own file, which models are judged with")?;
    let mut command = tokio::process::Command::new(program);
    command
        .arg("__probe")
        .stdin(std::fs::File::open(file).or_environment(format_args!("open {}", file.display()))?)
        .env_clear()
        .env("GGML_NO_BACKTRACE", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // Ctrl-C is for the command, which knows what to keep; a judge that it ended would have found the file damaged.
        .process_group(0)
        .kill_on_drop(true);
    if let Some(path) = std::env::var_os("LD_LIBRARY_PATH") {
        command.env("LD_LIBRARY_PATH", path);
    }
    let mut child = command
        .spawn()
        .or_environment("start the process that judges models")?;
    let stderr = child.stderr.take().expect("it was piped a moment ago");
    let judged = async {
        let mut log = Vec::new();
        stderr.take(MAX_LOG_BYTES).read_to_end(&mut log).await?;
        std::io::Result::Ok((child.wait().await?, log))
    };
    let Ok(outcome) = tokio::time::timeout(PATIENCE, judged).await else {
        return Err(Failure::environment(format_args!(
            "llama.cpp did not come to an end with the file in {} s",
            PATIENCE.as_secs()
        ))
        .advise("try again when this machine has less to do"));
    };
    let (status, log) = outcome.or_environment("wait for the process that judges models")?;
    verdict(status, &String::from_utf8_lossy(&log), architecture)
}

/// What the end of the other process says about the file. Only what llama.cpp does to a file that it read is held against
/// the file; another end is this machine's.
fn verdict(status: ExitStatus, log: &str, architecture: &str) -> Result<Option<String>, Failure> {
    let unable = |what: &str| {
        Failure::environment(format_args!(
            "whether llama.cpp can run the file is not known: {what}"
        ))
    };
    let no_memory = || {
        let most = MAX_MEMORY_BYTES.map_or_else(String::new, |most| {
            format!(
                ": it may have {} GiB of addresses beside the file, if this machine has them",
                most >> 30
            )
        });
        unable(&format!(
            "the process that judges it got no more memory{most}"
        ))
    };
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(None),
        (Some(MISUSE), _) if refuses_for_memory(log) => Err(no_memory()),
        (Some(MISUSE), _) => Ok(Some(sentence(log, architecture))),
        (None, Some(libc::SIGABRT)) if aborts_for_memory(log) => Err(no_memory()),
        (None, Some(libc::SIGABRT | libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE)) => Ok(Some(
            "llama.cpp crashed while reading it; the file is damaged or of an unsupported kind"
                .to_owned(),
        )),
        (None, Some(signal)) => Err(unable(&format!(
            "the process that judges it was ended by signal {signal}"
        ))
        .advise("try again, with more memory free if it was the system that ended it")),
        (code, _) => {
            let last = log.lines().rfind(|line| !line.trim().is_empty());
            Err(unable(&format!(
                "the process that judges it ended with code {}{}",
                code.unwrap_or_default(),
                last.map_or_else(String::new, |line| format!(" ({})", readable(line)))
            )))
        }
    }
}

/// C++'s name for having got no memory.
const NO_MEMORY: &str = "std::bad_alloc";

/// Whether llama.cpp gives as its reason that it got no memory. What else stands in its log is the file's to say: names and texts of
/// its header are repeated there.
fn refuses_for_memory(log: &str) -> bool {
    let (_, why) = reason(log).split_once(':').unwrap_or_default();
    // Its reader of the file format says it by itself, before anything of the file is repeated.
    let reads = |line: &str| {
        line.split_once(": ")
            .is_some_and(|(_, said)| said.starts_with("encountered bad_alloc error while reading"))
    };
    why.trim() == NO_MEMORY || (why.contains(READER_GAVE_UP) && log.lines().any(reads))
}

/// Whether what C++ says last, before it aborts, is that nobody caught it.
fn aborts_for_memory(log: &str) -> bool {
    log.trim_end()
        .lines()
        .last()
        .and_then(|line| line.trim_start().strip_prefix("what():"))
        .is_some_and(|what| what.trim() == NO_MEMORY)
}

/// How [`judge`] ends with a file that llama.cpp does not run.
const MISUSE: i32 = 2;

/// The other process: judges the file on its standard input. Says what llama.cpp says, on stderr, and exits 0 when the
/// model can be run.
pub(crate) fn judge() -> Outcome {
    let no_core = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Where the limit cannot be set, a crash may leave a core file; the judgement is the same.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, no_core);
    // Whoever waits for the judgement may be gone before it is made, with nobody to stop this process by its group.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    bound_memory();
    let backend = LlamaBackend::init().or_environment("start llama.cpp")?;
    let params = LlamaModelParams::default()
        .with_n_gpu_layers(0)
        .with_no_alloc(true);
    LlamaModel::load_from_file(&backend, "/proc/self/fd/0", &params)
        .map(drop)
        .or_misuse("load the model")
}

/// What a header can make llama.cpp take is bounded: a file is a stranger's, and the machine is not.
fn bound_memory() {
    let Some(most) = MAX_MEMORY_BYTES else {
        return;
    };
    let file = rustix::fs::fstat(std::io::stdin())
        .map_or(0, |metadata| u64::try_from(metadata.st_size).unwrap_or(0));
    let most = Some(most.saturating_add(file));
    let limit = rustix::process::Rlimit {
        current: most,
        maximum: most,
    };
    // Where it cannot be set, the system's own limits hold.
    let _ = rustix::process::setrlimit(rustix::process::Resource::As, limit);
}

/// What llama.cpp's reason is when its reader of the file format gave up, which said why before.
const READER_GAVE_UP: &str = "failed to load model from";

/// The last reason that llama.cpp's log gives, from behind the words "error loading model" on.
fn reason(log: &str) -> &str {
    const MARK: &str = "error loading model";
    log.lines()
        .rev()
        .find_map(|line| line.split_once(MARK))
        .map(|(_, rest)| rest.rsplit_once(MARK).map_or(rest, |(_, rest)| rest))
        .unwrap_or_default()
}

/// One sentence out of llama.cpp's log.
fn sentence(log: &str, architecture: &str) -> String {
    const READER: &str = "gguf_init_from_reader: ";
    let reason = reason(log);
    // " architecture: unknown model architecture: 'x'", " vocabulary: unknown tokenizer: 'x'", ": missing tensor 'x'"
    let (part, mut reason) = reason.split_once(':').unwrap_or(("", reason));
    if reason.contains(READER_GAVE_UP)
        && let Some(line) = log.lines().find_map(|line| line.strip_prefix(READER))
    {
        reason = line;
    }
    let reason = readable(reason);
    let is_about_tokens =
        |name: &str| reason.contains(&format!("'{name}'")) && reason.contains("shape");
    if reason.contains("unknown model architecture") {
        format!("its architecture, {architecture}, is not one that this build's llama.cpp runs")
    } else if part.contains("vocabulary") {
        format!("its tokenizer cannot be used: {reason}")
    } else if is_about_tokens("token_embd.weight") || is_about_tokens("output.weight") {
        format!("its tokenizer and its weights do not go together: {reason}")
    } else if reason.is_empty() {
        "llama.cpp does not load it, and does not say why".to_owned()
    } else {
        format!("llama.cpp does not load it: {reason}")
    }
}

/// Without the name of the function that speaks and the spaces of a table, and safe for a terminal.
fn readable(reason: &str) -> String {
    let words: Vec<&str> = reason.split_whitespace().collect();
    let speaks = |word: &str| {
        word.strip_suffix(':').is_some_and(|name| {
            name.contains('_') && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        })
    };
    let words = match &words[..] {
        [first, rest @ ..] if speaks(first) => rest,
        all => all,
    };
    printable(&words.join(" ")).chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;

    use super::{sentence, verdict};

    /// A download is removed when its file is bad, so what is not the file's doing must not be said to be.
    #[test]
    fn only_what_llama_cpp_does_to_a_file_is_held_against_it() {
        let exit = |code: i32| ExitStatus::from_raw(code << 8);
        let signal = ExitStatus::from_raw;
        let judged = |status, log| verdict(status, log, "xy");
        assert!(matches!(judged(exit(0), ""), Ok(None)));
        for status in [
            exit(2),
            signal(libc::SIGABRT),
            signal(libc::SIGSEGV),
            signal(libc::SIGBUS),
            signal(libc::SIGFPE),
        ] {
            assert!(matches!(judged(status, "loading"), Ok(Some(_))), "{status}");
        }
        for status in [
            exit(1),
            exit(3),
            exit(101),
            signal(libc::SIGINT),
            signal(libc::SIGKILL),
            signal(libc::SIGTERM),
            signal(libc::SIGILL),
        ] {
            let unable = judged(status, "tally: cannot start llama.cpp\n").expect_err("no verdict");
            assert!(unable.is_environment(), "{unable:?}");
            assert!(unable.message().contains("is not known"), "{unable:?}");
        }
        let said = judged(exit(3), "tally: cannot start llama.cpp\n").expect_err("no verdict");
        assert!(
            said.message().contains("cannot start llama.cpp"),
            "{said:?}"
        );
    }

    /// llama.cpp repeats what stands in a file's header, so a file must not be able to say that memory ran out.
    #[test]
    fn that_memory_ran_out_is_llama_cpp_s_to_say_and_not_the_file_s() {
        let refused = ExitStatus::from_raw(2 << 8);
        let aborted = ExitStatus::from_raw(libc::SIGABRT);
        let named = "llama_model_loader: - kv   1: general.name str = std::bad_alloc\n\
                     print_info: general.name = x\nwhat():  std::bad_alloc\nllama_model_load: error loading model: std::bad_alloc\n";
        let why = |line: &str| {
            format!("{named}llama_model_load: error loading model: {line}\nfailed to load model\n")
        };
        let terminate = format!(
            "{named}terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"
        );
        let reader = "gguf_read_emplace_helper: encountered bad_alloc error while reading value for key 'x'\n\
                      llama_model_load: error loading model: llama_model_loader: failed to load model from /proc/self/fd/0\n";
        for (status, log) in [
            (refused, why("std::bad_alloc")),
            (
                refused,
                why("error loading model vocabulary: std::bad_alloc"),
            ),
            (refused, reader.to_owned()),
            (aborted, terminate),
        ] {
            let unable = verdict(status, &log, "xy").expect_err("no verdict");
            assert!(unable.is_environment(), "{log}");
            assert!(
                unable.message().contains("got no more memory"),
                "{unable:?}"
            );
        }
        for (status, log) in [
            (refused, why("missing tensor 'std::bad_alloc'")),
            (
                refused,
                why(
                    "error loading model architecture: unknown model architecture: 'std::bad_alloc'",
                ),
            ),
            (
                refused,
                why("llama_model_loader: failed to load model from /proc/self/fd/0"),
            ),
            (aborted, format!("{named}GGML_ASSERT(x) failed\n")),
        ] {
            assert!(matches!(verdict(status, &log, "xy"), Ok(Some(_))), "{log}");
        }
    }

    #[test]
    fn what_llama_cpp_says_becomes_one_sentence() {
        let log = |line: &str| {
            format!(
                "loading\nllama_model_load: error loading model: {line}\nllama_model_load_from_file_impl: failed to load model\n"
            )
        };
        for (line, wanted) in [
            (
                "error loading model architecture: unknown model architecture: 'xy'",
                "its architecture, xy, is not one",
            ),
            (
                "error loading model vocabulary: unknown tokenizer: 'zz'",
                "its tokenizer cannot be used: unknown tokenizer: 'zz'",
            ),
            (
                "check_tensor_dims: tensor 'token_embd.weight' has wrong shape; expected  64, 300, got  64, 320,      1,      1",
                "do not go together: tensor 'token_embd.weight' has wrong shape; expected 64, 300, got 64, 320, 1, 1",
            ),
            (
                "missing tensor 'output_norm.weight'",
                "llama.cpp does not load it: missing tensor 'output_norm.weight'",
            ),
        ] {
            let said = sentence(&log(line), "xy");
            assert!(said.contains(wanted), "{line}\n{said}");
        }
        assert!(sentence("", "xy").contains("does not say why"));
        let reader = format!(
            "gguf_init_from_reader: tensor 'x' has offset 2, expected 1\n{}",
            log("llama_model_loader: failed to load model from /proc/self/fd/0")
        );
        assert_eq!(
            sentence(&reader, "xy"),
            "llama.cpp does not load it: tensor 'x' has offset 2, expected 1"
        );
    }
}
