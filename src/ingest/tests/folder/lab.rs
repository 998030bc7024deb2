//! A folder of images, a data folder and a running ingest.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bootstorm_catalog::{Catalog, Snapshot};
use bootstorm_ingest::{Ingest, IngestConfig, Report};

/// Far longer than anything takes that works.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

pub(crate) struct Lab {
    _dir: tempfile::TempDir,
    pub(crate) config: IngestConfig,
}

pub(crate) struct Running {
    pub(crate) ingest: Ingest,
    catalog: Arc<Catalog>,
    reports: Arc<Mutex<Vec<Report>>>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = IngestConfig::new(dir.path().join("images"), dir.path().join("data"));
        config.fallbacks = Vec::new();
        fs::create_dir(&config.images).unwrap();
        Self { _dir: dir, config }
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.config.images.clone()
    }

    /// Writes a file that has rested for an hour.
    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.images().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let then = SystemTime::now() - Duration::from_secs(3600);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(then)
            .unwrap();
    }

    /// The digests of all copies.
    pub(crate) fn copies(&self) -> Vec<PathBuf> {
        fs::read_dir(self.config.data.join("blobs"))
            .unwrap()
            .map(|child| child.unwrap().path())
            .filter(|path| path.file_name().unwrap().len() == 64)
            .collect()
    }

    /// Starts an ingest and waits for its first pass.
    pub(crate) fn start(&self) -> Running {
        let running = self.begin();
        assert!(running.ingest.first_pass());
        running
    }

    /// Starts an ingest.
    pub(crate) fn begin(&self) -> Running {
        let catalog = Arc::new(Catalog::default());
        let reports = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&reports);
        let report = move |report| kept.lock().unwrap().push(report);
        let ingest = Ingest::start(self.config.clone(), Arc::clone(&catalog), report).unwrap();
        Running {
            ingest,
            catalog,
            reports,
        }
    }
}

impl Running {
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.catalog.snapshot()
    }

    pub(crate) fn reports(&self) -> Vec<String> {
        self.reports
            .lock()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    pub(crate) fn said(&self, text: &str) -> bool {
        self.reports().iter().any(|line| line.contains(text))
    }

    pub(crate) fn copied(&self) -> usize {
        let reports = self.reports.lock().unwrap();
        reports
            .iter()
            .filter(|report| matches!(report, Report::Copied { .. }))
            .count()
    }

    pub(crate) fn codes(&self) -> Vec<(String, &'static str)> {
        self.snapshot()
            .problems()
            .iter()
            .map(|p| (p.path.clone(), p.code))
            .collect()
    }

    pub(crate) fn wait(&self, condition: impl Fn(&Snapshot) -> bool) {
        let began = Instant::now();
        while !condition(&self.snapshot()) {
            let state = (self.snapshot().problems().to_vec(), self.reports());
            assert!(began.elapsed() < BOUND, "never happened: {state:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn wait_for(&self, path: &str, content: &[u8]) {
        self.wait(|s| s.file(path).is_ok_and(|file| &*file.content == content));
    }
}
