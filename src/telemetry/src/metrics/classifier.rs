//! What the packet classifier did. It counts by itself, in the kernel and in each worker: the totals
//! are brought here when somebody asks for them.

use std::sync::atomic::Ordering;

use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::{Counter, Gauge, Label, family};

/// Where a packet was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// By the program in the kernel.
    Xdp,
    /// By a worker of the data plane.
    User,
}

impl Place {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Xdp, Self::User];

    /// As labels and the API spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::User => "user",
        }
    }
}

/// Totals of the classifier.
#[derive(Debug)]
pub struct Classifier {
    packets: Family<[Label; 3], Counter>,
    bytes: Family<[Label; 3], Counter>,
    attached: Family<[(&'static str, String); 2], Gauge>,
}

impl Classifier {
    /// So many packets of a class came to an end for this cause since the server started.
    pub fn total(
        &self,
        place: Place,
        class: &'static str,
        cause: &'static str,
        (packets, bytes): (u64, u64),
    ) {
        let labels = [("where", place.name()), ("class", class), ("cause", cause)];
        for (family, total) in [(&self.packets, packets), (&self.bytes, bytes)] {
            let counter = family.get_or_create_owned(&labels);
            counter.inner().store(total, Ordering::Relaxed);
        }
    }

    /// The interfaces, each with its mode: `native`, `generic`, `none` or `off`.
    pub fn attached<'a>(&self, interfaces: impl IntoIterator<Item = (&'a str, &'static str)>) {
        self.attached.clear();
        for (interface, mode) in interfaces {
            let labels = [
                ("interface", interface.to_owned()),
                ("mode", mode.to_owned()),
            ];
            self.attached.get_or_create_owned(&labels).set(1);
        }
    }

    pub(super) fn register(r: &mut Registry) -> Self {
        let packets = family(
            r,
            "classifier_packets",
            "Packets by where they were judged (xdp, user), class and cause: passed, passed-known or why dropped",
        );
        let bytes = Family::default();
        r.register_with_unit(
            "classifier",
            "Bytes of these packets: frames in xdp, payloads in user",
            Unit::Bytes,
            Family::clone(&bytes),
        );
        let attached = Family::default();
        r.register(
            "classifier_attached",
            "1 for each interface with the mode of its classifier: native, generic, none or off",
            Family::clone(&attached),
        );
        Self {
            packets,
            bytes,
            attached,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Place;
    use crate::metrics::Metrics;

    #[test]
    fn totals_are_shown_as_they_were_brought_and_modes_replace_each_other() {
        let metrics = Metrics::new();
        let classifier = &metrics.classifier;
        for packets in [7, 9] {
            let sizes = (packets, packets * 300);
            classifier.total(Place::Xdp, "ipxe", "machine-rate", sizes);
        }
        classifier.attached([("eth0", "native")]);
        classifier.attached([("eth0", "generic"), ("eth1", "none")]);
        let text = metrics.encode();
        let labels = r#"{where="xdp",class="ipxe",cause="machine-rate"}"#;
        for line in [
            format!("bootstorm_classifier_packets_total{labels} 9"),
            format!("bootstorm_classifier_bytes_total{labels} 2700"),
            r#"bootstorm_classifier_attached{interface="eth0",mode="generic"} 1"#.to_owned(),
            r#"bootstorm_classifier_attached{interface="eth1",mode="none"} 1"#.to_owned(),
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("native\"} 1"), "{text}");
    }
}
