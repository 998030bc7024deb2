#[path = "../../../../../tests/fixtures/load.rs"]
mod load;

use super::*;

/// Header fields that the program writes, and the options in their order. Which card the machine
/// has is no matter of the program.
fn shape(bytes: &[u8]) -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
    let mut header = bytes[..28].to_vec();
    header[4..10].fill(0);
    header.extend_from_slice(&bytes[34..240]);
    let mut options = Vec::new();
    let mut rest = &bytes[240..];
    while let [code, length, tail @ ..] = rest {
        if *code == 255 {
            break;
        }
        let (data, tail) = tail.split_at(usize::from(*length));
        let mut data = data.to_vec();
        if *code == 175 {
            data[2..7].fill(0);
        }
        options.push((*code, data));
        rest = tail;
    }
    (header, options)
}

fn same_as(capture: &str, message: Message) {
    let all = load::all("dhcp-");
    let name = format!("{capture}.hex");
    let fixture = all.iter().find(|fixture| fixture.name() == name);
    let fixture = fixture.unwrap_or_else(|| panic!("no fixture {name}"));
    let real = &fixture.bytes;
    let message = Message {
        mac: MacAddress::new(real[28..34].try_into().unwrap()),
        guid: *b"\x44\x33\x22\x11\x66\x55\x88\x77\x99\xaa\xbb\xcc\xdd\xee\xff\0",
        xid: u32::from_be_bytes(real[4..8].try_into().unwrap()),
        secs: u16::from_be_bytes(real[8..10].try_into().unwrap()),
        ..message
    };
    let written = message.encode();
    assert_eq!(shape(&written), shape(real), "{name}");
    assert_eq!(written.len(), real.len(), "{name}");
}

fn message(program: Program, ask: Ask) -> Message {
    Message {
        program,
        mac: MacAddress::new([0; 6]),
        guid: [0; 16],
        xid: 0,
        secs: 0,
        ask,
    }
}

const UEFI: Program = Program::Firmware(7);
const HTTP: Program = Program::Firmware(16);
const IPXE: Program = Program::Ipxe {
    arch: 0,
    https: false,
};
const LEASED: Ask = Ask::Request {
    server: Ipv4Addr::new(10, 99, 0, 1),
    address: Ipv4Addr::new(10, 99, 0, 168),
};

#[test]
fn uefi_asks_as_ovmf_does() {
    for ovmf in [
        "uefi-ovmf22-virtio-net-pci-norom-snponly12_efi",
        "proxy-ovmf22-virtio-net-pci-svc",
    ] {
        same_as(
            &format!("{ovmf}/01-dhcp-discover"),
            message(UEFI, Ask::Discover),
        );
        same_as(&format!("{ovmf}/02-dhcp-request"), message(UEFI, LEASED));
    }
    let ask = Ask::BootFile {
        address: Ipv4Addr::new(10, 99, 0, 168),
        server: Ipv4Addr::new(10, 99, 0, 2),
        item: None,
    };
    same_as(
        "proxy-ovmf22-virtio-net-pci-svc/03-dhcp-request-4011",
        message(UEFI, ask),
    );
}

#[test]
fn uefi_asks_for_http_as_ovmf_does() {
    let ovmf = "httpboot-ovmf25-https-rejected";
    same_as(
        &format!("{ovmf}/01-dhcp-discover"),
        message(HTTP, Ask::Discover),
    );
    same_as(&format!("{ovmf}/02-dhcp-request"), message(HTTP, LEASED));
}

#[test]
fn ipxe_asks_as_the_rom_in_seabios_does() {
    let rom = "bios-e1000-deb12-undionly_kpxe";
    same_as(
        &format!("{rom}/01-dhcp-discover"),
        message(IPXE, Ask::Discover),
    );
    same_as(&format!("{rom}/05-dhcp-request"), message(IPXE, LEASED));
    let ask = Ask::BootFile {
        address: Ipv4Addr::new(10, 99, 0, 168),
        server: Ipv4Addr::new(10, 99, 0, 2),
        item: Some(0x8002),
    };
    same_as(
        "proxy-bios-e1000-svc/05-dhcp-request-4011",
        message(IPXE, ask),
    );
}

#[test]
fn ipxe_below_uefi_asks_as_the_real_one_does() {
    let plain = Program::Ipxe {
        arch: 7,
        https: false,
    };
    let capture = "uefi-ovmf22-virtio-net-pci-norom-snponly12_efi";
    same_as(
        &format!("{capture}/11-dhcp-discover"),
        message(plain, Ask::Discover),
    );
    same_as(
        &format!("{capture}/15-dhcp-request"),
        message(plain, LEASED),
    );
    let secure = Program::Ipxe {
        arch: 7,
        https: true,
    };
    let capture = "uefi-ovmf25-virtio-net-pci-norom-snponly13_efi";
    same_as(
        &format!("{capture}/12-dhcp-discover"),
        message(secure, Ask::Discover),
    );
    same_as(
        &format!("{capture}/16-dhcp-request"),
        message(secure, LEASED),
    );
}

/// No capture of a classic ROM is at hand.
#[test]
fn a_rom_asks_as_the_pxe_specification_has_it() {
    let bytes = message(Program::Firmware(0), Ask::Discover).encode();
    let (header, options) = shape(&bytes);
    let codes: Vec<u8> = options.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [53, 55, 57, 97, 93, 94, 60]);
    assert_eq!((bytes.len(), header[10]), (548, 0x80));
    assert_eq!(options[6].1, b"PXEClient:Arch:00000:UNDI:002001");
}
