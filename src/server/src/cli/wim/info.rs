//! `bootstorm wim info`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use bootstorm_catalog::wim::{WimFile, WimImage, loaders};
use serde_json::{Value, json};

use super::{Format, printable};
use crate::cli::EXIT_FAILURE;

/// Prints what the file holds; exit code 1 when it is damaged.
pub(super) fn print(
    path: &Path,
    wim: &WimFile<'_>,
    check: bool,
    output: Format,
) -> anyhow::Result<ExitCode> {
    let integrity = Integrity::of(wim, check);
    let images: Vec<Described<'_>> = wim
        .wim()
        .images
        .iter()
        .map(|image| Described::of(wim, image))
        .collect();
    let mut out = std::io::stdout().lock();
    match output {
        Format::Json => {
            let all = as_json(path, wim, &images, &integrity);
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        }
        Format::Text => write!(out, "{}", as_text(path, wim, &images, &integrity))?,
    }
    Ok(match integrity {
        Integrity::Wrong(_) => EXIT_FAILURE.into(),
        Integrity::None | Integrity::There | Integrity::Right => ExitCode::SUCCESS,
    })
}

/// What became of the file's own check sums.
enum Integrity {
    None,
    There,
    Right,
    Wrong(String),
}

impl Integrity {
    fn of(wim: &WimFile<'_>, check: bool) -> Self {
        match wim.integrity() {
            Ok(None) => Self::None,
            Ok(Some(_)) if !check => Self::There,
            Ok(Some(sums)) => match sums.verify() {
                Ok(()) => Self::Right,
                Err(error) => Self::Wrong(error.to_string()),
            },
            Err(error) => Self::Wrong(error.to_string()),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::None => "the file has no integrity table",
            Self::There => "the file has an integrity table; --check compares it",
            Self::Right => "the file is what its integrity table says",
            Self::Wrong(why) => why,
        }
    }
}

/// An image with what its tree says.
struct Described<'a> {
    image: &'a WimImage,
    /// What machines boot it by, or why its tree cannot be read.
    loaders: Result<Vec<String>, String>,
}

impl<'a> Described<'a> {
    fn of(wim: &WimFile<'_>, image: &'a WimImage) -> Self {
        let names = wim.tree(image.index).map(|tree| {
            let found = loaders(&tree);
            found.into_iter().map(|(name, _)| name).collect()
        });
        Self {
            image,
            loaders: names.map_err(|error| error.to_string()),
        }
    }
}

fn as_text(
    path: &Path,
    wim: &WimFile<'_>,
    images: &[Described<'_>],
    integrity: &Integrity,
) -> String {
    let header = wim.wim();
    let mut lines = vec![format!(
        "{}: {} in chunks of {} bytes, {} images",
        path.display(),
        header.compression,
        header.chunk_size,
        images.len()
    )];
    if header.parts > 1 {
        lines.push(format!("part {} of {}", header.part, header.parts));
    }
    match header.boot_image(None) {
        Ok(image) => lines.push(format!("wimboot boots image {}", image.index)),
        Err(why) => lines.push(format!("does not boot: {} [{}]", why.text, why.code)),
    }
    if header.boot_index == 0 {
        lines.push("no image is marked to boot, as Windows' own boot manager wants it".into());
    }
    lines.push(integrity.text().to_owned());
    for Described { image, loaders } in images {
        lines.push(format!(
            "\nimage {}: {}",
            image.index,
            printable(&image.name)
        ));
        let version = image.version.map(|v| v.map(|n| n.to_string()).join("."));
        let fields = [
            ("description", image.description.clone()),
            (
                "for",
                image.arch.map_or_else(String::new, |a| a.to_string()),
            ),
            ("product", image.product.clone()),
            ("version", version.unwrap_or_default()),
            ("edition", image.edition.clone()),
            ("languages", image.languages.join(", ")),
            ("unpacked", format!("{} bytes", image.total_bytes)),
            (
                "boots by",
                match loaders {
                    Ok(names) if names.is_empty() => "nothing that is known".into(),
                    Ok(names) => names.join(" "),
                    Err(why) => why.clone(),
                },
            ),
        ];
        for (name, text) in fields.iter().filter(|(_, text)| !text.is_empty()) {
            lines.push(format!("  {name:12} {}", printable(text)));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn as_json(
    path: &Path,
    wim: &WimFile<'_>,
    images: &[Described<'_>],
    integrity: &Integrity,
) -> Value {
    let header = wim.wim();
    let images: Vec<Value> = images
        .iter()
        .map(|Described { image, loaders }| {
            json!({
                "index": image.index,
                "name": image.name,
                "description": image.description,
                "arch": image.arch.map(|arch| arch.to_string()),
                "product": image.product,
                "version": image.version.map(|v| v.map(|n| n.to_string()).join(".")),
                "edition": image.edition,
                "installation": image.installation,
                "languages": image.languages,
                "total_bytes": image.total_bytes,
                "loaders": loaders.as_ref().ok(),
                "error": loaders.as_ref().err(),
            })
        })
        .collect();
    let boots = header.boot_image(None);
    json!({
        "file": path.display().to_string(),
        "compression": header.compression.to_string(),
        "chunk_size": header.chunk_size,
        "part": header.part,
        "parts": header.parts,
        "boot_index": header.boot_index,
        "boots": boots.as_ref().ok().map(|image| image.index),
        "refused": boots.err().map(|why| json!({"code": why.code, "text": why.text})),
        "integrity": match integrity {
            Integrity::None => "none",
            Integrity::There => "not checked",
            Integrity::Right => "right",
            Integrity::Wrong(_) => "wrong",
        },
        "images": images,
    })
}
