//! WIM files that wimlib made, read here and by wimlib itself.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod made;
#[path = "../../../../tests/fixtures/wimlib.rs"]
mod wimlib;

use std::collections::BTreeMap;
use std::fs;

use bootstorm_catalog::wim::{FileTime, Node, Tree, Wim, WimError, WimFile};
use made::{Form, Made, Random};

/// Everything that wimlib and this reader both say of a file.
#[derive(Debug, PartialEq)]
struct Described {
    attributes: u32,
    hard_link: u64,
    sha1: String,
    written: u64,
}

/// Two images of all that is hard, in every form that can be read.
const FORMS: &[Form] = &[
    Form::new("none", 0),
    Form::new("xpress", 4096),
    Form::new("xpress", 32_768),
    Form::new("xpress", 65_536),
    Form::new("lzx", 32_768),
    Form::new("lzx", 65_536),
    Form::new("lzx", 1 << 21),
];

#[test]
fn winboot_10_every_file_tree_and_xml_are_what_wimlib_reads() {
    let Some(made) = Made::new() else { return };
    for form in FORMS {
        let path = made.wim(form);
        let bytes = fs::read(&path).unwrap();
        let file = WimFile::open(&bytes).unwrap();
        assert_eq!(file.wim().images.len(), 2, "{form:?}");
        assert_eq!(file.wim().boot_index, 1);
        assert_eq!(file.xml().unwrap(), made.xml(&path), "{form:?}");
        let integrity = file.integrity().unwrap().unwrap();
        integrity.verify().unwrap();
        for index in [1, 2] {
            let tree = file.tree(index).unwrap();
            assert_eq!(
                described(&tree),
                said(&made.details(&path, index)),
                "{form:?}"
            );
            let applied = made.apply(&path, index);
            for node in tree.nodes().filter(|node| !node.is_folder()) {
                let at = tree.path(node).replace('\\', "/");
                // wimlib stores links of Unix as reparse points, and makes links of them again.
                if node.reparse_tag.is_some() {
                    assert!(applied.join(&at[1..]).is_symlink(), "{at}");
                    continue;
                }
                let content = fs::read(applied.join(&at[1..])).unwrap();
                assert!(file.read(node).unwrap() == content, "{form:?} {at}");
                assert_eq!(file.size(node), Ok(content.len() as u64));
            }
        }
    }
}

#[test]
fn winboot_15_what_is_not_compressed_is_found_in_the_file_itself() {
    let Some(made) = Made::new() else { return };
    let bytes = fs::read(made.wim(&Form::new("none", 0))).unwrap();
    let file = WimFile::open(&bytes).unwrap();
    let tree = file.tree(1).unwrap();
    let node = tree.find("code/program.exe").unwrap();
    let range = file.range(node).unwrap().unwrap();
    let there = &bytes[range.start as usize..range.end as usize];
    assert!(there == file.read(node).unwrap());
    let packed = fs::read(made.wim(&Form::new("lzx", 32_768))).unwrap();
    let file = WimFile::open(&packed).unwrap();
    let tree = file.tree(1).unwrap();
    assert_eq!(file.range(tree.find("code/program.exe").unwrap()), Ok(None));
}

#[test]
fn winboot_10_paths_are_found_in_any_case_with_either_slash() {
    let Some(made) = Made::new() else { return };
    let bytes = fs::read(made.wim(&Form::new("lzx", 32_768))).unwrap();
    let file = WimFile::open(&bytes).unwrap();
    let tree = file.tree(2).unwrap();
    for path in [
        "\\CODE\\program.EXE",
        "code//Program.exe",
        "/Code\\Program.exe/",
    ] {
        let node = tree.find(path).unwrap();
        assert_eq!(tree.path(node), "\\code\\Program.exe", "{path}");
    }
    // Two names that differ only in case: the one that is asked for, if it is there.
    let names = ["both", "Both"].map(|name| tree.find(name).unwrap());
    assert_eq!(names.map(|node| node.name.as_str()), ["both", "Both"]);
    assert_eq!(tree.find(""), Some(tree.root()));
    assert_eq!(tree.find("code/Program.exe/more"), None);
    assert_eq!(tree.find(".."), None);
}

#[test]
fn winboot_10_what_nobody_but_wimlib_reads_is_refused_by_its_name() {
    let Some(made) = Made::new() else { return };
    let refused = |form: &Form| {
        let bytes = fs::read(made.wim(form)).unwrap();
        let file = WimFile::open(&bytes).unwrap();
        let trees = file.tree(1).map(drop).map_err(|e| e.code());
        (file.wim().boot_image(None).unwrap_err().code, trees)
    };
    let lzms = refused(&Form::new("lzms", 131_072));
    // Files of this compression say the version of solid ones.
    assert_eq!(lzms, ("wim.solid", Err("wim.lzms")));
    // wimlib packs no trees into solid resources, but compresses them in the same way.
    let solid = refused(&Form::solid("lzms"));
    assert_eq!(solid, ("wim.solid", Err("wim.lzms")));
    let bytes = fs::read(made.wim(&Form::solid("xpress"))).unwrap();
    let file = WimFile::open(&bytes).unwrap();
    let tree = file.tree(1).unwrap();
    let node = tree.find("code/Program.exe").unwrap();
    assert_eq!(file.read(node), Err(WimError::Solid));
    assert_eq!(file.tree(3).unwrap_err().code(), "wim.no-such-image");
    assert_eq!(file.tree(0).unwrap_err().code(), "wim.no-such-image");
    assert_eq!(file.read(tree.root()).unwrap_err().code(), "wim.is-folder");
}

