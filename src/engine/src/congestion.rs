//! Which congestion control bodies travel under.
//!
//! BBR paces every connection by timers, near or far. On a LAN that takes two to three times the
//! processor time of the sending itself and halves the throughput, so where it is the system's
//! choice clients nearby get Reno: at their round-trip times there is no difference to CUBIC
//! (RFC 9438 section 4.3), and every process may choose it. Clients far away keep BBR.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::net::sockopt::{set_tcp_congestion, tcp_congestion};

/// Chooses for the clients nearby of a listener; connections inherit it.
pub(crate) fn choose(listener: &impl AsFd) {
    // Where that is forbidden everything works as before.
    if let Ok(name) = tcp_congestion(listener)
        && name.starts_with(PACED)
        && set_tcp_congestion(listener, NEARBY).is_ok()
    {
        let _ = REPLACED.set(name);
    }
}

/// Gives an accepted connection that comes from far away the system's choice back.
pub(crate) fn reconsider(connection: &(impl AsFd + AsRawFd)) {
    if let Some(name) = REPLACED.get()
        && round_trip(connection).is_some_and(|time| time > NEAR)
    {
        let _ = set_tcp_congestion(connection, name);
    }
}

/// Limits a connection to so many bytes a second, packet by packet; `None` lifts the limit. Where
/// the kernel refuses, what is written leaves as it comes.
pub(crate) fn pace(connection: &impl AsRawFd, rate: Option<u64>) {
    let rate = rate.map_or(libc::c_ulong::MAX, |rate| {
        libc::c_ulong::try_from(rate).unwrap_or(libc::c_ulong::MAX)
    });
    // SAFETY: the option value is an integer of our own, passed with its size.
    let _ = unsafe {
        libc::setsockopt(
            connection.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MAX_PACING_RATE,
            (&raw const rate).cast(),
            size_of_val(&rate) as libc::socklen_t,
        )
    };
}

const PACED: &str = "bbr";
const NEARBY: &str = "reno";
/// The system's choice, where listeners were given another: a worker reads no file for it.
static REPLACED: OnceLock<String> = OnceLock::new();
/// Round trips up to this are those of a LAN, or of a campus.
const NEAR: Duration = Duration::from_millis(5);

/// What the handshake took on its way.
fn round_trip(connection: &impl AsRawFd) -> Option<Duration> {
    // SAFETY: the structure holds nothing but numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes `length` bytes at most, which is the structure's size.
    let result = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (result == 0).then(|| Duration::from_micros(u64::from(info.tcpi_rtt)))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};

    use super::*;

    #[test]
    fn a_client_nearby_is_not_paced() {
        let listener = crate::udp::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let at = listener.local_addr().unwrap();
        let client = TcpStream::connect(at).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (served, _) = listener.accept().unwrap();
        let usual = tcp_congestion(&client).unwrap();
        let expected = if usual.starts_with(PACED) {
            NEARBY
        } else {
            &usual
        };
        assert_eq!(tcp_congestion(&served).unwrap(), expected);
        let time = round_trip(&served).unwrap();
        assert!(time > Duration::ZERO && time < Duration::from_secs(10));
        reconsider(&served);
        let now = tcp_congestion(&served).unwrap();
        assert!(now == expected || now == usual, "{now}");
    }
}
