//! Whether llama.cpp can run a file, asked before the file enters the store.
//!
//! Our own reader has seen that the file is a whole GGUF. Only llama.cpp knows which architectures and tokenizers it
//! has and which tensors each needs, so it is asked: everything is loaded but the tensors' bytes, in a process of its
//! own, because llama.cpp aborts on what it does not expect. The answer costs milliseconds and no memory to speak of,
//! whatever the size of the model.
//!
//! Out of scope: whether this machine has the memory to run it.

use std::path::Path;
use std::process::Stdio;
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

/// Asks another process of this program, and gives why the file cannot be run, if it cannot.
pub(crate) async fn refusal(file: &Path, architecture: &str) -> Result<Option<String>, Failure> {
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
        return Ok(Some(format!(
            "llama.cpp did not come to an end with it in {} s",
            PATIENCE.as_secs()
        )));
    };
    let (status, log) = outcome.or_environment("wait for the process that judges models")?;
    Ok(match status.code() {
        Some(0) => None,
        Some(_) => Some(sentence(&String::from_utf8_lossy(&log), architecture)),
        None => Some(
            "llama.cpp crashed while reading it; the file is damaged or of an unsupported kind"
                .to_owned(),
        ),
    })
}

/// The other process: judges the file on its standard input. Says what llama.cpp says, on stderr, and exits 0 when the
/// model can be run.
pub(crate) fn judge() -> Outcome {
    let no_core = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Where the limit cannot be set, a crash may leave a core file; the judgement is the same.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, no_core);
    let backend = LlamaBackend::init().or_environment("start llama.cpp")?;
    let params = LlamaModelParams::default()
        .with_n_gpu_layers(0)
        .with_no_alloc(true);
    LlamaModel::load_from_file(&backend, "/proc/self/fd/0", &params)
        .map(drop)
        .or_misuse("load the model")
}

/// One sentence out of llama.cpp's log.
fn sentence(log: &str, architecture: &str) -> String {
    const MARK: &str = "error loading model";
    const READER: &str = "gguf_init_from_reader: ";
    let reason = log
        .lines()
        .rev()
        .find_map(|line| line.split_once(MARK))
        .map(|(_, rest)| rest.rsplit_once(MARK).map_or(rest, |(_, rest)| rest))
        .unwrap_or_default();
    // " architecture: unknown model architecture: 'x'", " vocabulary: unknown tokenizer: 'x'", ": missing tensor 'x'"
    let (part, mut reason) = reason.split_once(':').unwrap_or(("", reason));
    // When its reader of the file format gave up, the reader said why before.
    if reason.contains("failed to load model from")
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
    use super::sentence;

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
