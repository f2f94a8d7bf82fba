//! A way out that needs none of this: what the vault says, as a standard age file.
//!
//! `age --decrypt FILE` gives one JSON object a line, one line a record that is current:
//!
//! ```text
//! {"id":"…","namespace":"notes","type":"text/plain","time_ms":1795000000000,"author":"…","run":null,"receipt":null,
//!  "encoding":"utf-8","content":"…"}
//! ```
//!
//! `encoding` is `utf-8` or `base64`; large contents are always base64. Nobody's signature is in it: it is for reading, and a
//! portable file is for carrying.

use std::io::{self, Write};

use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tally_vault_format::{NamespaceId, OpId};

use crate::error::ReadError;
use crate::read::{Record, Stored};
use crate::vault::Vault;

/// Who can open the file.
pub enum AgeKey<'a> {
    /// Whoever knows a passphrase.
    Passphrase(&'a str),
    /// Whoever has the identity of one of these recipients (`age1…`).
    Recipients(&'a [&'a str]),
}

/// Why a vault was not written to an age file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgeError {
    /// Not a recipient.
    #[error("{recipient} is no age recipient: {why}")]
    Recipient {
        /// What was given.
        recipient: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody was named.
    #[error("name at least one recipient")]
    Nobody,
    /// A record could not be read.
    #[error("{0}")]
    Read(#[from] ReadError),
    /// Whoever takes the file refused it.
    #[error("write the age file: {0}")]
    Output(#[from] io::Error),
}

impl Vault {
    /// Writes the current records of these namespaces, or of all that can be read, to an age file. Returns how many.
    ///
    /// # Errors
    /// [`AgeError`].
    pub fn export_age(
        &mut self,
        key: &AgeKey<'_>,
        namespaces: Option<&[NamespaceId]>,
        output: &mut dyn Write,
    ) -> Result<u64, AgeError> {
        let encryptor = match key {
            AgeKey::Passphrase(passphrase) => age::Encryptor::with_user_passphrase(
                age::secrecy::SecretString::from((*passphrase).to_owned()),
            ),
            AgeKey::Recipients(texts) => {
                let mut recipients = Vec::with_capacity(texts.len());
                for text in *texts {
                    let recipient: age::x25519::Recipient =
                        text.parse().map_err(|why| AgeError::Recipient {
                            recipient: (*text).to_owned(),
                            why,
                        })?;
                    recipients.push(recipient);
                }
                age::Encryptor::with_recipients(
                    recipients.iter().map(|one| one as &dyn age::Recipient),
                )
                .map_err(|_| AgeError::Nobody)?
            }
        };
        let mut file = encryptor.wrap_output(output)?;
        let mut count = 0;
        // The rows first: reading a record borrows the vault.
        let rows: std::collections::HashMap<OpId, tally_vault_state::LogRow> = {
            let view = self.view();
            view.current()
                .into_iter()
                .filter_map(|id| Some((id, view.row(&id)?)))
                .collect()
        };
        let mut large = Vec::new();
        let mut names = std::collections::HashMap::new();
        for namespace in self.namespaces() {
            names.insert(namespace.id, namespace.name);
        }
        self.for_each_current(namespaces, |id, record| -> Result<(), AgeError> {
            count += 1;
            match &record.content {
                Stored::Inline(bytes) => {
                    let line = line(&rows[&id], &names, record, bytes);
                    file.write_all(line.as_bytes())?;
                }
                Stored::Blob(_) => large.push(id),
            }
            Ok(())
        })?;
        for id in large {
            let record = self.get(&id)?;
            // The line of an empty content, opened where the content goes.
            let line = line(&rows[&id], &names, &record, b"\xff");
            let start = line
                .strip_suffix("/w==\"}\n")
                .expect("one byte in base64, and the end of the object");
            file.write_all(start.as_bytes())?;
            let mut encoder = base64::write::EncoderWriter::new(&mut file, &STANDARD);
            self.read_content(&record, &mut encoder)?;
            encoder.finish()?;
            drop(encoder);
            file.write_all(b"\"}\n")?;
        }
        file.finish()?.flush()?;
        Ok(count)
    }
}

fn line(
    row: &tally_vault_state::LogRow,
    names: &std::collections::HashMap<NamespaceId, Option<String>>,
    record: &Record,
    content: &[u8],
) -> zeroize::Zeroizing<String> {
    let (encoding, content) = match str::from_utf8(content) {
        Ok(text) => ("utf-8", text.to_owned()),
        Err(_) => ("base64", base64::Engine::encode(&STANDARD, content)),
    };
    let name = names
        .get(&row.namespace)
        .cloned()
        .flatten()
        .unwrap_or_else(|| row.namespace.to_string());
    let head = json!({
        "id": row.operation.to_string(),
        "namespace": name,
        "type": record.record_type,
        "time_ms": row.time.millis(),
        "author": row.author.to_string(),
        "run": record.run.map(|run| run.to_string()),
        "receipt": record.receipt.map(|receipt| receipt.to_string()),
    });
    // The content last, whatever order the map has: large ones are streamed behind the rest.
    let head = head.to_string();
    let head = head.strip_suffix('}').expect("an object");
    zeroize::Zeroizing::new(format!(
        "{head},\"encoding\":{},\"content\":{}}}\n",
        json!(encoding),
        json!(content)
    ))
}
