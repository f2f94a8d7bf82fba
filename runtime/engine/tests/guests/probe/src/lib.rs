//! An agent that misbehaves on demand: the first word of its input says how.

wit_bindgen::generate!({ path: "../../../../../wit", world: "agent" });

use exports::tally::agent::handler::{Guest, Input, Reply};
use std::collections::HashMap;
use std::hint::black_box;
use tally::agent::inference::{
    self, ChatRequest, Event, FinishReason, Generation, Lane, ResponseFormat, Sampling,
};
use tally::agent::types::{Error, Message, Role};
use tally::agent::{env, memory, output, tools, vault};

struct Probe;

export!(Probe);

impl Guest for Probe {
    fn handle(input: Input) -> Result<Reply, Error> {
        let (command, rest) = input.text.split_once(' ').unwrap_or((&input.text, ""));
        Ok(Reply { text: obey(command, rest)?, data_json: None })
    }
}

fn obey(command: &str, rest: &str) -> Result<String, Error> {
    match command {
        "hello" => Ok(format!("hello {rest}")),
        "len" => Ok(rest.len().to_string()),
        "every-call" => every_call(rest),
        "loop" => loop {
            black_box(());
        },
        "count" => {
            let mut sum = 0u32;
            for i in 0..number(rest) {
                sum = black_box(sum.wrapping_add(i));
            }
            Ok(sum.to_string())
        }
        "memory" => {
            let mut kept = Vec::new();
            loop {
                kept.push(black_box(vec![1u8; 1 << 20]));
            }
        }
        "recurse" => Ok(recurse(1).to_string()),
        "calls" => {
            for _ in 0..number(rest) {
                env::now();
            }
            Ok("called".into())
        }
        "flood" => {
            let text = "x".repeat(1 << 16);
            loop {
                output::emit(&text)?;
            }
        }
        "log-flood" => {
            let text = "x".repeat(1 << 16);
            loop {
                env::log(env::Level::Info, &text);
            }
        }
        "print-flood" => loop {
            println!("{}", "x".repeat(1 << 12));
        },
        "big-request" => match output::emit(&"x".repeat(number(rest) as usize)) {
            Ok(()) => Ok("shown".into()),
            Err(error) => Ok(format!("{error:?}")),
        },
        "big-reply" => Ok("x".repeat(number(rest) as usize)),
        "lie" => {
            // A string that is not UTF-8, handed to the host as if it were.
            let lie = unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe, 0xfd]) };
            env::log(env::Level::Info, &lie);
            Ok("the host took it".into())
        }
        "lying-reply" => Ok(unsafe { String::from_utf8_unchecked(vec![0xff, 0xfe, 0xfd]) }),
        "panic" => panic!("on purpose: {rest}"),
        "exit" => std::process::exit(number(rest) as i32),
        "fail" => Err(Error::Failed(rest.to_owned())),
        "nan" => Ok(nan()),
        "hash-order" => {
            let map: HashMap<u32, u32> = (0..64).map(|i| (i, i)).collect();
            Ok(map.keys().map(u32::to_string).collect::<Vec<_>>().join(" "))
        }
        "std-time" => {
            let began = std::time::Instant::now();
            std::thread::sleep(std::time::Duration::from_secs(3600));
            let slept = began.elapsed().as_secs();
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            Ok(format!("{slept} {}", now.as_nanos()))
        }
        "std-outside" => Ok(format!(
            "args {} vars {} file {} socket {}",
            std::env::args().count(),
            std::env::vars().count(),
            std::fs::read("/etc/passwd").is_err(),
            std::net::TcpStream::connect("127.0.0.1:1").is_err(),
        )),
        "print" => {
            println!("printed {rest}");
            env::now();
            eprintln!("complained {rest}");
            Ok("printed".into())
        }
        "random" => Ok(format!("{:?}", env::random(number(rest)))),
        "setting" => Ok(format!("{:?}", env::setting(rest))),
        "emit" => {
            output::emit(rest)?;
            Ok("shown".into())
        }
        "vault-namespaces" => Ok(format!("{:?}", vault::namespaces())),
        "vault-append" => {
            let (namespace, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let drafts: Vec<vault::Draft> = text.split(',').filter(|text| !text.is_empty()).map(note).collect();
            Ok(format!("{:?}", vault::append(namespace, &drafts)))
        }
        "vault-typed" => {
            let draft = vault::Draft { type_: rest.into(), ..note("x") };
            Ok(format!("{:?}", vault::append("diary", &[draft])))
        }
        "vault-list" => match vault::list(rest, "text/", None, 10) {
            Ok(page) => Ok(page.items.iter().map(|item| String::from_utf8_lossy(&item.content).into_owned()).collect::<Vec<_>>().join(",")),
            Err(error) => Ok(format!("{error:?}")),
        },
        "vault-get" => Ok(format!("{:?}", vault::get("diary", rest).map(|item| item.is_some()))),
        "vault-story" => {
            let ids = vault::append("diary", &[note("first"), note("second")])?;
            let newer = vault::supersede("diary", &ids[..1], &note("first, corrected"))?;
            vault::retract("diary", &ids[1..], "wrong")?;
            let seen = vault::list("diary", "", None, 1)?;
            let got = vault::get("diary", &newer)?;
            Ok(format!("{} {:?} {}", seen.items.len(), seen.next.is_some(), got.is_some()))
        }
        "memory-say" => {
            // What the user says is the whole input, this command included.
            let turn = turn(memory::Voice::User, &format!("memory-say {rest}"));
            Ok(format!("{:?}", memory::remember("diary", &[turn]).map(|kept| kept.ids.len())))
        }
        "memory-put" => {
            let turn = turn(memory::Voice::User, rest);
            Ok(format!("{:?}", memory::remember("diary", &[turn]).map(|kept| kept.ids.len())))
        }
        "memory-turn" => {
            let turn = match rest {
                "named-user" => memory::Turn { speaker: Some("Eve".into()), ..turn(memory::Voice::User, "memory-turn named-user") },
                "dated-user" => memory::Turn { at: Some("2099-01-01".into()), ..turn(memory::Voice::User, "memory-turn dated-user") },
                "nameless-person" => turn(memory::Voice::Person, "Hello."),
                _ => turn(memory::Voice::Assistant, rest),
            };
            Ok(format!("{:?}", memory::remember("diary", &[turn]).map(|kept| kept.ids.len())))
        }
        "memory-recall" => Ok(format!("{:?}", memory::recall("diary", &question(rest)).map(|found| found.context))),
        "memory-recall-many" => {
            let question = memory::Question { hits: number(rest), ..question("what?") };
            Ok(format!("{:?}", memory::recall("diary", &question).is_ok()))
        }
        "memory-correct" => {
            let (id, text) = rest.split_once(' ').unwrap_or((rest, ""));
            Ok(format!("{:?}", memory::correct("diary", id, text, "")))
        }
        "memory-forget" => Ok(format!("{:?}", memory::forget("diary", &[rest.to_owned()], "").map(|gone| gone.ids))),
        "memory-story" => {
            let kept = memory::remember("diary", &[
                turn(memory::Voice::User, "memory-story"),
                memory::Turn { speaker: Some("Ben".into()), at: Some("2026-05-04".into()), ..turn(memory::Voice::Person, "I row.") },
            ])?;
            let found = memory::recall("diary", &question("who rows?"))?;
            let profile = memory::profile("diary")?;
            let corrected = memory::correct("diary", &kept.ids[0], "", "wrong")?;
            let gone = memory::forget("diary", &kept.ids, "asked to")?;
            Ok(format!("{} {} {} {} {}", kept.ids.len(), found.hits.len(), profile.lines.len(), corrected.len(), gone.ids.len()))
        }
        "models" => Ok(inference::models().join(" ")),
        "chat" => say(&chat(rest, "go", 100)?),
        "prompt" => say(&chat("", rest, 100)?),
        "chat-result" => Ok(match chat("m", rest, 100) {
            Ok(generation) => say(&generation).unwrap_or_else(|error| format!("{error:?}")),
            Err(error) => format!("{error:?}"),
        }),
        "chat-as" => Ok(match chat(rest, "go", 100) {
            Ok(_) => "allowed".into(),
            Err(error) => format!("{error:?}"),
        }),
        "receipt" => {
            let generation = chat("", "one two", 100)?;
            let early = generation.receipt();
            say(&generation)?;
            let receipt = generation.receipt()?;
            Ok(format!("{} {}", matches!(early, Err(Error::Invalid(_))), receipt.digest))
        }
        "two" => two(),
        "cancel" => {
            let generation = chat("", "a b c d e f", 100)?;
            generation.next()?;
            generation.cancel();
            let mut last = None;
            while let Some(event) = generation.next()? {
                last = Some(event);
            }
            Ok(format!("{}", matches!(last, Some(Event::Done(done)) if done.finish == FinishReason::Cancelled)))
        }
        "drop" => {
            drop(chat("", "a b c d", 100)?);
            Ok("dropped".into())
        }
        "handles" => {
            let mut kept = Vec::new();
            loop {
                match chat("", "a", 1) {
                    Ok(generation) => kept.push(generation),
                    Err(error) => return Ok(format!("{} {error:?}", kept.len())),
                }
            }
        }
        "tokens" => {
            let mut rounds = 0;
            loop {
                match chat("", "a b c d e f g h", 10).and_then(|generation| say(&generation)) {
                    Ok(_) => rounds += 1,
                    Err(error) => return Ok(format!("{rounds} {error:?}")),
                }
            }
        }
        "embed" => {
            let vectors = inference::embed("", &["one".to_owned(), "two".to_owned()])?;
            Ok(format!("{vectors:?}"))
        }
        "tools" => Ok(tools::list()?.iter().map(|tool| tool.name.clone()).collect::<Vec<_>>().join(" ")),
        "tool" => {
            let (name, arguments) = rest.split_once(' ').unwrap_or((rest, "{}"));
            Ok(match tools::call(name, arguments) {
                Ok(answer) => answer,
                Err(error) => format!("{error:?}"),
            })
        }
        "tool-then-count" => {
            let answer = tools::call("echo", "{\"n\":1}")?;
            env::now();
            Ok(answer)
        }
        other => Err(Error::Invalid(format!("no such command: {other}"))),
    }
}

