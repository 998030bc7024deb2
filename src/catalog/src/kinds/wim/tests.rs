use proptest::prelude::*;

use super::sample::{LZMS, Sample, utf16};
use super::*;

const PE: &str = "<NAME>pe</NAME><WINDOWS><ARCH>9</ARCH><EDITIONID>WindowsPE</EDITIONID></WINDOWS>";
const SETUP: &str = "<NAME>Professional</NAME><WINDOWS><ARCH>9</ARCH>\
    <INSTALLATIONTYPE>Client</INSTALLATIONTYPE></WINDOWS>";

fn parse(sample: &Sample) -> Wim {
    Wim::parse(&sample.build()).unwrap()
}

fn refusal(sample: &Sample) -> &'static str {
    Wim::parse(&sample.build()).unwrap_err().code()
}

fn boot_refusal(sample: &Sample) -> &'static str {
    parse(sample).boot_image(None).unwrap_err().code
}

#[test]
fn stock_winpe_tells_all_about_itself() {
    let wim = parse(&Sample::winpe());
    assert_eq!(
        (wim.compression, wim.chunk_size, wim.boot_index),
        (Compression::Lzx, 32_768, 1)
    );
    let image = wim.boot_image(None).unwrap();
    assert_eq!(image.name, "Microsoft Windows PE (x64)");
    assert_eq!(image.description, "A & B");
    assert_eq!(image.arch, Some(WimArch::X64));
    assert_eq!(image.version, Some([10, 0, 26_100, 1]));
    assert_eq!(image.languages, ["en-US"]);
    assert_eq!(
        (image.product.as_str(), image.total_bytes),
        ("Microsoft® Windows", 1_700_000_000)
    );
}

#[test]
fn boot_index_of_the_header_decides_and_a_wanted_one_overrides_it() {
    let mut sample = Sample::winpe().with_images(&[PE, SETUP, PE]);
    sample.boot_index = 3;
    let wim = parse(&sample);
    assert_eq!(wim.boot_image(None).unwrap().index, 3);
    assert_eq!(wim.boot_image(Some(1)).unwrap().index, 1);
    assert_eq!(
        wim.boot_image(Some(4)).unwrap_err().code,
        "wim.no-such-image"
    );
}

#[test]
fn without_a_boot_index_the_only_windows_pe_boots() {
    let mut sample = Sample::winpe().with_images(&[SETUP, PE]);
    sample.boot_index = 0;
    assert_eq!(parse(&sample).boot_image(None).unwrap().index, 2);
    let mut two = Sample::winpe().with_images(&[PE, PE]);
    two.boot_index = 0;
    assert_eq!(boot_refusal(&two), "wim.no-boot-index");
    let mut none = Sample::winpe().with_images(&[SETUP, SETUP]);
    none.boot_index = 0;
    assert_eq!(boot_refusal(&none), "wim.not-windows-pe");
}

#[test]
fn what_wimboot_cannot_read_is_refused_with_a_reason() {
    let change = |f: fn(&mut Sample)| {
        let mut sample = Sample::winpe();
        f(&mut sample);
        boot_refusal(&sample)
    };
    assert_eq!(change(|s| s.version = 0xe00), "wim.solid");
    assert_eq!(change(|s| s.flags = LZMS), "wim.lzms");
    assert_eq!(change(|s| s.flags = 2), "wim.unknown-compression");
    assert_eq!(change(|s| s.part = (1, 3)), "wim.spanned");
    assert_eq!(change(|s| s.chunk = 65_536), "wim.chunk-size");
    let empty = Sample {
        boot_index: 0,
        ..Sample::winpe().with_images(&[])
    };
    assert_eq!(boot_refusal(&empty), "wim.no-image");
}

