//! One worker process, from its start to its end.
//!
//! Three parts outlive a call: a thread that started the process and waits for it, a task that reads its frames and watches
//! the clock, and a task that writes. The thread exists because the process asks the kernel to die with its parent, and
//! to the kernel the parent is a *thread*: started from a runtime's pool, it would die when the pool shrinks.
//!
//! Invariants:
//! - Every request that was registered gets an answer: frames, and at the latest a [`Reply::Lost`].
//! - A process is signalled through a descriptor of its own (pidfd), never by a number that may be another's by now.
//! - Dropping the [`Worker`] ends the process.

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::WorkerLoss;
use crate::service::{WorkerCommand, WorkerLimits};
use crate::weights::Weights;
use crate::wire::{
    self, FromWorker, Load, LoadFault, Loaded, PROTOCOL, RequestId, ToWorker, WireError,
};

/// Environment variables a worker may see: where libraries and accelerators are. Everything else could be a secret.
const PASSED_VARIABLES: [&str; 4] = [
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
];
/// Time to say hello: the process has only to start.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of what a worker writes to its standard error is kept.
const STDERR_TAIL_BYTES: usize = 4096;

/// Why a worker did not come up.
#[derive(Clone, Debug)]
pub(crate) enum StartFailure {
    /// The program cannot be run.
    Spawn(String),
    /// It did not answer in time.
    Slow,
    /// The processor lacks these instruction sets.
    Processor(String),
    /// It reported a fault.
    Fault(LoadFault),
    /// It ended. With what its standard error ended with.
    Lost(WorkerLoss, String),
}

/// What a request hears.
#[derive(Debug)]
pub(crate) enum Reply {
    Frame(FromWorker),
    Lost(WorkerLoss),
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pid: u32,
    loaded: Loaded,
    frames: mpsc::UnboundedSender<Vec<u8>>,
    requests: Arc<Requests>,
    process: Arc<Process>,
    end: watch::Receiver<Option<WorkerLoss>>,
}

/// Requests that wait for frames.
#[derive(Debug)]
struct Requests(Mutex<Waiting>);

#[derive(Debug)]
struct Waiting {
    replies: HashMap<RequestId, mpsc::UnboundedSender<Reply>>,
    /// When the worker last gave a sign, or got its first request after a rest.
    heard: Instant,
    /// Set when no reply will come any more.
    lost: Option<WorkerLoss>,
}

