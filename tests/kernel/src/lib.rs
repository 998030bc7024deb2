//! The classifier in this kernel. [`Program`] is it without an interface: frames are given to it
//! by `BPF_PROG_TEST_RUN`. [`network`] and [`holder`] are for the loader, which attaches it. All
//! of it takes root.

pub mod holder;
mod host;
pub mod network;
pub mod other_program;

pub use host::Host;

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::{TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader, Pod, include_bytes_aligned};
use bootstorm_ebpf_shared::{
    Bucket, COUNTERS, Cause, Class, Count, Guid, Mac, Rule, Sample, Settings, Table, counter,
};

/// The object that is committed.
static OBJECT: &[u8] = include_bytes_aligned!("../../../ebpf/classifier/bootstorm-classifier.o");

/// The longest frame that a test run takes in one piece: a page without headroom and tailroom.
pub const FRAME_MAX: usize = 3000;

/// The program with maps of its own.
pub struct Program {
    object: Ebpf,
    counts: PerCpuArray<MapData, Plain<Count>>,
    seen: [Count; COUNTERS],
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Its class.
    pub class: Class,
    /// Why it passed or was dropped.
    pub cause: Cause,
}

impl Program {
    /// Loads it, with the usual table and no own addresses.
    ///
    /// # Errors
    /// Without privilege; when the verifier refuses it.
    pub fn load() -> Result<Self> {
        let mut object = EbpfLoader::new().btf(None).load(OBJECT)?;
        xdp(&mut object)?.load()?;
        let counts = object.take_map("COUNTS").context("no COUNTS")?;
        let mut program = Self {
            object,
            counts: counts.try_into()?,
            seen: [Count::default(); COUNTERS],
        };
        program.set_table(&Table::default())?;
        Ok(program)
    }

    /// Runs it on one frame, and finds by the counters what it made of it.
    ///
    /// # Errors
    /// When not exactly one counter went up, or the action is not that of the cause.
    pub fn run(&mut self, frame: &[u8]) -> Result<Verdict> {
        let (action, _) = self.repeat(frame, 1)?;
        self.changed(frame, action)
    }

    /// Does what [`run`](Self::run) does, and looks at the counter of `guess` first: where it went
    /// up, the others are left to [`is_complete`](Self::is_complete).
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_guessing(&mut self, frame: &[u8], guess: Verdict) -> Result<Verdict> {
        let (action, _) = self.repeat(frame, 1)?;
        let at = counter(guess.class, guess.cause);
        let count = self.count(at)?;
        let seen = &mut self.seen[at as usize];
        seen.packets += 1;
        seen.bytes += frame.len() as u64;
        if count != *seen {
            seen.packets -= 1;
            seen.bytes -= frame.len() as u64;
            return self.changed(frame, action);
        }
        ensure!(
            action == action_of(guess.cause),
            "{guess:?}, but action {action}"
        );
        Ok(guess)
    }

