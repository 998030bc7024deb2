//! A datagram to port 547.
#![no_main]

use std::net::{Ipv6Addr, SocketAddrV6};

use bootstorm_proto::dhcp::{Answer, Style, v6};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|datagram: &[u8]| {
    let seen = v6::Seen {
        source: SocketAddrV6::new(Ipv6Addr::LOCALHOST, 546, 0, 1),
        local: Ipv6Addr::LOCALHOST,
        interface: 1,
    };
    if let Ok(request) = v6::Request::read(datagram, &seen) {
        let answer = Answer::Boot {
            file: "tftp://[fd99::2]/boot/snponly.efi".into(),
            server: None,
            delay: 0,
            windows: None,
        };
        let mut buf = [0; v6::REPLY_MAX];
        if let Ok(reply) = request.reply(&answer, &Style::default(), &mut buf) {
            assert!(reply.len <= buf.len());
        }
    }
});
