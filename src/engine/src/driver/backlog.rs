//! What waits to be sent, whose turn it is, and how much of it one send takes.

use std::collections::VecDeque;

use arrayvec::ArrayVec;

use super::outgoing::{Load, Part, Train};
use super::{Busy, Packet, Payload, Transmit};
use crate::limits;

/// Packets and windows that wait. Packets go first: each is somebody's first answer. Those that
/// follow each other to one place, as broadcasts do and what one relay gets, share a send, which
/// costs little more than that of one. Windows take turns of one send each, so that a large one
/// does not keep many small ones waiting.
#[derive(Debug)]
pub(super) struct Backlog {
    /// What the kernel did not take since the last send, the earliest first.
    returned: Vec<Part>,
    /// What it did not take before that.
    again: VecDeque<Part>,
    packets: VecDeque<Part>,
    windows: VecDeque<Part>,
    segmentation: Segmentation,
    pool: Pool,
}

impl Backlog {
    pub(super) fn new() -> Self {
        Self {
            returned: Vec::with_capacity(limits::SEND_SLOTS),
            again: VecDeque::with_capacity(limits::SEND_SLOTS),
            packets: VecDeque::with_capacity(limits::SEND_BACKLOG),
            windows: VecDeque::with_capacity(limits::SEND_BACKLOG),
            segmentation: Segmentation::default(),
            pool: Pool::new(),
        }
    }

    /// An empty packet.
    pub(super) fn packet(&mut self) -> Box<Packet> {
        self.pool.packets.pop().unwrap_or_default()
    }

    /// Queues a packet or a window.
    ///
    /// # Errors
    /// [`Busy`] with the transmit back when too many wait.
    pub(super) fn push(&mut self, transmit: Transmit) -> Result<(), (Busy, Transmit)> {
        let window = matches!(transmit.payload, Payload::Window { .. });
        let queue = if window {
            &mut self.windows
        } else {
            &mut self.packets
        };
        if queue.len() >= limits::SEND_BACKLOG {
            return Err((Busy, transmit));
        }
        self.segmentation.count(transmit.interface);
        queue.push_back(transmit.into());
        Ok(())
    }

    /// Takes the next send.
    pub(super) fn pop(&mut self) -> Option<Part> {
        while let Some(part) = self.returned.pop() {
            self.again.push_front(part);
        }
        if let Some(mut part) = self.again.pop_front() {
            if let Some(rest) = self.segmentation.cut(&mut part) {
                self.again.push_front(rest);
            }
            return Some(part);
        }
        if let Some(first) = self.packets.pop_front() {
            return Some(self.couple(first));
        }
        let mut part = self.windows.pop_front()?;
        if let Some(rest) = self.segmentation.cut(&mut part) {
            self.windows.push_back(rest);
        }
        Some(part)
    }

    /// Adds the packets behind it that may leave in the same send.
    fn couple(&mut self, first: Part) -> Part {
        let behind = self.behind(&first);
        if behind == 0 {
            return first;
        }
        let mut train = self.pool.trains.pop().unwrap_or_default();
        let loads = self.packets.drain(..behind).map(|part| part.load);
        let packets = std::iter::once(first.load).chain(loads);
        train.extend(packets.filter_map(Load::packet));
        Part {
            load: Load::Train(train),
            ..first
        }
    }

    /// How many of the packets that wait may leave in one send with `first`: the kernel cuts it into
    /// datagrams of one length, of which the last may be shorter.
    fn behind(&self, first: &Part) -> usize {
        let Some(length) = first.packet_length().filter(|length| *length > 0) else {
            return 0;
        };
        let together = self.segmentation.together(first.interface, length as u32);
        let mut is_last = false;
        let follows = |next: &&Part| {
            let fits = next.packet_length().filter(|next| *next <= length);
            let follows = !is_last && fits.is_some() && next.goes_with(first);
            is_last = fits != Some(length);
            follows
        };
        let behind = self.packets.iter().take(usize::from(together) - 1);
        behind.take_while(follows).count()
    }

    /// The kernel did not take a send: it goes again, before everything else.
    pub(super) fn give_back(&mut self, part: Part) {
        self.returned.push(part);
    }

