//! The thread: what is done when.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bootstorm_catalog::{Catalog, File, Problem, Snapshot};
use notify::RecommendedWatcher;
use rustix::fs::statfs;

use crate::blobs::{Blobs, hex, unhex};
use crate::copy::{Copier, CopyError};
use crate::failure::{Failure, explain};
use crate::index::{self, Index, Row, Rows};
use crate::limits::{FIRST_PASS_PATIENCE, PAUSE, PUBLISH_EVERY, RESCAN, RESCAN_BLIND, SAVE_EVERY};
use crate::scan::{Found, Scan, Stamp, is_below, scan};
use crate::settle::Settling;
use crate::shelf;
use crate::unpack::Unpacked;
use crate::watch::{Control, Places, watch};
use crate::{IngestConfig, IngestError, Report, source};

pub(crate) type Reporter = Box<dyn FnMut(Report) + Send>;

/// Everything that the thread starts with.
pub(crate) struct Worker {
    config: IngestConfig,
    catalog: Arc<Catalog>,
    control: Arc<Control>,
    report: Reporter,
    blobs: Blobs,
    places: Places,
}

/// A file that is served.
struct Served {
    stamp: Stamp,
    file: Arc<File>,
}

/// What the thread knows.
struct Running {
    setup: Worker,
    copier: Copier,
    watcher: Option<(RecommendedWatcher, u64)>,
    settling: Settling,
    rows: Rows,
    unpacked: Unpacked,
    served: BTreeMap<String, Served>,
    failures: HashMap<String, Failure>,
    told: BTreeSet<Problem>,
    /// Those of them that came from here, not from the catalog.
    told_by_us: BTreeSet<Problem>,
    /// Files that are not served yet, in no version.
    pending: BTreeSet<String>,
    /// The same when the catalog was published last.
    told_pending: BTreeSet<String>,
    /// Files or entries changed since the last publication.
    changed: bool,
    published: bool,
    publish_due: Instant,
    /// The index on the disk.
    saved: Index,
    save_due: Instant,
    /// Files came or went since it was written.
    unsaved: bool,
    waiting_since: Option<Instant>,
}

impl Worker {
    pub(crate) fn new(
        config: IngestConfig,
        catalog: Arc<Catalog>,
        control: Arc<Control>,
        mut report: Reporter,
    ) -> Result<Self, IngestError> {
        let images_error = |source| IngestError::Images {
            path: config.images.clone(),
            source,
        };
        let data_error = |source: io::Error| match source.kind() {
            io::ErrorKind::WouldBlock => IngestError::InUse(config.data.clone()),
            _ => IngestError::Data {
                path: config.data.clone(),
                source,
            },
        };
        match fs::metadata(&config.images) {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => return Err(IngestError::NotAFolder(config.images.clone())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(&config.images).map_err(images_error)?;
                report(Report::FolderMade(config.images.clone()));
            }
            Err(e) => return Err(images_error(e)),
        }
        let blobs = Blobs::open(&config.data).map_err(data_error)?;
        let places = Places {
            images: fs::canonicalize(&config.images).map_err(images_error)?,
            data: fs::canonicalize(&config.data).map_err(data_error)?,
            copies: fs::canonicalize(blobs.folder()).map_err(data_error)?,
        };
        if places.images == places.data || places.images.starts_with(&places.copies) {
            return Err(IngestError::SameFolder(config.images));
        }
        Ok(Self {
            config,
            catalog,
            control,
            report,
            blobs,
            places,
        })
    }

    pub(crate) fn run(mut self) {
        let copier = Copier::new().unwrap_or_else(|(plain, why)| {
            (self.report)(Report::PlainFiles(why.to_string()));
            plain
        });
        let index = index::read(&self.config.data);
        let mut running = Running {
            setup: self,
            copier,
            watcher: None,
            settling: Settling::default(),
            saved: index.clone(),
            rows: index.files,
            unpacked: Unpacked::new(index.taken),
            served: BTreeMap::new(),
            failures: HashMap::new(),
            told: BTreeSet::new(),
            told_by_us: BTreeSet::new(),
            pending: BTreeSet::new(),
            told_pending: BTreeSet::new(),
            changed: true,
            published: false,
            publish_due: Instant::now(),
            save_due: Instant::now(),
            unsaved: false,
            waiting_since: None,
        };
        running.run();
    }
}

