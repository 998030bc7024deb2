//! Trees and WIM files, made anew by each test.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::wimlib::{self, imagex};

/// How a WIM file is packed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    compression: &'static str,
    /// 0 for wimlib's own.
    chunk: u32,
    solid: bool,
}

impl Form {
    pub(crate) const fn new(compression: &'static str, chunk: u32) -> Self {
        Self {
            compression,
            chunk,
            solid: false,
        }
    }

    /// Contents packed together; the trees alone in this compression.
    pub(crate) const fn solid(compression: &'static str) -> Self {
        Self {
            compression,
            chunk: 0,
            solid: true,
        }
    }
}

/// A folder with a tree that has all that is hard, removed at the end.
pub(crate) struct Made {
    folder: tempfile::TempDir,
}

impl Made {
    /// `None` where wimlib is not installed; a failure where everything must be tested.
    pub(crate) fn new() -> Option<Self> {
        if !wimlib::is_there() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let made = Self { folder };
        hard_tree(&made.at("tree"));
        small_tree(&made.at("small"));
        Some(made)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Two images of the hard tree; the second has some files more.
    pub(crate) fn wim(&self, form: &Form) -> PathBuf {
        self.images("tree", form)
    }

    /// Two images of a few small files.
    pub(crate) fn small(&self, form: &Form) -> PathBuf {
        self.images("small", form)
    }

    fn images(&self, tree: &str, form: &Form) -> PathBuf {
        let name = format!("{tree}-{}-{}-{}", form.compression, form.chunk, form.solid);
        let (path, tree) = (self.at(&format!("{name}.wim")), self.at(tree));
        let compress = format!("--compress={}", form.compression);
        let chunk = format!("--chunk-size={}", form.chunk);
        let description = "With <all> & more";
        let mut options = vec![description, "--boot", "--check", "--norpfix", "--threads=1"];
        options.push(&compress);
        if form.chunk != 0 {
            options.push(&chunk);
        }
        if form.solid {
            options.push("--solid");
        }
        wimlib::pack(&tree, &path, "The first", &options);
        let more = tree.join("only in the second");
        fs::write(&more, "Zwei\r\n".repeat(300)).unwrap();
        let options = ["--check", "--norpfix", "--threads=1"];
        wimlib::pack(&tree, &path, "Zwei Grüße", &options);
        fs::remove_file(more).unwrap();
        path
    }

    pub(crate) fn xml(&self, wim: &Path) -> String {
        let xml = self.at("xml");
        let extract = format!("--extract-xml={}", xml.display());
        imagex(&[&"info", &wim, &extract]);
        let units: Vec<u16> = fs::read(&xml)
            .unwrap()
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        let text = String::from_utf16(&units).unwrap();
        text.strip_prefix('\u{feff}').unwrap().to_owned()
    }

    pub(crate) fn details(&self, wim: &Path, index: u32) -> String {
        imagex(&[&"dir", &wim, &index.to_string(), &"--detailed"])
    }

    /// The image, unpacked by wimlib.
    pub(crate) fn apply(&self, wim: &Path, index: u32) -> PathBuf {
        let target = self.at("applied");
        let _ = fs::remove_dir_all(&target);
        imagex(&[&"apply", &wim, &index.to_string(), &target]);
        target
    }

    /// The parts of a split image, the first one first.
    pub(crate) fn split(&self, form: &Form) -> Vec<PathBuf> {
        let whole = self.wim(form);
        let first = self.at("part.swm");
        imagex(&[&"split", &whole, &first, &"0.2"]);
        let numbered = (2..).map(|n| self.at(&format!("part{n}.swm")));
        std::iter::once(first)
            .chain(numbered)
            .take_while(|part| part.exists())
            .collect()
    }
}

/// Every last write time of a detailed listing, in seconds since 1970.
pub(crate) fn epochs(details: &str) -> Vec<u64> {
    let fields = details.lines().filter_map(|line| line.split_once(" = "));
    let dates: Vec<&str> = fields
        .filter(|(name, _)| name.trim() == "Last Write Time")
        .map(|(_, date)| date)
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("dates");
    fs::write(&list, dates.join("\n")).unwrap();
    let mut date = Command::new("date");
    let seconds = date.args(["-u", "+%s", "-f"]).arg(&list).output().unwrap();
    assert!(seconds.status.success(), "{seconds:?}");
    let seconds = String::from_utf8(seconds.stdout).unwrap();
    seconds.lines().map(|line| line.parse().unwrap()).collect()
}

fn hard_tree(root: &Path) {
    let mut random = Random::new(1);
    let file = |path: &str, content: Vec<u8>| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    file("code/Program.exe", random.code(210_000));
    file("code/large.dll", random.code(2_200_000));
    file("text.txt", random.text(72_345));
    file("noise.bin", random.bytes(100_001));
    file("zeros", vec![0; 300_000]);
    for size in [
        1, 2, 9, 10, 11, 4095, 4096, 32_767, 32_768, 32_769, 65_536, 65_537,
    ] {
        file(&format!("sizes/{size}"), random.text(size));
    }
    let mut mixed = random.bytes(33_000);
    mixed.extend(random.text(40_000));
    mixed.extend(random.bytes(32_768));
    file("mixed", mixed);
    file("Grüße aus Köln/Ωmega 🚀.bin", random.text(500));
    file(&format!("long/{}", "n".repeat(200)), random.text(5));
    file("both", b"lower".to_vec());
    file("Both", b"upper".to_vec());
    file("empty/file", Vec::new());
    file(&format!("{}end", "deep/".repeat(40)), b"at last".to_vec());
    fs::create_dir(root.join("nothing in it")).unwrap();
    fs::hard_link(root.join("text.txt"), root.join("code/same text.txt")).unwrap();
    symlink("text.txt", root.join("link")).unwrap();
}

fn small_tree(root: &Path) {
    let mut random = Random::new(2);
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/code"), random.code(5000)).unwrap();
    fs::write(root.join("a/text"), random.text(3000)).unwrap();
    fs::write(root.join("noise"), random.bytes(300)).unwrap();
    fs::write(root.join("empty"), "").unwrap();
}

/// The same numbers every time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % limit as u64) as usize
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    fn text(&mut self, length: usize) -> Vec<u8> {
        const WORDS: &[&str] = &["boot ", "window", "image\r\n", "of ", "a ", "machine, "];
        let mut text = Vec::new();
        while text.len() < length {
            match self.below(20) {
                0 => text.push(self.below(256) as u8),
                n => text.extend(WORDS[n % WORDS.len()].as_bytes()),
            }
        }
        text.truncate(length);
        text
    }

    /// Calls of a few places, as a program has them, between other bytes.
    fn code(&mut self, length: usize) -> Vec<u8> {
        let mut code = Vec::new();
        while code.len() < length {
            let target = self.below(8) as i32 * 4096 - code.len() as i32;
            code.push(0xe8);
            code.extend(target.to_le_bytes());
            for _ in 0..self.below(9) {
                code.push(b"\x55\x48\x89\xe5\x5d\xc3\x90\xe8"[self.below(8)]);
            }
        }
        code.truncate(length);
        code
    }
}
