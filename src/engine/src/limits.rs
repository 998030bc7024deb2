//! Every capacity of the data plane. What depends on another is tied to it by a const assertion.

use std::time::Duration;

/// Worker threads.
pub(crate) const WORKERS: usize = 64;

/// Workers that answer DHCP: every broadcast costs each of them a look by the kernel.
pub(crate) const DHCP_WORKERS: usize = 4;

/// Machines whose rate of DHCP requests one worker remembers at a time.
pub(crate) const DHCP_MACHINES: usize = 4096;
/// The same for machines that are known: nobody else displaces them.
pub(crate) const DHCP_KNOWN: usize = 16384;
/// The same for relays.
pub(crate) const DHCP_RELAYS: usize = 1024;
/// Pairs of an interface and a class whose rate one worker remembers.
pub(crate) const RATED_CLASSES: usize = 1024;
/// Requests of machines that nobody knows which wait, in one worker, for those of known ones.
pub(crate) const STRANGERS: usize = 4096;
/// Time of one turn of a worker for them, give or take an answer.
pub(crate) const TURN_STRANGERS: Duration = Duration::from_millis(2);
/// Requests that wait, in one worker, for decisions that are made elsewhere.
pub(crate) const PARKED: usize = 1024;
/// How long each waits at most.
pub(crate) const PARKED_FOR: Duration = Duration::from_secs(10);
/// Decisions that a worker has yet to look at: those for requests that are gone come too.
pub(crate) const DECISIONS: usize = 4 * PARKED;
/// TFTP requests that wait, in one worker, for files that are made elsewhere.
pub(crate) const WAITING_FILES: usize = 1024;
/// How long each waits at most: firmware repeats its request a few times meanwhile.
pub(crate) const WAITS_FOR_FILE: Duration = Duration::from_secs(10);
/// Made files that a worker has yet to send.
pub(crate) const MADE_FILES: usize = 4 * WAITING_FILES;
/// DHCP requests, with what became of them, that one worker tells in a second.
pub(crate) const REQUESTS_TOLD: u32 = 2_000;
/// The same at once, after a pause: a lab that is switched on is told whole.
pub(crate) const REQUESTS_TOLD_AT_ONCE: u32 = 10 * REQUESTS_TOLD;
/// Leases of others that one worker tells in a second.
pub(crate) const LEASES_TOLD: u32 = 1000;

/// Submission queue entries of a ring.
pub(crate) const SUBMISSIONS: u32 = 1024;
/// Completion queue entries of a ring: everything that can complete between two turns.
pub(crate) const COMPLETIONS: u32 = 16384;

/// Receive buffers for first requests: as many are handled before a worker looks at its transfers
/// again.
pub(crate) const REQUEST_BUFFERS: u16 = 256;
/// Receive buffers for the datagrams of transfers, shared by the TFTP data ports of a worker.
pub(crate) const DATAGRAM_BUFFERS: u16 = 2048;
/// Bytes of one of them: the kernel's header, the sender's address, control messages, payload.
pub(crate) const DATAGRAM_BUFFER: usize = 2048;
/// Room for the sender's address in it.
pub(crate) const NAME: usize = 28;
/// Room for control messages in it (packet info of both families).
pub(crate) const CONTROL: usize = 64;
/// Bytes of the kernel's header in it.
pub(crate) const RECVMSG_HEADER: usize = 16;
/// Bytes of a datagram that are looked at; longer ones are dropped.
pub(crate) const DATAGRAM: usize = DATAGRAM_BUFFER - RECVMSG_HEADER - NAME - CONTROL;

/// Receive buffers for streams, shared by all connections of a worker.
pub(crate) const STREAM_BUFFERS: u16 = 512;
/// Bytes of one of them.
pub(crate) const STREAM_BUFFER: usize = 8192;

