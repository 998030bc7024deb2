//! Anything in any order: the invariants that [`Notes`] checks hold, and no connection is lost.

use proptest::prelude::*;

use super::*;

/// What can happen to a connection.
#[derive(Clone, Debug)]
enum Happening {
    Accept(ListenerKind),
    Receive(Vec<u8>),
    Taken,
    TakenPartly,
    HalfClosed,
    Reset,
    Answered,
    Passed(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let fragments = prop::sample::select(vec![
        &b"GET /images/big.wim HTTP/1.1\r\nHost: h\r\n\r\n"[..],
        b"GET /images/boot/small.efi HTTP/1.1\r\nHost: h\r\n",
        b"Range: bytes=5-900000\r\n",
        b"\r\n",
        b"HEAD /images/empty HTTP/1.0\r\n\r\n",
        b"POST /boot HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab",
        b"cd",
        b"\x16\x03\x01\x00\x05",
        b"\x15\x03\x03\x00\x02\x01\x00",
        b"\0",
    ]);
    prop_oneof![
        1 => Just(Happening::Accept(ListenerKind::Http)),
        1 => Just(Happening::Accept(ListenerKind::Https)),
        4 => fragments.prop_map(|bytes| Happening::Receive(bytes.to_vec())),
        1 => prop::collection::vec(any::<u8>(), 1..300).prop_map(Happening::Receive),
        6 => Just(Happening::Taken),
        1 => Just(Happening::TakenPartly),
        1 => Just(Happening::HalfClosed),
        1 => Just(Happening::Reset),
        2 => Just(Happening::Answered),
        1 => (0_u64..70).prop_map(Happening::Passed),
    ]
}

fn happen(bench: &mut Bench, slot: u32, what: Happening) {
    let conn = ConnId {
        slot,
        generation: 9,
    };
    let open = bench.driver.0.get(&slot).is_some_and(|n| !n.closed);
    let now = bench.now;
    match what {
        Happening::Accept(kind) if !open => {
            bench.driver.0.insert(slot, Noted::default());
            bench.accept(slot, kind);
        }
        Happening::Answered => {
            if let Ok(ask) = bench.asks.try_recv() {
                bench.answer(ask.ticket, b"#!ipxe\n".to_vec());
            }
        }
        Happening::Passed(seconds) => bench.pass(Duration::from_secs(seconds)),
        // Of a connection that is gone a driver tells nothing.
        _ if !open => {}
        Happening::Accept(_) => {}
        Happening::Receive(bytes) => bench.receive(conn, &bytes),
        Happening::Taken => {
            bench.take(conn);
        }
        Happening::TakenPartly => {
            if bench
                .driver
                .0
                .entry(slot)
                .or_default()
                .under_way
                .take()
                .is_some()
            {
                bench.service.written(&mut bench.driver, conn, 0, None, now);
            }
        }
        Happening::HalfClosed => bench.service.closed(&mut bench.driver, conn, None, now),
        Happening::Reset => {
            let reset = Some(ErrorKind::ConnectionReset);
            bench.service.closed(&mut bench.driver, conn, reset, now);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_every_connection_ends_and_is_counted_once(
        story in prop::collection::vec((0_u32..3, happening()), 1..120),
    ) {
        let mut bench = Bench::new();
        for (slot, what) in story {
            happen(&mut bench, slot, what);
            let open = bench.driver.0.values().filter(|n| !n.closed).count();
            prop_assert_eq!(bench.service.open(), open);
        }
        // Nobody takes or sends anything any more: time alone ends everything.
        for _ in 0..8 {
            bench.pass(Duration::from_secs(61));
        }
        prop_assert_eq!(bench.service.open(), 0);
        prop_assert_eq!(bench.metrics.http.active(), 0);
        prop_assert_eq!(bench.service.next_timeout(), None);
    }
}
