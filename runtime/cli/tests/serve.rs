//! A memory served: REST, MCP and console of the program itself, over a vault.

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::Machine;
use support::vaults::{init, with_secrets};
use tally_ledger::Genesis;
use tally_node::Outbox;
use tally_receipt::{Digest, Operation, Receipt};

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(machine: &Machine, args: &[&str]) -> Running {
    let pass = machine.file("passphrase", support::vaults::PASSPHRASE);
    let embedding: &[&str] = if args.contains(&"--embedding") {
        &[]
    } else {
        &["--embedding", "none"]
    };
    let inner = machine.command();
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "exec \"$0\" \"$@\" 3<\"$PASS\""])
        .arg(inner.get_program())
        .args(args)
        .args(["--passphrase-fd", "3"])
        .args(embedding)
        .env("PASS", pass)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    Running(shell.spawn().expect("the program starts"))
}

/// What the server says of itself, once it listens.
fn serve(machine: &Machine, args: &[&str]) -> (Running, Value) {
    let args = [&["serve", "--json", "--listen", "127.0.0.1:0"], args].concat();
    let mut running = start(machine, &args);
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().expect("stdout is a pipe"))
        .read_line(&mut line)
        .expect("the server says where it listens");
    let said = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line:?}"));
    (running, said)
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}

