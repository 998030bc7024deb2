//! Machines that ask people to let them in, as decisions read it.

use std::sync::Arc;
use std::time::SystemTime;

use bootstorm_proto::types::{MacAddress, MachineGuid};
use bootstorm_telemetry::event::Reason;

use crate::Identity;
use crate::cache::{Cache, Versions};

/// Requests that are held: more than may wait at a time. One that was pushed out is read from the
/// store again when its machine asks.
const REQUESTS_MAX: usize = 1 << 15;

/// Machines that are held because they could not ask. They are apart, so that a flood of them pushes
/// out no request.
const PUT_OFF_MAX: usize = 1 << 12;

/// How requests to be let in stand. Readers never wait; bounded.
#[derive(Debug)]
pub struct ApprovalTable {
    requests: Cache<Key, Held>,
    put_off: Cache<Key, Held>,
    versions: Arc<Versions>,
}

/// How a machine's request to be let in stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// People have not decided.
    Pending {
        /// What they call the request.
        code: Arc<str>,
    },
    /// They did not let it in.
    Denied {
        /// What they call the request.
        code: Arc<str>,
        /// Why, in their words.
        reason: Option<Arc<str>>,
    },
    /// Nobody decided in time.
    Expired {
        /// What people called the request.
        code: Arc<str>,
    },
    /// It could not ask.
    PutOff(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Guid(MachineGuid),
    Mac(MacAddress),
}

#[derive(Clone, Debug)]
struct Held {
    guid: Option<MachineGuid>,
    standing: Standing,
    until: SystemTime,
}

impl ApprovalTable {
    pub(crate) fn new(versions: Arc<Versions>) -> Self {
        Self {
            requests: Cache::new(REQUESTS_MAX),
            put_off: Cache::new(PUT_OFF_MAX),
            versions,
        }
    }

    /// How the request of a machine stands; `None` when it has to ask.
    #[must_use]
    pub fn find(&self, identity: &Identity, now: SystemTime) -> Option<Standing> {
        let request = find(&self.requests, identity).and_then(|held| {
            let is_over = held.until <= now;
            match held.standing {
                // It is over at that time, whether the store has noted it or not.
                Standing::Pending { code } if is_over => Some(Standing::Expired { code }),
                standing => Some(standing).filter(|_| !is_over),
            }
        });
        request.or_else(|| {
            let held = find(&self.put_off, identity)?;
            (now < held.until).then_some(held.standing)
        })
    }

    /// Takes in how the request of a machine stands, until when.
    pub fn set(
        &self,
        (mac, guid): (Option<MacAddress>, Option<MachineGuid>),
        standing: Standing,
        until: SystemTime,
    ) {
        let cache = match &standing {
            Standing::PutOff(_) => &self.put_off,
            Standing::Pending { .. } | Standing::Denied { .. } | Standing::Expired { .. } => {
                &self.requests
            }
        };
        for key in keys(mac, guid) {
            let held = Held {
                guid,
                standing: standing.clone(),
                until,
            };
            cache.put(key, held);
        }
        self.versions.raise(mac, guid);
    }

    /// Forgets the request of a machine.
    pub fn forget(&self, mac: Option<MacAddress>, guid: Option<MachineGuid>) {
        for key in keys(mac, guid) {
            self.requests.remove(&key);
            self.put_off.remove(&key);
        }
        self.versions.raise(mac, guid);
    }

    /// Forgets everything, as when too much has changed to tell.
    pub fn clear(&self) {
        self.requests.clear();
        self.put_off.clear();
        self.versions.raise_all();
    }
}

fn keys(mac: Option<MacAddress>, guid: Option<MachineGuid>) -> impl Iterator<Item = Key> {
    let guid = guid.map(Key::Guid).into_iter();
    guid.chain(mac.map(Key::Mac))
}

/// By its GUID, else by its address, unless that is another machine's by its GUID.
fn find(cache: &Cache<Key, Held>, identity: &Identity) -> Option<Held> {
    let get = |key| cache.get(&key, Held::clone);
    let by_guid = identity.guid.and_then(|guid| get(Key::Guid(guid)));
    by_guid.or_else(|| {
        let held = get(Key::Mac(identity.mac?))?;
        (held.guid.is_none() || identity.guid.is_none()).then_some(held)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn identity(mac: u8, guid: Option<u8>) -> Identity {
        Identity {
            mac: Some(MacAddress::new([2, 0, 0, 0, 0, mac])),
            guid: guid.map(|byte| MachineGuid::from_wire([byte; 16])),
            ..Identity::default()
        }
    }

    fn pending(code: &str) -> Standing {
        Standing::Pending { code: code.into() }
    }

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn later(seconds: u64) -> SystemTime {
        NOW + Duration::from_secs(seconds)
    }

    fn set(table: &ApprovalTable, who: &Identity, standing: Standing) {
        table.set((who.mac, who.guid), standing, later(10));
    }

    #[test]
    fn a_guid_goes_before_a_mac_and_tells_machines_behind_one_mac_apart() {
        let table = ApprovalTable::new(Arc::default());
        set(&table, &identity(1, Some(1)), pending("7F3K"));
        let find = |who| table.find(&who, NOW);
        assert_eq!(find(identity(1, Some(1))), Some(pending("7F3K")));
        assert_eq!(find(identity(9, Some(1))), Some(pending("7F3K")));
        assert_eq!(find(identity(1, None)), Some(pending("7F3K")));
        assert_eq!(find(identity(1, Some(2))), None);
        table.forget(identity(1, None).mac, identity(1, Some(1)).guid);
        assert_eq!(find(identity(1, Some(1))), None);
        assert_eq!(find(identity(1, None)), None);
    }

    #[test]
    fn what_is_over_asks_anew_or_is_told_that_it_expired() {
        let table = ApprovalTable::new(Arc::default());
        let who = identity(1, None);
        set(&table, &who, pending("7F3K"));
        let code = Arc::from("7F3K");
        assert_eq!(
            table.find(&who, later(10)),
            Some(Standing::Expired { code })
        );
        let denied = Standing::Denied {
            code: "7F3K".into(),
            reason: None,
        };
        set(&table, &who, denied.clone());
        assert_eq!(table.find(&who, later(9)), Some(denied));
        assert_eq!(table.find(&who, later(10)), None);
    }

    #[test]
    fn machines_that_cannot_ask_push_out_no_request() {
        let table = ApprovalTable::new(Arc::default());
        let waits = identity(1, Some(1));
        set(&table, &waits, pending("7F3K"));
        let reason = Reason {
            code: "store.too-many",
            text: "too many".into(),
        };
        for number in 0..100_000_u32 {
            let [_, a, b, c] = number.to_be_bytes();
            let mac = MacAddress::new([6, 0, 0, a, b, c]);
            let put_off = Standing::PutOff(reason.clone());
            table.set((Some(mac), None), put_off, later(10));
        }
        assert_eq!(table.find(&waits, NOW), Some(pending("7F3K")));
        let last = MacAddress::new([6, 0, 0, 1, 0x86, 0x9f]);
        let last = Identity {
            mac: Some(last),
            ..Identity::default()
        };
        assert_eq!(table.find(&last, NOW), Some(Standing::PutOff(reason)));
    }
}
