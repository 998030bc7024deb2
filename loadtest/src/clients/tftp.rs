//! TFTP as UEFI firmware fetches its boot program: a size probe ended by ERROR 8, then the file.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::net::UdpSocket;
use tokio::time::timeout;

/// EDK2 repeats a packet after 4 s, six times.
const WAIT: Duration = Duration::from_secs(4);
const TRIES: u32 = 6;
const BLOCK: usize = 1468;

/// Asks for the size, as EDK2 does, and turns the transfer away with ERROR 8.
pub(crate) async fn probe(own: Ipv4Addr, server: SocketAddrV4, file: &str) -> anyhow::Result<u64> {
    let socket = UdpSocket::bind((own, 0)).await?;
    let request = read_request(file, &[("tsize", "0"), ("blksize", "1468")]);
    let mut buffer = [0; 2048];
    let (length, from) = exchange(&socket, &request, server.into(), &mut buffer).await?;
    let size = options(&buffer[..length])?
        .find(|(name, _)| name.eq_ignore_ascii_case("tsize"))
        .and_then(|(_, value)| value.parse().ok())
        .context("the server told no size")?;
    socket
        .send_to(b"\0\x05\0\x08User aborted the transfer\0", from)
        .await?;
    Ok(size)
}

/// Fetches the file with `window` blocks an acknowledgement; returns how many bytes came.
pub(crate) async fn fetch(
    own: Ipv4Addr,
    server: SocketAddrV4,
    file: &str,
    window: u16,
) -> anyhow::Result<u64> {
    let socket = UdpSocket::bind((own, 0)).await?;
    let window_text = window.to_string();
    let request = read_request(file, &[("blksize", "1468"), ("windowsize", &window_text)]);
    let mut buffer = [0; 2048];
    let (length, peer) = exchange(&socket, &request, server.into(), &mut buffer).await?;
    let window: u16 = options(&buffer[..length])?
        .find(|(name, _)| name.eq_ignore_ascii_case("windowsize"))
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(1);
    let (mut got, mut last, mut since_ack, mut tries) = (0_u64, 0_u16, 0_u16, 0);
    socket.send_to(&acknowledge(0), peer).await?;
    loop {
        let Ok(received) = timeout(WAIT, socket.recv_from(&mut buffer)).await else {
            tries += 1;
            ensure!(
                tries < TRIES,
                "{file}: the server fell silent after {got} bytes"
            );
            socket.send_to(&acknowledge(last), peer).await?;
            continue;
        };
        let (length, from) = received?;
        if from != peer {
            continue;
        }
        let (number, data) = match &buffer[..length] {
            // The server missed the acknowledgement of its options; later ones are late copies.
            [0, 6, ..] => {
                if last == 0 && got == 0 {
                    socket.send_to(&acknowledge(0), peer).await?;
                }
                continue;
            }
            [0, 3, high, low, data @ ..] => (u16::from_be_bytes([*high, *low]), data),
            packet => bail!("{file}: {}", refusal(packet)),
        };
        if number != last.wrapping_add(1) {
            // A gap: name the last good block, once a window.
            if since_ack != 0 {
                since_ack = 0;
                socket.send_to(&acknowledge(last), peer).await?;
            }
            continue;
        }
        (last, tries) = (number, 0);
        got += data.len() as u64;
        since_ack += 1;
        if data.len() < BLOCK || since_ack == window {
            since_ack = 0;
            socket.send_to(&acknowledge(last), peer).await?;
        }
        if data.len() < BLOCK {
            return Ok(got);
        }
    }
}

async fn exchange(
    socket: &UdpSocket,
    request: &[u8],
    server: SocketAddr,
    buffer: &mut [u8],
) -> anyhow::Result<(usize, SocketAddr)> {
    for _ in 0..TRIES {
        socket.send_to(request, server).await?;
        if let Ok(answer) = timeout(WAIT, socket.recv_from(buffer)).await {
            return Ok(answer?);
        }
    }
    bail!("TFTP: no answer from {server}")
}

/// A read request in octet mode (RFC 1350 section 5, RFC 2347).
pub(crate) fn read_request(file: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut request = vec![0, 1];
    for text in [file, "octet"]
        .into_iter()
        .chain(options.iter().flat_map(|(n, v)| [*n, *v]))
    {
        request.extend(text.as_bytes());
        request.push(0);
    }
    request
}

fn acknowledge(block: u16) -> [u8; 4] {
    let [high, low] = block.to_be_bytes();
    [0, 4, high, low]
}

/// The options of an OACK.
fn options(packet: &[u8]) -> anyhow::Result<impl Iterator<Item = (&str, &str)>> {
    let [0, 6, body @ ..] = packet else {
        bail!("{}", refusal(packet))
    };
    let text = std::str::from_utf8(body).context("an OACK that is no text")?;
    let mut words = text.split('\0');
    Ok(std::iter::from_fn(move || {
        Some((words.next()?, words.next()?))
    }))
}

fn refusal(packet: &[u8]) -> String {
    match packet {
        [0, 5, _, code, text @ ..] => {
            format!(
                "TFTP error {code}: {}",
                String::from_utf8_lossy(text).trim_end_matches('\0')
            )
        }
        _ => format!(
            "an unexpected TFTP packet {}",
            hex::encode(&packet[..packet.len().min(16)])
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_oack_that_comes_again_is_acknowledged_again() {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let SocketAddr::V4(address) = server.local_addr().unwrap() else {
            panic!("IPv4 was bound");
        };
        let fetched = tokio::spawn(fetch(Ipv4Addr::LOCALHOST, address, "a.efi", 4));
        let mut buffer = [0; 512];
        let (_, client) = server.recv_from(&mut buffer).await.unwrap();
        for _ in 0..2 {
            let oack = b"\0\x06blksize\x001468\0windowsize\x004\0";
            server.send_to(oack, client).await.unwrap();
            let (length, _) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(buffer[..length], acknowledge(0));
        }
        server.send_to(b"\0\x03\0\x01end", client).await.unwrap();
        assert_eq!(fetched.await.unwrap().unwrap(), 3);
    }
}
