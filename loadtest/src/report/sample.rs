//! A small storm for tests: two profiles, a failure, a finding with hostile words.

use std::time::{Duration, Instant};

use super::{About, Books, End, Host, Limit, Report};
use crate::finding::{Code, Finding};
use crate::machine::event::{Event, File, Outcome, Phase, Transport};
use crate::machine::identity::Identity;
use crate::machine::profile::Profile;
use crate::machine::trace::{Trace, Way};

/// What a hostile server writes.
pub(crate) const HOSTILE: &str = "</script><script>alert('x')</script> \"&amp;\u{1b}[2J\u{202e}";

/// Books with a clock of their own.
pub(crate) struct Played {
    pub(crate) books: Books,
    pub(crate) begun: Instant,
    trace: Trace,
}

impl Played {
    /// Nothing has happened yet.
    pub(crate) fn new(machines: u32) -> Self {
        let begun = Instant::now();
        let about = About {
            name: "mixed_firmware".to_owned(),
            about: "Every profile at once.".to_owned(),
            server: "10.99.0.2".to_owned(),
            machines,
            link: Some("down 1 Gb/s".to_owned()),
            scaled: Some("image 3 MB instead of 300 MB".to_owned()),
        };
        let mut books = Books::new(about, begun);
        books.host = Host {
            kernel: "Linux 6.1".to_owned(),
            cpu: "A processor".to_owned(),
            cores: 2,
        };
        books.date = jiff::Timestamp::UNIX_EPOCH;
        let trace = Trace::default();
        Self {
            books,
            begun,
            trace,
        }
    }

    /// Something happened so many milliseconds after the beginning.
    pub(crate) fn at(&mut self, millis: u64, who: &Identity, event: Event) {
        let now = self.begun + Duration::from_millis(millis);
        self.books.book(who, event, &self.trace, now);
    }

    /// A line of the trace of whoever comes next.
    pub(crate) fn note(&mut self, millis: u64, way: Way, text: &str) {
        let now = self.begun + Duration::from_millis(millis);
        self.trace.note(now, way, || text.to_owned());
    }

    /// A machine boots: 10 MB over TFTP or HTTP.
    pub(crate) fn boots(&mut self, who: &Identity, start: u64, length: u64) {
        self.at(start, who, Event::PoweredOn);
        self.at(start + 4, who, Event::Reached(Phase::Offered));
        self.at(start + 10, who, Event::Reached(Phase::Assigned));
        let over = match who.profile {
            Profile::WindowsTftp => Transport::Tftp,
            Profile::UefiHttps | Profile::IpxeHttps => Transport::Https,
            Profile::Bios | Profile::Uefi | Profile::UefiHttp | Profile::IpxeHttp => {
                Transport::Http
            }
        };
        for tenth in 1..=10 {
            let at = start + length * tenth / 10;
            self.at(at, who, Event::Received(over, 1_000_000));
        }
        let file = File {
            name: "http://10.99.0.2/initrd".to_owned(),
            bytes: 10_000_000,
            xxh3: Some(7),
            sha256: Some([7; 32]),
            verified: true,
        };
        self.at(start + length, who, Event::Fetched(file));
        self.at(start + length, who, Event::Reached(Phase::Booted));
        self.at(start + length, who, Event::Ended(Outcome::Booted));
    }

    pub(crate) fn close(self, millis: u64, end: End) -> Report {
        self.books
            .close(self.begun + Duration::from_millis(millis), end)
    }
}

/// Twelve machines, of which one fails and one is told nonsense; `slower` times as slow.
pub(crate) fn report(slower: u64) -> Report {
    played(slower)
        .close(6_000 * slower, End::AllThrough)
        .judged()
}

/// The same, still open.
pub(crate) fn played(slower: u64) -> Played {
    let mut played = Played::new(12);
    for index in 0..5 {
        let who = Identity::new(index, Profile::Bios);
        played.boots(&who, 100 * u64::from(index), 2_000 * slower);
    }
    for index in 5..11 {
        let who = Identity::new(index, Profile::UefiHttps);
        played.at(200, &who, Event::Handshake { resumed: index > 5 });
        played.boots(&who, 100 * u64::from(index), 4_000 * slower);
    }
    let odd = Identity::new(11, Profile::UefiHttps);
    played.at(300, &odd, Event::PoweredOn);
    played.note(300, Way::Out, "DHCP discover");
    played.at(4_300, &odd, Event::Resent(Transport::Dhcp));
    played.note(4_310, Way::In, HOSTILE);
    let page = Finding::new(Code::ScriptHtml, HOSTILE);
    played.at(4_320, &odd, Event::Deviation(page.clone()));
    played.at(4_320, &odd, Event::Ended(Outcome::Failed(page)));
    let now = played.begun + Duration::from_secs(5);
    let [own, server] = [600, 900].map(Duration::from_millis);
    played.books.usage(now, own, Some(server * slower as u32));
    played
}

impl Report {
    fn judged(mut self) -> Self {
        let limit = |name: &str, wanted: &str, got: &str, held| Limit {
            name: name.to_owned(),
            wanted: wanted.to_owned(),
            got: got.to_owned(),
            held,
        };
        self.limits = vec![
            limit("failed", "at most 0", "1", false),
            limit("offered_p99", "at most 1 s", "4 ms", true),
        ];
        self
    }
}
