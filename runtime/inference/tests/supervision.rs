//! Workers that die, hang or break: the caller hears it, the service lives, the worker comes back.

mod support;

use std::time::Duration;

use rustix::process::Signal;
use support::*;
use tally_inference::{
    ChatRequest, Event, Generation, InferenceError, Lane, Links, ModelFault, Service,
    WorkerCommand, WorkerLoss,
};

/// A long generation of which the first event was read.
async fn running(service: &Service, lane: Lane) -> Generation {
    let mut request = sampled("Tell me everything.", 900);
    request.lane = lane;
    let mut generation = service
        .chat(request, nonce(1), Links::default())
        .await
        .expect("it starts");
    assert!(matches!(generation.next().await, Ok(Some(Event::Text(_)))));
    generation
}

fn pid_of(service: &Service, name: &str) -> u32 {
    service
        .loaded()
        .iter()
        .find(|model| model.name.as_str() == name)
        .expect("it is loaded")
        .pid
}

async fn end_of(mut generation: Generation) -> Result<(), InferenceError> {
    while generation.next().await?.is_some() {}
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_killed_mid_token_is_told_to_all_and_comes_back() {
    let world = World::new().await;
    let service = world.service();
    let request = sampled("Hello.", 16);
    let before = ask(&service, request.clone(), nonce(1))
        .await
        .expect("an answer")
        .tokens();
    let generations = [
        running(&service, Lane::Exact).await,
        running(&service, Lane::Throughput).await,
        running(&service, Lane::Throughput).await,
    ];
    let pid = pid_of(&service, CHAT);
    signal(pid, Signal::KILL);
    for generation in generations {
        let error = end_of(generation).await.expect_err("it cannot end well");
        assert!(
            matches!(
                error,
                InferenceError::WorkerLost {
                    loss: WorkerLoss::Killed,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(error.is_retryable());
    }
    wait_until_gone(pid).await;
    let after = ask(&service, request, nonce(1))
        .await
        .expect("the worker came back");
    assert_eq!(after.tokens(), before, "the exact lane does not remember");
    let model = service.loaded().remove(0);
    assert_eq!(
        (model.restarts, model.last_loss),
        (1, Some(WorkerLoss::Killed))
    );
    assert_ne!(model.pid, pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_are_told_apart() {
    let world = World::new().await;
    let service = world.service();
    for (sent, number) in [
        (Signal::ABORT, 6),
        (Signal::SEGV, 11),
        (Signal::BUS, 7),
        (Signal::ILL, 4),
    ] {
        let generation = running(&service, Lane::Exact).await;
        signal_until_gone(pid_of(&service, CHAT), sent).await;
        match end_of(generation).await {
            Err(InferenceError::WorkerLost {
                loss: WorkerLoss::Crashed { signal },
                ..
            }) => assert_eq!(signal, number),
            other => panic!("{other:?}"),
        }
        // An answer in between, so that the next loss is again the first.
        ask(&service, sampled("Still there?", 2), nonce(3))
            .await
            .expect("the worker came back");
    }
    assert_eq!(service.loaded()[0].restarts, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stands_still_is_killed() {
    let world = World::new().await;
    let service =
        world.service_with(|options| options.limits.step_timeout = Duration::from_secs(3));
    let generation = running(&service, Lane::Throughput).await;
    let pid = pid_of(&service, CHAT);
    signal(pid, Signal::STOP);
    let error = end_of(generation).await.expect_err("it stands still");
    assert!(
        matches!(
            error,
            InferenceError::WorkerLost {
                loss: WorkerLoss::Hung { .. },
                ..
            }
        ),
        "{error:?}"
    );
    wait_until_gone(pid).await;
    ask(&service, sampled("Hello.", 4), nonce(1))
        .await
        .expect("the worker came back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_is_not_taken_for_a_hung_one() {
    let world = World::new().await;
    let service =
        world.service_with(|options| options.limits.step_timeout = Duration::from_millis(1500));
    let pid = service.load(CHAT).await.expect("it loads").pid;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert!(is_alive(pid));
    ask(&service, sampled("Hello.", 4), nonce(1))
        .await
        .expect("an answer");
    assert_eq!(pid_of(&service, CHAT), pid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_without_enough_memory_says_so() {
    let world = World::new().await;
    let service = world.service_with(|options| options.limits.memory_bytes = Some(40 << 20));
    let error = service.load(CHAT).await.expect_err("40 MiB are not enough");
    assert!(
        matches!(
            error,
            InferenceError::ModelUnusable {
                fault: ModelFault::OutOfMemory | ModelFault::Unloadable { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert!(service.loaded().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_when_the_service_is_dropped() {
    let world = World::new().await;
    let service = world.service();
    let (chat, embed) = (
        service.load(CHAT).await.expect("it loads").pid,
        service.load(EMBED).await.expect("it loads").pid,
    );
    assert!(is_alive(chat) && is_alive(embed));
    let copy = service.clone();
    drop(service);
    assert!(is_alive(chat), "a clone still holds it");
    drop(copy);
    wait_until_gone(chat).await;
    wait_until_gone(embed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_left_after_shut_down_and_nothing_starts() {
    let world = World::new().await;
    let service = world.service();
    let pid = service.load(CHAT).await.expect("it loads").pid;
    service.shut_down().await;
    assert!(!is_alive(pid));
    assert!(matches!(
        service.load(CHAT).await,
        Err(InferenceError::ShutDown)
    ));
}

#[test]
fn nothing_is_left_when_the_runtime_ends_mid_generation() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (pid, generation, service) = runtime.block_on(async {
        let world = World::new().await;
        let service = world.service();
        let generation = running(&service, Lane::Exact).await;
        (pid_of(&service, CHAT), generation, service)
    });
    drop(runtime);
    let waiting = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    waiting.block_on(wait_until_gone(pid));
    drop((generation, service));
}

#[test]
fn a_worker_dies_with_its_service_process() {
    // This test runs itself as the service, kills it without warning, and looks for the worker.
    const INSIDE: &str = "TALLY_TEST_AS_SERVICE";
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let world = World::new().await;
            let service = world.service();
            println!(
                "\nworker {}",
                service.load(CHAT).await.expect("it loads").pid
            );
            tokio::time::sleep(Duration::from_secs(600)).await;
        });
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut child = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "a_worker_dies_with_its_service_process",
            "--nocapture",
        ])
        .env(INSIDE, "1")
        // What it makes is removed here, since it will not get to.
        .env("TMPDIR", dir.path())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let stdout = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
    let worker = std::io::BufRead::lines(stdout)
        .map_while(Result::ok)
        .find_map(|line| {
            line.strip_prefix("worker ")
                .and_then(|pid| pid.parse::<u32>().ok())
        })
        .expect("it names its worker");
    assert!(is_alive(worker));
    child.kill().expect("SIGKILL");
    child.wait().expect("it is gone");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(wait_until_gone(worker));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_are_no_workers_are_named() {
    let world = World::new().await;
    for (program, args, expected) in [
        ("/nonexistent/worker", vec![], "run /nonexistent/worker"),
        ("/bin/false", vec![], "exit code 1"),
        (
            "/bin/sh",
            vec!["-c", "printf 'not a frame at all, by far' >&0; sleep 5"],
            "does not speak the protocol",
        ),
    ] {
        let service = world.service_with(|options| {
            options.worker = WorkerCommand {
                program: program.into(),
                args: args.iter().map(Into::into).collect(),
            };
        });
        match service.load(CHAT).await {
            Err(InferenceError::WorkerUnavailable { reason, .. }) => {
                assert!(reason.contains(expected), "{program}: {reason}")
            }
            other => panic!("{program}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_inherits_no_secret() {
    let world = World::new().await;
    let service = world.service();
    let pid = service.load(CHAT).await.expect("it loads").pid;
    let environment = std::fs::read(format!("/proc/{pid}/environ")).expect("it is ours to read");
    let names: Vec<String> = environment
        .split(|byte| *byte == 0)
        .filter(|entry| !entry.is_empty())
        .map(|entry| {
            String::from_utf8_lossy(entry)
                .split('=')
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    let allowed = [
        "GGML_NO_BACKTRACE",
        "LD_LIBRARY_PATH",
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "NVIDIA_DRIVER_CAPABILITIES",
    ];
    assert!(
        names.iter().all(|name| allowed.contains(&name.as_str())),
        "{names:?}"
    );
    let limits =
        std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it is ours to read");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .expect("it is listed");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn altered_weights_are_not_loaded() {
    let world = World::new().await;
    let record = world.store.resolve(CHAT).await.expect("it is there");
    let path = world.weights(&record.weights.to_string());
    let mut bytes = std::fs::read(&path).expect("it is there");
    let last = bytes.len() - 1000;
    bytes[last] ^= 1;
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, &bytes).expect("written");
    let error = world
        .service()
        .load(CHAT)
        .await
        .expect_err("one bit is another");
    assert!(
        matches!(
            error,
            InferenceError::ModelUnusable {
                fault: ModelFault::Altered { .. },
                ..
            }
        ),
        "{error:?}"
    );
    std::fs::remove_file(&path).expect("removed");
    let error = world.service().load(CHAT).await.expect_err("it is gone");
    assert!(
        matches!(
            error,
            InferenceError::ModelUnusable {
                fault: ModelFault::Unreadable(_),
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_that_change_in_use_give_no_receipt() {
    let world = World::new().await;
    // No sealing: the worker maps the file itself.
    let service = world.service_with(|options| options.limits.seal_limit_bytes = 0);
    let answer = ask(&service, sampled("Hello.", 4), nonce(1))
        .await
        .expect("an answer");
    assert!(payload(&answer.receipt.envelope).contains("same-file-rechecked"));
    let record = world.store.resolve(CHAT).await.expect("it is there");
    let path = world.weights(&record.weights.to_string());
    let mut permissions = std::fs::metadata(&path).expect("it is there").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    std::fs::set_permissions(&path, permissions).expect("changed");
    let error = ask(&service, sampled("Hello.", 4), nonce(1))
        .await
        .expect_err("the file changed");
    assert!(
        matches!(
            error,
            InferenceError::ModelUnusable {
                fault: ModelFault::ChangedInUse,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_weights_do_not_care_about_the_file() {
    let world = World::new().await;
    let service = world.service();
    let first = ask(&service, sampled("Hello.", 8), nonce(1))
        .await
        .expect("an answer");
    assert!(payload(&first.receipt.envelope).contains("sealed-memory"));
    let record = world.store.resolve(CHAT).await.expect("it is there");
    std::fs::remove_file(world.weights(&record.weights.to_string())).expect("removed");
    let pid = pid_of(&service, CHAT);
    signal(pid, Signal::KILL);
    wait_until_gone(pid).await;
    while !service.loaded().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let again = ask(&service, sampled("Hello.", 8), nonce(1))
        .await
        .expect("the sealed copy is loaded again");
    assert_eq!(first.tokens(), again.tokens());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_that_rests_longest_makes_room() {
    let world = World::new().await;
    world.add("second", &tally_seed_model::chat_model(2)).await;
    let service = world.service_with(|options| options.limits.loaded_models = 1);
    let first = service.load(CHAT).await.expect("it loads").pid;
    service.load("second").await.expect("it loads");
    assert!(!is_alive(first));
    assert_eq!(service.loaded().len(), 1);
    // While it works it does not rest.
    let mut request = ChatRequest::ask("second", "Go on.");
    request.sampling.max_tokens = 900;
    let generation = service
        .chat(request, nonce(1), Links::default())
        .await
        .expect("it starts");
    assert!(matches!(
        service.load(CHAT).await,
        Err(InferenceError::Busy { .. })
    ));
    drop(generation);
}
