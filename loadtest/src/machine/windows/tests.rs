use super::*;
use crate::machine::behaviour::Behaviour;
use crate::machine::profile::Profile;
use crate::machine::simulated::{BCD, Lab, good, plan};

fn run(files: &[(&str, &[u8])]) -> Lab {
    let all: Vec<(&str, &[u8])> = [("snponly.efi", &b"MZ"[..])]
        .into_iter()
        .chain(files.iter().copied())
        .collect();
    Lab::new(
        Profile::WindowsTftp,
        plan(),
        Behaviour::default(),
        good(&all),
    )
    .run()
}

#[test]
fn without_a_store_nothing_boots() {
    assert_eq!(run(&[]).failure(), Code::WindowsNoBcd);
    let page = run(&[(STORE, b"<html>not found</html>")]);
    assert_eq!(page.failure(), Code::WindowsBadBcd);
}

#[test]
fn files_that_the_store_names_have_to_be_there() {
    let lab = run(&[(STORE, BCD)]);
    assert_eq!(lab.failure(), Code::WindowsNoFile);
    let lab = run(&[(STORE, BCD), (r"\winpe.wim\boot.sdi", b"sdi")]);
    assert_eq!(lab.failure(), Code::WindowsNoFile);
    // All that may be missing was asked for before.
    let requests = lab.requests();
    for path in OPTIONAL {
        assert!(
            requests.iter().any(|request| request.starts_with(path)),
            "{path}"
        );
    }
}

#[test]
fn a_store_without_a_ram_disk_leaves_the_usual_names() {
    let lab = run(&[(STORE, b"regf"), (DISK, b"sdi"), (IMAGES[1], b"MSWIM")]);
    assert_eq!(lab.findings(), [Code::WindowsBadBcd]);
    let names: Vec<String> = lab.files().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert_eq!(lab.phases().last(), Some(&Phase::Booted));
}
