//! Asks the server that runs on this host.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bootstorm_config::Config;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// The server is on this host: what takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(3);
/// A list of 100,000 machines is taken as a whole.
const LIST_PATIENCE: Duration = Duration::from_secs(300);
const ANSWER_MAX: usize = 8 << 20;

/// The admin token that the first start writes.
pub(crate) fn token_path(config: &Config) -> PathBuf {
    config.data.join("admin.token")
}

/// The server that runs on this host, and the right to ask it.
pub(super) struct Live {
    address: SocketAddr,
    token: String,
}

/// What the server refuses, in its own words.
#[derive(Debug)]
pub(super) struct Refused {
    /// The answer's status.
    pub(super) status: StatusCode,
    detail: String,
    code: Option<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The words may hold names that a machine gave itself.
        f.write_str(&self.detail.escape_debug().to_string().replace("\\\"", "\""))?;
        match &self.code {
            Some(code) => write!(f, " [{}]", code.escape_debug()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refused {}

impl Live {
    /// Where it is, by the configuration.
    ///
    /// # Errors
    /// Its web service is off, or its token cannot be read.
    pub(super) fn find(config: &Config) -> anyhow::Result<Self> {
        let address = local_address(config).context("the web service is off (--listen web=off)")?;
        let token_path = token_path(config);
        let token = std::fs::read_to_string(&token_path).with_context(|| {
            format!(
                "the server's token {} cannot be read: name its folder with --data",
                token_path.display()
            )
        })?;
        Ok(Self {
            address,
            token: token.trim().to_owned(),
        })
    }

    /// What it answers; null where there is nothing to say.
    ///
    /// # Errors
    /// No server, an answer that is none, or [`Refused`].
    pub(super) fn send(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let body = body.map(|json| ("application/json", json.to_string().into_bytes()));
        self.ask(method, path, body, PATIENCE)
    }

    /// The same for a list as CSV, which may take a while.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) fn send_csv(&self, path: &str, list: Vec<u8>) -> anyhow::Result<Value> {
        self.ask(&Method::POST, path, Some(("text/csv", list)), LIST_PATIENCE)
    }

    fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
        patience: Duration,
    ) -> anyhow::Result<Value> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let exchange = self.exchange(method, path, body);
            tokio::time::timeout(patience, exchange)
                .await
                .context("the server does not answer")?
        })
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> anyhow::Result<Value> {
        let address = self.address;
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("no server answers on {address}"))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Host", address.to_string())
            .header("Authorization", format!("Bearer {}", self.token));
        if let Some((kind, _)) = &body {
            request = request.header("Content-Type", *kind);
        }
        let body = body.map(|(_, body)| body).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body)))?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| anyhow::anyhow!("the server's answer: {error}"))?;
        let body = body.to_bytes();
        if !status.is_success() {
            return Err(refused(status, &body).into());
        }
        if body.is_empty() {
            return Ok(Value::Null);
        }
        Ok(serde_json::from_slice(&body)?)
    }
}

fn refused(status: StatusCode, body: &[u8]) -> Refused {
    let problem: Value = serde_json::from_slice(body).unwrap_or_default();
    let detail = problem["detail"].as_str().map(str::to_owned);
    Refused {
        status,
        detail: detail.unwrap_or_else(|| format!("the server answered {status}")),
        code: problem["code"].as_str().map(str::to_owned),
    }
}

/// What the server answers to `GET path`; `None` when there is no such thing.
///
/// # Errors
/// No server, no token, an answer that is none.
pub(super) fn ask(config: &Config, path: &str) -> anyhow::Result<Option<Value>> {
    match Live::find(config)?.send(&Method::GET, path, None) {
        Ok(json) => Ok(Some(json)),
        Err(error) => match error.downcast_ref::<Refused>() {
            Some(refused) if refused.status == StatusCode::NOT_FOUND => Ok(None),
            _ => Err(error),
        },
    }
}

/// Where the web service is reached from this host.
fn local_address(config: &Config) -> Option<SocketAddr> {
    let mut address = config.listen.web.address()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}

/// A machine's history for people, a line each.
pub(super) fn lines(machine: &Value) -> Vec<String> {
    let text = |key: &str| machine[key].as_str().unwrap_or("-").to_owned();
    let mut lines = vec![format!(
        "phase {}, {}, {} bytes, {}",
        text("phase"),
        text("arch_name"),
        machine["bytes"],
        match machine["boots"].as_u64() {
            Some(1) | None => "1 boot".to_owned(),
            Some(boots) => format!("{boots} boots"),
        }
    )];
    if let Some(code) = machine["reason"]["code"].as_str() {
        let reason = machine["reason"]["text"].as_str().unwrap_or_default();
        lines.push(format!("reason {reason} [{code}]"));
    }
    for step in machine["timeline"].as_array().into_iter().flatten() {
        let text = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        let code = step["code"]
            .as_str()
            .map(|code| format!(" [{code}]"))
            .unwrap_or_default();
        let times = match step["times"].as_u64() {
            Some(times) if times > 1 => format!(" ({times} times)"),
            _ => String::new(),
        };
        // Milliseconds tell what came first.
        let at = text("at").replace('T', " ");
        let at = at.get(..23).unwrap_or(&at);
        lines.push(format!(
            "{at:<23}  {:<9} {}{code}{times}",
            text("kind"),
            text("text")
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_server_and_harmless() {
        let body = r#"{"detail": "there is no machine `a\u001b[0m\u009b`", "code": "web.unknown-machine"}"#;
        let refused = refused(StatusCode::NOT_FOUND, body.as_bytes());
        assert_eq!(
            refused.to_string(),
            "there is no machine `a\\u{1b}[0m\\u{9b}` [web.unknown-machine]"
        );
        let other = super::refused(StatusCode::BAD_GATEWAY, b"<html>");
        assert!(other.to_string().contains("502"));
    }

    #[test]
    fn a_history_is_told_with_its_codes() {
        let json = serde_json::json!({
            "phase": "silent", "arch_name": "x64 UEFI", "bytes": 0, "boots": 1,
            "reason": {"code": "policy.no-nbp", "text": "no boot program"},
            "timeline": [{"at": "2026-11-20T10:00:00Z", "kind": "asked", "code": null,
                          "text": "PXE firmware", "times": 3}],
        });
        let lines = lines(&json);
        assert_eq!(lines[1], "reason no boot program [policy.no-nbp]");
        assert!(
            lines[2].ends_with("asked     PXE firmware (3 times)"),
            "{}",
            lines[2]
        );
    }
}
