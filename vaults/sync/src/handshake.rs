//! Who is there: the version, the vault, and a proof of both member keys that holds on this channel only.
//!
//! ```text
//! → hello   magic ‖ version ‖ nonce i ‖ H("sync vault", vault ‖ 0 ‖ nonce i ‖ binding)
//! ← hello   magic ‖ version ‖ nonce r ‖ H("sync vault", vault ‖ 1 ‖ nonce i ‖ nonce r ‖ binding) ‖ member r
//! → proof   member i ‖ signature over H("sync proof", transcript ‖ 0)
//! ← proof   signature over H("sync proof", transcript ‖ 1)
//! ```
//!
//! Whoever does not know the vault id learns nothing from a hello, and is told no member key.

use rand_core::CryptoRng;
use tally_vault_format::{Identity, MemberId, VaultId};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::{Fault, SyncError};
use crate::forest::Salt;
use crate::wire::{Fields, Kind, Reader, Writer};

const MAGIC: &[u8; 8] = b"TALLYSYN";
const VERSION: u16 = 2;

/// What the handshake settled.
pub(crate) struct Proved {
    pub(crate) peer: MemberId,
    pub(crate) salt: Salt,
}

/// `H(purpose, parts…)` of the format page.
fn hash(context: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

fn vault_tag(vault: &VaultId, side: u8, nonces: &[&[u8; 32]], binding: &[u8]) -> [u8; 32] {
    let side = [side];
    let mut parts: Vec<&[u8]> = vec![&vault.0, &side];
    parts.extend(nonces.iter().map(|nonce| &nonce[..]));
    parts.push(binding);
    hash("tally vault v1 2026-11-21 sync vault", &parts)
}

/// Everything both sides have said, and the channel they said it on.
struct Transcript([u8; 32]);

impl Transcript {
    fn new(
        vault: &VaultId,
        binding: &[u8],
        nonces: [&[u8; 32]; 2],
        initiator: &MemberId,
        responder: &MemberId,
    ) -> Self {
        Self(hash(
            "tally vault v1 2026-11-21 sync transcript",
            &[
                &VERSION.to_be_bytes(),
                &vault.0,
                &(binding.len() as u32).to_be_bytes(),
                binding,
                nonces[0],
                nonces[1],
                &initiator.0,
                &responder.0,
            ],
        ))
    }

    /// What a side signs: purpose `sync`.
    fn statement(&self, side: u8) -> Vec<u8> {
        let id = hash("tally vault v1 2026-11-21 sync proof", &[&self.0, &[side]]);
        [&b"tally vault v1 sync\0"[..], &id].concat()
    }

    fn sign(&self, side: u8, me: &Identity) -> [u8; 64] {
        use ed25519_dalek::Signer as _;
        let secret = me.expose_signing_key();
        ed25519_dalek::SigningKey::from_bytes(&secret)
            .sign(&self.statement(side))
            .to_bytes()
    }

    fn verify(&self, side: u8, member: &MemberId, signature: &[u8; 64]) -> Result<(), Fault> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&member.0).map_err(|_| Fault::Proof)?;
        key.verify_strict(
            &self.statement(side),
            &ed25519_dalek::Signature::from_bytes(signature),
        )
        .map_err(|_| Fault::Proof)
    }

    fn proved(&self, peer: MemberId) -> Proved {
        Proved {
            peer,
            salt: Salt(hash("tally vault v1 2026-11-21 sync salt", &[&self.0])),
        }
    }
}

fn nonce(rng: &mut (impl CryptoRng + ?Sized)) -> [u8; 32] {
    let mut nonce = [0; 32];
    rng.fill_bytes(&mut nonce);
    nonce
}

/// Reads the beginning of a hello.
fn read_hello<'a>(body: &'a [u8]) -> Result<(Fields<'a>, [u8; 32], [u8; 32]), Fault> {
    let mut fields = Fields(body, "hello");
    if fields.array::<8>()? != *MAGIC {
        return Err(Fault::NotSync);
    }
    match fields.u16()? {
        VERSION => {}
        other => return Err(Fault::Version(other)),
    }
    let nonce = fields.array()?;
    let tag = fields.array()?;
    Ok((fields, nonce, tag))
}

fn write_hello(nonce: &[u8; 32], tag: &[u8; 32], member: Option<&MemberId>) -> Vec<u8> {
    let mut body = [&MAGIC[..], &VERSION.to_be_bytes(), nonce, tag].concat();
    if let Some(member) = member {
        body.extend_from_slice(&member.0);
    }
    body
}

/// The side that speaks first.
pub(crate) async fn initiate<E, R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut Reader<'_, R>,
    writer: &mut Writer<'_, W>,
    vault: &VaultId,
    me: &Identity,
    binding: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Proved, SyncError<E>> {
    let mine = nonce(rng);
    writer
        .send(
            Kind::Hello,
            &write_hello(&mine, &vault_tag(vault, 0, &[&mine], binding), None),
        )
        .await?;
    writer.flush().await?;
    let body = reader.expect(Kind::Hello).await?;
    let (mut fields, theirs, tag) = read_hello(&body)?;
    let peer = MemberId(fields.array()?);
    fields.end()?;
    if tag != vault_tag(vault, 1, &[&mine, &theirs], binding) {
        return Err(Fault::OtherVault.into());
    }
    let transcript = Transcript::new(vault, binding, [&mine, &theirs], &me.member(), &peer);
    let proof = [&me.member().0[..], &transcript.sign(0, me)].concat();
    writer.send(Kind::Proof, &proof).await?;
    writer.flush().await?;
    let body = reader.expect(Kind::Proof).await?;
    let signature = <[u8; 64]>::try_from(&body[..]).map_err(|_| Fault::Malformed("proof"))?;
    transcript.verify(1, &peer, &signature)?;
    Ok(transcript.proved(peer))
}

/// The side that answers.
pub(crate) async fn respond<E, R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut Reader<'_, R>,
    writer: &mut Writer<'_, W>,
    vault: &VaultId,
    me: &Identity,
    binding: &[u8],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Proved, SyncError<E>> {
    let body = reader.expect(Kind::Hello).await?;
    let (fields, theirs, tag) = read_hello(&body)?;
    fields.end()?;
    if tag != vault_tag(vault, 0, &[&theirs], binding) {
        return Err(Fault::OtherVault.into());
    }
    let mine = nonce(rng);
    let tag = vault_tag(vault, 1, &[&theirs, &mine], binding);
    writer
        .send(Kind::Hello, &write_hello(&mine, &tag, Some(&me.member())))
        .await?;
    writer.flush().await?;
    let body = reader.expect(Kind::Proof).await?;
    let mut fields = Fields(&body, "proof");
    let peer = MemberId(fields.array()?);
    let signature = fields.array::<64>()?;
    fields.end()?;
    let transcript = Transcript::new(vault, binding, [&theirs, &mine], &peer, &me.member());
    transcript.verify(0, &peer, &signature)?;
    writer.send(Kind::Proof, &transcript.sign(1, me)).await?;
    writer.flush().await?;
    Ok(transcript.proved(peer))
}
