//! What boot managers of Windows get by TFTP: the whole program, and machines at several addresses
//! of loopback.

#![expect(clippy::unwrap_used, reason = "what a test stands on fails the test")]

mod program;
#[path = "../../../tests/fixtures/wim.rs"]
mod wim;

use std::net::{Ipv4Addr, UdpSocket};

use program::{Lab, PATIENCE, wait_until};

const CONFIG: &str = r#"
[tftp]
data_ports = "single"
[boot.nbp]
x64 = "bootmgfw.efi"
[boot.windows]
variables = "variables"
[[machine]]
mac = "52:54:00:00:00:02"
boot = "lab"
[[machine]]
mac = "52:54:00:00:00:03"
boot = "office"
"#;

/// A Windows PE for x64, as far as its description goes.
fn windows_pe() -> Vec<u8> {
    wim::Sample::winpe().build()
}

struct Server(program::Server);

impl Server {
    fn start() -> Self {
        let lab = Lab::new(&["pxe", "tftp"], CONFIG);
        for name in ["wimboot", "bootmgfw.efi", "boot.sdi"] {
            lab.write(&format!("images/boot/{name}"), name);
        }
        for name in ["lab.wim", "office.wim"] {
            lab.write(&format!("images/{name}"), windows_pe());
        }
        lab.write("variables/52-54-00-00-00-02.var", "the lab's secret");
        Self(lab.serve())
    }

    /// UEFI firmware at 127.0.0.`last` asks for its boot file; gives options 67, 243 and 252.
    fn boot(&self, last: u8) -> [Vec<u8>; 3] {
        let mut packet = vec![0; 236];
        packet[..3].copy_from_slice(&[1, 1, 6]);
        packet[4..8].copy_from_slice(&[7, 7, 7, last]);
        packet[12..16].copy_from_slice(&address(last).octets());
        packet[28..34].copy_from_slice(&[0x52, 0x54, 0, 0, 0, last]);
        packet.extend(b"\x63\x82\x53\x63\x35\x01\x03\x3c\x20PXEClient:Arch:00007:UNDI:003001");
        packet.extend(b"\x5d\x02\x00\x07\x5e\x03\x01\x03\x01\xff");
        let socket = socket(last);
        socket.send_to(&packet, self.0.at("pxe")).unwrap();
        let mut reply = [0; 1500];
        let (length, _) = socket.recv_from(&mut reply).unwrap();
        [67, 243, 252].map(|wanted| option(&reply[240..length], wanted))
    }

    /// The file that a machine gets, or what its screen shows instead.
    fn fetch(&self, last: u8, name: &str) -> Result<Vec<u8>, String> {
        let socket = socket(last);
        let request = [b"\0\x01", name.as_bytes(), b"\0octet\0"].concat();
        socket.send_to(&request, self.0.at("tftp")).unwrap();
        let mut file = Vec::new();
        let mut packet = [0; 600];
        loop {
            let (length, from) = socket.recv_from(&mut packet).unwrap();
            match &packet[..length] {
                [0, 3, high, low, data @ ..] => {
                    let number = usize::from(u16::from_be_bytes([*high, *low]));
                    socket.send_to(&[0, 4, *high, *low], from).unwrap();
                    if number == file.len() / 512 + 1 {
                        file.extend_from_slice(data);
                        if data.len() < 512 {
                            return Ok(file);
                        }
                    }
                }
                [0, 5, _, _, text @ ..] => return Err(String::from_utf8_lossy(text).into_owned()),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The same, once the server has taken in who has the address.
    fn fetch_known(&self, last: u8, name: &str) -> Vec<u8> {
        let mut file = None;
        wait_until("the address is of nobody", || {
            file = self.fetch(last, name).ok();
            file.is_some()
        });
        file.unwrap()
    }
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

fn socket(last: u8) -> UdpSocket {
    let socket = UdpSocket::bind((address(last), 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn option(mut options: &[u8], wanted: u8) -> Vec<u8> {
    while let [code, length, rest @ ..] = options {
        if *code == 0xff {
            break;
        }
        let (value, behind) = rest.split_at(usize::from(*length));
        if *code == wanted {
            return value.to_vec();
        }
        options = behind;
    }
    Vec::new()
}

fn names(store: &[u8], text: &str) -> bool {
    let text: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    store.windows(text.len()).any(|part| part == text)
}

fn path(option: &[u8]) -> &str {
    std::str::from_utf8(option).unwrap().trim_end_matches('\0')
}

#[test]
fn wds_17_each_machine_gets_its_own_store_and_variables_and_nobody_elses() {
    let server = Server::start();
    let [file, variables, lab] = server.boot(2);
    assert_eq!(path(&file), "bootmgfw.efi");
    let [_, none, office] = server.boot(3);
    assert!(none.is_empty() && lab != office);
    let [1, length, secret @ ..] = &variables[..] else {
        panic!("{variables:?}");
    };
    assert_eq!(usize::from(*length), secret.len());
    let (lab, office, secret) = (path(&lab), path(&office), path(secret));
    assert!(lab.starts_with("\\SMSTemp\\") && lab.ends_with("}.boot.bcd"));

    let store = server.fetch_known(2, "\\Boot\\BCD");
    assert!(names(&store, "\\lab.wim") && !names(&store, "office"));
    assert_eq!(server.fetch(2, lab).unwrap(), store);
    assert_eq!(server.fetch(2, &lab.to_lowercase()).unwrap(), store);
    let other = server.fetch_known(3, "/boot/bcd");
    assert!(names(&other, "\\office.wim") && !names(&other, "lab"));
    assert_eq!(server.fetch(3, office).unwrap(), other);
    assert_eq!(server.fetch(2, secret).unwrap(), b"the lab's secret");

    for (last, name) in [(3, lab), (2, office), (3, secret), (4, lab), (4, secret)] {
        assert!(server.fetch(last, name).is_err(), "{last} {name}");
    }
    assert!(server.fetch(4, "\\Boot\\BCD").is_err());
    // What the boot manager asks for next is that of the image, or lies in the usual place.
    assert_eq!(server.fetch(2, "\\SMSBoot\\boot.sdi").unwrap(), b"boot.sdi");
    assert_eq!(
        server.fetch(2, "\\Sources\\boot.wim").unwrap(),
        windows_pe()
    );
    let refused = server.fetch(2, "\\EFI\\Microsoft\\Boot\\SiPolicy.p7b");
    assert!(refused.unwrap_err().contains("SiPolicy"));
}