impl Requests {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic while the map is changed cannot leave it half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The process itself.
#[derive(Debug)]
struct Process {
    pidfd: OwnedFd,
    /// Why we killed it, if we did.
    verdict: Mutex<Option<WorkerLoss>>,
}

impl Process {
    /// Ends the process; `loss` is what its requests are told. The first reason stands.
    fn kill(&self, loss: WorkerLoss) {
        self.verdict
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(loss);
        // It fails only when the process has ended already.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
    }
}

/// How a process ended, and the end of what it wrote to its standard error.
struct Exit {
    status: Option<ExitStatus>,
    stderr: String,
}

impl Worker {
    /// Starts a process, hands it the weights and waits until it has loaded them.
    pub(crate) async fn start(
        command: &WorkerCommand,
        weights: &Weights,
        load: Load,
        limits: &WorkerLimits,
    ) -> Result<Self, StartFailure> {
        let spawn_failure = |error: std::io::Error| StartFailure::Spawn(error.to_string());
        let (ours, theirs) = StdUnixStream::pair().map_err(spawn_failure)?;
        let weights = weights.descriptor().map_err(spawn_failure)?;
        let (started, start) = oneshot::channel();
        let (exited, exit) = oneshot::channel();
        let command = command.clone();
        std::thread::Builder::new()
            .name("inference-worker".into())
            .spawn(move || run_process(&command, theirs, weights, started, exited))
            .map_err(spawn_failure)?;
        let (pid, pidfd) = start
            .await
            .map_err(|_| StartFailure::Spawn("the thread for it ended".into()))?
            .map_err(StartFailure::Spawn)?;
        let process = Arc::new(Process {
            pidfd,
            verdict: Mutex::new(None),
        });
        // From here on, giving up must end the process.
        let guard = KillOnDrop(Some(Arc::clone(&process)));

        ours.set_nonblocking(true).map_err(spawn_failure)?;
        let (mut reader, mut writer) = tokio::net::UnixStream::from_std(ours)
            .map_err(spawn_failure)?
            .into_split();
        let handshake = handshake(&mut reader, &mut writer, load);
        let outcome = tokio::time::timeout(HELLO_TIMEOUT + limits.load_timeout, handshake).await;
        let loaded = match outcome {
            Ok(Ok(loaded)) => loaded,
            Err(_) => return Err(StartFailure::Slow),
            Ok(Err(Handshake::Failure(failure))) => return Err(failure),
            Ok(Err(Handshake::Broken(error))) => {
                if !matches!(error, WireError::Closed | WireError::Io(_)) {
                    process.kill(WorkerLoss::Garbled);
                }
                let exit = tokio::time::timeout(HELLO_TIMEOUT, exit).await;
                let exit = exit.ok().and_then(Result::ok).unwrap_or(Exit {
                    status: None,
                    stderr: String::new(),
                });
                return Err(StartFailure::Lost(loss_of(&process, &exit), exit.stderr));
            }
        };
        guard.disarm();

        let requests = Arc::new(Requests(Mutex::new(Waiting {
            replies: HashMap::new(),
            heard: Instant::now(),
            lost: None,
        })));
        let (frames, outgoing) = mpsc::unbounded_channel();
        let (ended, end) = watch::channel(None);
        tokio::spawn(write_frames(writer, outgoing));
        let watched = Watched {
            requests: Arc::clone(&requests),
            process: Arc::clone(&process),
            step_timeout: limits.step_timeout,
        };
        tokio::spawn(watched.run(reader, exit, ended));
        Ok(Self {
            pid,
            loaded,
            frames,
            requests,
            process,
            end,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// How it was lost, if it was.
    pub(crate) fn lost(&self) -> Option<WorkerLoss> {
        self.requests.lock().lost
    }

    /// Requests that wait for it.
    pub(crate) fn outstanding(&self) -> usize {
        self.requests.lock().replies.len()
    }

    /// Sends a request; its replies come through the receiver.
    pub(crate) fn request(
        &self,
        id: RequestId,
        message: &ToWorker,
    ) -> Result<mpsc::UnboundedReceiver<Reply>, WireError> {
        let frame = wire::encode(message)?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut waiting = self.requests.lock();
        if let Some(loss) = waiting.lost {
            // The receiver is at hand, so this cannot fail.
            let _ = sender.send(Reply::Lost(loss));
            return Ok(receiver);
        }
        if waiting.replies.is_empty() {
            waiting.heard = Instant::now();
        }
        waiting.replies.insert(id, sender);
        // When the writer is gone the process is ending, and the reader will tell this request.
        let _ = self.frames.send(frame);
        Ok(receiver)
    }

    /// Asks the worker to stop a request, whose last frames still come.
    pub(crate) fn cancel(&self, id: RequestId) {
        if let Ok(frame) = wire::encode(&ToWorker::Cancel { id }) {
            let _ = self.frames.send(frame);
        }
    }

    /// Forgets a request; frames for it are dropped.
    pub(crate) fn forget(&self, id: RequestId) -> bool {
        self.requests.lock().replies.remove(&id).is_some()
    }

    /// Ends the process and waits until it is gone.
    pub(crate) async fn end(&self) {
        self.process.kill(WorkerLoss::Killed);
        let mut end = self.end.clone();
        // An error means that the watching task is gone, and with it the process.
        let _ = end.wait_for(Option::is_some).await;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.process.kill(WorkerLoss::Killed);
    }
}

struct KillOnDrop(Option<Arc<Process>>);

impl KillOnDrop {
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some(process) = &self.0 {
            process.kill(WorkerLoss::Killed);
        }
    }
}

/// Starts the process, keeps the end of what it complains about, and reports its end.
fn run_process(
    command: &WorkerCommand,
    socket: StdUnixStream,
    weights: OwnedFd,
    started: oneshot::Sender<Result<(u32, OwnedFd), String>>,
    exited: oneshot::Sender<Exit>,
) {
    let mut process = Command::new(&command.program);
    process
        .args(&command.args)
        .env_clear()
        .envs(
            PASSED_VARIABLES
                .iter()
                .filter_map(|name| std::env::var_os(name).map(|value| (name, value))),
        )
        // ggml would start a debugger on itself when it aborts.
        .env("GGML_NO_BACKTRACE", "1")
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(socket)))
        .stdout(Stdio::from(weights))
        .stderr(Stdio::piped());
    let child = process.spawn();
    // Our copies of the descriptors close here, so that the worker's death shows on the socket.
    drop(process);
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let _ = started.send(Err(format!("run {}: {error}", command.program.display())));
            return;
        }
    };
    let pid = child.id();
    let pidfd = rustix::process::Pid::from_raw(pid.cast_signed())
        .ok_or_else(|| "it has no process id".to_owned())
        .and_then(|pid| {
            rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())
                .map_err(|error| format!("watch it: {error}"))
        });
    let pidfd = match pidfd {
        Ok(pidfd) => pidfd,
        Err(error) => {
            // A child that cannot be watched is not kept. It was not waited for, so the number is still its own.
            let _ = child.kill();
            let _ = child.wait();
            let _ = started.send(Err(error));
            return;
        }
    };
    if started.send(Ok((pid, pidfd))).is_err() {
        // The caller went away while the process started.
        let _ = child.kill();
    }
    let mut tail = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stderr.read(&mut buffer) {
            tail.extend_from_slice(&buffer[..read]);
            let excess = tail.len().saturating_sub(STDERR_TAIL_BYTES);
            tail.drain(..excess);
        }
    }
    let exit = Exit {
        status: child.wait().ok(),
        stderr: String::from_utf8_lossy(&tail).into_owned(),
    };
    let _ = exited.send(exit);
}

