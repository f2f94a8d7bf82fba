//! Accepts connections: a bounded number, few of them of one address, each with a bounded time for its headers and for what is
//! written to it. What the bodies of requests may take is bounded by who reads them.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt;

use crate::at_once::{AtOnce, Place};
use crate::guard::counted;
use crate::unread::Patient;

/// Connections at once.
const CONNECTIONS: usize = 512;
/// Of them, those of one address.
const OF_ONE: usize = 64;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// How long an answer waits for its client to take more of it.
const UNREAD: Duration = Duration::from_secs(60);
/// How long requests that are being answered have when the server ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// Answers until `end` is ready, then lets what is being answered finish.
///
/// # Errors
///
/// None at present: what goes wrong with one connection ends that connection.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    end: impl Future<Output = ()>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let each = AtOnce::new(OF_ONE);
    let mut end = pin!(end);
    loop {
        // Room first: what waits, waits in the system's queue.
        let permit = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit.expect("the semaphore is never closed"),
            () = &mut end => break,
        };
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No descriptors, or a connection that went away: the next may do.
                    tracing::warn!("accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = &mut end => break,
        };
        let Some(seat) = seat(&each, address.ip()) else {
            tracing::debug!("connection of {address}: it has {OF_ONE} already");
            continue;
        };
        let connection = connection(stream, address, router.clone());
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            let _held = (permit, seat);
            if let Err(error) = watched.await {
                tracing::debug!("connection of {address}: {error}");
            }
        });
    }
    // A client that listens to a stream would never let go.
    let _ = tokio::time::timeout(FAREWELL, graceful.shutdown()).await;
    Ok(())
}

/// A seat of a connection.
enum Seat {
    /// Of this machine itself: by address its programs are not told apart, and a proxy's clients all come from there.
    Here,
    Of {
        _place: Place<IpAddr>,
    },
}

fn seat(each: &AtOnce<IpAddr>, address: IpAddr) -> Option<Seat> {
    if address.to_canonical().is_loopback() {
        return Some(Seat::Here);
    }
    let place = each.enter(counted(address))?;
    Some(Seat::Of { _place: place })
}

fn connection(
    stream: tokio::net::TcpStream,
    address: SocketAddr,
    router: Router,
) -> hyper::server::conn::http1::Connection<
    TokioIo<Patient<tokio::net::TcpStream>>,
    impl hyper::service::Service<
        hyper::Request<Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    >,
> {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(Patient::new(stream, UNREAD)), service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_so_many_connections_and_leaves_the_others_room() {
        let each = AtOnce::new(OF_ONE);
        let from = |address: &str| seat(&each, address.parse().unwrap());
        let mut seats: Vec<_> = (0..OF_ONE).map(|_| from("192.0.2.7").unwrap()).collect();
        assert!(from("192.0.2.7").is_none());
        assert!(from("::ffff:192.0.2.7").is_none());
        assert!(from("192.0.2.8").is_some());
        drop(seats.pop());
        assert!(from("192.0.2.7").is_some());
        // A network of IPv6 is one address, whatever it makes of itself.
        let network: Vec<_> = (0..OF_ONE)
            .map(|host| from(&format!("2001:db8::{host:x}")).unwrap())
            .collect();
        assert!(from("2001:db8::ffff").is_none());
        drop(network);
        // Behind a proxy on this machine all come from here.
        for address in ["127.0.0.1", "::1"] {
            let all: Vec<_> = (0..CONNECTIONS).map(|_| from(address)).collect();
            assert!(all.iter().all(Option::is_some));
        }
    }
}