impl Running {
    fn run(&mut self) {
        loop {
            let began = Instant::now();
            self.arm();
            let due = self.pass();
            // A folder that changes all the time must not keep a processor busy.
            let pause = PAUSE.max(began.elapsed().min(RESCAN_BLIND));
            let woken = self.setup.control.wait(due);
            if woken.stopped {
                return;
            }
            if let Some(why) = woken.trouble {
                self.watcher = None;
                (self.setup.report)(Report::Blind(why));
            }
            for failure in self.failures.values_mut() {
                failure.hurry(&woken.notices);
            }
            self.settling.note(woken.notices);
            self.setup.control.pause(pause);
        }
    }

    /// Watches the images folder, again when another one took its place.
    fn arm(&mut self) {
        let Ok(meta) = fs::metadata(&self.setup.places.images) else {
            return;
        };
        if self
            .watcher
            .as_ref()
            .is_some_and(|(_, inode)| *inode == meta.ino())
        {
            return;
        }
        self.settling.remote = is_remote(&self.setup.places.images);
        let first = !self.published;
        match watch(&self.setup.control, &self.setup.places) {
            Ok(watcher) => self.watcher = Some((watcher, meta.ino())),
            Err(e) if first => (self.setup.report)(Report::Blind(e.to_string())),
            Err(_) => {}
        }
    }

    /// One look, with everything that it leads to. Gives the time of the next one.
    fn pass(&mut self) -> Instant {
        let setup = &self.setup;
        let scan = scan(
            &setup.places.images,
            &setup.places.data,
            &setup.config.fallbacks,
        );
        let sources: HashSet<&Path> = scan.files.values().map(|f| f.source.as_path()).collect();
        self.settling.keep(&sources);
        self.drop_harmed();
        self.drop_gone(&scan);
        self.failures
            .retain(|path, f| scan.files.get(path).is_some_and(|s| s.stamp == f.stamp));
        let wanted = self.take_known(&scan);
        self.pending = wanted
            .iter()
            .filter(|path| !self.served.contains_key(*path))
            .cloned()
            .collect();
        let now = Instant::now();
        let rescan = if self.watcher.is_some() {
            RESCAN
        } else {
            RESCAN_BLIND
        };
        let mut due = now + rescan;
        let mut tasks = Vec::new();
        let mut unsettled = 0;
        for path in &wanted {
            let Some(found) = scan.files.get(path) else {
                continue;
            };
            if let Some(failure) = self.failures.get(path).filter(|f| f.retry > now) {
                due = due.min(failure.retry);
            } else if let Some(at) = self.settling.wait(found, now) {
                due = due.min(at);
                unsettled += 1;
            } else {
                tasks.push((path.clone(), found.clone()));
            }
        }
        tasks.sort_by_key(|(path, found)| {
            (!is_below(&path.to_lowercase(), "boot"), found.stamp.size)
        });
        let finished = self.copy_all(tasks, &scan);
        self.publish(&scan);
        self.save();
        if finished && self.may_be_ready(unsettled) {
            self.setup.control.set_ready();
        }
        if !finished || self.failures.values().any(|f| f.retry <= Instant::now()) {
            due = now;
        }
        self.failures
            .values()
            .map(|f| f.retry)
            .fold(due, Instant::min)
    }

    /// The first pass ends when all that was there is served, but waits for writers not for ever.
    fn may_be_ready(&mut self, unsettled: usize) -> bool {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        unsettled == 0 || since.elapsed() >= FIRST_PASS_PATIENCE
    }

    /// Stops serving copies that somebody else wrote to; they are made anew.
    fn drop_harmed(&mut self) {
        let harmed = |served: &Served| !served.file.content.verify();
        let paths: Vec<String> = self
            .served
            .iter()
            .filter(|(_, served)| harmed(served))
            .map(|(path, _)| path.clone())
            .collect();
        for problem in self.unpacked.drop_harmed() {
            self.changed = true;
            (self.setup.report)(Report::Trouble(problem));
        }
        for path in paths {
            self.changed = true;
            self.rows.remove(&path);
            if let Some(served) = self.served.remove(&path) {
                let copy = served.file.content.origin().to_owned();
                let text = format!(
                    "somebody wrote to the server's own copy {}; transfers of it were ended and it \
                     is copied anew",
                    copy.display()
                );
                // Unlinking first makes sure that the new copy is a new file.
                if let Err(e) = fs::remove_file(&copy) {
                    tracing::debug!(error = %e, "removing a harmed copy");
                }
                (self.setup.report)(Report::Trouble(Problem::new(
                    path,
                    "ingest.copy-harmed",
                    text,
                )));
            }
        }
    }

