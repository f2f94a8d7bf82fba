//! The terms of a node, as they are typed and as they are said.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};
use tally_ledger::{Credits, Roles, Terms};
use tally_receipt::{Digest, Label};

use crate::failure::{Failure, OrFail};
use crate::ui::grouped;

/// What a node does, as far as it is said.
#[derive(ClapArgs)]
pub(super) struct Described {
    /// What it does, with commas between.
    #[arg(long, value_delimiter = ',', value_name = "ROLE")]
    roles: Vec<Role>,
    /// Where it is reached: up to 200 printable ASCII characters.
    #[arg(long, value_name = "TEXT", conflicts_with = "no_endpoint")]
    endpoint: Option<Label>,
    /// Say no more where it is reached.
    #[arg(long)]
    no_endpoint: bool,
    /// Credits that it asks for a thousand tokens.
    #[arg(long, value_name = "CREDITS")]
    price: Option<u64>,
    /// Evidence about it, such as a quote of its hardware. Its digest alone goes to the ledger.
    #[arg(long, value_name = "FILE", conflicts_with = "no_evidence")]
    evidence: Option<PathBuf>,
    /// Name no evidence any more.
    #[arg(long)]
    no_evidence: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    /// Answers requests to models.
    Inference,
    /// Attests data.
    Data,
    /// Keeps blobs.
    Storage,
    /// Runs agents.
    Run,
}

impl Role {
    const fn roles(self) -> Roles {
        match self {
            Self::Inference => Roles::INFERENCE,
            Self::Data => Roles::DATA,
            Self::Storage => Roles::STORAGE,
            Self::Run => Roles::RUN,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Data => "data",
            Self::Storage => "storage",
            Self::Run => "run",
        }
    }
}

pub(super) fn role_names(roles: Roles) -> Vec<&'static str> {
    Role::value_variants()
        .iter()
        .filter(|role| roles.has(role.roles()))
        .map(|role| role.name())
        .collect()
}

impl Described {
    pub(super) fn is_nothing(&self) -> bool {
        self.roles.is_empty()
            && self.endpoint.is_none()
            && !self.no_endpoint
            && self.price.is_none()
            && self.evidence.is_none()
            && !self.no_evidence
    }

    /// The terms with what is said.
    pub(super) fn of(&self, before: &Terms) -> Result<Terms, Failure> {
        let mut terms = before.clone();
        if !self.roles.is_empty() {
            terms.roles = self
                .roles
                .iter()
                .fold(Roles::NONE, |all, role| all.with(role.roles()));
        }
        if self.no_endpoint {
            terms.endpoint = None;
        }
        if let Some(endpoint) = &self.endpoint {
            terms.endpoint = Some(endpoint.clone());
        }
        if let Some(price) = self.price {
            terms.price = Credits::new(price);
        }
        if self.no_evidence {
            terms.evidence = None;
        }
        if let Some(file) = &self.evidence {
            let bytes = std::fs::read(file).or_misuse(format_args!("read {}", file.display()))?;
            terms.evidence = Some(Digest::of(&bytes));
        }
        Ok(terms)
    }
}

/// What a node does, for a person.
pub(super) fn terms_in_words(terms: &Terms) -> Vec<String> {
    let roles = role_names(terms.roles);
    let mut words = vec![match roles.is_empty() {
        true => "retired: no role".to_owned(),
        false => format!("roles: {}", roles.join(", ")),
    }];
    words.push(format!(
        "price: {} credits for a thousand tokens",
        grouped(terms.price.get())
    ));
    if let Some(endpoint) = &terms.endpoint {
        words.push(format!("endpoint: {endpoint}"));
    }
    if let Some(evidence) = &terms.evidence {
        words.push(format!("digest of its evidence: {evidence}"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_of_a_node_stays() {
        let nothing = Described {
            roles: Vec::new(),
            endpoint: None,
            no_endpoint: false,
            price: None,
            evidence: None,
            no_evidence: false,
        };
        let before = Terms {
            roles: Roles::INFERENCE.with(Roles::RUN),
            evidence: Some(Digest::of(b"quote")),
            endpoint: Some(Label::new("there").unwrap()),
            price: Credits::new(3),
        };
        assert!(nothing.is_nothing());
        assert_eq!(nothing.of(&before).unwrap(), before);
        let some = Described {
            roles: vec![Role::Data, Role::Storage],
            no_endpoint: true,
            price: Some(0),
            ..nothing
        };
        assert!(!some.is_nothing());
        let after = some.of(&before).unwrap();
        assert_eq!(role_names(after.roles), ["data", "storage"]);
        assert_eq!((after.endpoint, after.price), (None, Credits::ZERO));
        assert_eq!(after.evidence, before.evidence);
    }
}
