//! Generations through a real worker and llama.cpp: what they give, and that they give it again.

mod support;

use support::*;
use tally_inference::{ChatRequest, FinishReason, Lane};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_generates_tokens_and_the_service_signs_them() {
    let world = World::new().await;
    let service = world.service();
    let mut request = ChatRequest::ask("", "What is the weather in Paris?");
    request.sampling.max_tokens = 24;
    let answer = ask(&service, request, nonce(1))
        .await
        .expect("the default model answers");
    assert_eq!(
        answer.done.usage.completion_tokens as usize,
        answer.tokens().len()
    );
    assert!(answer.done.usage.completion_tokens > 0);
    assert!(matches!(
        answer.done.finish,
        FinishReason::Length | FinishReason::Stop
    ));
    assert_eq!(
        answer.done.usage.prompt_tokens as usize,
        answer.receipt.prompt_tokens().len()
    );
    println!("{:?} {:?}", answer.text, answer.tokens());
    println!("{}", String::from_utf8_lossy(&answer.receipt.envelope));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exact_lane_gives_the_same_tokens_again() {
    let world = World::new().await;
    let service = world.service();
    let request = sampled("Tell me about tally sticks.", 48);
    let first = ask(&service, request.clone(), nonce(1))
        .await
        .expect("an answer");
    let again = ask(&service, request.clone(), nonce(1))
        .await
        .expect("an answer");
    assert_eq!(first.tokens(), again.tokens(), "twice in a row");
    assert_eq!(first.text, again.text);

    // Others in between and beside it, in both lanes.
    let mut others = tokio::task::JoinSet::new();
    for index in 0..6 {
        let service = service.clone();
        let mut other = sampled(
            &format!("Question number {index}: what is {index} and {index}?"),
            40,
        );
        other.lane = if index % 2 == 0 {
            Lane::Exact
        } else {
            Lane::Throughput
        };
        others.spawn(async move {
            ask(&service, other, nonce(index))
                .await
                .expect("an answer")
                .tokens()
        });
    }
    let among = ask(&service, request.clone(), nonce(1))
        .await
        .expect("an answer");
    assert_eq!(first.tokens(), among.tokens(), "among others");
    while let Some(other) = others.join_next().await {
        assert_ne!(other.expect("it does not panic"), first.tokens());
    }

    // Another process.
    let pid = service
        .loaded()
        .iter()
        .find(|model| model.name.as_str() == CHAT)
        .expect("it is loaded")
        .pid;
    service.shut_down().await;
    assert!(!is_alive(pid));
    let service = world.service();
    let restarted = ask(&service, request.clone(), nonce(1))
        .await
        .expect("an answer");
    assert_ne!(service.loaded()[0].pid, pid);
    assert_eq!(first.tokens(), restarted.tokens(), "after a restart");

    let other_nonce = ask(&service, request, nonce(2)).await.expect("an answer");
    assert_ne!(
        first.tokens(),
        other_nonce.tokens(),
        "another nonce draws other tokens"
    );
}