/// TCP connections that one worker holds at a time.
pub(crate) const CONNECTIONS: usize = 4096;
/// Bytes of bodies that leave in one turn of a worker, give or take a piece: what is received in
/// the meantime waits no longer than that takes.
pub(crate) const TURN_WRITES: usize = 4 << 20;
/// Listening TCP sockets of one worker.
pub(crate) const LISTENERS: usize = 8;
/// How long a closed connection may still be read so that the peer gets our last bytes.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// Sends of one worker between two looks at what has arrived.
pub(crate) const SEND_SLOTS: usize = 64;
/// How long a worker that sent single datagrams stays awake for the answer: about as long as
/// falling asleep and waking takes on both ends.
pub(crate) const AWAKE: Duration = Duration::from_micros(50);
/// Windows that wait for their turn, and as many packets; more and the driver is busy.
pub(crate) const SEND_BACKLOG: usize = TRANSFERS;
/// Datagrams in one send with UDP_SEGMENT (the kernel's UDP_MAX_SEGMENTS of old).
pub(crate) const SEGMENTS: usize = 64;
/// Bytes in one send: the largest UDP payload over IPv4.
pub(crate) const SEND_BYTES: usize = 65507;
/// Empty packets that are kept for the next send.
pub(crate) const PACKET_POOL: usize = 1024;
/// TFTP transfers that one worker holds at a time.
pub(crate) const TRANSFERS: usize = 16384;
/// How many of them one client address may have unless the configuration says otherwise: a whole
/// lab behind one address, and still half of the worker is left to everybody else.
pub(crate) const TRANSFERS_PER_CLIENT: u32 = 8192;
/// The largest TFTP block in bytes (RFC 2348).
pub(crate) const TFTP_BLOCK_MAX: u16 = 65464;
/// The largest TFTP window in blocks that the configuration may grant.
pub(crate) const TFTP_WINDOW_MAX: u16 = 1024;
/// How often a transfer's progress is told at most.
pub(crate) const PROGRESS: Duration = Duration::from_millis(500);

/// Cold ranges that each service of a worker has read in at a time.
pub(crate) const READ_INS: usize = 256;
/// Bytes behind what is sent that are read in before they are asked for.
pub(crate) const READ_AHEAD: u64 = 4 << 20;
/// Threads that read for one worker where there is no io_uring.
pub(crate) const READ_IN_THREADS: usize = 4;

/// Bytes a second that every body gets, however many share a total: a boot ROM that sees less gives
/// up between two packets.
pub(crate) const SLOWEST: u64 = 16_000;
/// Files up to this size are sent unpaced.
pub(crate) const UNPACED: u64 = HTTP_INLINE;
/// Files from this size on wait for their machine's turn. Boot programs are smaller, kernels and
/// images larger.
pub(crate) const QUEUES_FROM: u64 = 4 << 20;
/// Machines that may wait for their turn.
pub(crate) const QUEUE: usize = 65_536;
/// How long a machine keeps its place without a body under way: iPXE fetches the kernel, looks at
/// it, and comes for the next file.
pub(crate) const PLACE_KEPT: Duration = Duration::from_secs(15);
/// How long a machine that waits may stay silent. Firmware repeats a TFTP request within 8 seconds.
pub(crate) const QUEUE_FORGETS: Duration = Duration::from_secs(30);
/// How often those that are gone are looked for at most.
pub(crate) const QUEUE_TIDIES: Duration = Duration::from_millis(250);

/// Answers of the control plane that wait for one worker.
pub(crate) const ANSWERS: usize = 1024;

/// Receive buffer asked for on every UDP port that takes first requests, in bytes: 5,000 of them
/// in one burst, at what the kernel counts for each. `bootstorm doctor` says when the system's
/// limit is below it.
pub const RECEIVE_BUFFER: usize = 8 << 20;
/// Receive buffer for what comes to a DHCP port and is no request, in bytes: it says how much of a
/// flood of rubbish is looked at, since the rest finds it full.
pub(crate) const RUBBISH_BUFFER: usize = 32 << 10;
/// Send buffer asked for on every UDP port, in bytes.
pub const SEND_BUFFER: usize = 4 << 20;
/// Connections that wait to be accepted, for each worker. `bootstorm doctor` says when the system's
/// limit is below it.
pub const ACCEPT_BACKLOG: usize = 4096;

