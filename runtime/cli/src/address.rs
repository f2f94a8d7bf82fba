//! What the address of a server is called: in the requests that come to it, and by the person who opens it.

use std::net::{IpAddr, SocketAddr};

/// The name of an address in a URL, if there is one to call it by.
pub(crate) fn own_name(address: IpAddr) -> Option<String> {
    if address.is_unspecified() {
        return None;
    }
    Some(match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    })
}

/// The address as a person opens it.
pub(crate) fn shown(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("localhost:{}", address.port())
    } else {
        address.to_string()
    }
}