#[test]
fn winboot_10_parts_of_a_split_image_are_named() {
    let Some(made) = Made::new() else { return };
    let parts = made.split(&Form::new("none", 0));
    assert!(parts.len() > 1);
    let first = fs::read(&parts[0]).unwrap();
    let file = WimFile::open(&first).unwrap();
    let missing = file.tree(1).unwrap();
    let elsewhere = missing
        .nodes()
        .filter(|node| !node.is_folder())
        .map(|node| file.read(node).map(drop))
        .filter(|read| {
            matches!(
                read,
                Err(WimError::MissingContent(_) | WimError::Spanned(_))
            )
        })
        .count();
    assert!(elsewhere > 0);
    let second = Wim::parse(&fs::read(&parts[1]).unwrap()).unwrap();
    assert_eq!((second.part, usize::from(second.parts)), (2, parts.len()));
    assert_eq!(second.boot_image(None).unwrap_err().code, "wim.spanned");
}

#[test]
fn winboot_11_ten_thousand_mutations_never_panic_and_never_give_wrong_bytes() {
    let Some(made) = Made::new() else { return };
    let mut random = Random::new(7);
    for form in ["none", "xpress", "lzx"].map(|name| Form::new(name, 0)) {
        let whole = fs::read(made.small(&form)).unwrap();
        let contents = contents(&whole);
        let refused = (0..3400)
            .filter(|_| !is_read(&mutated(&whole, &mut random), &contents))
            .count();
        assert!(refused > 1000, "{form:?}: only {refused} were noticed");
    }
}

/// A few bytes are others, in the header, in what is packed or anywhere; sometimes the end is gone.
fn mutated(whole: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    let lookup = u64::from_le_bytes(std::array::from_fn(|i| whole[56 + i])) as usize;
    let place = match random.below(3) {
        0 => 0..208,
        1 => 208..lookup,
        _ => 0..whole.len(),
    };
    for _ in 0..=random.below(3) {
        bytes[place.start + random.below(place.len())] = random.below(256) as u8;
    }
    if random.below(10) == 0 {
        bytes.truncate(random.below(bytes.len()));
    }
    bytes
}

/// Reads all that there is; `false` when something of it was refused.
fn is_read(bytes: &[u8], contents: &BTreeMap<[u8; 20], Vec<u8>>) -> bool {
    let Ok(file) = WimFile::open(bytes) else {
        return false;
    };
    let verified = file.integrity().map(|sums| sums.map(|sums| sums.verify()));
    let mut good = matches!(verified, Ok(Some(Ok(()))));
    for index in [1, 2] {
        let Ok(tree) = file.tree(index) else {
            return false;
        };
        for node in tree.nodes().filter(|node| !node.is_folder()) {
            match file.read(node) {
                Ok(content) if content.is_empty() => {}
                Ok(content) => assert_eq!(contents.get(&node.sha1), Some(&content)),
                Err(_) => good = false,
            }
        }
    }
    good
}

fn contents(bytes: &[u8]) -> BTreeMap<[u8; 20], Vec<u8>> {
    let file = WimFile::open(bytes).unwrap();
    let trees = [1, 2].map(|index| file.tree(index).unwrap());
    let nodes = trees.iter().flat_map(Tree::nodes);
    nodes
        .filter(|node| !node.is_folder())
        .map(|node| (node.sha1, file.read(node).unwrap()))
        .collect()
}

fn described(tree: &Tree) -> BTreeMap<String, Described> {
    let describe = |node: &Node| Described {
        attributes: node.attributes,
        hard_link: node.hard_link,
        sha1: node.sha1.iter().map(|byte| format!("{byte:02x}")).collect(),
        written: seconds(node.written),
    };
    tree.nodes()
        .map(|node| (tree.path(node).replace('\\', "/"), describe(node)))
        .collect()
}

fn seconds(time: FileTime) -> u64 {
    let since = time.system_time().unwrap();
    since
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// What `wimlib-imagex dir --detailed` prints.
fn said(details: &str) -> BTreeMap<String, Described> {
    let mut times = made::epochs(details).into_iter();
    let blocks = details.split("Full Path           = ").skip(1);
    blocks
        .map(|block| {
            let field = |name: &str| {
                let line = block.lines().find(|line| line.starts_with(name)).unwrap();
                line.split_once("= ").unwrap().1
            };
            let path = block.lines().next().unwrap().trim_matches('"');
            let hex = |name| u64::from_str_radix(field(name).trim_start_matches("0x"), 16).unwrap();
            let described = Described {
                attributes: hex("Attributes") as u32,
                hard_link: hex("Link Group ID"),
                sha1: field("Hash").trim_start_matches("0x").to_owned(),
                written: times.next().unwrap(),
            };
            (path.to_owned(), described)
        })
        .collect()
}
