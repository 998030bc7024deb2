use super::*;

const SERVER: &str = "10.0.0.2:69";
const PEER: &str = "10.0.0.2:4711";

struct Wire {
    session: Session,
    now: Instant,
}

impl Wire {
    fn start(block_size: u16, window: u16) -> Self {
        let now = Instant::now();
        let wish = Wish {
            file: "a",
            block_size,
            window,
        };
        let session = Session::start(&wish, SERVER.parse().unwrap(), now);
        Self { session, now }
    }

    /// With block size 8 and window 4 agreed on.
    fn open() -> Self {
        let mut wire = Self::start(8, 4);
        let oack = b"\0\x06blksize\x008\0windowsize\x004\0";
        assert_eq!(wire.hear(PEER, oack), Heard::Send);
        assert_eq!(wire.ack(), 0);
        wire
    }

    fn hear(&mut self, from: &str, packet: &[u8]) -> Heard {
        let from = from.parse().unwrap();
        let head = &packet[..packet.len().min(64)];
        self.session.handle(from, head, packet.len(), self.now)
    }

    fn data(&mut self, number: u16, payload: usize) -> Heard {
        let [high, low] = number.to_be_bytes();
        let mut packet = vec![0, 3, high, low];
        packet.resize(4 + payload, 0x5a);
        self.hear(PEER, &packet)
    }

    fn ack(&self) -> u16 {
        match self.session.packet() {
            (SmallPacket::Ack([0, 4, high, low]), to) if to == PEER.parse().unwrap() => {
                u16::from_be_bytes([high, low])
            }
            other => panic!("no acknowledgement: {other:?}"),
        }
    }
}

#[test]
fn the_request_carries_what_was_wished() {
    let wire = Wire::start(1468, 16);
    let (packet, to) = wire.session.packet();
    let request = b"\0\x01a\0octet\0blksize\x001468\0windowsize\x0016\0";
    assert_eq!(packet.bytes(), request);
    assert_eq!(to, SERVER.parse().unwrap());
    let plain = Wire::start(512, 1);
    assert_eq!(plain.session.packet().0.bytes(), b"\0\x01a\0octet\0");
}

#[test]
fn a_window_is_acknowledged_once_and_the_short_block_ends_it() {
    let mut wire = Wire::open();
    for number in 1..=3 {
        assert_eq!(wire.data(number, 8), Heard::Block(8));
    }
    assert_eq!(wire.data(4, 8), Heard::BlockAndSend(8));
    assert_eq!(wire.ack(), 4);
    assert_eq!(wire.data(5, 8), Heard::Block(8));
    assert_eq!(wire.data(6, 0), Heard::Last(0));
    assert_eq!(wire.ack(), 6);
    assert_eq!(wire.session.counts().bytes, 40);
}

#[test]
fn a_server_without_options_sends_blocks_of_512() {
    let mut wire = Wire::start(1468, 16);
    assert_eq!(wire.data(1, 512), Heard::BlockAndSend(512));
    assert_eq!(wire.data(2, 511), Heard::Last(511));
}

#[test]
fn a_lost_block_is_told_once_and_the_window_begins_again_behind_it() {
    let mut wire = Wire::open();
    assert_eq!(wire.data(1, 8), Heard::Block(8));
    assert_eq!(wire.data(3, 8), Heard::Send);
    assert_eq!(wire.ack(), 1);
    assert_eq!(wire.data(4, 8), Heard::Nothing);
    // The new window has four blocks again.
    for number in 2..=4 {
        assert_eq!(wire.data(number, 8), Heard::Block(8));
    }
    assert_eq!(wire.data(5, 8), Heard::BlockAndSend(8));
    assert_eq!(wire.session.counts().gaps, 1);
    assert_eq!(wire.session.counts().bytes, 40);
}