fn number(text: &str) -> u32 {
    text.trim().parse().expect("a number")
}

#[inline(never)]
#[allow(unconditional_recursion)]
fn recurse(n: u64) -> u64 {
    black_box(recurse(black_box(n) + 1) + n)
}

fn nan() -> String {
    let zero = black_box(0.0f64);
    let payload = f64::from_bits(black_box(0x7ff8_0000_dead_beef)) + black_box(1.0);
    let small = f32::from_bits(black_box(0x7fc0_beef)) * black_box(2.0f32);
    format!("{:x} {:x} {:x}", (zero / zero).to_bits(), payload.to_bits(), small.to_bits())
}

fn chat(model: &str, prompt: &str, max_tokens: u32) -> Result<Generation, Error> {
    inference::chat(&ChatRequest {
        model: model.to_owned(),
        messages: vec![Message {
            role: Role::User,
            content: prompt.to_owned(),
            tool_calls: Vec::new(),
            tool_call_id: None,
        }],
        tools: Vec::new(),
        response: ResponseFormat::Text,
        sampling: Sampling {
            temperature: 0.7,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.1,
            repeat_last_n: 64,
            max_tokens,
            stop: Vec::new(),
        },
        lane: Lane::Exact,
    })
}

fn say(generation: &Generation) -> Result<String, Error> {
    let mut text = String::new();
    while let Some(event) = generation.next()? {
        if let Event::Text(piece) = event {
            text.push_str(&piece);
        }
    }
    Ok(text)
}

