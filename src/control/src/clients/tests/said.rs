//! What machines say of themselves in lines of text.

use super::*;

fn said(text: &str) -> What {
    What::Said { text: text.into() }
}

fn of_boot(boots: &str, number: u64) -> What {
    What::Script {
        boots: boots.into(),
        because: None,
        boot: Some(number),
    }
}

#[test]
fn twopxe_23_lines_belong_to_the_machine_and_boot_of_their_address() {
    let mut table = Table::new(10);
    for (number, last) in [(7, 1), (8, 2)] {
        let got = event(
            0,
            Some(mac(last)),
            Some(ip(last)),
            of_boot("debian", number),
        );
        let _ = table.apply(&got);
    }
    let hears = |table: &mut Table, last, text: &str| {
        let happened = table.apply(&event(5, None, Some(ip(last)), said(text)))?;
        assert!(happened.is_of_boot() && happened.kind == "said");
        Some((happened.mac, happened.boot, happened.text))
    };
    let line =
        |last: u8, number, text: &str| Some((Some(mac(last)), Some(number), text.to_owned()));
    assert_eq!(hears(&mut table, 1, "ipxe: up"), line(1, 7, "ipxe: up"));
    // What is no syslog stays as it is.
    assert_eq!(hears(&mut table, 2, "<14 %s"), line(2, 8, "<14 %s"));
    assert_eq!(hears(&mut table, 3, "who is that"), None);
    assert_eq!(
        table.page(None, 10, None).clients.len(),
        2,
        "and makes no machine"
    );
    // The address is another machine's now.
    let moved = event(6, Some(mac(2)), Some(ip(1)), What::Leased);
    let _ = table.apply(&moved);
    assert_eq!(hears(&mut table, 1, "ipxe: go"), line(2, 8, "ipxe: go"));
}

#[test]
fn a_machine_that_says_much_drives_nothing_out() {
    let mut table = Table::new(10);
    let _ = table.apply(&event(0, Some(mac(1)), Some(ip(1)), of_boot("debian", 7)));
    let told = (0..1000).filter(|number| {
        let line = said(&format!("line {number}"));
        let told = table.apply(&event(1 + number, None, Some(ip(1)), line));
        told.is_some()
    });
    assert_eq!(told.count(), 200);
    let client = table.by_mac(mac(1)).unwrap();
    assert_eq!(client.timeline[0].kind, "script");
    assert_eq!(client.timeline.len(), 17);
    assert_eq!(client.timeline.back().unwrap().text, "line 199");
    // The next boot has its own lines.
    let _ = table.apply(&event(2000, Some(mac(1)), None, asked(Asker::Firmware)));
    let told = table.apply(&event(2001, None, Some(ip(1)), said("again")));
    assert!(told.is_some());
}
