//! Connections: plain HTTP and TLS on one port, bounded in number, size and time.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::{Authority, ControlError};

/// Who sent a request, as an extension of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Connections that are served at once.
const CONNECTIONS_MAX: usize = 512;
/// Connections of one address.
const PER_ADDRESS_MAX: usize = 128;
/// Time for the first byte and for a TLS handshake, each.
const GREETING: Duration = Duration::from_secs(10);
/// Time for the head of a request.
const HEAD: Duration = Duration::from_secs(30);
const HEADERS_MAX: usize = 64;
/// Bytes of a head; hyper takes no less than 8 KiB.
const BUFFER_MAX: usize = 16 * 1024;
/// A peer that takes no bytes for this long is gone.
const UNHEARD: Duration = Duration::from_secs(60);

/// First byte of a TLS record of type handshake (RFC 8446, section 5.1). No HTTP method begins
/// with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// TLS settings with the certificate of the moment.
pub(super) fn tls(authority: &Authority) -> Result<TlsAcceptor, ControlError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(authority.resolver());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Takes connections until `stopped` turns true, then waits for those under way.
pub(super) async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Places::default();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, peer)) => {
                let ip = peer.ip().to_canonical();
                // Without a place the stream is dropped here: the peer sees a reset.
                if let Some(place) = places.take(ip) {
                    let connection = Connection {
                        peer: SocketAddr::new(ip, peer.port()),
                        tls: tls.clone(),
                        router: router.clone(),
                        stopped: stopped.clone(),
                    };
                    connections.spawn(async move {
                        let _place = place;
                        connection.greet(stream).await;
                    });
                }
            }
            Err(error) => {
                tracing::warn!(code = "web.no-connection", "{error}");
                // Out of descriptors: asking again at once would only burn the processor.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

struct Connection {
    peer: SocketAddr,
    tls: TlsAcceptor,
    router: Router,
    stopped: watch::Receiver<bool>,
}

impl Connection {
    async fn greet(self, stream: TcpStream) {
        if let Err(error) = watch_peer(&stream) {
            tracing::debug!(peer = %self.peer, "{error}");
        }
        let mut first = [0];
        let mut stopped = self.stopped.clone();
        let greeting = async {
            if stream.peek(&mut first).await? == 0 {
                return Ok(None);
            }
            Ok::<_, io::Error>(Some(first[0] == TLS_HANDSHAKE))
        };
        let greeted = tokio::select! {
            greeted = tokio::time::timeout(GREETING, greeting) => greeted,
            _ = stopped.changed() => return,
        };
        match greeted {
            Ok(Ok(Some(true))) => {
                let handshake = self.tls.accept(stream);
                match tokio::time::timeout(GREETING, handshake).await {
                    Ok(Ok(stream)) => self.serve(stream).await,
                    Ok(Err(error)) => tracing::debug!(peer = %self.peer, "TLS: {error}"),
                    Err(_) => tracing::debug!(peer = %self.peer, "TLS: handshake timed out"),
                }
            }
            Ok(Ok(Some(false))) => self.serve(stream).await,
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(error)) => tracing::debug!(peer = %self.peer, "{error}"),
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = TowerToHyperService::new(self.router);
        let peer = Peer(self.peer.ip());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            service.call(request)
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_MAX);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let mut stopped = self.stopped;
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stopped.changed() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(peer = %self.peer, "{error}");
        }
    }
}

/// Lets the kernel find peers that are gone or take nothing.
fn watch_peer(stream: &TcpStream) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(UNHEARD))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(UNHEARD))?;
    socket.set_tcp_nodelay(true)
}

/// Counts the connections of each address.
#[derive(Clone, Debug, Default)]
struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Places {
    fn take(&self, peer: IpAddr) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let of_peer = taken.get(&peer).copied().unwrap_or_default();
        if all >= CONNECTIONS_MAX || of_peer >= PER_ADDRESS_MAX {
            tracing::debug!(%peer, all, of_peer, "web.too-many-connections");
            return None;
        }
        taken.insert(peer, of_peer + 1);
        Some(Place {
            places: self.clone(),
            peer,
        })
    }
}

/// The right to one connection, given back when dropped.
#[derive(Debug)]
struct Place {
    places: Places,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_peer) = taken.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let places = Places::default();
        let peer = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut held: Vec<_> = (0..PER_ADDRESS_MAX)
            .filter_map(|_| places.take(peer(1)))
            .collect();
        assert_eq!(held.len(), PER_ADDRESS_MAX);
        assert!(places.take(peer(1)).is_none());
        held.pop();
        assert!(places.take(peer(1)).is_some());
        for n in 2..=4 {
            held.extend((0..PER_ADDRESS_MAX).filter_map(|_| places.take(peer(n))));
        }
        held.extend(places.take(peer(1)));
        assert_eq!(held.len(), CONNECTIONS_MAX);
        assert!(places.take(peer(9)).is_none());
        drop(held);
        assert!(places.0.lock().unwrap().is_empty());
    }
}