    /// Whether every packet so far was counted once, and nothing else was.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn is_complete(&self) -> Result<bool> {
        Ok(self.counts()? == self.seen)
    }

    /// Runs it on the same frame again and again; gives the last action and the nanoseconds that
    /// one run took on average.
    ///
    /// # Errors
    /// When the kernel refuses the frame.
    pub fn repeat(&mut self, frame: &[u8], times: u32) -> Result<(u32, u32)> {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat: times,
            ..TestRunOptions::new()
        };
        let result = xdp(&mut self.object)?.test_run(options)?;
        Ok((
            result.return_value,
            u32::try_from(result.duration.as_nanos())?,
        ))
    }

    /// Takes the counters as they are for where the next [`run`](Self::run) begins.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn forget(&mut self) -> Result<()> {
        self.seen = self.counts()?;
        Ok(())
    }

    /// Every counter, summed over the processors.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counts(&self) -> Result<[Count; COUNTERS]> {
        let mut sums = [Count::default(); COUNTERS];
        for (at, sum) in (0..).zip(&mut sums) {
            *sum = self.count(at)?;
        }
        Ok(sums)
    }

    fn count(&self, at: u32) -> Result<Count> {
        let mut sum = Count::default();
        for Plain(count) in self.counts.get(&at, 0)?.iter() {
            sum.packets += count.packets;
            sum.bytes += count.bytes;
        }
        Ok(sum)
    }

    /// Finds what became of a frame by the counter that went up.
    fn changed(&mut self, frame: &[u8], action: u32) -> Result<Verdict> {
        let counts = self.counts()?;
        let mut changed = (0..COUNTERS).filter(|at| counts[*at] != self.seen[*at]);
        let at = changed.next().context("no counter went up")?;
        ensure!(changed.next().is_none(), "two counters went up");
        let bytes = counts[at].bytes - self.seen[at].bytes;
        ensure!(counts[at].packets == self.seen[at].packets + 1);
        ensure!(bytes == frame.len() as u64, "{bytes} bytes were counted");
        self.seen = counts;
        let class = u8::try_from(at / Cause::COUNT).ok().and_then(Class::of);
        let cause = u8::try_from(at % Cause::COUNT).ok().and_then(Cause::of);
        let verdict = Verdict {
            class: class.context("class")?,
            cause: cause.context("cause")?,
        };
        ensure!(
            action == action_of(verdict.cause),
            "{verdict:?}, but action {action}"
        );
        Ok(verdict)
    }

    /// Writes the table.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn set_table(&mut self, table: &Table) -> Result<()> {
        let map = self.object.map_mut("SETTINGS").context("no SETTINGS")?;
        let mut settings: Array<_, Plain<Settings>> = map.try_into()?;
        settings.set(0, Plain(table.settings), 0)?;
        let map = self.object.map_mut("RULES").context("no RULES")?;
        let mut rules: Array<_, Plain<Rule>> = map.try_into()?;
        for (class, rule) in (0..).zip(table.rules) {
            rules.set(class, Plain(rule), 0)?;
        }
        Ok(())
    }

    /// Adds an address of the host.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn add_own(&mut self, address: u128) -> Result<()> {
        self.insert("OWN", &address.to_be_bytes(), 0_u8)
    }

    /// Makes a machine known.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn add_known(&mut self, mac: &Mac) -> Result<()> {
        self.insert("KNOWN", &key(mac), Plain(Bucket::default()))
    }

    /// Bans a machine.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn ban_mac(&mut self, mac: &Mac) -> Result<()> {
        self.insert("BANNED_MACS", &key(mac), 0_u8)
    }

    /// Lifts the ban.
    ///
    /// # Errors
    /// When it was not banned.
    pub fn pardon_mac(&mut self, mac: &Mac) -> Result<()> {
        let map = self.object.map_mut("BANNED_MACS").context("no map")?;
        let mut banned: HashMap<_, [u8; 8], u8> = map.try_into()?;
        Ok(banned.remove(&key(mac))?)
    }

    /// Bans a machine by its GUID.
    ///
    /// # Errors
    /// When the map cannot be written.
    pub fn ban_guid(&mut self, guid: &Guid) -> Result<()> {
        self.insert("BANNED_GUIDS", guid, 0_u8)
    }

    /// A machine's bucket, if it has one without being known.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn machine_bucket(&mut self, mac: &Mac) -> Result<Option<Bucket>> {
        let map = self.object.map_mut("MACHINES").context("no MACHINES")?;
        let machines: HashMap<_, [u8; 8], Plain<Bucket>> = map.try_into()?;
        Ok(machines.get(&key(mac), 0).ok().map(|Plain(bucket)| bucket))
    }

    /// Takes the samples that are in the ring.
    ///
    /// # Errors
    /// When one has another length than [`Sample`].
    pub fn samples(&mut self) -> Result<Vec<Sample>> {
        let map = self.object.map_mut("SAMPLES").context("no SAMPLES")?;
        let mut ring = RingBuf::try_from(map)?;
        let mut samples = Vec::new();
        while let Some(item) = ring.next() {
            ensure!(item.len() == size_of::<Sample>(), "{} bytes", item.len());
            // SAFETY: the program writes whole samples; every pattern of bits is one.
            samples.push(unsafe { item.as_ptr().cast::<Sample>().read_unaligned() });
        }
        Ok(samples)
    }

    fn insert<K: Pod, V: Pod>(&mut self, name: &str, key: &K, value: V) -> Result<()> {
        let map = self.object.map_mut(name).context("no such map")?;
        let mut map: HashMap<_, K, V> = map.try_into()?;
        Ok(map.insert(key, value, 0)?)
    }
}

fn xdp(object: &mut Ebpf) -> Result<&mut Xdp> {
    let program = object.program_mut("bootstorm").context("no program")?;
    Ok(program.try_into()?)
}

/// A value that lies in a map as it lies in memory.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Plain<T>(T);

// SAFETY: all of these are `repr(C)`, made of integers, without padding.
unsafe impl Pod for Plain<Settings> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Rule> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Count> {}
// SAFETY: as above.
unsafe impl Pod for Plain<Bucket> {}

fn key(&[a, b, c, d, e, f]: &Mac) -> [u8; 8] {
    [a, b, c, d, e, f, 0, 0]
}

fn action_of(cause: Cause) -> u32 {
    if cause.drops() { DROP } else { PASS }
}

const DROP: u32 = 1;
const PASS: u32 = 2;