// Firmware that was answered at last is still listening: it asks for 28 seconds.
const _: () = assert!(PARKED_FOR.as_secs() < 28);
// A datagram of a full Ethernet frame fits its buffer.
const _: () = assert!(DATAGRAM >= 1472 + 256);
// What is too long for a buffer is too long for the parser.
const _: () = assert!(DATAGRAM >= bootstorm_proto::dhcp::MESSAGE_MAX);
// Every buffer and every send can complete between two turns without overflowing the queue.
const _: () = assert!(
    (COMPLETIONS as usize)
        > REQUEST_BUFFERS as usize
            + DATAGRAM_BUFFERS as usize
            + STREAM_BUFFERS as usize
            + SEND_SLOTS
            + 2 * CONNECTIONS
            + 2 * READ_INS
);
// Nobody takes a whole worker by default.
const _: () = assert!(TRANSFERS_PER_CLIENT as usize <= TRANSFERS / 2);
// Buffer rings are powers of two.
const _: () = assert!(REQUEST_BUFFERS.is_power_of_two());
const _: () = assert!(DATAGRAM_BUFFERS.is_power_of_two() && STREAM_BUFFERS.is_power_of_two());
// A block with its header fits one send.
const _: () = assert!(TFTP_BLOCK_MAX as usize + 4 <= SEND_BYTES);

/// Connections of one worker from which on newcomers are told to come back later.
pub(crate) const HTTP_FULL: usize = CONNECTIONS - 64;
/// Bytes of a TLS handshake that wait for its turn: a hello and everything behind it.
pub(crate) const TLS_HANDSHAKE_BYTES: usize = 32 * 1024;
/// How long a TLS handshake may take, without its waiting for a turn.
pub(crate) const TLS_HANDSHAKE: Duration = Duration::from_secs(15);
/// How long a request may take to arrive, head and body.
pub(crate) const HTTP_REQUEST: Duration = Duration::from_secs(15);
/// How long a connection may stay open between requests.
pub(crate) const HTTP_IDLE: Duration = Duration::from_secs(60);
/// How long the control plane may take for an answer.
pub(crate) const HTTP_ANSWER: Duration = Duration::from_secs(30);
/// How long a client may take for one piece of a response.
pub(crate) const HTTP_STALL: Duration = Duration::from_secs(60);
/// How long iPXE shows an error before it goes on.
pub(crate) const HTTP_ERROR_SHOWN: Duration = Duration::from_secs(5);
/// How long a response may wait for its machine's turn before the client is told to come back.
pub(crate) const HTTP_TURN: Duration = Duration::from_secs(20);
/// The same for UEFI firmware, which gives up after 5 seconds without a head.
pub(crate) const HTTP_TURN_FIRMWARE: Duration = Duration::from_secs(4);
/// Bytes of a file written straight from the map at a time.
pub(crate) const HTTP_PIECE: u64 = 1 << 20;
/// Bodies up to this size are copied behind their head: one send instead of two.
pub(crate) const HTTP_INLINE: u64 = 16 * 1024;
/// Bytes of a body sealed at a time.
pub(crate) const TLS_BATCH: usize = 256 * 1024;
/// The same when more than [`HTTP_CROWD`] connections are open.
pub(crate) const TLS_BATCH_IN_CROWD: usize = 64 * 1024;
/// Connections from which on batches are small.
pub(crate) const HTTP_CROWD: usize = 512;
/// Buffers kept for the next response.
pub(crate) const HTTP_BUFFERS: usize = 64;
/// Parts of a file below this size are not told as transfers: drives read block by block.
pub(crate) const HTTP_TOLD_PART: u64 = 256 * 1024;

/// Bodies from this size on are worth asking the kernel to seal them.
pub(crate) const KERNEL_TLS_WORTH: u64 = 256 * 1024;
/// What a key of the kernel must still be good for, in bytes, when another response begins.
pub(crate) const KEY_RESERVE: u64 = 16 << 30;

// Sealed batches of all connections of a worker take less than 400 MiB.
const _: () =
    assert!(HTTP_CROWD * TLS_BATCH + (CONNECTIONS - HTTP_CROWD) * TLS_BATCH_IN_CROWD < 400 << 20);
