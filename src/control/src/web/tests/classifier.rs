//! The classifier's resource and metrics.

use std::time::{Duration, SystemTime};

use bootstorm_ebpf_shared::{
    COUNTERS, Cause, Class, Count, HEAD, Rate, Rule, Sample, Table, counter,
};
use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::Reason;
use bootstorm_telemetry::metrics::Place;
use serde_json::json;

use super::lab::{MAC, lab};
use crate::classifier::{Attachment, Classifier, Dropped, RecentlyDropped, Standing};

/// A classifier that has dropped one packet.
#[derive(Debug)]
pub(super) struct Scene {
    dropped: RecentlyDropped,
}

impl Scene {
    pub(super) fn new() -> Self {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(&[0xff, 0, 0xab, 1]);
        let sample = Sample {
            at: 5,
            interface: 2,
            length: 390,
            captured: 4,
            class: Class::Ipxe.number(),
            cause: Cause::MachineRate.number(),
            mac: MAC.parse::<MacAddress>().unwrap().bytes(),
            head,
        };
        let dropped = RecentlyDropped::default();
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(60);
        dropped.keep(at, "eth0".to_owned(), sample);
        Self { dropped }
    }
}

impl Classifier for Scene {
    fn attachments(&self) -> Vec<Attachment> {
        let reason = Reason {
            code: "xdp.no-native",
            text: "the driver has no hook".into(),
        };
        let attachment = |interface: &str, mode, reason| Attachment {
            interface: interface.to_owned(),
            mode,
            reason,
        };
        vec![
            attachment("eth0", "native", None),
            attachment("wlan0", "generic", Some(reason)),
        ]
    }

    fn notes(&self) -> Vec<String> {
        vec!["dnsmasq has port 67".to_owned()]
    }

    fn table(&self) -> Table {
        let mut table = Table::default();
        table.rules[usize::from(Class::Ipxe.number())] = Rule::limit(Rate::new(7, 70));
        table
    }

    fn counts(&self, place: Place) -> Vec<Count> {
        let mut counts = vec![Count::default(); COUNTERS];
        if place == Place::Xdp {
            counts[counter(Class::Ipxe, Cause::MachineRate) as usize] = Count {
                packets: 3,
                bytes: 1170,
            };
        }
        counts
    }

    fn dropped(&self) -> Vec<Dropped> {
        self.dropped.all()
    }

    fn standing(&self, mac: MacAddress) -> Standing {
        Standing {
            is_known: false,
            is_banned: false,
            refused: u64::from(mac.to_string() == MAC) * 3,
        }
    }
}

#[tokio::test]
async fn the_classifier_tells_what_it_did_and_by_which_rules() {
    let lab = lab().await;
    let view = lab.get("/api/v1/classifier").await.json();
    assert_eq!(
        view["attachments"][1],
        json!({"interface": "wlan0", "mode": "generic",
               "reason": {"code": "xdp.no-native", "text": "the driver has no hook"}})
    );
    assert_eq!(view["notes"], json!(["dnsmasq has port 67"]));
    assert_eq!(view["limits"]["machine"], "4/s burst 16");
    assert_eq!(view["limits"]["samples"], 10);
    assert_eq!(view["rules"]["ipxe"], "7/s burst 70");
    assert_eq!(view["rules"]["dhcp-not-pxe"], "drop");
    assert_eq!(view["rules"]["not-ours"], "pass");
    assert_eq!(
        view["counts"],
        json!([{"where": "xdp", "class": "ipxe", "cause": "machine-rate",
                "packets": 3, "bytes": 1170}])
    );
    assert_eq!(
        view["dropped"],
        json!([{"number": 1, "at": "1970-01-01T00:01:00Z", "interface": "eth0", "class": "ipxe",
                "reason": {"code": "classifier.machine-rate",
                           "text": "dropped by the classifier: per-MAC rate"},
                "mac": MAC, "length": 390, "head": "ff00ab01"}])
    );
}

#[tokio::test]
async fn one_machine_stands_by_its_mac() {
    let lab = lab().await;
    let view = lab.get(&format!("/api/v1/classifier/{MAC}")).await.json();
    assert_eq!(
        view,
        json!({"mac": MAC, "known": false, "banned": false, "refused": 3})
    );
    let wrong = lab.get("/api/v1/classifier/lab3").await;
    assert_eq!((wrong.status, &*wrong.code()), (400, "web.bad-mac"));
}

#[tokio::test]
async fn totals_and_modes_are_in_the_metrics() {
    let lab = lab().await;
    let text = lab.get("/metrics").await.body;
    for line in [
        "bootstorm_classifier_packets_total{where=\"xdp\",class=\"ipxe\",cause=\"machine-rate\"} 3",
        "bootstorm_classifier_bytes_total{where=\"xdp\",class=\"ipxe\",cause=\"machine-rate\"} 1170",
        "bootstorm_classifier_attached{interface=\"eth0\",mode=\"native\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}
