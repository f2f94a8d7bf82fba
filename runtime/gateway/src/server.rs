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
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt;

use crate::at_once::{AtOnce, Place};
use crate::error::ApiError;
use crate::guard::counted;
use crate::unread::Patient;

/// Connections at once.
const CONNECTIONS: usize = 512;
/// Of them, those of one address.
const OF_ONE: usize = 64;
/// Connections beyond those that are told so at once; any more are closed.
const REFUSED: usize = 16;
/// How long telling one may take.
const REFUSAL: Duration = Duration::from_secs(2);
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
    serve_behind(listener, router, &[], end).await
}

/// The same behind proxies on other machines, or in containers: whoever comes by one of these addresses is told apart and bounded
/// there, and of it there may be as many connections as there are places.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_behind(
    listener: TcpListener,
    router: Router,
    proxies: &[IpAddr],
    end: impl Future<Output = ()>,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let seats = Seats::new(proxies);
    let refusals = Arc::new(Semaphore::new(REFUSED));
    let mut is_warned = false;
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
        let Some(seat) = seats.seat(address.ip()) else {
            // Once: whoever comes too often could fill the log, too.
            if is_warned {
                tracing::debug!("connection of {address}: it has {OF_ONE} already");
            } else {
                is_warned = true;
                tracing::warn!(
                    "{} has {OF_ONE} connections, and the next are refused; if it is a proxy of yours, name it with `tally serve --proxy` \
                     (other addresses that have as many are not named here)",
                    address.ip()
                );
            }
            drop(permit);
            if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                tokio::spawn(refuse(stream, address, place));
            }
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
    /// Of this machine itself, or of a proxy: by address its programs or clients are not told apart.
    OfMany,
    Of {
        _place: Place<IpAddr>,
    },
}

/// Who may have how many.
struct Seats {
    each: AtOnce<IpAddr>,
    /// Canonical.
    proxies: Vec<IpAddr>,
}

impl Seats {
    fn new(proxies: &[IpAddr]) -> Self {
        Self {
            each: AtOnce::new(OF_ONE),
            proxies: proxies.iter().map(IpAddr::to_canonical).collect(),
        }
    }

    fn seat(&self, address: IpAddr) -> Option<Seat> {
        let canonical = address.to_canonical();
        if canonical.is_loopback() || self.proxies.contains(&canonical) {
            return Some(Seat::OfMany);
        }
        let place = self.each.enter(counted(address))?;
        Some(Seat::Of { _place: place })
    }
}

/// Answers one request with why it is the last, whatever it asks, since a connection that is only closed looks like a broken server.
async fn refuse(stream: tokio::net::TcpStream, address: SocketAddr, _place: OwnedSemaphorePermit) {
    async fn too_many() -> impl IntoResponse {
        let error = ApiError {
            retry_after_s: Some(1),
            ..ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                format!("more than {OF_ONE} connections of one address"),
            )
        };
        ([(header::CONNECTION, "close")], error)
    }
    let router = Router::new().fallback(too_many);
    // Nobody waits for whoever does not take it.
    let _ = tokio::time::timeout(REFUSAL, connection(stream, address, router)).await;
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
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[test]
    fn one_address_has_so_many_connections_and_leaves_the_others_room() {
        let all = Seats::new(&[]);
        let from = |address: &str| all.seat(address.parse().unwrap());
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

    #[test]
    fn a_proxy_that_is_named_has_as_many_connections_as_there_are_and_its_neighbour_has_not() {
        let named: [IpAddr; 2] =
            ["192.0.2.7", "2001:db8::7"].map(|address| address.parse().unwrap());
        let all = Seats::new(&named);
        let most = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            let seats: Vec<_> = (0..CONNECTIONS).map_while(|_| all.seat(address)).collect();
            seats.len()
        };
        for proxy in ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::7"] {
            assert_eq!(most(proxy), CONNECTIONS, "{proxy}");
        }
        for other in ["192.0.2.8", "2001:db8::8"] {
            assert_eq!(most(other), OF_ONE, "{other}");
        }
    }

    #[tokio::test]
    async fn a_connection_too_many_is_told_so_whatever_it_asks() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        tokio::spawn(refuse(stream, address, place));
        client
            .write_all(b"DELETE /v1/memories HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        for part in [
            "retry-after: 1\r\n",
            "connection: close\r\n",
            "\"code\":\"busy\"",
        ] {
            assert!(answer.contains(part), "{part}: {answer}");
        }
    }
}
