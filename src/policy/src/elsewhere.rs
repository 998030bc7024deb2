//! Machines that this server leaves to others for a while, and whose others are.

use std::time::{Duration, SystemTime};

use bootstorm_proto::dhcp::{Asker, ClientFacts, Phase};
use bootstorm_proto::types::MacAddress;
use bootstorm_telemetry::event::Reason;

use crate::cache::Cache;

/// From the last request of firmware to the first one of the iPXE that it loaded.
const LOADS: Duration = Duration::from_secs(600);

/// Machines that are remembered; beyond them the oldest are judged by their seconds alone.
const MACHINES_MAX: usize = 1 << 14;

/// What firmware heard here lately.
///
/// iPXE begins to count the seconds of its requests before it sends the first one, so they do not
/// tell how long it has been asking: where several servers share a network, each would take in
/// machines that boot from another. What the firmware of the same machine heard does tell.
#[derive(Debug)]
pub(crate) struct Elsewhere {
    heard: Cache<MacAddress, Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    at: SystemTime,
    /// Nothing else was long enough in coming, or the machine has chosen this server.
    is_ours: bool,
}

impl Elsewhere {
    pub(crate) fn new() -> Self {
        Self {
            heard: Cache::new(MACHINES_MAX),
        }
    }

    /// A machine that is not known asks in a place with this delay.
    pub(crate) fn hear(&self, client: &ClientFacts, delay: u16, now: SystemTime) {
        if let (Some(mac), Asker::Firmware | Asker::HttpFirmware) =
            (client.hardware.mac(), client.asker)
        {
            let is_ours = client.phase == Phase::Boot || client.secs >= delay;
            self.heard.put(mac, Heard { at: now, is_ours });
        }
    }

    /// How long such a machine must have been asking.
    ///
    /// # Errors
    /// Another server answered its firmware.
    pub(crate) fn delay(
        &self,
        client: &ClientFacts,
        delay: u16,
        now: SystemTime,
    ) -> Result<u16, Reason> {
        let (Some(mac), Asker::Ipxe) = (client.hardware.mac(), client.asker) else {
            return Ok(delay);
        };
        match self.recent(&mac, now) {
            None => Ok(delay),
            Some(heard) if heard.is_ours => Ok(0),
            Some(_) => Err(Reason {
                code: "policy.elsewhere",
                text: format!("firmware of {mac} did not wait {delay} s for this server").into(),
            }),
        }
    }

    fn recent(&self, mac: &MacAddress, now: SystemTime) -> Option<Heard> {
        let heard = self.heard.get(mac, |heard| *heard)?;
        heard.is_recent(now).then_some(heard)
    }
}

impl Heard {
    /// A clock that was set back makes it old.
    fn is_recent(&self, now: SystemTime) -> bool {
        now.duration_since(self.at).is_ok_and(|since| since < LOADS)
    }
}

#[cfg(test)]
mod tests {
    use bootstorm_proto::types::ClientArch;

    use super::*;

    const DELAY: u16 = 4;

    fn asks(asker: Asker, secs: u16) -> ClientFacts {
        let mac = MacAddress::new([2, 0, 0, 0, 0, 1]);
        ClientFacts {
            secs,
            ..ClientFacts::new(mac.into(), asker, ClientArch(7), [10, 0, 0, 1].into())
        }
    }

    fn code(judged: Result<u16, Reason>) -> &'static str {
        judged.err().map_or("", |reason| reason.code)
    }

    #[test]
    fn ipxe_follows_the_server_that_its_firmware_heard() {
        let (elsewhere, now) = (Elsewhere::new(), SystemTime::UNIX_EPOCH + LOADS);
        let ipxe = || elsewhere.delay(&asks(Asker::Ipxe, 4), DELAY, now);
        assert_eq!(ipxe(), Ok(DELAY), "iPXE in the card counts like firmware");
        let firmware = |secs| {
            let client = asks(Asker::Firmware, secs);
            elsewhere.hear(&client, DELAY, now);
            assert_eq!(elsewhere.delay(&client, DELAY, now), Ok(DELAY));
        };
        firmware(0);
        assert_eq!(code(ipxe()), "policy.elsewhere");
        firmware(4);
        assert_eq!(ipxe(), Ok(0));
        // It was switched on anew.
        firmware(0);
        assert_eq!(code(ipxe()), "policy.elsewhere");
        let chosen = ClientFacts {
            phase: Phase::Boot,
            ..asks(Asker::Firmware, 0)
        };
        elsewhere.hear(&chosen, DELAY, now);
        assert_eq!(ipxe(), Ok(0));
    }

    #[test]
    fn what_firmware_heard_is_forgotten() {
        let (elsewhere, start) = (Elsewhere::new(), SystemTime::UNIX_EPOCH + LOADS);
        let ipxe = |now| elsewhere.delay(&asks(Asker::Ipxe, 0), DELAY, now);
        elsewhere.hear(&asks(Asker::Firmware, 0), DELAY, start);
        assert_eq!(code(ipxe(start)), "policy.elsewhere");
        assert_eq!(ipxe(start + LOADS), Ok(DELAY));
        assert_eq!(ipxe(SystemTime::UNIX_EPOCH), Ok(DELAY));
    }
}
