//! Empty databases of both kinds.

use std::time::{Duration, SystemTime};

use bootstorm_proto::types::MacAddress;
use tempfile::TempDir;

use super::postgres;
use crate::{Hardware, Location, Sighting, Store};

/// An empty database.
pub(super) struct Lab {
    pub(super) location: Location,
    _folder: Option<TempDir>,
}

impl Lab {
    pub(super) fn file() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            location: Location::in_folder(folder.path()),
            _folder: Some(folder),
        }
    }

    pub(super) async fn open(&self) -> Store {
        Store::open(&self.location).await.unwrap()
    }
}

/// Runs a test with an empty database of each kind. Without PostgreSQL its half is skipped, but not
/// in CI.
pub(super) async fn on_each(test: impl AsyncFn(Lab)) {
    test(Lab::file()).await;
    let Some(url) = postgres::database().await else {
        return;
    };
    let lab = Lab {
        location: url.parse().unwrap(),
        _folder: None,
    };
    test(lab).await;
    postgres::remove(&url).await;
}

pub(super) fn mac(last: u16) -> MacAddress {
    let [high, low] = last.to_be_bytes();
    MacAddress::new([0x52, 0x54, 0, 0, high, low])
}

pub(super) fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

pub(super) fn sighting(last: u16, phase: &str, seconds: u64) -> Sighting {
    Sighting {
        mac: Some(mac(last)),
        guid: None,
        arch: None,
        hardware: Hardware::default(),
        phase: phase.to_owned(),
        has_booted: phase == "booted",
        at: at(seconds),
    }
}
