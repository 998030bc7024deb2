//! A datagram to port 67 or 4011. The first byte chooses the port and the style of the answer.
#![no_main]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use bootstorm_proto::dhcp::{
    Answer, BiosOffer, IpxeOption, Port, REPLY_MAX, Request, Seen, Style, UefiOffer, WdsAction,
    overheard, sniff,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(input));

fn run(input: &[u8]) {
    let Some((choice, datagram)) = input.split_first() else {
        return;
    };
    let seen = Seen {
        port: if choice & 1 == 0 {
            Port::Dhcp67
        } else {
            Port::Pxe4011
        },
        source: SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 9), 68),
        local: Ipv4Addr::new(10, 0, 0, 1),
        interface: 1,
        broadcast: choice & 2 == 0,
    };
    let style = Style {
        uefi: if choice & 4 == 0 {
            UefiOffer::TwoStep
        } else {
            UefiOffer::AllInOne
        },
        bios: if choice & 8 == 0 {
            BiosOffer::SkipDiscovery
        } else {
            BiosOffer::Menu
        },
        ipxe: if choice & 16 == 0 {
            IpxeOption::Absent
        } else {
            IpxeOption::Url
        },
        ..Style::default()
    };
    let _ = (sniff(datagram), overheard(datagram));
    let Ok(request) = Request::read(datagram, &seen) else {
        return;
    };
    assert!(!request.facts().arches.is_empty());
    if request.facts().wds.is_some() && choice & 32 != 0 {
        let answer = Answer::Wds(WdsAction::Wait {
            every: Duration::from_secs(10),
            times: 2160,
            request: 7,
            message: String::from_utf8_lossy(datagram).into_owned(),
        });
        let mut buf = [0; REPLY_MAX];
        if let Ok(reply) = request.reply(&answer, &style, &mut buf) {
            assert!(reply.len >= 300 && reply.len <= buf.len());
        }
    }
    let answer = Answer::Boot {
        file: "http://10.0.0.1/boot/snponly.efi".into(),
        server: None,
        delay: 0,
        windows: None,
    };
    let mut buf = [0; REPLY_MAX];
    if let Ok(reply) = request.reply(&answer, &style, &mut buf) {
        assert!(reply.len >= 300 && reply.len <= buf.len());
        assert_eq!(buf[16..20], [0; 4], "never an address");
        assert_eq!(buf[4..8], datagram[4..8], "the transaction is the client's");
    }
}
