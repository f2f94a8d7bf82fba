//! A tool plugin for the engine's tests.

wit_bindgen::generate!({ path: "../../../../../wit", world: "tool" });

use exports::tally::agent::tools::Guest;
use tally::agent::env;
use tally::agent::inference::{self, ChatRequest, Event, Lane, ResponseFormat, Sampling};
use tally::agent::types::{Error, Message, Role, ToolSpec};

struct ProbeTool;

export!(ProbeTool);

const TOOLS: [&str; 7] = ["echo", "ask", "spin", "break", "fill", "refuse", "clock"];

impl Guest for ProbeTool {
    fn list() -> Result<Vec<ToolSpec>, Error> {
        Ok(TOOLS
            .iter()
            .map(|name| ToolSpec {
                name: (*name).to_owned(),
                description: format!("does {name}"),
                parameters_schema: "{\"type\":\"object\"}".to_owned(),
            })
            .collect())
    }

    fn call(name: String, arguments_json: String) -> Result<String, Error> {
        match name.as_str() {
            "echo" => {
                env::log(env::Level::Info, &arguments_json);
                Ok(arguments_json)
            }
            "ask" => ask(),
            "spin" => loop {
                std::hint::black_box(());
            },
            "break" => panic!("the tool breaks"),
            "fill" => {
                let mut kept = Vec::new();
                loop {
                    kept.push(std::hint::black_box(vec![1u8; 1 << 20]));
                }
            }
            "refuse" => Err(Error::Invalid("not like this".into())),
            "clock" => Ok(format!("{:?} {:?}", env::now(), env::random(4))),
            other => Err(Error::Invalid(format!("no tool {other}"))),
        }
    }
}

fn ask() -> Result<String, Error> {
    let generation = inference::chat(&ChatRequest {
        model: String::new(),
        messages: vec![Message {
            role: Role::User,
            content: "from the tool".to_owned(),
            tool_calls: Vec::new(),
            tool_call_id: None,
        }],
        tools: Vec::new(),
        response: ResponseFormat::Text,
        sampling: Sampling {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            repeat_last_n: 0,
            max_tokens: 10,
            stop: Vec::new(),
        },
        lane: Lane::Throughput,
    })?;
    let mut text = String::new();
    while let Some(event) = generation.next()? {
        if let Event::Text(piece) = event {
            text.push_str(&piece);
        }
    }
    Ok(text)
}
