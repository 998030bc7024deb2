//! From the words of one crate to those of another.

use std::net::SocketAddr;

use bootstorm_catalog::Catalog;
use bootstorm_config::{Config, DataPorts, Driver, ListenAt, Pin, Rate};
use bootstorm_engine::pacing::PacingConfig;
use bootstorm_engine::{DriverChoice, EngineConfig, TftpConfig};
use bootstorm_ingest::{Budget, Pinned, Report};
use bootstorm_proto::dhcp::{Style, UefiOffer};
use bootstorm_telemetry::metrics::Metrics;
use tracing::{debug, warn};

use crate::network;

/// Smaller files are copied without a word, in bytes.
const IMAGE_MIN: u64 = 4 << 20;

/// The data plane's settings.
pub(crate) fn engine_config(config: &Config) -> anyhow::Result<EngineConfig> {
    let chosen = network::chosen(&config.interfaces)?;
    let defaults = TftpConfig::default();
    Ok(EngineConfig {
        workers: config
            .workers
            .map_or(0, |workers| usize::from(workers.get())),
        driver: match config.driver {
            Driver::Auto => DriverChoice::Auto,
            Driver::Uring => DriverChoice::Uring,
            Driver::Epoll => DriverChoice::Epoll,
        },
        dhcp: v4(config.listen.dhcp),
        pxe: v4(config.listen.pxe),
        dhcp6: match config.listen.dhcp6.address() {
            Some(SocketAddr::V6(address)) => Some(address),
            _ => None,
        },
        tftp: config.listen.tftp.address(),
        http: config.listen.http.address(),
        https: config.listen.https.address(),
        interfaces: chosen.into_iter().map(|i| (i.name, i.index)).collect(),
        transfers: TftpConfig {
            ports: match &config.tftp.data_ports {
                DataPorts::Range(range) => bootstorm_engine::DataPorts::Range(range.clone()),
                DataPorts::Single => bootstorm_engine::DataPorts::Single,
            },
            max_window: config.tftp.max_window.get(),
            max_block: config
                .tftp
                .max_block
                .map_or(defaults.max_block, |block| block.get()),
            rollover: config.tftp.rollover,
            max_transfers_per_client: config.tftp.max_transfers_per_client,
        },
        pacing: pacing(config),
        style: style(config),
        ..EngineConfig::default()
    })
}

/// How fast machines are fed, and how many at a time.
pub(crate) fn pacing(config: &Config) -> PacingConfig {
    let pacing = &config.pacing;
    let own = pacing.interface.iter();
    PacingConfig {
        per_machine: pacing.per_machine.map(Rate::bytes),
        total: pacing.total.map(Rate::bytes),
        interfaces: own
            .map(|(name, rate)| (name.clone(), rate.map(Rate::bytes)))
            .collect(),
        machines: pacing.machines,
    }
}

/// How DHCP answers look.
pub(crate) fn style(config: &Config) -> Style {
    Style {
        uefi: match config.boot.uefi {
            bootstorm_config::UefiOffer::TwoStep => UefiOffer::TwoStep,
            bootstorm_config::UefiOffer::AllInOne => UefiOffer::AllInOne,
        },
        ..Style::default()
    }
}

/// How much of the images stays in memory.
pub(crate) fn pin_budget(config: &Config) -> Budget {
    match config.memory.pin {
        Pin::Auto => Budget::Auto,
        Pin::Off => Budget::Off,
        Pin::Bytes(bytes) => Budget::Bytes(bytes),
    }
}

/// What the pins say, as a log line and a gauge.
pub(crate) fn log_pinned(pinned: &Pinned, metrics: &Metrics) {
    if pinned.refused {
        warn!(code = "memory.lock-limit", "{pinned}");
    } else {
        debug!("{pinned}");
    }
    let locked = i64::try_from(pinned.locked).unwrap_or(i64::MAX);
    metrics.memory.pinned_bytes.set(locked);
}

/// Settings that differ and take effect only at the next start.
pub(crate) fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let pairs = [
        ("images", old.images != new.images),
        ("data", old.data != new.data),
        ("interfaces", old.interfaces != new.interfaces),
        ("listen", old.listen != new.listen),
        ("tftp", old.tftp != new.tftp),
        ("tls", old.tls != new.tls),
        ("workers", old.workers != new.workers),
        ("driver", old.driver != new.driver),
        ("xdp", old.xdp != new.xdp),
        ("xdp_replace", old.xdp_replace != new.xdp_replace),
        ("log_format", old.log_format != new.log_format),
        ("boot.uefi", old.boot.uefi != new.boot.uefi),
        ("events", old.events != new.events),
    ];
    pairs
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
}

/// What the ingest says, as log lines and gauges.
pub(crate) fn log_report(report: &Report, catalog: &Catalog, metrics: &Metrics) {
    match report {
        // A boot program is there in no time; an image is worth a line.
        Report::Copied { bytes, .. } if *bytes < IMAGE_MIN => debug!("{report}"),
        _ => report.log(),
    }
    if let Report::Published { .. } = report {
        let snapshot = catalog.snapshot();
        let bytes: u64 = snapshot.files().map(|file| file.len()).sum();
        let gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        metrics.catalog.files.set(gauge(snapshot.files().count()));
        metrics.catalog.entries.set(gauge(snapshot.entries().len()));
        metrics
            .catalog
            .problems
            .set(gauge(snapshot.problems().len()));
        metrics
            .catalog
            .bytes
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

fn v4(listen: ListenAt) -> Option<std::net::SocketAddrV4> {
    match listen.address() {
        Some(SocketAddr::V4(address)) => Some(address),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_reach_the_engine_unchanged() {
        let engine = engine_config(&Config::for_user()).unwrap();
        let usual = EngineConfig::default();
        assert_eq!(engine.dhcp, usual.dhcp);
        assert_eq!(engine.tftp, usual.tftp);
        assert_eq!(engine.https, usual.https);
        assert_eq!(engine.transfers.ports, usual.transfers.ports);
        assert_eq!(engine.transfers.max_block, usual.transfers.max_block);
    }

    #[test]
    fn a_moved_listener_needs_a_restart_and_a_new_default_does_not() {
        let old = Config::for_user();
        let mut new = old.clone();
        new.boot.default = Some("debian".to_owned());
        new.pacing.total = "1G".parse().ok();
        assert!(needs_restart(&old, &new).is_empty());
        new.listen.set("tftp=off").unwrap();
        assert_eq!(needs_restart(&old, &new), ["listen"]);
    }
}