enum Handshake {
    Failure(StartFailure),
    Broken(WireError),
}

impl From<WireError> for Handshake {
    fn from(error: WireError) -> Self {
        Self::Broken(error)
    }
}

async fn handshake(
    reader: &mut OwnedReadHalf,
    writer: &mut OwnedWriteHalf,
    load: Load,
) -> Result<Loaded, Handshake> {
    match read_frame(reader).await? {
        FromWorker::Hello { protocol, .. } if protocol != PROTOCOL => {
            return Err(Handshake::Failure(StartFailure::Fault(LoadFault::Protocol)));
        }
        FromWorker::Hello {
            missing_cpu_features,
            ..
        } if !missing_cpu_features.is_empty() => {
            return Err(Handshake::Failure(StartFailure::Processor(
                missing_cpu_features.join(", "),
            )));
        }
        FromWorker::Hello { .. } => {}
        _ => {
            return Err(Handshake::Broken(WireError::Malformed(
                "the first frame is no hello".into(),
            )));
        }
    }
    let frame = wire::encode(&ToWorker::Load(Box::new(load)))?;
    writer.write_all(&frame).await.map_err(WireError::from)?;
    match read_frame(reader).await? {
        FromWorker::Loaded(loaded) => Ok(*loaded),
        FromWorker::LoadFailed(fault) => Err(Handshake::Failure(StartFailure::Fault(fault))),
        _ => Err(Handshake::Broken(WireError::Malformed(
            "the second frame is no answer to a load".into(),
        ))),
    }
}

async fn read_frame(reader: &mut OwnedReadHalf) -> Result<FromWorker, WireError> {
    let mut head = [0; 4];
    match reader.read_exact(&mut head).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Err(WireError::Closed);
        }
        other => other?,
    };
    let length = wire::payload_length(head)?;
    let mut payload = Vec::new();
    reader.take(length as u64).read_to_end(&mut payload).await?;
    if payload.len() < length {
        return Err(WireError::Closed);
    }
    wire::decode(&payload)
}

