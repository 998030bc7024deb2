//! One request to the boot server over TCP, with TLS where it is asked for.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bootstorm_winpe::http::{self, RESPONSE_MAX, Response, Unread};
use bootstorm_winpe::{Instructions, Server, Trouble};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

pub(crate) struct Transport {
    server: Server,
    tls: Option<Arc<ClientConfig>>,
}

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(20);

impl Transport {
    /// Knows the server by the CA of its instructions and by no other.
    pub(crate) fn new(instructions: &Instructions) -> Result<Self, String> {
        let tls = instructions.server.secure.then(|| tls(instructions));
        Ok(Self {
            server: instructions.server.clone(),
            tls: tls.transpose()?,
        })
    }

    pub(crate) fn exchange(&self, request: &[u8]) -> Result<Response, Trouble> {
        let address = self.server.authority();
        let explain = |error: std::io::Error| {
            let certificate = error.get_ref().and_then(|inner| inner.downcast_ref());
            if let Some(rustls::Error::InvalidCertificate(_)) = certificate {
                let told =
                    format!("{address} is not the server that bootstorm.json means: {error}");
                return Trouble::Lasting(told);
            }
            Trouble::Passing(format!("{address}: {error}"))
        };
        let stream = self.connect().map_err(explain)?;
        let Some(tls) = &self.tls else {
            return spoken(stream, request).map_err(explain);
        };
        let no_name = |error| Trouble::Lasting(format!("{address}: {error}"));
        let name = ServerName::try_from(self.server.host.clone())
            .map_err(|error| no_name(error.to_string()))?;
        let session = ClientConnection::new(Arc::clone(tls), name)
            .map_err(|error| no_name(error.to_string()))?;
        spoken(StreamOwned::new(session, stream), request).map_err(explain)
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let mut last = ErrorKind::AddrNotAvailable.into();
        for address in (self.server.host.as_str(), self.server.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(ANSWER))?;
                    stream.set_write_timeout(Some(ANSWER))?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The certificates in a PEM text.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err("the `ca` of bootstorm.json has no certificate".to_owned()),
        Err(error) => Err(format!(
            "the `ca` of bootstorm.json cannot be read: {error}"
        )),
    }
}

fn tls(instructions: &Instructions) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(instructions.ca.as_deref().unwrap_or_default())? {
        roots
            .add(certificate)
            .map_err(|error| format!("the `ca` of bootstorm.json is none: {error}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clock = Arc::new(Clock {
        told: instructions.time,
        since: Instant::now(),
    });
    let config = ClientConfig::builder_with_details(provider, clock)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// The time by which certificates are judged. The clock of Windows PE may be years away; the server
/// has said its own when this machine booted.
struct Clock {
    told: Option<Duration>,
    since: Instant,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(match self.told {
            Some(told) => UnixTime::since_unix_epoch(told + self.since.elapsed()),
            None => UnixTime::now(),
        })
    }
}

fn spoken(mut stream: impl Read + Write, request: &[u8]) -> std::io::Result<Response> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 8192];
    loop {
        // Not every end of a TLS connection is announced; what is missing shows in the answer.
        let ended = match stream.read(&mut chunk) {
            Ok(0) => true,
            Ok(length) => {
                bytes.extend_from_slice(chunk.get(..length).unwrap_or_default());
                false
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => true,
            Err(error) => return Err(error),
        };
        match http::response(&bytes, ended) {
            Ok(response) => return Ok(response),
            Err(Unread::Partial) if bytes.len() <= RESPONSE_MAX => {}
            Err(_) => {
                let told = "this is no answer of a boot server";
                return Err(std::io::Error::new(ErrorKind::InvalidData, told));
            }
        }
    }
}
