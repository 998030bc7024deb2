//! The judgement's tables, kept in maps.

use aya_ebpf::bindings::BPF_NOEXIST;
use bootstorm_ebpf_shared::{
    Bucket, Class, Guid, Limits, Mac, Rate, Rule, Settings, Tables, Which,
};

use crate::atomic;
use crate::maps::{self, ClassKey, MacKey};

/// What the program knows while it judges one packet.
pub(crate) struct Kernel<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) interface: u32,
}

impl Tables for Kernel<'_> {
    #[inline(always)]
    fn limits(&self) -> Limits {
        self.settings.limits
    }

    #[inline(always)]
    fn rule(&self, class: Class) -> Rule {
        let rule = maps::RULES.get(u32::from(class.number()));
        rule.copied().unwrap_or(Rule::PASS)
    }

    #[inline(always)]
    fn is_banned_mac(&mut self, mac: &Mac) -> bool {
        maps::BANNED_MACS.get_ptr(key(mac)).is_some()
    }

    #[inline(always)]
    fn is_banned_guid(&mut self, guid: &Guid) -> bool {
        maps::BANNED_GUIDS.get_ptr(guid).is_some()
    }

    #[inline(always)]
    fn take_known(&mut self, mac: &Mac, rate: Rate, now: u64) -> Option<bool> {
        let bucket = maps::KNOWN.get_ptr_mut(key(mac))?;
        // SAFETY: the map's value.
        Some(unsafe { take(bucket, rate, now) })
    }

    #[inline(always)]
    fn take(&mut self, bucket: Which<'_>, rate: Rate, now: u64) -> bool {
        match bucket {
            Which::Machine(mac) => {
                let key = key(mac);
                take_or_make(maps::MACHINES.get_ptr_mut(key), rate, now, |bucket| {
                    let _ = maps::MACHINES.insert(key, bucket, FLAGS);
                })
            }
            Which::Relay(relay) => {
                take_or_make(maps::RELAYS.get_ptr_mut(relay), rate, now, |bucket| {
                    let _ = maps::RELAYS.insert(relay, bucket, FLAGS);
                })
            }
            Which::Class(class) => {
                let key = ClassKey {
                    interface: self.interface,
                    class: u32::from(class.number()),
                };
                take_or_make(maps::CLASSES.get_ptr_mut(key), rate, now, |bucket| {
                    let _ = maps::CLASSES.insert(key, bucket, FLAGS);
                })
            }
        }
    }
}

/// Takes a packet out of a bucket that other CPUs use too: what they take at the same moment may
/// pass on top, nothing is lost in the long run.
///
/// # Safety
/// `bucket` must point to a map's value.
#[inline(always)]
pub(crate) unsafe fn take(bucket: *mut Bucket, rate: Rate, now: u64) -> bool {
    if rate.every == 0 {
        return true;
    }
    // SAFETY: by the caller.
    let (paid, refused) = unsafe { (&raw mut (*bucket).paid, &raw mut (*bucket).refused) };
    // SAFETY: words of that value.
    unsafe {
        let before = atomic::load(paid);
        let owed = rate.owed(before, now);
        if owed != before {
            atomic::store(paid, owed);
        }
        if rate.admits(owed, now) {
            atomic::add(paid, rate.every);
            true
        } else {
            atomic::add(refused, 1);
            false
        }
    }
}

/// A map that is full makes no bucket, and its packet passes.
#[inline(always)]
fn take_or_make(
    bucket: Option<*mut Bucket>,
    rate: Rate,
    now: u64,
    make: impl FnOnce(&Bucket),
) -> bool {
    match bucket {
        // SAFETY: the map's value.
        Some(bucket) => unsafe { take(bucket, rate, now) },
        None => {
            let mut bucket = Bucket::default();
            let passes = bucket.take(rate, now);
            make(&bucket);
            passes
        }
    }
}

#[inline(always)]
fn key(mac: &Mac) -> MacKey {
    let [a, b, c, d, e, f] = *mac;
    MacKey::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

/// A bucket that another CPU has made in the meantime stays.
const FLAGS: u64 = BPF_NOEXIST as u64;