#[test]
fn blocks_that_came_before_are_counted_and_a_lost_acknowledgement_is_repeated() {
    let mut wire = Wire::open();
    for number in 1..=4 {
        wire.data(number, 8);
    }
    // Our acknowledgement was lost: the window comes again.
    for number in 1..=3 {
        assert_eq!(wire.data(number, 8), Heard::Nothing);
    }
    assert_eq!(wire.data(4, 8), Heard::Send);
    assert_eq!(wire.ack(), 4);
    assert_eq!(wire.session.counts().duplicates, 4);
    assert_eq!(wire.session.counts().bytes, 32);
}

#[test]
fn a_packet_from_elsewhere_disturbs_nothing() {
    let mut wire = Wire::open();
    wire.data(1, 8);
    let stray = wire.hear("10.0.0.2:9999", b"\0\x05\0\x01gone\0");
    assert_eq!(stray, Heard::Stray);
    assert_eq!(wire.data(2, 8), Heard::Block(8));
    assert_eq!(wire.session.counts().strays, 1);
}

#[test]
fn errors_and_rubbish_end_it_with_their_reason() {
    let error = Wire::start(8, 4).hear(PEER, b"\0\x05\0\x01File not found\0");
    assert_eq!(
        error,
        Heard::Failed("TFTP error 1: File not found".to_owned())
    );
    for rubbish in [
        &b""[..],
        b"\0",
        b"\0\x03\0",
        b"\0\x01a\0octet\0",
        b"\xff\xff",
    ] {
        let heard = Wire::start(8, 4).hear(PEER, rubbish);
        assert!(matches!(heard, Heard::Failed(_)), "{rubbish:?}");
    }
    let mut wire = Wire::open();
    assert!(matches!(wire.data(1, 9), Heard::Failed(_)));
}

#[test]
fn an_oack_with_more_than_was_asked_for_is_refused() {
    for oack in [
        &b"\0\x06blksize\x009\0"[..],
        b"\0\x06windowsize\x005\0",
        b"\0\x06windowsize\x000\0",
        b"\0\x06multicast\0x\0",
    ] {
        let heard = Wire::start(8, 4).hear(PEER, oack);
        assert!(matches!(heard, Heard::Failed(_)), "{oack:?}");
    }
}

#[test]
fn a_repeated_oack_is_answered_again_until_data_came() {
    let mut wire = Wire::open();
    let oack = b"\0\x06blksize\x008\0windowsize\x004\0";
    assert_eq!(wire.hear(PEER, oack), Heard::Send);
    wire.data(1, 8);
    assert_eq!(wire.hear(PEER, oack), Heard::Nothing);
}

#[test]
fn waits_double_and_a_silent_server_is_given_up() {
    let mut wire = Wire::open();
    wire.data(1, 8);
    let mut waits = Vec::new();
    loop {
        let deadline = wire.session.deadline();
        waits.push(deadline.duration_since(wire.now).as_secs());
        wire.now = deadline;
        match wire.session.timed_out(wire.now) {
            Heard::Send => assert_eq!(wire.ack(), 1),
            Heard::Failed(reason) => {
                assert_eq!(reason, "the server fell silent");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32]);
    assert_eq!(wire.session.counts().timeouts, 6);
    assert_eq!(wire.session.counts().retransmitted, 5);
}

#[test]
fn block_numbers_roll_over() {
    let mut wire = Wire::open();
    for round in 0..3_u32 {
        for number in 0..=u16::MAX {
            if round == 0 && number == 0 {
                continue;
            }
            let heard = wire.data(number, 8);
            assert!(matches!(heard, Heard::Block(8) | Heard::BlockAndSend(8)));
        }
    }
    assert_eq!(wire.session.counts().bytes, (3 * 65536 - 1) * 8);
}

#[test]
fn the_wait_begins_when_a_held_back_packet_leaves() {
    let mut wire = Wire::open();
    let later = wire.now + Duration::from_millis(500);
    wire.session.sent_late(later);
    assert_eq!(wire.session.deadline(), later + WAIT);
}
