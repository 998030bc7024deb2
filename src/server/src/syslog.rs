//! Syslog in: what iPXE and installers report while they boot (UDP, RFC 3164 in spirit).

use std::net::SocketAddr;

use tokio::net::UdpSocket;

/// Longer lines are cut.
const LINE_MAX: usize = 1024;

/// Logs every line with its sender, until the task is dropped. Lines are debug messages of the
/// target `syslog`: `--log-level info,syslog=debug` shows them.
pub(crate) async fn listen(socket: UdpSocket) {
    let mut buffer = [0; LINE_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => log(from, &buffer[..length]),
            // An ICMP error of an earlier datagram; we never send, so there is nothing to mend.
            Err(error) => tracing::debug!(%error, "syslog socket"),
        }
    }
}

fn log(from: SocketAddr, line: &[u8]) {
    tracing::debug!(target: "syslog", client = %from.ip(), "{}", printable(line));
}

/// The line without its priority, with everything that could end a log line or move a cursor
/// escaped.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r', '\0']);
    let message = match text.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((priority, message)) if priority.bytes().all(|b| b.is_ascii_digit()) => message,
        _ => text,
    };
    message.chars().flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_line_cannot_break_out_of_the_log() {
        assert_eq!(printable(b"<14>ipxe: boot\n"), "ipxe: boot");
        assert_eq!(printable(b"a\nERROR b\x1b[2J"), "a\\nERROR b\\u{1b}[2J");
        assert_eq!(printable(b"<14"), "<14");
        assert_eq!(printable(&[0xff, b'x']), "\u{fffd}x");
    }
}