#[test]
fn damaged_headers_are_refused_with_a_code_each() {
    let change = |f: fn(&mut Sample)| {
        let mut sample = Sample::winpe();
        f(&mut sample);
        refusal(&sample)
    };
    assert_eq!(change(|s| s.flags |= 0x40), "wim.write-in-progress");
    assert_eq!(change(|s| s.version = 1), "wim.bad-header");
    assert_eq!(change(|s| s.boot_index = 2), "wim.bad-header");
    assert_eq!(change(|s| s.chunk = 1000), "wim.bad-header");
    assert_eq!(change(|s| s.part = (4, 1)), "wim.bad-header");
    assert_eq!(change(|s| s.images = 2), "wim.bad-xml");
    assert_eq!(change(|s| s.images = 2000), "wim.too-many-images");
    let mut inside_header = Sample::winpe().build();
    inside_header[80..88].copy_from_slice(&8_u64.to_le_bytes());
    assert_eq!(
        Wim::parse(&inside_header).unwrap_err().code(),
        "wim.bad-offset"
    );
    let mut nowhere = Sample::winpe().build();
    nowhere[80..88].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(Wim::parse(&nowhere).unwrap_err().code(), "wim.bad-offset");
}

#[test]
fn a_file_cut_anywhere_is_called_truncated() {
    let whole = Sample::winpe().build();
    for len in 1..whole.len() {
        assert_eq!(
            Wim::parse(&whole[..len]).unwrap_err().code(),
            "wim.truncated",
            "{len}"
        );
    }
    assert_eq!(Wim::parse(b"").unwrap_err().code(), "wim.not-a-wim");
    assert_eq!(
        Wim::parse(b"PK\x03\x04 and more").unwrap_err().code(),
        "wim.not-a-wim"
    );
}

#[test]
fn xml_bombs_are_refused() {
    let xml = |text: &str| Sample {
        xml: utf16(text),
        ..Sample::winpe()
    };
    let entities = "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><WIM><IMAGE INDEX=\"1\">&a;</IMAGE></WIM>";
    assert_eq!(refusal(&xml(entities)), "wim.bad-xml");
    let undefined = "<WIM><IMAGE INDEX=\"1\"><NAME>&a;</NAME></IMAGE></WIM>";
    assert_eq!(refusal(&xml(undefined)), "wim.bad-xml");
    assert_eq!(refusal(&xml(&"<A>".repeat(1000))), "wim.bad-xml");
    assert_eq!(refusal(&xml("<WIM><IMAGE INDEX=\"1\">")), "wim.bad-xml");
    assert_eq!(
        refusal(&xml(&format!("<WIM>{}</WIM>", " ".repeat(1 << 20)))),
        "wim.xml-too-large"
    );
    let many = "<IMAGE INDEX=\"1\"/>".repeat(MAX_IMAGES + 1);
    assert_eq!(
        refusal(&xml(&format!("<WIM>{many}</WIM>"))),
        "wim.too-many-images"
    );
    assert_eq!(
        refusal(&Sample {
            xml: vec![0xff, 0xfe, 0x00],
            ..Sample::winpe()
        }),
        "wim.bad-xml"
    );
    let lone = vec![0xff, 0xfe, 0x00, 0xd8];
    assert_eq!(
        refusal(&Sample {
            xml: lone,
            ..Sample::winpe()
        }),
        "wim.bad-xml"
    );
}

#[test]
fn names_lose_control_characters_and_are_cut() {
    let long = "n".repeat(5000);
    let text = format!("<NAME>a\u{1b}[31m\nb{long}</NAME>");
    let wim = parse(&Sample::winpe().with_images(&[&text]));
    assert!(wim.images[0].name.starts_with("a [31m b"));
    assert!(wim.images[0].name.len() <= 1024);
}

proptest! {
    #[test]
    fn mutated_files_never_panic(
        changes in prop::collection::vec((0_usize..600, any::<u8>()), 1..20),
        cut in 0_usize..2000,
    ) {
        let mut file = Sample::winpe().build();
        for (at, byte) in changes {
            let len = file.len();
            file[at % len] = byte;
        }
        file.truncate(cut.max(1));
        if let Ok(wim) = Wim::parse(&file) {
            let _ = wim.boot_image(None);
        }
    }

    #[test]
    fn any_xml_never_panics(text in "(<|>|/|IMAGE|WIM|INDEX=\"1\"|&|;|#|x|[a-z0-9 \u{0}-\u{ff}]){0,60}") {
        let sample = Sample { xml: utf16(&text), ..Sample::winpe() };
        let _ = Wim::parse(&sample.build());
    }

    #[test]
    fn arbitrary_bytes_behind_the_magic_never_panic(rest in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut file = b"MSWIM\0\0\0\xd0\0\0\0\0\x0d\x01\0".to_vec();
        file.extend(rest);
        let _ = Wim::parse(&file);
    }
}
