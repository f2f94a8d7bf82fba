//! A network of validators on this machine's loopback, each at a port that was free a moment ago.

use std::net::{Ipv4Addr, UdpSocket};

use tally_ledger::{Genesis, Name, Parameters, Validator, ValidatorSet};
use tally_receipt::{SigningKey, Timestamp};

pub(crate) fn vote_seed(number: u8) -> [u8; 32] {
    [number + 1; 32]
}

pub(crate) fn checkpoint_key(number: u8) -> SigningKey {
    SigningKey::from_seed(&[number + 50; 32])
}

pub(crate) fn genesis(count: u8, name: &str) -> Genesis {
    let mut validators = Vec::new();
    let mut addresses = Vec::new();
    // Held until all are known, so that no two are the same.
    let mut sockets = Vec::new();
    for number in 0..count {
        let vote_key = SigningKey::from_seed(&vote_seed(number)).public_key();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        addresses.push((vote_key, vec![socket.local_addr().expect("bound")]));
        sockets.push(socket);
        validators.push(Validator {
            vote_key,
            checkpoint_key: checkpoint_key(number).public_key(),
            name: Name::new(&format!("v{number}")).expect("a name"),
        });
    }
    addresses.sort_by_key(|(key, _)| *key);
    Genesis {
        name: Name::new(name).expect("a name"),
        time: Timestamp::from_unix_ms(0).expect("a time"),
        parameters: Parameters::default(),
        validators: ValidatorSet::new(validators).expect("validators"),
        addresses: addresses.into_iter().map(|(_, at)| at).collect(),
        accounts: Vec::new(),
        faucet: None,
    }
}