fn send(address: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    stream
        .write_all(format!("{request}\r\n{body}").as_bytes())
        .expect("the request is sent");
    let mut reply = String::new();
    stream
        .read_to_string(&mut reply)
        .expect("the server answers");
    let (head, body) = reply.split_once("\r\n\r\n").expect("a head and a body");
    Reply {
        status: head[9..12].parse().expect("a status"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// The cookie of a session, for the link that a server printed.
fn sign_in(address: &str, said: &Value) -> String {
    let link = said["console"].as_str().expect("a link");
    let secret = link.rsplit('=').next().expect("a secret");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let door = send(
        address,
        "POST",
        "/console/sign-in",
        &form,
        &format!("secret={secret}"),
    );
    assert_eq!(door.status, 303);
    let cookie = door
        .head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .expect("a cookie");
    cookie.split(';').next().expect("a pair").to_owned()
}

#[test]
fn a_memory_is_kept_found_corrected_and_forgotten_over_rest() {
    let machine = Machine::bare();
    init(&machine, &["memory"]);
    let (running, said) = serve(&machine, &["--no-learn"]);
    let address = said["address"].as_str().expect("an address");
    let key = said["api_key"].as_str().expect("the first key").to_owned();
    let call = |method: &str, path: &str, body: &Value| {
        let headers = [("X-API-Key", &*key), ("Content-Type", "application/json")];
        send(address, method, path, &headers, &body.to_string())
    };
    assert_eq!(send(address, "GET", "/v1/memories", &[], "").status, 401);
    let messages = json!({ "agent_id": "desk", "thread_id": "t", "messages": [
        { "role": "user", "content": "The spare key lies under the blue pot", "timestamp": "2026-11-01T09:00:00Z" },
        { "role": "assistant", "content": "Noted." } ] });
    let added = call("POST", "/v1/memories", &messages).json();
    assert_eq!(added["episodes_created"], 2, "{added}");
    let again = call("POST", "/v1/memories", &messages).json();
    assert_eq!(
        (&again["episodes_created"], &again["already_known"]),
        (&json!(0), &json!(2))
    );

    let found = call(
        "POST",
        "/v1/memories/search",
        &json!({ "query": "where is the spare key?" }),
    )
    .json();
    let best = &found["memories"][0];
    assert!(
        best["memory"]
            .as_str()
            .expect("a text")
            .contains("blue pot"),
        "{found}"
    );
    assert_eq!(best["evidence"], json!([]));
    assert_eq!(best["observed_at"], "2026-11-01T09:00:00Z");
    assert!(
        found["context"]
            .as_str()
            .expect("a context")
            .contains("blue pot")
    );

    // What another program of this machine writes is seen here, and the other way round.
    with_secrets(
        &machine,
        &[
            "memory",
            "add",
            "The bicycle is at the station",
            "--no-learn",
            "--passphrase-fd",
            "3",
            "--embedding",
            "none",
        ],
        None,
    )
    .ok();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let found = call(
        "POST",
        "/v1/memories/search",
        &json!({ "query": "bicycle" }),
    )
    .json();
    assert!(
        found["memories"][0]["memory"]
            .as_str()
            .expect("a text")
            .contains("station"),
        "{found}"
    );
    let shell = with_secrets(
        &machine,
        &[
            "memory",
            "search",
            "spare key",
            "--json",
            "--passphrase-fd",
            "3",
            "--embedding",
            "none",
        ],
        None,
    )
    .ok();
    assert!(shell.stdout().contains("blue pot"));

    let id = best["id"].as_str().expect("an id");
    let path = format!("/v1/memories/{id}");
    assert_eq!(call("PATCH", &path, &json!({ "memory": "x" })).status, 422);
    assert_eq!(
        call("DELETE", &path, &json!({})).json()["forgotten"],
        json!([id])
    );
    assert_eq!(call("GET", &path, &json!({})).status, 404);
    assert_eq!(call("GET", "/v1/profile", &json!({})).status, 200);

    // The link signs in; the page shows what is kept.
    let cookie = sign_in(address, &said);
    for (page, words) in [
        ("memories?level=episode", "station"),
        ("access", "passphrase"),
        ("profile", "Profile"),
        ("models", "No model"),
    ] {
        let reply = send(
            address,
            "GET",
            &format!("/console/{page}"),
            &[("Cookie", &*cookie)],
            "",
        );
        assert!(
            reply.status == 200 && reply.body.contains(words),
            "{page}: {}",
            reply.body
        );
    }
    // So does what this machine noted of calls, as `tally memory log` does.
    std::fs::create_dir_all(machine.path("home/calls")).expect("a folder");
    let line = json!({
        "at": 1_795_000_000_000_u64, "purpose": "rank", "model": "letters", "texts": 3, "prompt_tokens": 5, "output_tokens": 0,
        "took_ms": 2, "receipt": null, "error": "operator",
    });
    std::fs::write(machine.path("home/calls/log.jsonl"), line.to_string()).expect("written");
    let models = send(
        address,
        "GET",
        "/console/models",
        &[("Cookie", &*cookie)],
        "",
    );
    for words in ["letters", "failed: operator", "this machine"] {
        assert!(models.body.contains(words), "{}", models.body);
    }
    drop(running);

    // The key is there after a restart, as a hash, and no second one is made.
    let kept =
        std::fs::read_to_string(machine.path("home/gateway/keys.json")).expect("the keys are kept");
    assert!(!kept.contains(&key));
    let (_running, said) = serve(&machine, &["--no-learn"]);
    assert!(said["api_key"].is_null());
    let address = said["address"].as_str().expect("an address");
    assert_eq!(
        send(address, "GET", "/v1/memories", &[("X-API-Key", &key)], "").status,
        200
    );
}

/// The process that reads a file for a server, as soon as there is one.
fn reader_of(server: u32) -> u32 {
    let begun = Instant::now();
    loop {
        let processes = std::fs::read_dir("/proc").expect("processes");
        for process in processes.flatten() {
            let name = process.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let read = |file| std::fs::read_to_string(process.path().join(file)).ok();
            let parent = read("stat").and_then(|stat| {
                let (_, rest) = stat.rsplit_once(')')?;
                rest.split_whitespace().nth(1)?.parse().ok()
            });
            if parent == Some(server) && read("cmdline").is_some_and(|c| c.contains("__read")) {
                return pid;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody reads");
    }
}

#[test]
fn a_file_is_read_in_a_process_whose_end_is_not_the_servers() {
    let machine = Machine::bare();
    init(&machine, &["memory"]);
    let (running, said) = serve(&machine, &["--no-learn"]);
    let address = said["address"].as_str().expect("an address");
    let key = said["api_key"].as_str().expect("the first key").to_owned();
    let post = |text: &str| {
        let headers = [
            ("X-API-Key", &*key),
            ("Content-Type", "multipart/form-data; boundary=X"),
        ];
        let body = format!(
            "--X\r\nContent-Disposition: form-data; name=\"file\"; filename=\"notes.md\"\r\n\r\n{text}\r\n--X--\r\n"
        );
        let reply = send(address, "POST", "/v1/integrations/files", &headers, &body);
        assert_eq!(reply.status, 202, "{}", reply.body);
        reply.json()["id"].as_str().expect("an id").to_owned()
    };
    let ended = |id: &str| {
        let begun = Instant::now();
        loop {
            let path = format!("/v1/integrations/{id}/status");
            let status = send(address, "GET", &path, &[("X-API-Key", &*key)], "").json();
            if status["status"] != "running" {
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{status}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    let read = ended(&post("# Keys\n\nThe spare key lies under the blue pot.\n"));
    assert_eq!(
        (&read["status"], &read["memories_created"]),
        (&json!("done"), &json!(1)),
        "{read}"
    );

    // The command line takes it for the same file.
    let notes = machine.file(
        "notes.md",
        "# Keys\n\nThe spare key lies under the blue pot.\n",
    );
    let notes = notes.to_str().expect("UTF-8");
    let import = ["memory", "import", notes, "--json", "--passphrase-fd", "3"];
    let again = with_secrets(&machine, &import, None).ok().json();
    let file = &again["files"][0];
    assert_eq!((&file["new"], &file["known"]), (&json!(0), &json!(1)));

    // One that takes long enough for somebody to come between.
    let long = "Some words of no importance, over and over.\n\n".repeat(1_000_000);
    let id = post(&long);
    let reader = reader_of(running.0.id());
    let killed = Command::new("kill")
        .args(["-9", &reader.to_string()])
        .status();
    assert!(killed.expect("kill runs").success());
    let failed = ended(&id);
    assert_eq!(failed["status"], "failed", "{failed}");
    let error = failed["error"].as_str().expect("a sentence");
    assert!(error.contains("the parser of markdown failed"), "{error}");
    let found = send(
        address,
        "POST",
        "/v1/memories/search",
        &[("X-API-Key", &*key), ("Content-Type", "application/json")],
        &json!({ "query": "where is the spare key?" }).to_string(),
    );
    assert!(found.body.contains("blue pot"), "{}", found.body);
}

#[test]
fn an_address_that_others_reach_takes_a_flag_and_a_key() {
    let machine = Machine::bare();
    init(&machine, &["memory"]);
    machine
        .tally(["serve", "--listen", "0.0.0.0:0"])
        .exits(2)
        .says("--allow-remote");
    machine
        .tally(["serve", "--listen", "0.0.0.0:0", "--allow-remote"])
        .exits(2)
        .says("API key");
    // A server that learns nothing puts bios into words all the same, with the model that is named.
    machine
        .tally([
            "serve",
            "--listen",
            "0.0.0.0:0",
            "--allow-remote",
            "--no-learn",
            "--model",
            "other",
        ])
        .exits(2)
        .says("API key");
    machine
        .tally([
            "serve",
            "--listen",
            "0.0.0.0:0",
            "--allow-remote",
            "--no-keys",
        ])
        .exits(2);
    machine
        .tally(["memory", "mcp", "--json"])
        .exits(2)
        .says("protocol");
}

#[test]
fn a_server_does_not_start_with_a_model_that_makes_no_vectors() {
    let machine = Machine::bare();
    init(&machine, &["memory"]);
    let (_running, said) = serve(&machine, &["--embedding", "tally-nano"]);
    assert_eq!(said["error"]["kind"], "misuse", "{said}");
    let message = said["error"]["message"].as_str().expect("a message");
    assert!(
        message.contains("tally-nano is no embedding model"),
        "{message}"
    );
}

/// One line of JSON each way.
struct Client {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Client {
    fn ask(&mut self, id: u32, method: &str, params: Value) -> Value {
        self.tell(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let mut line = String::new();
            assert!(
                self.from.read_line(&mut line).expect("the server answers") > 0,
                "the server ended"
            );
            let answer: Value =
                serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line:?}"));
            if answer["id"] == id {
                return answer["result"].clone();
            }
        }
    }

    fn tell(&mut self, message: &Value) {
        writeln!(self.to, "{message}").expect("the server listens");
    }
}

#[test]
fn an_mcp_client_has_the_memory_over_standard_streams() {
    let machine = Machine::bare();
    init(&machine, &["memory"]);
    let mut running = start(&machine, &["memory", "mcp", "--no-learn"]);
    let mut client = Client {
        to: running.0.stdin.take().expect("a pipe"),
        from: BufReader::new(running.0.stdout.take().expect("a pipe")),
    };
    let about = client.ask(1, "initialize", json!({
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } }));
    assert_eq!(about["serverInfo"]["name"], "tally", "{about}");
    client.tell(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    let tools = client.ask(2, "tools/list", json!({}));
    assert_eq!(tools["tools"].as_array().map(Vec::len), Some(5));
    let kept = client.ask(3, "tools/call", json!({ "name": "remember", "arguments": { "text": "The spare key lies under the blue pot" } }));
    assert_eq!(kept["structuredContent"]["episodes_created"], 1, "{kept}");
    let found = client.ask(
        4,
        "tools/call",
        json!({ "name": "recall", "arguments": { "query": "spare key" } }),
    );
    assert!(
        found["content"][0]["text"]
            .as_str()
            .expect("a text")
            .contains("blue pot"),
        "{found}"
    );
    assert_eq!(
        found["structuredContent"]["memories"][0]["level"],
        "episode"
    );
}

/// A network of one validator that does not run, and this machine's outbox for it, which need not be there.
fn network(machine: &Machine) -> (String, PathBuf) {
    let dir = machine.path("devnet");
    let dir = dir.to_str().expect("UTF-8");
    machine
        .tally(["devnet", "--files-only", "--validators", "1", "--dir", dir])
        .ok();
    let file = format!("{dir}/genesis.toml");
    let genesis = std::fs::read_to_string(&file).expect("a file");
    let chain = Genesis::parse(&genesis).expect("a genesis").chain();
    let outbox = machine.path("home/ledger/outbox").join(chain.to_string());
    (file, outbox)
}

/// Somebody who talks to a server over REST.
struct Caller {
    address: String,
    key: String,
}

impl Caller {
    fn of(said: &Value) -> Self {
        Self {
            address: said["address"].as_str().expect("an address").to_owned(),
            key: said["api_key"].as_str().expect("the first key").to_owned(),
        }
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let headers = [
            ("X-API-Key", &*self.key),
            ("Content-Type", "application/json"),
        ];
        send(&self.address, method, path, &headers, &body.to_string()).json()
    }

    fn tells(&self, words: &str) -> Value {
        let turns = json!({ "messages": [{ "role": "user", "content": words }] });
        self.call("POST", "/v1/memories", &turns)
    }

    /// The facts that were learnt, once there are some.
    fn facts(&self) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let listed = self.call("GET", "/v1/memories?level=fact", &json!({}));
            let facts = listed["memories"].as_array().expect("a list");
            if !facts.is_empty() {
                return facts.clone();
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{listed}");
            // A key has a hundred requests a minute.
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

const TOLD: &str = "Hi! I'm allergic to peanuts and my sister Lena works as a nurse in Ghent.";

#[test]
fn receipts_of_a_servers_models_are_in_the_outbox_and_settle_while_it_serves() {
    let machine = Machine::bare().settling();
    init(&machine, &["memory"]);
    let embed = machine.file(
        "embed.gguf",
        tally_seed_model::embedding_model(tally_seed_model::SEED),
    );
    let rank = machine.file(
        "rank.gguf",
        tally_seed_model::reranking_model(tally_seed_model::SEED),
    );
    // Before a model is added, so that the one that comes with the program is there to learn with.
    machine.tally(["model", "list"]).ok();
    for (file, name) in [(embed, "finder"), (rank, "judge")] {
        machine
            .tally([
                "model",
                "add",
                file.to_str().expect("UTF-8"),
                "--name",
                name,
            ])
            .ok();
    }
    let (genesis, dir) = network(&machine);
    let (_running, said) = serve(
        &machine,
        &[
            "--embedding",
            "finder",
            "--rerank",
            "judge",
            "--network",
            &genesis,
        ],
    );
    assert_eq!(said["settle"], "hash");
    let caller = Caller::of(&said);
    let outbox = Outbox::open(&dir).expect("an outbox");
    let kept = || outbox.open_records(1000).expect("an outbox").1;
    caller.tells(TOLD);
    // Whatever is known by a receipt, the receipt of it waits.
    let facts = caller.facts();
    let digests: BTreeSet<String> = kept()
        .iter()
        .map(|record| Digest::of(&record.receipt).to_string())
        .collect();
    for fact in &facts {
        let receipt = fact["receipt"].as_str().expect("a digest");
        assert!(digests.contains(receipt), "{fact}");
    }
    // An answer is there although no validator is.
    let begun = Instant::now();
    let found = caller.call(
        "POST",
        "/v1/memories/search",
        &json!({ "query": "what am I allergic to?", "rerank": true }),
    );
    assert!(found["memories"].is_array(), "{found}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{found}");
    let made: Vec<Operation> = kept()
        .iter()
        .filter_map(|record| {
            let receipt = Receipt::parse(&record.receipt).expect("a receipt");
            receipt.as_inference().map(|inference| inference.operation)
        })
        .collect();
    for operation in [Operation::Chat, Operation::Embed, Operation::Rank] {
        assert!(made.contains(&operation), "{operation:?}: {made:?}");
    }

    // The console says what waits; what was learnt may still be made findable.
    let cookie = sign_in(&caller.address, &said);
    let begun = Instant::now();
    loop {
        let waiting = format!("{} receipts", kept().len());
        let headers = [("Cookie", &*cookie)];
        let page = send(&caller.address, "GET", "/ledger", &headers, "");
        if page.body.contains(&waiting) {
            break;
        }
        let body = page.body;
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{waiting}: {body}"
        );
    }

    // Once the network is there, they settle, and so does what comes then.
    let mut devnet = machine.command();
    devnet
        .args(["devnet", "--validators", "1", "--dir"])
        .arg(machine.path("devnet"))
        .stdin(Stdio::piped())
        .stderr(Stdio::null());
    let _devnet = Running(devnet.spawn().expect("the program starts"));
    let settles = || {
        let begun = Instant::now();
        while outbox.waiting().expect("an outbox") > 0 {
            assert!(begun.elapsed() < Duration::from_secs(180), "not settled");
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    settles();
    let (settled, _) = outbox.open_records(1).expect("an outbox");
    assert!(settled >= made.len() as u64);
    caller.call(
        "POST",
        "/v1/memories/search",
        &json!({ "query": "where does Lena work?" }),
    );
    settles();
    let (later, _) = outbox.open_records(1).expect("an outbox");
    assert!(later > settled, "{later} after {settled}");
}

#[test]
fn a_server_keeps_no_receipts_where_none_are_to_be_settled() {
    let machine = Machine::bare();
    init(&machine, &["memory"]);
    let (genesis, _) = network(&machine);
    let (running, said) = serve(&machine, &[]);
    assert_eq!(said["settle"], "none");
    let caller = Caller::of(&said);
    caller.tells(TOLD);
    assert!(caller.facts()[0]["receipt"].is_string());
    drop(running);
    let (_running, said) = serve(
        &machine,
        &["--network", &genesis, "--settle", "none", "--no-keys"],
    );
    assert_eq!(said["settle"], "none");
    let address = said["address"].as_str().expect("an address");
    let told = json!({ "messages": [{ "role": "user", "content": "I live in Ghent." }] });
    let headers = [("Content-Type", "application/json")];
    let told = send(address, "POST", "/v1/memories", &headers, &told.to_string());
    assert_eq!(told.json()["episodes_created"], 1, "{}", told.body);
    for folder in ["outbox", "own"] {
        assert!(!machine.path("home/ledger").join(folder).exists());
    }
}

#[test]
fn without_a_network_a_server_settles_on_this_machines_own_ledger_and_shows_it() {
    let machine = Machine::bare().settling();
    init(&machine, &["memory"]);
    let (_running, said) = serve(&machine, &[]);
    assert_eq!(
        (&said["settle"], &said["own_ledger"]),
        (&json!("hash"), &json!(true)),
        "{said}"
    );
    let caller = Caller::of(&said);
    caller.tells(TOLD);
    let facts = caller.facts();
    let receipt = facts[0]["receipt"].as_str().expect("a digest");
    // By the node that the server runs.
    let proof = machine.path("one.proof").display().to_string();
    let prove = ["ledger", "prove", receipt, "--wait", "20", "--out", &proof];
    let begun = Instant::now();
    while machine.tally(prove).code() != 0 {
        assert!(begun.elapsed() < Duration::from_secs(180), "not settled");
    }
    let cookie = sign_in(&caller.address, &said);
    let begun = Instant::now();
    loop {
        let headers = [("Cookie", &*cookie)];
        let page = send(&caller.address, "GET", "/ledger", &headers, "").body;
        if page.contains(&receipt[..12]) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{page}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn nothing_is_learnt_from_an_answer_whose_receipt_the_outbox_does_not_take() {
    let machine = Machine::bare().settling();
    init(&machine, &["memory"]);
    let (genesis, dir) = network(&machine);
    // No file can be opened there, whoever tries.
    std::fs::create_dir_all(dir.join("append")).expect("a folder");
    let (_running, said) = serve(&machine, &["--network", &genesis]);
    let caller = Caller::of(&said);
    let begun = Instant::now();
    for number in 0.. {
        let told = caller.tells(&format!("{TOLD} I have {number} cats."));
        assert_eq!(
            (&told["episodes_created"], &told["memories_created"]),
            (&json!(1), &json!(0)),
            "{told}"
        );
        if told["note"]
            .as_str()
            .is_some_and(|note| note.contains("the server's log says why"))
        {
            // What it is stays there.
            assert!(!told.to_string().contains("outbox"), "{told}");
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{told}");
    }
    let listed = caller.call("GET", "/v1/memories?level=fact", &json!({}));
    assert_eq!(listed["memories"], json!([]));
}

#[test]
fn a_server_that_nobody_asked_to_settle_learns_although_its_receipts_cannot_be_kept() {
    let machine = Machine::bare().settling();
    init(&machine, &["memory"]);
    // The ledger of this machine alone, and its outbox.
    machine.tally(["ledger", "settle"]).ok();
    let genesis = machine.path("home/ledger/own/genesis.toml");
    let genesis = std::fs::read_to_string(genesis).expect("it was made");
    let chain = Genesis::parse(&genesis).expect("a genesis").chain();
    let outbox = machine.path("home/ledger/outbox").join(chain.to_string());
    // No file can be opened there, whoever tries.
    std::fs::remove_file(outbox.join("append")).expect("it was locked once");
    std::fs::create_dir(outbox.join("append")).expect("a folder");
    let (_running, said) = serve(&machine, &[]);
    assert_eq!(said["own_ledger"], true);
    let caller = Caller::of(&said);
    caller.tells(TOLD);
    caller.facts();
    let outbox = Outbox::open(&outbox).expect("an outbox");
    assert_eq!(outbox.waiting().expect("an outbox"), 0);
}