    /// The kernel refused a send with this error: when that may be for the number of datagrams in
    /// it, they go again one by one, else the send is given back for good.
    pub(super) fn refused(&mut self, part: Part, error: i32) -> Option<Part> {
        let (segment, count) = match &part.load {
            Load::Packet(_) => return Some(part),
            Load::Train(train) => (train.first().map_or(0, |p| p.len()) as u32, train.len()),
            Load::Blocks(blocks) => (blocks.segment(), blocks.count().into()),
        };
        if let Load::Blocks(blocks) = &part.load
            && error == libc::EFAULT
        {
            blocks.unreadable();
        }
        let segmentation = matches!(error, libc::EIO | libc::EINVAL | libc::EMSGSIZE);
        if !segmentation || count == 1 {
            return Some(part);
        }
        let interface = part.interface;
        tracing::debug!(
            interface,
            segment,
            error,
            "no segmentation here: datagrams leave one by one"
        );
        self.segmentation
            .refuse(interface, segment, error == libc::EIO);
        match part.load {
            Load::Train(mut train) => {
                let one_by_one = train.drain(..).map(|packet| Part {
                    load: Load::Packet(packet),
                    ..part
                });
                self.returned.extend(one_by_one);
                self.pool.trains.push(train);
            }
            Load::Packet(_) | Load::Blocks(_) => self.returned.push(part),
        }
        None
    }

    /// Takes the packets of a send that is over.
    pub(super) fn reuse(&mut self, part: Part) {
        match part.load {
            Load::Packet(packet) => self.pool.give_back(packet),
            Load::Train(mut train) => {
                train
                    .drain(..)
                    .for_each(|packet| self.pool.give_back(packet));
                self.pool.trains.push(train);
            }
            Load::Blocks(_) => {}
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.returned.is_empty()
            && self.again.is_empty()
            && self.packets.is_empty()
            && self.windows.is_empty()
    }
}

/// Empty packets and trains for the next sends.
#[derive(Debug)]
struct Pool {
    packets: Train,
    /// No more than there are sends under way.
    trains: Vec<Train>,
}

impl Pool {
    fn new() -> Self {
        Self {
            packets: Vec::with_capacity(limits::PACKET_POOL),
            trains: Vec::with_capacity(limits::SEND_SLOTS),
        }
    }

    fn give_back(&mut self, mut packet: Box<Packet>) {
        if self.packets.len() < limits::PACKET_POOL {
            packet.clear();
            self.packets.push(packet);
        }
    }
}

/// Which interfaces do not take several datagrams in one send.
#[derive(Debug, Default)]
struct Segmentation {
    refused: ArrayVec<Refused, 64>,
}

#[derive(Debug)]
struct Refused {
    interface: u32,
    /// Datagrams of this size and larger.
    from: u32,
    /// Packets and windows after which it is tried again: an MTU may have changed.
    left: u32,
}

const TRY_AGAIN: u32 = 20_000;

impl Segmentation {
    /// Whether datagrams of `segment` bytes may leave through `interface` several at a time.
    fn allowed(&self, interface: u32, segment: u32) -> bool {
        !self
            .refused
            .iter()
            .any(|r| r.interface == interface && segment >= r.from)
    }

    /// A send was refused: no device behind `interface` sums checksums (EIO) or `segment` bytes
    /// are more than the route's MTU (EINVAL, EMSGSIZE).
    fn refuse(&mut self, interface: u32, segment: u32, whole_device: bool) {
        let from = if whole_device { 0 } else { segment };
        if let Some(known) = self.refused.iter_mut().find(|r| r.interface == interface) {
            known.from = known.from.min(from);
            known.left = TRY_AGAIN;
            return;
        }
        if self.refused.is_full() {
            self.refused.pop_at(0);
        }
        self.refused.push(Refused {
            interface,
            from,
            left: TRY_AGAIN,
        });
    }

    /// Counts a packet or window towards the next attempt.
    fn count(&mut self, interface: u32) {
        if let Some(at) = self.refused.iter().position(|r| r.interface == interface) {
            let known = &mut self.refused[at];
            known.left -= 1;
            if known.left == 0 {
                self.refused.swap_pop(at);
            }
        }
    }

    /// Cuts a window down to what one send takes; answers the rest of it.
    fn cut(&self, part: &mut Part) -> Option<Part> {
        let Load::Blocks(blocks) = &mut part.load else {
            return None;
        };
        let together = self.together(part.interface, blocks.segment());
        let rest = blocks.split_off(together)?;
        Some(Part {
            load: Load::Blocks(rest),
            ..*part
        })
    }