    fn drop_gone(&mut self, scan: &Scan) {
        let gone: Vec<String> = self
            .served
            .keys()
            .filter(|path| !scan.files.contains_key(*path))
            .filter(|path| !scan.unread.iter().any(|folder| is_below(path, folder)))
            .cloned()
            .collect();
        self.rows.retain(|path, _| {
            scan.files.contains_key(path) || scan.unread.iter().any(|folder| is_below(path, folder))
        });
        for path in gone {
            self.served.remove(&path);
            self.changed = true;
            (self.setup.report)(Report::Gone { path });
        }
    }

    /// Serves what the index knows, and gives the paths of what must be copied.
    fn take_known(&mut self, scan: &Scan) -> Vec<String> {
        let mut wanted = Vec::new();
        for (path, found) in &scan.files {
            if self
                .served
                .get(path)
                .is_some_and(|served| served.stamp == found.stamp)
            {
                continue;
            }
            // After a restart an older version is better than none, until the new one is copied.
            if !self.served.contains_key(path) {
                self.serve_row(path, found);
            }
            if self
                .served
                .get(path)
                .is_none_or(|served| served.stamp != found.stamp)
            {
                wanted.push(path.clone());
            }
        }
        wanted
    }

    fn serve_row(&mut self, path: &str, found: &Found) {
        let Some(row) = self.rows.get(path) else {
            return;
        };
        let Some(sha256) = unhex(&row.sha256) else {
            return;
        };
        if self.setup.blobs.written(&sha256, row.stamp.size) != Some(row.copied_ns) {
            return;
        }
        let stamp = row.stamp;
        if let Err(e) = self.serve(path, found, stamp, sha256) {
            tracing::debug!(path, error = %e, "a copy cannot be mapped");
        }
    }

    /// Copies one file after the other, until the folder changes. `false`: some are left.
    fn copy_all(&mut self, tasks: Vec<(String, Found)>, scan: &Scan) -> bool {
        for (path, found) in tasks {
            if self.setup.control.is_stopped() {
                return false;
            }
            if self.changed && self.publish_due <= Instant::now() {
                self.publish(scan);
                if self.save_due <= Instant::now() {
                    self.save();
                }
                if self.setup.control.is_dirty() {
                    return false;
                }
            }
            self.copy(&path, &found);
        }
        true
    }

    fn copy(&mut self, path: &str, found: &Found) {
        let began = Instant::now();
        match self.try_copy(path, found) {
            Ok(Some((sha256, shared))) => {
                if let Err(e) = self.serve(path, found, found.stamp, sha256) {
                    return self.fail(
                        path,
                        found,
                        "ingest.write-failed",
                        format!("cannot map the copy: {e}"),
                    );
                }
                self.failures.remove(path);
                self.settling.taken(&found.source);
                self.pending.remove(path);
                (self.setup.report)(Report::Copied {
                    path: path.to_owned(),
                    bytes: found.stamp.size,
                    took: began.elapsed(),
                    shared,
                });
            }
            Ok(None) => {
                let text = "it changed while it was copied; it is taken when it rests";
                self.fail(path, found, "ingest.changing", text.to_owned());
            }
            Err(CopyError::Stopped) => {}
            Err(e) => {
                let (code, text) = explain(&e, found.stamp.size);
                self.fail(path, found, code, text);
            }
        }
    }

    /// Copies a file into the blobs and notes it in the index; `None` when it changed meanwhile.
    fn try_copy(
        &mut self,
        path: &str,
        found: &Found,
    ) -> Result<Option<([u8; 32], bool)>, CopyError> {
        let setup = &self.setup;
        let opened = source::open(&setup.places.images, found).map_err(CopyError::Read)?;
        let Some(file) = opened else { return Ok(None) };
        let half = setup.blobs.begin().map_err(CopyError::Write)?;
        let from = file.try_clone().map_err(CopyError::Read)?;
        let to = half.file.try_clone().map_err(CopyError::Write)?;
        let stop = || setup.control.is_stopped();
        let copied = match self.copier.copy(from, to, found.stamp.size, &stop) {
            Err(CopyError::Changed) => return Ok(None),
            other => other?,
        };
        if !source::is_unchanged(found, &file) {
            return Ok(None);
        }
        let size = found.stamp.size;
        if !setup.control.is_mapped(&setup.blobs.path(&copied.sha256)) {
            setup
                .blobs
                .commit(half, &copied.sha256)
                .map_err(CopyError::Write)?;
        }
        let row = Row {
            stamp: found.stamp,
            sha256: hex(&copied.sha256),
            copied_ns: setup
                .blobs
                .written(&copied.sha256, size)
                .unwrap_or_default(),
        };
        self.rows.insert(path.to_owned(), row);
        Ok(Some((copied.sha256, copied.shared)))
    }

