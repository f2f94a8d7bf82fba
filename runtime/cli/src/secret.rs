//! Passphrases and phrases: from the terminal without echo, or from a file descriptor; never from arguments, where every
//! process of the machine can read them, and never from the environment, which children inherit.

use std::io::{IsTerminal, Read};

use zeroize::Zeroizing;

use crate::failure::{Failure, OrFail};

/// More than anybody types.
const LONGEST: u64 = 4096;

/// Asks for a secret that exists already.
pub(crate) fn ask(what: &str, descriptor: Option<u32>) -> Result<Zeroizing<String>, Failure> {
    match descriptor {
        Some(number) => read(what, number),
        None => prompt(&format!("{what}: "), what),
    }
}

/// Asks for a new secret: twice on a terminal, once from a descriptor.
pub(crate) fn choose(what: &str, descriptor: Option<u32>) -> Result<Zeroizing<String>, Failure> {
    if let Some(number) = descriptor {
        let secret = read(what, number)?;
        return fit(what, secret);
    }
    loop {
        let secret = fit(what, prompt(&format!("new {what}: "), what)?)?;
        if *secret == *prompt(&format!("the same {what} again: "), what)? {
            return Ok(secret);
        }
        eprintln!("these were not the same; once more");
    }
}

fn fit(what: &str, secret: Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    match secret.chars().count() {
        0 => Err(Failure::misuse(format_args!("the {what} is empty"))),
        1..10 => {
            eprintln!(
                "tally: a {what} this short can be guessed by whoever has a copy of the vault; four or five random words are better"
            );
            Ok(secret)
        }
        _ => Ok(secret),
    }
}

fn prompt(text: &str, what: &str) -> Result<Zeroizing<String>, Failure> {
    if !std::io::stderr().is_terminal() || !std::io::stdin().is_terminal() {
        return Err(Failure::misuse(format_args!("there is no terminal to ask for the {what} on")).advise(
            "give it on a file descriptor, for example: tally vault status --passphrase-fd 3 3<FILE",
        ));
    }
    rpassword::prompt_password(text)
        .map(Zeroizing::new)
        .or_environment(format_args!("read the {what} from the terminal"))
}

/// The system's randomness, drawn ahead so that it can fail only once.
pub(crate) struct Random(blake3::OutputReader);

impl Random {
    pub(crate) fn new() -> Result<Self, Failure> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed).or_environment("draw randomness")?;
        Ok(Self(blake3::Hasher::new_keyed(&seed).finalize_xof()))
    }
}

impl rand_core::TryRng for Random {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, buffer: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(buffer);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Random {}

/// All that a descriptor gives, without the line end after it.
fn read(what: &str, number: u32) -> Result<Zeroizing<String>, Failure> {
    let path = format!("/dev/fd/{number}");
    let file = std::fs::File::open(&path).map_err(|error| {
        Failure::misuse(format_args!(
            "file descriptor {number} cannot be read: {error}"
        ))
        .advise(format_args!(
            "open it for this command, for example: {number}<FILE"
        ))
    })?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    file.take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .or_environment(format_args!("read file descriptor {number}"))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Failure::misuse(format_args!(
            "file descriptor {number} gives more than {LONGEST} bytes, which is no {what}"
        )));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::misuse(format_args!("the {what} is not UTF-8")))?;
    Ok(Zeroizing::new(
        text.trim_end_matches(['\r', '\n']).to_owned(),
    ))
}
