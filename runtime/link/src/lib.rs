//! One QUIC endpoint of a device: how two copies of a vault reach each other.
//!
//! * [`NodeSecret`] is the endpoint's own key, derived from the device's seed for this purpose only.
//! * [`Link::bind`] opens the endpoint; [`Link::dial`] and [`Link::accept`] give a [`Channel`]: one authenticated,
//!   encrypted stream of bytes in each direction, with the [`Binding`] that a handshake above it signs.
//! * [`Ticket`] is text that says where a node is and, perhaps, which vault is meant.
//! * [`Link::nearby`] names nodes of the local network, if [`Config::lan`] asks for it.
//!
//! Invariants: nobody is contacted but the node that is dialled, unless the [`Config`] names a relay or a directory, or
//! turns the local network on. There is no port mapping, no probe, no default server, and no name server but
//! the system's. A channel's [`Channel::peer`] is the key that TLS authenticated; what that node may have is decided above,
//! by member keys, never by node keys.
//!
//! Out of scope: what is said on a channel (`tally-vault-sync`), who is a member (`tally-vault-state`).

mod channel;
mod config;
mod endpoint;
mod error;
mod nearby;
mod node;
mod text;
mod ticket;

pub use channel::{Binding, Channel};
pub use config::{Config, Lan};
pub use endpoint::{ALPN, Incoming, Link};
pub use error::{AcceptError, BindError, DialError, TicketError};
pub use nearby::{Nearby, Sighting};
pub use node::{NodeId, NodeSecret};
pub use ticket::{Address, MAX_ADDRESSES, Ticket};
