//! What can go wrong, one enum for each operation.

use crate::NodeId;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A text that is no ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// It does not begin as tickets do.
    #[error("this is no ticket: a ticket begins with `tally-`")]
    NotATicket,
    /// A letter is not one of a ticket's, or letters are missing.
    #[error("the ticket is damaged: copy it again, whole")]
    Damaged,
    /// The checksum is of other bytes.
    #[error("the ticket was mistyped or cut: its checksum does not match")]
    Checksum,
    /// A later version of this program wrote it.
    #[error("the ticket has version {0}; this program reads version 1")]
    Version(u8),
    /// The key in it is no key.
    #[error("the ticket names a key that is no point of the curve")]
    Key,
    /// An address is of an unknown kind, or there are too many.
    #[error("the ticket holds an address that this program cannot read")]
    Address,
}

/// Why an endpoint could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A relay or directory in the configuration is no address of one.
    #[error("`{0}` in the configuration is no address of a server")]
    Server(String),
    /// The addresses to listen on are taken, or are not of this machine.
    #[error("the endpoint could not be bound")]
    Bind(#[source] Source),
    /// The local network is searched by IPv4, and of that there is no address to listen on.
    #[error("the local network is searched by IPv4, and the endpoint has none of its addresses")]
    LanByV6,
    /// The local network does not let this process listen for others.
    #[error("the local network cannot be searched")]
    Lan(#[source] Source),
}

/// Why a node was not reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The ticket leads back here.
    #[error("this ticket is of this very device")]
    Own,
    /// The ticket has no address, and no directory or local network is configured that knows one.
    #[error("nothing says where node {0} is: the ticket has no address that leads there")]
    NoAddress(NodeId),
    /// Nobody answered in time.
    #[error("node {0} did not answer in time")]
    Timeout(NodeId),
    /// It answered, and it is not the node of the ticket, or does not speak this protocol, or hung up.
    #[error("node {node} could not be reached")]
    Connect {
        /// Who was dialled.
        node: NodeId,
        /// What the transport says.
        #[source]
        source: Source,
    },
}

/// Why a caller did not become a channel.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The caller did not finish its handshake in time, or opened no stream.
    #[error("the caller did not finish the handshake in time")]
    Timeout,
    /// The caller failed the handshake or hung up.
    #[error("the caller failed the handshake")]
    Handshake(#[source] Source),
}
