//! One simulated machine: from the power button to the last byte of its image.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bootstorm_proto::types::MacAddress;

use crate::clients::dhcp::{Program, Relay, ask_boot_server};
use crate::clients::http::Connection;
use crate::clients::{script, tftp};
use crate::report::{Phase, Tally};
use crate::scenario::{Firmware, Scenario};

/// iPXE asks again with a script behind a script; more is a loop.
const CHAINS_MAX: usize = 8;
/// OVMF of today asks for four blocks a window.
const WINDOW: u16 = 4;

/// Boots machine `index` and books every phase.
pub(crate) async fn boot(
    scenario: Arc<Scenario>,
    relay: Arc<Relay>,
    tally: Arc<Tally>,
    index: u32,
) {
    let machine = Machine::new(scenario, relay, tally, index);
    let patience = Duration::from_secs(machine.scenario.patience_s);
    let outcome = match tokio::time::timeout(patience, machine.walk()).await {
        Ok(outcome) => outcome,
        Err(_) => Err(anyhow::anyhow!("not booted after {} s", patience.as_secs())),
    };
    machine.tally.finished(index, machine.mac, outcome);
}

struct Machine {
    scenario: Arc<Scenario>,
    relay: Arc<Relay>,
    tally: Arc<Tally>,
    index: u32,
    mac: MacAddress,
    address: Ipv4Addr,
    arch: u16,
}

impl Machine {
    fn new(scenario: Arc<Scenario>, relay: Arc<Relay>, tally: Arc<Tally>, index: u32) -> Self {
        let [_, a, b, c] = index.to_be_bytes();
        let uefi = match scenario.firmware {
            Firmware::Bios => false,
            Firmware::Uefi => true,
            Firmware::Mixed => index % 2 == 1,
        };
        Self {
            // Locally administered: no real machine has it.
            mac: MacAddress::new([0x02, 0xb5, 0x70, a, b, c]),
            address: scenario.address(index),
            arch: if uefi { 7 } else { 0 },
            scenario,
            relay,
            tally,
            index,
        }
    }

    async fn walk(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        let firmware = Program::Firmware(self.arch);
        let server = self.scenario.dhcp();
        let mut offer = self
            .relay
            .discover(server, self.mac, firmware, self.xid(0))
            .await?;
        self.tally.reached(Phase::Offered, begun.elapsed());
        if offer.file.is_empty() {
            let boot_server = SocketAddrV4::new(offer.server, self.scenario.ports.pxe);
            offer = ask_boot_server(self.address, boot_server, self.mac, firmware, self.xid(1))
                .await
                .context("PXE boot server")?;
        }
        ensure!(!offer.file.is_empty(), "the boot server named no boot file");
        let tftp = SocketAddrV4::new(offer.server, self.scenario.ports.tftp);
        let size = tftp::probe(self.address, tftp, &offer.file)
            .await
            .context("size probe")?;
        let got = tftp::fetch(self.address, tftp, &offer.file, WINDOW).await?;
        ensure!(
            got == size,
            "{}: {got} bytes came, tsize said {size}",
            offer.file
        );
        self.tally.received(got);
        self.tally.reached(Phase::BootProgram, begun.elapsed());

        let ipxe = Program::Ipxe(self.arch);
        let offer = self
            .relay
            .discover(server, self.mac, ipxe, self.xid(2))
            .await
            .context("iPXE")?;
        self.load(offer.file, begun).await
    }

    /// Fetches scripts until one boots something, and then what it boots.
    async fn load(&self, url: String, begun: Instant) -> anyhow::Result<()> {
        let mut next = url;
        let mut connection = Connection::open(self.address, &next).await?;
        for _ in 0..CHAINS_MAX {
            if !connection.serves(&next) {
                connection = Connection::open(self.address, &next).await?;
            }
            let text = connection.script(&next).await?;
            self.tally.reached(Phase::Script, begun.elapsed());
            let outcome = script::run(&text, &next).with_context(|| next.clone())?;
            for file in &outcome.files {
                if !connection.serves(file) {
                    connection = Connection::open(self.address, file).await?;
                }
                let fetched = connection
                    .file(file, |bytes| self.tally.received(bytes))
                    .await?;
                self.tally.verified(fetched.verified);
            }
            match outcome.chain {
                Some(chain) => next = chain,
                None => {
                    let phase = if outcome.boots {
                        Phase::Booted
                    } else {
                        Phase::LocalDisk
                    };
                    self.tally.reached(phase, begun.elapsed());
                    return Ok(());
                }
            }
        }
        bail!("more than {CHAINS_MAX} scripts behind each other")
    }

    /// Unique for each of the machine's exchanges.
    fn xid(&self, exchange: u32) -> u32 {
        0xb500_0000 | (self.index << 4) | exchange
    }
}
