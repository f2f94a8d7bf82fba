//! A computer with a vault, models that do what a test says, and receipts for them.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tally_memory::recall::{EmbedError, Embedder, Embedding, TokenVectors};
use tally_memory::{
    Answer, Ask, ChatModel, Dialect, Form, Memory, ModelError, Moment, Options, ReceiptParts, Role,
    SharedEmbedder, SharedVault, Turn, Unused,
};
use tally_receipt as receipt;
use tally_vault::format::SlotCost;
use tally_vault::{Create, Environment, Key, Open, Place, Vault};
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse battery staple";
/// 18 November 2026, a Wednesday.
pub(crate) const SAID: i64 = 1_795_000_000_000;

pub(crate) fn at(day: i64) -> Moment {
    Moment::from_unix_ms(SAID)
        .expect("in the calendar")
        .plus_days(day)
}

pub(crate) struct Computer {
    pub(crate) folder: TempDir,
}

impl Computer {
    /// With a vault that has the namespace `memory`.
    pub(crate) fn new() -> (Self, SharedVault) {
        let computer = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let create = Create {
            passphrase: PASSPHRASE,
            cost: SlotCost::LEAST,
            namespaces: &["memory"],
        };
        let made = Vault::create(Environment::of_this_computer(), &computer.place(), &create)
            .expect("a vault is made");
        (computer, Arc::new(Mutex::new(made.vault)))
    }

    fn place(&self) -> Place {
        Place {
            folder: self.folder.path().join("vault"),
            local: self.folder.path().join("local"),
        }
    }

    pub(crate) fn open(&self) -> SharedVault {
        self.open_by(Open::writing(Key::Passphrase(PASSPHRASE)))
    }

    /// Not held: each write takes the vault for itself.
    pub(crate) fn open_to_read(&self) -> SharedVault {
        self.open_by(Open::reading(Key::Passphrase(PASSPHRASE)))
    }

    fn open_by(&self, open: Open<'_>) -> SharedVault {
        let vault =
            Vault::open(Environment::of_this_computer(), &self.place(), open).expect("it opens");
        Arc::new(Mutex::new(vault))
    }

    /// A file where the vault was: nothing can be written there any more.
    pub(crate) fn lose_the_vault(&self) {
        let place = self.place().folder;
        std::fs::remove_dir_all(&place).expect("it can be removed");
        std::fs::write(&place, "lost").expect("it can be written");
    }

    /// Whether the bytes of any file hold this.
    pub(crate) fn lies_about(&self, needle: &str) -> bool {
        fn any(folder: &std::path::Path, needle: &[u8]) -> bool {
            std::fs::read_dir(folder).expect("a folder").any(|entry| {
                let path = entry.expect("it can be read").path();
                if path.is_dir() {
                    return any(&path, needle);
                }
                let bytes = std::fs::read(&path).expect("it can be read");
                bytes.windows(needle.len()).any(|window| window == needle)
            })
        }
        any(self.folder.path(), needle.as_bytes())
    }
}

pub(crate) fn memory(vault: &SharedVault) -> Memory {
    Memory::open(vault.clone(), "memory", Options::default()).expect("it opens")
}

pub(crate) fn memory_with(vault: &SharedVault, embedder: SharedEmbedder) -> Memory {
    Memory::open_with(vault.clone(), "memory", Options::default(), Some(embedder))
        .expect("it opens")
}

pub(crate) fn turn(role: Role, speaker: &str, day: i64, text: &str) -> Turn {
    Turn {
        app: "chat".into(),
        thread: "one".into(),
        key: None,
        role,
        speaker: speaker.into(),
        at: Some(at(day)),
        text: text.into(),
    }
}

pub(crate) fn says(day: i64, text: &str) -> Turn {
    turn(Role::Owner, "Anna", day, text)
}

/// A model that believes everything: it proposes each sentence that it is shown as a fact about whoever says it, and whatever
/// else it was told to.
#[derive(Default)]
pub(crate) struct Parrot {
    pub(crate) dialect: Dialect,
    /// Proposed each time, whatever was shown: basis and subject.
    pub(crate) always: Vec<(String, String)>,
    /// Fails from this call on.
    pub(crate) fails_at: Option<usize>,
    pub(crate) calls: AtomicUsize,
    /// Everything it was shown.
    pub(crate) seen: Mutex<String>,
    pub(crate) signs: bool,
    /// Signs another answer than it gives.
    pub(crate) lies: bool,
    /// Why answers of it were thrown away, and what they had cost.
    pub(crate) unused: Mutex<Vec<(Unused, u32)>>,
}

impl ChatModel for Parrot {
    fn name(&self) -> &str {
        "parrot"
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }

    fn ask(&self, ask: &Ask) -> Result<Answer, ModelError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if self.fails_at.is_some_and(|at| call >= at) {
            return Err(ModelError {
                message: "the worker is gone".into(),
                is_transient: false,
            });
        }
        let shown = &ask.messages.last().expect("a question").content;
        self.seen.lock().expect("no panic").push_str(shown);
        let mut facts = Vec::new();
        for line in shown.lines() {
            let (speaker, words) = line.split_once(": ").expect("SPEAKER: words");
            for sentence in words.split_inclusive(['.', '!', '?']) {
                facts.push((sentence.trim().to_owned(), speaker.to_owned()));
            }
        }
        facts.extend(self.always.iter().cloned());
        let facts: Vec<_> = facts
            .into_iter()
            .map(|(basis, subject)| match self.dialect {
                Dialect::Large => json!({
                    "basis": basis, "categories": ["private", "interests"], "kind": "semantic", "subject": subject,
                }),
                Dialect::Any | Dialect::Nano => json!({
                    "basis": basis, "category": "identity", "kind": "semantic", "subject": subject,
                }),
            })
            .collect();
        let text = json!({ "facts": facts }).to_string();
        let signed = if self.lies { r#"{"facts":[]}"# } else { &text };
        Ok(Answer {
            receipt: self.signs.then(|| sign(ask, signed)),
            model: "parrot".into(),
            prompt_tokens: 10,
            output_tokens: 20,
            took_ms: 1,
            is_cut: false,
            text,
        })
    }

