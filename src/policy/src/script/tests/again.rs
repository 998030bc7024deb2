//! Files that do not come.

use std::collections::BTreeSet;

use super::*;

/// What each pause of a machine is a multiple of, in milliseconds.
fn first_pause(script: &str) -> u32 {
    let (_, behind) = script.split_once("\nset wait:int32 ").unwrap();
    behind.lines().next().unwrap().parse().unwrap()
}

/// What goes back can fail only so often, and what cannot get better is not tried again.
#[test]
fn fetches_alone_are_tried_again_and_not_for_ever() {
    for (choice, family, fetches) in [
        (linux(), Family::X64, 3),
        (wim(), Family::X64, 4),
        (efi(), Family::X64, 1),
        (iso(Some("boot/memdisk")), Family::Bios, 2),
    ] {
        let script = boot(choice, family);
        let lines: Vec<&str> = script.lines().collect();
        let is_fetch = |line: &str| line.starts_with("imgfetch ") || line.starts_with("initrd ");
        for (number, line) in lines.iter().enumerate() {
            assert_eq!(is_fetch(line), line.ends_with("|| goto again"), "{line}");
            if is_fetch(line) {
                let before: Vec<&str> = lines[number - 4..number].to_vec();
                assert!(before[0].starts_with("set step Loading "), "{script}");
                assert_eq!(before[1], format!("set here {}", &before[3][1..]));
                assert!(before[2].starts_with("set wait:int32 1"));
                assert!(before[3].starts_with(':'));
            }
        }
        assert_eq!(script.matches("|| goto again\n").count(), fetches);
        assert_eq!(script.matches("goto ${here}\n").count(), 1);
        let (_, again) = script.split_once("\n:again\niseq ${wait} ").unwrap();
        let (end, rest) = again.split_once(" && goto failed ||\n").unwrap();
        assert_eq!(end.parse::<u32>().unwrap(), first_pause(&script) * 32);
        assert!(rest.contains("\ninc wait ${wait}\ngoto ${here}\n:failed\n"));
    }
    let empty = render(&menu(Vec::new(), None), &urls(), &machine(Family::X64));
    assert!(!empty.contains("again"), "{empty}");
}

#[test]
fn the_note_is_one_line_of_a_screen() {
    let script = boot(linux(), Family::X64);
    let (_, note) = script.split_once("\nprompt --timeout ${wait} ").unwrap();
    assert!(note.lines().next().unwrap().trim_end_matches(" ||").len() < 80);
}

#[test]
fn machines_of_one_delivery_come_back_one_after_another() {
    let pause = |last| {
        let machine = Facts {
            mac: Some(MacAddress::new([0x52, 0x54, 0, 0x99, 0, last])),
            ..machine(Family::X64)
        };
        let plan = BootPlan::Entry(Box::new(linux()));
        first_pause(&render(&plan, &urls(), &machine))
    };
    let pauses: Vec<u32> = (0..=u8::MAX).map(pause).collect();
    assert!(pauses.iter().all(|pause| (1_000..1_500).contains(pause)));
    let different: BTreeSet<u32> = pauses.iter().copied().collect();
    assert!(different.len() > 200, "{} of 256", different.len());
    assert_eq!(pause(7), pauses[7]);
}
