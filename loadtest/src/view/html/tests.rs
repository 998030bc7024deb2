use quick_xml::events::Event;
use quick_xml::reader::Reader;

use super::*;
use crate::report::sample;

/// The tags of a page, in order; a panic if it is not well-formed.
fn tags(page: &str) -> Vec<String> {
    let mut reader = Reader::from_str(page);
    reader.config_mut().check_end_names = true;
    let mut tags = Vec::new();
    loop {
        match reader.read_event().unwrap() {
            Event::Start(tag) | Event::Empty(tag) => {
                tags.push(tag.name().as_ref().to_owned());
            }
            Event::Eof => return tags,
            _ => {}
        }
    }
}

#[test]
fn a_report_is_one_page_that_loads_nothing() {
    let page = report(&sample::report(1)).unwrap();
    let tags = tags(&page);
    for tag in ["script", "link", "img", "iframe", "a", "form"] {
        assert!(!tags.iter().any(|other| other == tag), "{tag}");
    }
    assert_eq!(tags.iter().filter(|tag| *tag == "svg").count(), 2);
    for part in ["url(", "@import", "src=", "href="] {
        assert!(!page.contains(part), "{part}");
    }
    for part in [
        "mixed_firmware",
        "Not passed",
        "script.html",
        "image 3 MB instead of 300 MB",
        "prefers-color-scheme",
        "uefi-https",
        "DHCP discover",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn what_a_server_wrote_stays_words() {
    let mut hostile = sample::report(1);
    let words = || format!("{}\u{0}\u{7}", sample::HOSTILE);
    hostile.scenario.name = words();
    hostile.scenario.about = words();
    hostile.scenario.server = words();
    hostile.beside.push(words());
    hostile.host.cpu = words();
    for found in &mut hostile.failures {
        found.code = words();
        found.meaning = words();
        found.example.evidence = words();
        found.example.mac = Some(words());
        found.example.trace[0].text = words();
    }
    hostile.files.largest[0].name = words();
    hostile.limits[0].got = words();
    let page = report(&hostile).unwrap();
    assert!(!tags(&page).contains(&"script".to_owned()));
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;"));
    for letter in ['\u{1b}', '\u{0}', '\u{7}', '\u{202e}'] {
        assert!(!page.contains(letter), "{letter:?}");
    }
    let other = sample::report(1);
    let page = comparison(&Comparison::of(&hostile, &other)).unwrap();
    assert!(!tags(&page).contains(&"script".to_owned()));
    assert!(!page.contains("<script") && !page.contains('\u{202e}'));
}

#[test]
fn a_storm_without_anything_has_a_page_too() {
    let empty = sample::Played::new(0).close(0, crate::report::End::Interrupted);
    let page = report(&empty).unwrap();
    assert!(!tags(&page).contains(&"svg".to_owned()));
    assert!(page.contains("interrupted"));
}
