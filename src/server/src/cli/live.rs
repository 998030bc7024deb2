//! Asks the server that runs on this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bootstorm_config::Config;
use bootstorm_proto::types::MacAddress;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// The server is on this host: what takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(3);
const ANSWER_MAX: usize = 1 << 20;

/// The admin token that the first start writes.
pub(crate) fn token_path(config: &Config) -> PathBuf {
    config.data.join("admin.token")
}

/// What the server answers to `GET path`; `None` when there is no such thing.
///
/// # Errors
/// No server, no token, an answer that is none.
pub(super) fn ask(config: &Config, path: &str) -> anyhow::Result<Option<Value>> {
    let address = local_address(config).context("the web service is off (--listen web=off)")?;
    let token_path = token_path(config);
    let token = std::fs::read_to_string(&token_path).with_context(|| {
        format!(
            "the server's token {} cannot be read: name its folder with --data",
            token_path.display()
        )
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let fetch = fetch(address, path, token.trim());
        tokio::time::timeout(PATIENCE, fetch)
            .await
            .context("the server does not answer")?
    })
}

/// The history of a machine, a line each; `None` when the server has not heard of it.
pub(super) fn machine(config: &Config, mac: MacAddress) -> anyhow::Result<Option<Vec<String>>> {
    let answer = ask(config, &format!("/api/v1/clients/{mac}"))?;
    Ok(answer.map(|json| lines(&json)))
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

async fn fetch(address: SocketAddr, path: &str, token: &str) -> anyhow::Result<Option<Value>> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("no server answers on {address}"))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("Host", address.to_string())
        .header("Authorization", format!("Bearer {token}"))
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => bail!("the server answered {status}"),
    }
    let body = Limited::new(response.into_body(), ANSWER_MAX)
        .collect()
        .await;
    let body = body.map_err(|error| anyhow::anyhow!("the server's answer: {error}"))?;
    Ok(Some(serde_json::from_slice(&body.to_bytes())?))
}

/// The API's answer for people.
fn lines(machine: &Value) -> Vec<String> {
    let text = |key: &str| machine[key].as_str().unwrap_or("-").to_owned();
    let mut lines = vec![format!(
        "phase {}, {}, {} bytes, {} boots",
        text("phase"),
        text("arch_name"),
        machine["bytes"],
        machine["boots"]
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
        lines.push(format!(
            "{}  {:<9} {}{code}{times}",
            text("at"),
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