    fn together(&self, interface: u32, segment: u32) -> u16 {
        if !self.allowed(interface, segment) {
            return 1;
        }
        let fit = limits::SEND_BYTES / segment as usize;
        fit.clamp(1, limits::SEGMENTS) as u16
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use bootstorm_catalog::File;

    use super::*;
    use crate::driver::SocketId;
    use crate::driver::tests::file;

    fn window(file: &Arc<File>, interface: u32, blocks: u16, rollover: u16) -> Transmit {
        Transmit {
            socket: SocketId(0),
            to: SocketAddr::from(([10, 0, 0, 1], 2000)),
            from: None,
            interface,
            payload: Payload::Window {
                file: Arc::clone(file),
                first_number: 65500,
                offset: 0,
                blocks,
                block_size: 1468,
                rollover,
            },
        }
    }

    fn parts(backlog: &mut Backlog) -> Vec<Part> {
        std::iter::from_fn(|| backlog.pop()).collect()
    }

    fn datagrams(parts: &[Part]) -> Vec<Vec<u8>> {
        parts.iter().flat_map(Part::datagrams).collect()
    }

    fn packet(text: &[u8]) -> Transmit {
        let mut packet = Box::<crate::driver::Packet>::default();
        packet.try_extend_from_slice(text).unwrap();
        Transmit {
            payload: Payload::Packet(packet),
            ..window(&file(1), 1, 1, 0)
        }
    }

    #[test]
    fn a_large_window_is_cut_into_the_fewest_sends() {
        let file = file(1468 * 100);
        let mut backlog = Backlog::new();
        for rollover in [0, 1] {
            backlog.push(window(&file, 1, 101, rollover)).unwrap();
            let parts = parts(&mut backlog);
            assert_eq!(parts.len(), 3);
            let all = datagrams(&parts);
            assert_eq!(all.len(), 101);
            assert_eq!(all[35][..4], [0, 3, 255, 255]);
            assert_eq!(all[36][..4], [0, 3, 0, rollover as u8]);
            // A file that ends with a full block ends with an empty one more.
            assert_eq!(all[100].len(), 4);
            let content: Vec<u8> = all.iter().flat_map(|d| d[4..].to_vec()).collect();
            assert!(content == *file.content);
        }
    }

    #[test]
    fn a_large_window_does_not_keep_small_ones_waiting() {
        let file = file(1468 * 1024);
        let mut backlog = Backlog::new();
        let large = Transmit {
            to: SocketAddr::from(([10, 0, 0, 2], 2000)),
            ..window(&file, 1, 1024, 0)
        };
        let large_to = large.to;
        backlog.push(large).unwrap();
        for _ in 0..100 {
            backlog.push(window(&file, 1, 16, 0)).unwrap();
        }
        backlog.push(packet(b"first")).unwrap();
        let parts = parts(&mut backlog);
        assert!(matches!(parts[0].load, Load::Packet(_)));
        // One send of the large window, then each small one whole.
        assert_eq!(parts[1].to, large_to);
        assert!(parts[2..102].iter().all(|p| p.to != large_to));
        let large: Vec<Part> = parts.into_iter().filter(|p| p.to == large_to).collect();
        let content: Vec<u8> = datagrams(&large)
            .iter()
            .flat_map(|d| d[4..].to_vec())
            .collect();
        assert!(content == *file.content);
    }

    #[test]
    fn what_did_not_fit_goes_first_and_in_its_order() {
        let file = file(1468 * 200);
        let mut backlog = Backlog::new();
        backlog.push(window(&file, 1, 200, 0)).unwrap();
        let held = [backlog.pop().unwrap(), backlog.pop().unwrap()];
        let wanted = datagrams(&held);
        backlog.push(packet(b"later")).unwrap();
        for part in held {
            backlog.give_back(part);
        }
        assert!(!backlog.is_empty());
        let again: Vec<Part> = (0..2).filter_map(|_| backlog.pop()).collect();
        assert_eq!(datagrams(&again), wanted);
        assert!(matches!(backlog.pop().unwrap().load, Load::Packet(_)));
        assert_eq!(parts(&mut backlog).len(), 3);
        assert!(backlog.is_empty());
    }

    fn of_length(length: usize) -> Transmit {
        packet(&vec![b'x'; length])
    }

    /// How many datagrams each send has.
    fn sends(backlog: &mut Backlog) -> Vec<u16> {
        parts(backlog).iter().map(Part::datagrams_in).collect()
    }

    #[test]
    fn packets_of_one_length_to_one_place_share_a_send() {
        let mut backlog = Backlog::new();
        let cases: [(&[usize], &[u16]); 6] = [
            (&[300, 300, 300], &[3]),
            (&[300, 300, 299, 299, 300], &[3, 1, 1]),
            (&[300, 301, 301], &[1, 2]),
            (&[300, 299, 299, 299], &[2, 2]),
            (&[0, 0], &[1, 1]),
            (&[1400; 50], &[46, 4]),
        ];
        for (lengths, wanted) in cases {
            for length in lengths {
                backlog.push(of_length(*length)).unwrap();
            }
            assert_eq!(sends(&mut backlog), wanted, "{lengths:?}");
        }
        for _ in 0..100 {
            backlog.push(of_length(300)).unwrap();
        }
        assert_eq!(sends(&mut backlog), [64, 36]);
    }

    #[test]
    fn packets_that_differ_in_their_way_do_not_share_a_send() {
        let one = || of_length(300);
        let other_place = Transmit {
            to: SocketAddr::from(([10, 0, 0, 2], 2000)),
            ..one()
        };
        let other_socket = Transmit {
            socket: SocketId(1),
            ..one()
        };
        let other_source = Transmit {
            from: Some([10, 0, 0, 9].into()),
            ..one()
        };
        let other_interface = Transmit {
            interface: 2,
            ..one()
        };
        for other in [other_place, other_socket, other_source, other_interface] {
            let mut backlog = Backlog::new();
            backlog.push(one()).unwrap();
            backlog.push(other).unwrap();
            backlog.push(one()).unwrap();
            assert_eq!(sends(&mut backlog), [1, 1, 1]);
        }
    }

    #[test]
    fn packets_that_a_device_refused_together_leave_one_by_one() {
        let mut backlog = Backlog::new();
        for text in [b"a", b"b", b"c"] {
            backlog.push(packet(text)).unwrap();
        }
        let train = backlog.pop().unwrap();
        let wanted = datagrams(std::slice::from_ref(&train));
        assert!(backlog.refused(train, libc::EIO).is_none());
        backlog.push(packet(b"d")).unwrap();
        backlog.push(packet(b"e")).unwrap();
        let again = parts(&mut backlog);
        assert_eq!(again.len(), 5);
        assert_eq!(datagrams(&again[..3]), wanted);
        for part in again {
            let part = backlog.refused(part, libc::EIO).unwrap();
            backlog.reuse(part);
        }
        // A train that could not leave for another reason is not tried for ever either.
        let mut backlog = Backlog::new();
        backlog.push(packet(b"a")).unwrap();
        backlog.push(packet(b"b")).unwrap();
        let train = backlog.pop().unwrap();
        let train = backlog.refused(train, libc::EPERM).unwrap();
        backlog.reuse(train);
        assert!(backlog.is_empty() && backlog.packet().is_empty());
    }

    #[test]
    fn what_a_device_refused_is_sent_one_by_one_and_remembered() {
        let file = file(1468 * 10);
        let mut backlog = Backlog::new();
        backlog.push(window(&file, 7, 11, 0)).unwrap();
        let whole = backlog.pop().unwrap();
        let wanted = datagrams(std::slice::from_ref(&whole));
        assert!(backlog.refused(whole, libc::EMSGSIZE).is_none());
        let again = parts(&mut backlog);
        assert_eq!(again.len(), 11);
        assert_eq!(datagrams(&again), wanted);
        // A single datagram that is refused is not tried for ever.
        for part in again {
            assert!(backlog.refused(part, libc::EMSGSIZE).is_some());
        }
        assert!(backlog.is_empty());
        // The path is too narrow for this size, not for smaller ones, and only there.
        for (interface, sends) in [(7, 11), (8, 1)] {
            backlog.push(window(&file, interface, 11, 0)).unwrap();
            assert_eq!(parts(&mut backlog).len(), sends);
        }
        assert!(backlog.segmentation.allowed(7, 516));
        backlog.segmentation.refuse(7, 1472, true);
        assert!(!backlog.segmentation.allowed(7, 516));
        // In the end it is tried again.
        for _ in 0..TRY_AGAIN {
            backlog.push(window(&file, 7, 1, 0)).unwrap();
            drop(backlog.pop());
        }
        assert!(backlog.segmentation.allowed(7, 1472));
        // A host of many interfaces does not fill the memory.
        for interface in 100..1000 {
            backlog.segmentation.refuse(interface, 1472, true);
        }
        assert!(!backlog.segmentation.allowed(999, 12));
    }

    #[test]
    fn more_than_fits_is_busy() {
        let file = file(10);
        let mut backlog = Backlog::new();
        for _ in 0..limits::SEND_BACKLOG {
            backlog.push(window(&file, 1, 1, 0)).unwrap();
        }
        let (Busy, back) = backlog.push(window(&file, 1, 1, 0)).unwrap_err();
        assert_eq!(back.interface, 1);
        // Packets wait in a queue of their own.
        backlog.push(packet(b"error")).unwrap();
    }
}