    fn thrown_away(&self, answer: &Answer, why: Unused) {
        let cost = answer.prompt_tokens + answer.output_tokens;
        self.unused.lock().expect("no panic").push((why, cost));
    }
}

/// The key that [`sign`] signs with.
pub(crate) fn key() -> receipt::SigningKey {
    receipt::SigningKey::from_seed(&[7; 32])
}

/// A receipt for this question and answer, as the inference service makes them.
pub(crate) fn sign(ask: &Ask, answer: &str) -> ReceiptParts {
    use receipt::{CommittedValue, Field, Label, Opening, SaltSeed};
    let label = |text: &str| Label::lossy(text);
    let salts = SaltSeed::from_bytes([9; 32]);
    let mut openings = Vec::new();
    let mut commit = |field: Field, value: CommittedValue| {
        let (commitment, opening) = Opening::commit(field, salts.salt(field), value);
        openings.push(opening);
        commitment
    };
    let messages: Vec<_> = ask
        .messages
        .iter()
        .map(|one| json!({"role": one.role, "content": one.content}))
        .collect();
    let asked = json!({
        "model": "", "messages": messages, "tools": [],
        "response": match &ask.form {
            Form::Schema(schema) => json!({ "json-schema": schema }),
            Form::Grammar(grammar) => json!({ "gbnf": grammar }),
        },
    });
    let digest = receipt::Digest::of(b"x");
    let real = |value| receipt::Real::new(value).expect("a number");
    let key = key();
    let inference = receipt::Inference {
        operation: receipt::Operation::Chat,
        model: receipt::Model {
            name: label("parrot"),
            weights: digest,
            architecture: label("parrot"),
            quantisation: label("f32"),
        },
        tokenizer: digest,
        template: Some(digest),
        asked: Some(commit(
            Field::Asked,
            CommittedValue::Text(asked.to_string()),
        )),
        prompt: receipt::Prompt {
            commitment: commit(Field::Prompt, CommittedValue::Tokens(vec![1, 2])),
            count: 2,
            cached: 0,
        },
        grammar: Some(digest),
        tools: None,
        sampling: Some(receipt::Sampling {
            sampler: label("s"),
            temperature: real(0.0),
            top_k: 0,
            top_p: real(1.0),
            min_p: real(0.0),
            repeat_penalty: real(1.0),
            repeat_last_n: 0,
            max_tokens: ask.max_tokens,
            stop: None,
        }),
        seed: receipt::Seed {
            derivation: label("d"),
            node: key.public_key(),
        },
        engine: receipt::EngineProfile {
            name: label("e"),
            version: label("1"),
            llama_cpp: label("l"),
            backend: label("cpu"),
            lane: receipt::Lane::Exact,
            threads: 1,
            gpu_layers: 0,
            context_tokens: 1_024,
            batch_tokens: 1,
            micro_batch_tokens: 1,
            kv_key_type: label("f16"),
            kv_value_type: label("f16"),
            flash_attention: false,
            cpu_features: vec![],
        },
        output: receipt::Output {
            commitment: commit(Field::Output, CommittedValue::Tokens(vec![3])),
            count: 1,
            text: Some(commit(
                Field::OutputText,
                CommittedValue::Text(answer.to_owned()),
            )),
            finish: receipt::FinishReason::Stop,
        },
        nonce: receipt::Nonce::from_bytes([5; 32]),
        links: None,
        issued_at: receipt::Timestamp::from_unix_ms(SAID as u64).expect("in the calendar"),
        duration_ms: receipt::Count::new(1).expect("small"),
    };
    let predicate = receipt::InferencePredicate::new(inference).expect("it is one");
    let signed = receipt::Receipt::sign(predicate, &[&key]).expect("it is signed");
    let envelope = signed.to_json();
    let openings =
        receipt::Openings::new(receipt::Digest::of(&envelope), openings).expect("each once");
    ReceiptParts {
        envelope,
        openings: Some(openings.to_json()),
    }
}

/// Vectors of letters: texts with the same letters are near.
#[derive(Default)]
pub(crate) struct Letters {
    pub(crate) texts: AtomicUsize,
    pub(crate) fails: std::sync::atomic::AtomicBool,
}

impl Embedder for Letters {
    fn model(&self) -> &str {
        "letters"
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(EmbedError {
                texts: texts.len(),
                reason: "the worker is gone".into(),
                is_transient: true,
            });
        }
        self.texts.fetch_add(texts.len(), Ordering::Relaxed);
        Ok(texts
            .iter()
            .map(|text| {
                let mut sentence = vec![0.01_f32; 26];
                for letter in text.to_lowercase().bytes().filter(u8::is_ascii_lowercase) {
                    sentence[usize::from(letter - b'a')] += 1.0;
                }
                Embedding {
                    sentence,
                    tokens: TokenVectors::default(),
                }
            })
            .collect())
    }
}
