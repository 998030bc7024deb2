//! Every DHCP packet of the fixtures gets the reply, or the silence, that lies beside it.
//! `BLESS=1 cargo test -p bootstorm-proto --test dhcp` writes them anew; look at the difference.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;

use bootstorm_proto::dhcp::{
    Answer, Asker, ClientFacts, Port, REPLY_MAX, Request, Silence, Style, v6,
};
use bootstorm_proto::types::Family;

use crate::fixtures::{self, Fixture};

#[test]
fn every_packet_of_the_captures_is_answered_as_its_golden_reply_says() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut captures = BTreeSet::new();
    let mut wrong = Vec::new();
    for fixture in fixtures::all("dhcp") {
        let outcome = match answer(&fixture) {
            Ok(reply) => reply,
            Err(silence) => format!("{}\n", silence.code()),
        };
        let (ending, other) = if outcome.starts_with('#') {
            ("reply.hex", "silent")
        } else {
            ("silent", "reply.hex")
        };
        if bless {
            let _ = std::fs::remove_file(fixture.beside(other));
            std::fs::write(fixture.beside(ending), &outcome).unwrap();
        }
        let golden = std::fs::read_to_string(fixture.beside(ending)).unwrap_or_default();
        if golden != outcome {
            wrong.push(format!("{}: got\n{outcome}", fixture.name()));
        }
        captures.insert(fixture.path.parent().map(Path::to_owned));
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(captures.len(), 40, "a capture lost its DHCP packets");
}

fn answer(fixture: &Fixture) -> Result<String, Silence> {
    let mut buf = [0; REPLY_MAX];
    let (len, head) = match (fixture.from, fixture.to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            let request = Request::read(&fixture.bytes, &crate::packets::seen(from, to))?;
            let reply = request.reply(&boot(request.facts()), &Style::default(), &mut buf)?;
            let port = if to.port() == 67 {
                Port::Dhcp67
            } else {
                Port::Pxe4011
            };
            (
                reply.len,
                format!("# from {} to {}", port.number(), reply.to.address()),
            )
        }
        (SocketAddr::V6(source), _) => {
            let seen = v6::Seen {
                source,
                local: Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2),
                interface: 2,
            };
            let request = v6::Request::read(&fixture.bytes, &seen)?;
            let reply = request.reply(&boot(request.facts()), &Style::default(), &mut buf)?;
            (reply.len, format!("# from 547 to {}", reply.to))
        }
        (from, to) => panic!("{from} > {to}"),
    };
    let lines = buf[..len].chunks(32).map(hex::encode);
    Ok(std::iter::once(head)
        .chain(lines)
        .map(|line| line + "\n")
        .collect())
}

/// The decision of a server that has nothing but Debian's boot programs.
pub(crate) fn boot(facts: &ClientFacts) -> Answer {
    let family = facts.arches.iter().find_map(|arch| arch.family());
    let host = match facts.local {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let file = match (facts.asker, family) {
        (Asker::Ipxe, _) => format!("http://{host}:8080/boot"),
        (Asker::HttpFirmware, _) => format!("http://{host}:8080/images/boot/snponly.efi"),
        (Asker::Firmware, Some(Family::Bios)) => "boot/undionly.kpxe".to_owned(),
        (Asker::Firmware, _) => "boot/snponly.efi".to_owned(),
    };
    Answer::Boot {
        file: file.into(),
        server: None,
        delay: 0,
        windows: None,
    }
}