async fn write_frames(mut writer: OwnedWriteHalf, mut outgoing: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(frame) = outgoing.recv().await {
        // The reading side sees the same end and says what it was.
        if writer.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// What the watching task needs.
struct Watched {
    requests: Arc<Requests>,
    process: Arc<Process>,
    step_timeout: Duration,
}

impl Watched {
    async fn run(
        self,
        mut reader: OwnedReadHalf,
        mut exit: oneshot::Receiver<Exit>,
        ended: watch::Sender<Option<WorkerLoss>>,
    ) {
        let mut clock = tokio::time::interval(
            (self.step_timeout / 4).clamp(Duration::from_millis(20), Duration::from_secs(5)),
        );
        let (frames, mut incoming) = mpsc::channel(64);
        // Reading is a task of its own, since a read that was begun must not be dropped half-way.
        let reading = tokio::spawn(async move {
            loop {
                let frame = read_frame(&mut reader).await;
                let is_last = frame.is_err();
                if frames.send(frame).await.is_err() || is_last {
                    return;
                }
            }
        });
        loop {
            tokio::select! {
                frame = incoming.recv() => match frame {
                    Some(Ok(frame)) => self.deliver(frame),
                    Some(Err(WireError::Closed | WireError::Io(_))) | None => break,
                    Some(Err(error)) => {
                        tracing::warn!(%error, "a worker broke the protocol");
                        self.process.kill(WorkerLoss::Garbled);
                        break;
                    }
                },
                _ = clock.tick() => self.check_clock(),
            }
        }
        reading.abort();
        // Its socket is closed or of no more use; it has no reason to live on.
        let exit = match tokio::time::timeout(Duration::from_secs(1), &mut exit).await {
            Ok(exit) => exit,
            Err(_) => {
                self.process.kill(WorkerLoss::Garbled);
                exit.await
            }
        };
        let exit = exit.unwrap_or(Exit {
            status: None,
            stderr: String::new(),
        });
        let loss = loss_of(&self.process, &exit);
        if !exit.stderr.is_empty() {
            tracing::debug!(stderr = exit.stderr, "a worker's last words");
        }
        let replies = {
            let mut waiting = self.requests.lock();
            waiting.lost = Some(loss);
            std::mem::take(&mut waiting.replies)
        };
        for sender in replies.into_values() {
            // A request that nobody waits for any more needs no answer.
            let _ = sender.send(Reply::Lost(loss));
        }
        let _ = ended.send(Some(loss));
    }

    fn deliver(&self, frame: FromWorker) {
        let mut waiting = self.requests.lock();
        waiting.heard = Instant::now();
        let (id, is_last) = match &frame {
            FromWorker::Accepted { id, .. }
            | FromWorker::Output { id, .. }
            | FromWorker::TokenVectors { id, .. } => (*id, false),
            FromWorker::Refused { id, .. }
            | FromWorker::Busy { id, .. }
            | FromWorker::Finished { id, .. }
            | FromWorker::Embedded { id, .. }
            | FromWorker::Ranked { id, .. } => (*id, true),
            FromWorker::Hello { .. }
            | FromWorker::Loaded(_)
            | FromWorker::LoadFailed(_)
            | FromWorker::Step => return,
        };
        let sender = if is_last {
            waiting.replies.remove(&id)
        } else {
            waiting.replies.get(&id).cloned()
        };
        drop(waiting);
        if let Some(sender) = sender {
            let _ = sender.send(Reply::Frame(frame));
        }
    }

    fn check_clock(&self) {
        let waiting = self.requests.lock();
        if !waiting.replies.is_empty() && waiting.heard.elapsed() > self.step_timeout {
            drop(waiting);
            self.process.kill(WorkerLoss::Hung {
                after_s: self.step_timeout.as_secs(),
            });
        }
    }
}

/// What the end of a process means.
fn loss_of(process: &Process, exit: &Exit) -> WorkerLoss {
    if let Some(loss) = *process
        .verdict
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
    {
        return loss;
    }
    // What C++, Rust and llama.cpp say when an allocation fails, before they abort.
    let out_of_memory = [
        "bad_alloc",
        "memory allocation of",
        "failed to allocate",
        "out of memory",
        "mem_buffer != NULL",
        "_allocs != NULL",
    ];
    if out_of_memory
        .iter()
        .any(|words| exit.stderr.contains(words))
    {
        return WorkerLoss::OutOfMemory;
    }
    match exit.status {
        None => WorkerLoss::Killed,
        Some(status) => match (status.signal(), status.code()) {
            (Some(9), _) => WorkerLoss::Killed,
            (Some(signal), _) => WorkerLoss::Crashed { signal },
            (None, code) => WorkerLoss::Exited {
                code: code.unwrap_or(-1),
            },
        },
    }
}
