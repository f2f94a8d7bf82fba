//! The worker process: one model, one llama.cpp, one socket to the service that started it.
//!
//! ```text
//!  fd 0  a Unix socket to the service: frames of `crate::wire`
//!  fd 1  the weights, already hashed; loaded through /proc/self/fd
//! ```
//!
//! A worker holds no key, reads no file but fd 1, opens no connection and inherits no environment. It dies with its
//! service: by a signal when the service's process ends, and by its own hand when the socket closes.
//!
//! One thread computes ([`engine`]), one reads the socket. A step of the exact lane, a step of the throughput lane and one
//! text to embed take turns, so that neither lane waits for the other's whole generation.
//!
//! Out of scope: signing, restarting, choosing models; that is [`crate::service`].

mod admission;
mod engine;
mod lanes;
mod prompt;
mod text;
mod turn;
mod vocabulary;

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::mpsc;

use crate::wire::{self, FromWorker, Load, PROTOCOL, ToWorker};

/// The exit code when the service is gone or does not speak the protocol.
const EXIT_NO_SERVICE: u8 = 70;

/// Runs a worker until its service lets go of it. A binary calls this and nothing else when it was started as a
/// worker.
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error}");
            ExitCode::from(EXIT_NO_SERVICE)
        }
    }
}

fn run() -> Result<(), wire::WireError> {
    let (socket, weights) = take_descriptors()?;
    let mut reader = socket.try_clone()?;
    let mut writer = socket;
    let missing_cpu_features = missing_cpu_features();
    let can_run = missing_cpu_features.is_empty();
    wire::write(
        &mut writer,
        &FromWorker::Hello {
            protocol: PROTOCOL,
            missing_cpu_features,
        },
    )?;
    if !can_run {
        return Ok(());
    }
    let ToWorker::Load(load) = wire::read(&mut reader)? else {
        return Err(wire::WireError::Malformed(
            "the first frame is not a load".into(),
        ));
    };
    if load.protocol != PROTOCOL {
        return wire::write(
            &mut writer,
            &FromWorker::LoadFailed(wire::LoadFault::Protocol),
        );
    }
    die_with_parent(load.parent_pid)?;
    limit(&load, &weights)?;

    // Requests wait here only while a step is computed; the engine's own queue is what limits them.
    let (requests, inbox) = mpsc::sync_channel(16);
    std::thread::Builder::new()
        .name("socket".into())
        .spawn(move || {
            loop {
                let sent = wire::read::<ToWorker>(&mut reader)
                    .is_ok_and(|message| requests.send(message).is_ok());
                if !sent {
                    // The service is gone or does not speak the protocol. The other thread may be deep in a step.
                    end_now();
                }
            }
        })?;
    engine::run(&load, weights.as_raw_fd(), writer, &inbox)
}

/// Takes the socket from standard input and the weights from standard output, and puts nothing in their places.
fn take_descriptors() -> std::io::Result<(UnixStream, OwnedFd)> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let weights = std::io::stdout().as_fd().try_clone_to_owned()?;
    let nothing = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    Ok((UnixStream::from(socket), weights))
}

/// Instruction sets that ggml was compiled with (`.cargo/config.toml`) and that this processor lacks: with any of them
/// missing llama.cpp ends the process it runs in, whatever the file.
#[must_use]
pub fn missing_cpu_features() -> Vec<String> {
    let mut missing = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        let found = [
            ("SSE4.2", std::arch::is_x86_feature_detected!("sse4.2")),
            ("AVX", std::arch::is_x86_feature_detected!("avx")),
            ("AVX2", std::arch::is_x86_feature_detected!("avx2")),
            ("FMA", std::arch::is_x86_feature_detected!("fma")),
            ("F16C", std::arch::is_x86_feature_detected!("f16c")),
            ("BMI2", std::arch::is_x86_feature_detected!("bmi2")),
        ];
        missing.extend(
            found
                .iter()
                .filter(|(_, there)| !there)
                .map(|(name, _)| (*name).to_owned()),
        );
    }
    missing
}

fn die_with_parent(parent_pid: u32) -> std::io::Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have died before the line above.
    if getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned()) != Some(parent_pid) {
        end_now();
    }
    Ok(())
}

fn end_now() -> ! {
    use rustix::process::{Signal, getpid, kill_process};
    // Ending through `exit` would run destructors under the feet of the computing thread.
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}

fn limit(load: &Load, weights: &OwnedFd) -> std::io::Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // A core file would hold prompts.
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    if let Some(bytes) = load.memory_bytes {
        let mapped = rustix::fs::fstat(weights)?.st_size.cast_unsigned();
        let limit = Some(bytes.saturating_add(mapped));
        setrlimit(
            Resource::As,
            Rlimit {
                current: limit,
                maximum: limit,
            },
        )?;
    }
    // When memory runs out on the machine, the kernel should take this process before the service.
    // Where /proc is read-only, the kernel decides by size, and the worker is the larger.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    Ok(())
}
