//! HTTP as iPXE speaks it: one connection, kept alive, from the machine's own address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpSocket;

/// Scripts are small; more is no script.
const SCRIPT_MAX: usize = 256 * 1024;

/// A kept-alive connection to one server.
pub(crate) struct Connection {
    authority: String,
    sender: SendRequest<Empty<Bytes>>,
}

/// A file that was fetched and thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// Bytes of the body.
    pub(crate) bytes: u64,
    /// The body's SHA-256 is the one in the ETag.
    pub(crate) verified: bool,
}

impl Connection {
    /// Connects from `own` to the server of `url`.
    pub(crate) async fn open(own: Ipv4Addr, url: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is no URL"))?;
        ensure!(
            uri.scheme_str() == Some("http"),
            "`{url}`: only http:// is simulated"
        );
        let authority = uri.authority().context("a URL without a server")?;
        let host: IpAddr = authority
            .host()
            .trim_matches(['[', ']'])
            .parse()
            .with_context(|| format!("`{url}`: the simulated machines resolve no names"))?;
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((own, 0)))?;
        let stream = socket
            .connect(SocketAddr::new(host, authority.port_u16().unwrap_or(80)))
            .await
            .with_context(|| format!("no connection to {authority}"))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // The connection's own error reaches the request that is under way.
        tokio::spawn(connection);
        Ok(Self {
            authority: authority.to_string(),
            sender,
        })
    }

    /// Whether a URL leads to this connection's server.
    pub(crate) fn serves(&self, url: &str) -> bool {
        url.parse::<Uri>().is_ok_and(|uri| {
            uri.authority()
                .is_some_and(|a| a.as_str() == self.authority)
        })
    }

    /// Fetches a script.
    pub(crate) async fn script(&mut self, url: &str) -> anyhow::Result<String> {
        let mut body = self.get(url).await?.into_body();
        let mut text = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref() {
                ensure!(
                    text.len() + data.len() <= SCRIPT_MAX,
                    "{url}: too large for a script"
                );
                text.extend_from_slice(data);
            }
        }
        String::from_utf8(text).with_context(|| format!("{url}: the script is no text"))
    }

    /// Fetches a file, checks its length and its digest, and throws it away. `progress` hears of
    /// every piece.
    pub(crate) async fn file(
        &mut self,
        url: &str,
        mut progress: impl FnMut(u64),
    ) -> anyhow::Result<Fetched> {
        let response = self.get(url).await?;
        let header = |name| {
            response
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let length: Option<u64> = header("content-length").and_then(|value| value.parse().ok());
        let etag = header("etag")
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned();
        let mut body = response.into_body();
        let (mut bytes, mut digest) = (0, Sha256::new());
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame
                .with_context(|| format!("{url}: broken off"))?
                .data_ref()
            {
                bytes += data.len() as u64;
                digest.update(data);
                progress(data.len() as u64);
            }
        }
        ensure!(
            length.is_none_or(|length| length == bytes),
            "{url}: {bytes} bytes came, {length:?} were promised"
        );
        let digest = hex::encode(digest.finalize());
        let is_digest = etag.len() >= 16 && etag.bytes().all(|b| b.is_ascii_hexdigit());
        if is_digest && !digest.starts_with(&etag) {
            bail!("{url}: the bytes are not those of the ETag {etag}: their SHA-256 is {digest}");
        }
        Ok(Fetched {
            bytes,
            verified: is_digest,
        })
    }

    async fn get(&mut self, url: &str) -> anyhow::Result<hyper::Response<hyper::body::Incoming>> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is no URL"))?;
        let target = uri.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(target)
            .header("Host", &self.authority)
            .header("User-Agent", "iPXE/1.21.1+ (bootstorm-load)")
            .header("Connection", "keep-alive")
            .body(Empty::new())?;
        self.sender.ready().await?;
        let response = self.sender.send_request(request).await?;
        ensure!(
            response.status().is_success(),
            "{url}: HTTP {}",
            response.status()
        );
        Ok(response)
    }
}
