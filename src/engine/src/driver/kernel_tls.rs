//! Kernel TLS: a socket whose records the kernel seals and opens (Documentation/networking/tls.rst).

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use bootstorm_telemetry::event::Reason;

use super::{ConnId, Event};
use crate::tls::{self, Keys, Suite};

/// Which suites this kernel takes; asked once.
///
/// # Errors
/// None at all, and why.
pub(crate) fn suites() -> Result<&'static [Suite], &'static io::Error> {
    static SUITES: OnceLock<io::Result<Vec<Suite>>> = OnceLock::new();
    SUITES.get_or_init(probe).as_deref()
}

/// [`Driver::take_over`](super::Driver::take_over) for a connection that receives nothing at this
/// moment; `events` are those that the worker has not seen.
pub(super) fn take_over(
    stream: &TcpStream,
    conn: ConnId,
    events: &VecDeque<Event>,
    suite: Suite,
    keys: impl FnOnce() -> Result<Keys, Reason>,
) -> Result<bool, Reason> {
    // Ciphertext that was received already, or the end: nobody could decrypt it later.
    let names = |event: &Event| match event {
        Event::Received { conn: of, .. } | Event::Closed { conn: of, .. } => *of == conn,
        _ => false,
    };
    let is_known = suites().is_ok_and(|suites| suites.contains(&suite));
    if !is_known || events.iter().any(names) || prepare(stream.as_fd()).is_err() {
        return Ok(false);
    }
    let keys = keys()?;
    install(stream.as_fd(), &keys).map_err(|error| tls::kernel_failed(&error))?;
    Ok(true)
}

/// Prepares a connected socket. Until it has keys nothing changes on the wire.
fn prepare(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_ULP, b"tls")
}

/// Gives a prepared socket its keys.
///
/// # Errors
/// The connection cannot be used any more.
fn install(socket: BorrowedFd<'_>, keys: &Keys) -> io::Result<()> {
    set(socket, libc::SOL_TLS, TLS_TX, &keys.send)?;
    set(socket, libc::SOL_TLS, TLS_RX, &keys.receive)
}

/// Sends the `close_notify` if there is room for it. The end of the stream must not follow at once:
/// the kernel may hold back a part of a record until there is room, and would lose it.
pub(super) fn say_goodbye(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut control = Control::new(TLS_SET_RECORD_TYPE, ALERT);
    let sent = with_message(&mut [WARNING, CLOSE_NOTIFY], &mut control, |message| {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: `with_message` says that everything that the message points to is there.
        unsafe { libc::sendmsg(socket.as_raw_fd(), message, flags) }
    });
    let error = (sent < 0).then(io::Error::last_os_error);
    match error.filter(|error| error.kind() != ErrorKind::WouldBlock) {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// What ended the receiving of such a socket: `None` is the client's goodbye. `Unsupported` says
/// that it renews its keys, `InvalidData` that a record is not genuine.
pub(super) fn ended(socket: BorrowedFd<'_>, error: &io::Error) -> Option<ErrorKind> {
    match error.raw_os_error() {
        // A record that is no data, to be read with its type.
        Some(libc::EIO) => match receive_other(socket) {
            Some((ALERT, [_, CLOSE_NOTIFY])) => None,
            Some((ALERT, _)) => Some(ErrorKind::ConnectionAborted),
            Some((HANDSHAKE, _)) => Some(ErrorKind::Unsupported),
            _ => Some(ErrorKind::InvalidData),
        },
        Some(libc::EKEYEXPIRED) => Some(ErrorKind::Unsupported),
        Some(libc::EBADMSG | libc::EMSGSIZE | libc::EINVAL) => Some(ErrorKind::InvalidData),
        _ => Some(error.kind()),
    }
}

/// The type and the first two bytes of the record that waits.
fn receive_other(socket: BorrowedFd<'_>) -> Option<(u8, [u8; 2])> {
    let mut record = [0; 2];
    let mut control = Control::new(0, 0);
    let length = with_message(&mut record, &mut control, |message| {
        // SAFETY: `with_message` says that everything that the message points to is there.
        unsafe { libc::recvmsg(socket.as_raw_fd(), message, libc::MSG_DONTWAIT) }
    });
    let is_type = control.level == libc::SOL_TLS && control.kind == TLS_GET_RECORD_TYPE;
    (length > 0 && is_type).then_some((control.record_type, record))
}

/// A control message that holds the type of a record: a `cmsghdr` and its data.
#[repr(C, align(8))]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    record_type: u8,
    padding: [u8; 7],
}

impl Control {
    fn new(kind: i32, record_type: u8) -> Self {
        Self {
            length: std::mem::offset_of!(Self, padding),
            level: libc::SOL_TLS,
            kind,
            record_type,
            padding: [0; 7],
        }
    }
}

/// Makes a message of both; during `call` every pointer in it is valid, for as many bytes as it
/// says, to be read and written.
fn with_message(
    bytes: &mut [u8; 2],
    control: &mut Control,
    call: impl FnOnce(*mut libc::msghdr) -> isize,
) -> isize {
    let mut vector = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: an all-zero msghdr is valid: null pointers with zero lengths.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut *control).cast();
    message.msg_controllen = size_of::<Control>();
    call(&raw mut message)
}

fn probe() -> io::Result<Vec<Suite>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut refusal = None;
    let takes = |suite: &Suite| {
        let stream = TcpStream::connect(listener.local_addr()?)?;
        let _peer = listener.accept()?;
        prepare(stream.as_fd())?;
        install(stream.as_fd(), &suite.sample())
    };
    let mut suites = Vec::new();
    for suite in Suite::ALL {
        match takes(&suite) {
            Ok(()) => suites.push(suite),
            Err(error) => refusal = Some(error),
        }
    }
    match refusal {
        Some(error) if suites.is_empty() => Err(error),
        _ => Ok(suites),
    }
}

fn set(socket: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    let length = value.len() as libc::socklen_t;
    let value = value.as_ptr().cast();
    // SAFETY: the kernel reads `length` bytes at `value`, which outlive the call.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

// linux/tls.h, which the libc crate does not have.
const TLS_TX: i32 = 1;
const TLS_RX: i32 = 2;
const TLS_SET_RECORD_TYPE: i32 = 1;
const TLS_GET_RECORD_TYPE: i32 = 2;

// RFC 8446, section 5.1 and 6.
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const WARNING: u8 = 1;
const CLOSE_NOTIFY: u8 = 0;
