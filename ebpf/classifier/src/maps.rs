//! The maps, by the names that user space finds them under. None is pinned: they go with the
//! process that loaded the program.

use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use bootstorm_ebpf_shared::{Bucket, COUNTERS, Cause, Class, Count, Guid, Rule, Sample, Settings};

use crate::message::Scratch;

/// A MAC in a key, in the order of the wire: two zero bytes make it a whole word.
pub(crate) type MacKey = u64;

/// An IPv6 address in a key, in the order of the wire.
pub(crate) type AddressKey = [u64; 2];

/// Names a class at an interface.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct ClassKey {
    /// Index of the interface.
    pub(crate) interface: u32,
    /// Number of the class.
    pub(crate) class: u32,
}

/// What holds for every class; written by user space.
#[btf_map]
pub(crate) static SETTINGS: Array<Settings, 1> = Array::new();

/// The rule of each class; written by user space.
#[btf_map]
pub(crate) static RULES: Array<Rule, { Class::COUNT }> = Array::new();

/// This host's addresses; written by user space.
#[btf_map]
pub(crate) static OWN: HashMap<AddressKey, u8, 4096> = HashMap::new();

/// Known machines and their buckets; user space writes which there are.
#[btf_map]
pub(crate) static KNOWN: HashMap<MacKey, Bucket, 65_536> = HashMap::new();

/// Banned machines; written by user space.
#[btf_map]
pub(crate) static BANNED_MACS: HashMap<MacKey, u8, 4096> = HashMap::new();

/// Banned machines by option 97; written by user space.
#[btf_map]
pub(crate) static BANNED_GUIDS: HashMap<Guid, u8, 4096> = HashMap::new();

/// Buckets of machines that are not known.
#[btf_map]
pub(crate) static MACHINES: LruHashMap<MacKey, Bucket, 16_384> = LruHashMap::new();

/// Buckets of relays.
#[btf_map]
pub(crate) static RELAYS: LruHashMap<[u8; 4], Bucket, 1024> = LruHashMap::new();

/// Buckets of classes at interfaces.
#[btf_map]
pub(crate) static CLASSES: HashMap<ClassKey, Bucket, 4096> = HashMap::new();

/// Counters; read by user space.
#[btf_map]
pub(crate) static COUNTS: PerCpuArray<Count, COUNTERS> = PerCpuArray::new();

/// Dropped packets; read by user space.
#[btf_map]
pub(crate) static SAMPLES: RingBuf<Sample, { 256 << 10 }> = RingBuf::new();

/// A bucket of samples for each cause.
#[btf_map]
pub(crate) static SAMPLE_BUCKETS: Array<Bucket, { Cause::COUNT }> = Array::new();

/// Where a DHCP message is looked at.
#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();