    fn serve(
        &mut self,
        path: &str,
        found: &Found,
        stamp: Stamp,
        sha256: [u8; 32],
    ) -> io::Result<()> {
        let content = self.setup.control.map(&self.setup.blobs.path(&sha256))?;
        let modified = stamp.modified().unwrap_or(found.modified);
        let file = Arc::new(File {
            path: path.into(),
            content,
            sha256,
            modified,
        });
        self.served.insert(path.to_owned(), Served { stamp, file });
        self.changed = true;
        Ok(())
    }

    fn fail(&mut self, path: &str, found: &Found, code: &'static str, text: String) {
        let problem = Problem::new(path, code, text);
        let failure = Failure::new(problem, found, self.failures.get(path));
        self.failures.insert(path.to_owned(), failure);
    }

    /// What machines boot images by, when anything changed.
    fn unpack(&mut self) {
        if !self.changed && !self.unpacked.wants_retry() {
            return;
        }
        let served: Vec<_> = self.served.values().map(|s| Arc::clone(&s.file)).collect();
        let shelf = shelf::Running {
            blobs: &self.setup.blobs,
            control: &self.setup.control,
        };
        let report = &mut self.setup.report;
        let mut news = false;
        self.unpacked.renew(&served, &shelf, &mut |path, files| {
            news = true;
            report(Report::Unpacked {
                path: path.to_owned(),
                files,
            });
        });
        self.changed |= news;
    }

    fn publish(&mut self, scan: &Scan) {
        self.unpack();
        let problems: BTreeSet<Problem> = scan
            .problems
            .iter()
            .chain(self.failures.values().map(|failure| &failure.problem))
            .chain(self.unpacked.problems())
            .cloned()
            .collect();
        let news = self.changed || self.pending != self.told_pending;
        if !news && problems == self.told_by_us && self.published {
            return;
        }
        let began = Instant::now();
        self.told_pending = self.pending.clone();
        let files = self.served.values().map(|served| &served.file);
        let files = files.chain(self.unpacked.files()).map(Arc::clone);
        self.told_by_us.clone_from(&problems);
        let snapshot = Snapshot::build(files, &self.pending).with_problems(problems);
        let now: BTreeSet<Problem> = snapshot.problems().iter().cloned().collect();
        for new in now.difference(&self.told) {
            (self.setup.report)(Report::Trouble(new.clone()));
        }
        self.told = now;
        let report = Report::Published {
            files: snapshot.files().count(),
            entries: snapshot.entries().len(),
        };
        self.setup.catalog.publish(snapshot);
        self.setup.control.set_published();
        if std::mem::take(&mut self.changed) || !self.published {
            self.unsaved = true;
            (self.setup.report)(report);
        }
        self.published = true;
        self.publish_due = Instant::now() + PUBLISH_EVERY.max(began.elapsed() * 10);
    }

    /// Writes the index when it changed, and removes the copies that nothing uses any more.
    fn save(&mut self) {
        if !std::mem::take(&mut self.unsaved) {
            return;
        }
        self.save_due = Instant::now() + SAVE_EVERY;
        let index = Index {
            files: self.rows.clone(),
            taken: self.unpacked.taken(),
        };
        if index != self.saved {
            let data = &self.setup.config.data;
            match self
                .setup
                .blobs
                .sync()
                .and_then(|()| index::write(data, &index))
            {
                Ok(()) => self.saved = index,
                Err(e) => {
                    let text = format!(
                        "the index cannot be written: {e}; the next start hashes everything"
                    );
                    let path = index::path(data).display().to_string();
                    let problem = Problem::new(path, "ingest.index-not-written", text);
                    (self.setup.report)(Report::Trouble(problem));
                }
            }
        }
        // On a full disk this makes room although the index could not be written: a row whose copy
        // is gone only costs another copy at the next start.
        let served = self.served.values().map(|served| served.file.sha256);
        let rows = self.rows.values().filter_map(|row| unhex(&row.sha256));
        let used: HashSet<[u8; 32]> = served.chain(rows).chain(self.unpacked.digests()).collect();
        self.setup.blobs.sweep(&used);
        let paths: HashSet<_> = used
            .iter()
            .map(|sha256| self.setup.blobs.path(sha256))
            .collect();
        self.setup.control.release(|copy| paths.contains(copy));
    }
}

/// The file system lives on another machine, or in a program: NFS, SMB, CIFS, 9p, Ceph, FUSE.
fn is_remote(folder: &Path) -> bool {
    const REMOTE: [u32; 6] = [
        0x6969,
        0x517b,
        0xff53_4d42,
        0x0102_1997,
        0x00c3_6400,
        0x6573_5546,
    ];
    statfs(folder).is_ok_and(|fs| REMOTE.contains(&(fs.f_type as u32)))
}
