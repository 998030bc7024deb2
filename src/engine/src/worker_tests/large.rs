//! A file with more blocks than a block number can count.

use std::cell::Cell;
use std::io::{Seek as _, SeekFrom, Write as _};

use bootstorm_catalog::{File, Mapping};

use super::*;

const LENGTH: u64 = (1 << 30) + 12_345;
const BLOCK: u64 = 8192;
const WINDOW: u64 = 64;

/// How far apart the places are that say where they are; the rest is noughts.
const MARKED: u64 = 1 << 20;

/// A machine that looks at what comes and keeps nothing of it.
struct Reader {
    begins: Option<Instant>,
    blocks: u64,
    bytes: Rc<Cell<u64>>,
    done: Rc<Cell<bool>>,
}

impl Reader {
    fn look(&mut self, number: u16, data: &[u8]) {
        let at = self.bytes.get();
        assert_eq!(u64::from(number), (self.blocks + 1) % 65_536);
        let mark = if at.is_multiple_of(MARKED) { at } else { 0 };
        let begins = data.first_chunk().map(|mark| u64::from_le_bytes(*mark));
        assert!(begins.is_none_or(|begins| begins == mark), "{at}");
        self.blocks += 1;
        self.bytes.set(at + data.len() as u64);
        self.done.set((data.len() as u64) < BLOCK);
    }
}

impl Host for Reader {
    fn receive(&mut self, from: SocketAddr, packet: &[u8], _: Instant, out: &mut Outbox) {
        match packet {
            [0, 6, ..] => out.push((from, vec![0, 4, 0, 0])),
            [0, 3, high, low, data @ ..] => {
                self.look(u16::from_be_bytes([*high, *low]), data);
                if self.blocks.is_multiple_of(WINDOW) || self.done.get() {
                    out.push((from, vec![0, 4, *high, *low]));
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.begins
    }

    fn timeout(&mut self, _: Instant, out: &mut Outbox) {
        self.begins = None;
        let request = b"\0\x01boot.wim\0octet\0blksize\x008192\0windowsize\x0064\0";
        out.push((server(), request.to_vec()));
    }
}

fn image() -> File {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(LENGTH).unwrap();
    for at in (0..LENGTH).step_by(MARKED as usize) {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&at.to_le_bytes()).unwrap();
    }
    File {
        path: "boot.wim".into(),
        content: Mapping::open(file.path()).unwrap(),
        sha256: [0; 32],
        modified: std::time::SystemTime::UNIX_EPOCH,
    }
}

#[test]
fn winboot_13_an_image_of_more_than_a_gibibyte_comes_whole() {
    let mut lab = lab(51, CALM, 10, None);
    let settings = Settings {
        max_window: (WINDOW as u32).try_into().unwrap(),
        max_block: (BLOCK as u32).try_into().unwrap(),
        rollover: Rollover::Zero,
        max_per_client: 1,
        ports: None,
    };
    let catalog = Arc::new(Catalog::default());
    catalog.publish(Snapshot::new([Arc::new(image())], Vec::new()));
    let (requests, _) = lab.worker.roles[0];
    let (reporter, now) = (lab.worker.reporter.clone(), lab.now());
    let sockets = [(requests, server())];
    lab.worker.tftp = TftpService::new(settings, &sockets, catalog, reporter, now);
    let (bytes, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let reader = Reader {
        begins: Some(now),
        blocks: 0,
        bytes: Rc::clone(&bytes),
        done: Rc::clone(&done),
    };
    lab.worker.driver.add_host(host(9, 2070), Box::new(reader));
    lab.settle(|| !done.get());
    assert_eq!(bytes.get(), LENGTH);
    let block = LENGTH.div_ceil(BLOCK);
    assert!(block > 2 * 65_536, "the numbers begin anew twice");
    assert_eq!(lab.count(|what| matches!(what, What::Finished { .. })), 1);
}