/// Two generations at once, pulled in turn.
fn two() -> Result<String, Error> {
    let generations = [chat("", "a b c", 100)?, chat("", "x y z", 100)?];
    let mut text = String::new();
    let mut open = [true; 2];
    while open[0] || open[1] {
        for (generation, open) in generations.iter().zip(&mut open) {
            match generation.next()? {
                Some(Event::Text(piece)) => text.push_str(piece.trim()),
                Some(_) => {}
                None => *open = false,
            }
        }
    }
    Ok(text)
}

fn note(text: &str) -> vault::Draft {
    vault::Draft { type_: "text/plain".into(), content: text.as_bytes().to_vec(), receipt: None }
}

fn turn(voice: memory::Voice, text: &str) -> memory::Turn {
    memory::Turn { voice, speaker: None, at: None, thread: String::new(), key: None, text: text.into() }
}

fn question(text: &str) -> memory::Question {
    memory::Question {
        text: text.into(),
        state: memory::State::Current,
        hits: 0,
        tokens: 0,
        only: None,
        categories: Vec::new(),
        apps: Vec::new(),
        threads: Vec::new(),
        speakers: Vec::new(),
    }
}

fn every_call(name: &str) -> Result<String, Error> {
    let at = env::now();
    let chance = env::random(8)?;
    let setting = env::setting(name);
    env::log(env::Level::Debug, "one line");
    output::emit("shown ")?;
    let models = inference::models();
    let said = say(&chat("", "some words", 100)?)?;
    let vectors = inference::embed("", &["text".to_owned()])?;
    let tools = tools::list()?.len();
    let echoed = tools::call("echo", "{\"word\":\"w\"}")?;
    Ok(format!("{at:?} {chance:?} {setting:?} {models:?} {said} {vectors:?} {tools} {echoed}"))
}
