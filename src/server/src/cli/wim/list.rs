//! `bootstorm wim ls`.

use std::io::{BufWriter, Write as _};

use bootstorm_catalog::wim::{Node, Tree, WimFile};
use serde_json::{Value, json};

use super::{Format, printable};

/// Prints a folder, a line for each file in it, or a file.
pub(super) fn print(
    wim: &WimFile<'_>,
    tree: &Tree,
    node: &Node,
    recursive: bool,
    output: Format,
) -> anyhow::Result<()> {
    let nodes: Vec<&Node> = if !node.is_folder() {
        vec![node]
    } else if recursive {
        tree.below(node).skip(1).collect()
    } else {
        let mut children: Vec<&Node> = tree.children(node).iter().collect();
        children.sort_by_cached_key(|child| child.name.to_lowercase());
        children
    };
    let mut out = BufWriter::new(std::io::stdout().lock());
    match output {
        Format::Json => {
            let all: Vec<Value> = nodes.iter().map(|n| as_json(wim, tree, n)).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&all)?)?;
        }
        Format::Text => {
            for node in nodes {
                let name = if recursive {
                    tree.path(node)
                } else {
                    node.name.clone()
                };
                writeln!(out, "{} {}", line(wim, node), printable(&name))?;
            }
        }
    }
    Ok(out.flush()?)
}

/// Kind, length and time.
fn line(wim: &WimFile<'_>, node: &Node) -> String {
    let kind = match (node.is_folder(), node.reparse_tag) {
        (true, _) => 'd',
        (false, Some(_)) => 'l',
        (false, None) => '-',
    };
    let size = wim
        .size(node)
        .map_or(String::new(), |size| size.to_string());
    format!("{kind} {size:>12} {:16}", written(node, "%Y-%m-%d %H:%M"))
}

fn as_json(wim: &WimFile<'_>, tree: &Tree, node: &Node) -> Value {
    let hex = |sha1: &[u8; 20]| -> String { sha1.iter().map(|b| format!("{b:02x}")).collect() };
    let streams: Vec<Value> = node
        .streams
        .iter()
        .map(|stream| json!({"name": stream.name, "sha1": hex(&stream.sha1)}))
        .collect();
    json!({
        "path": tree.path(node),
        "folder": node.is_folder(),
        "attributes": node.attributes,
        "size": wim.size(node).ok(),
        "sha1": (node.sha1 != [0; 20]).then(|| hex(&node.sha1)),
        "written": written(node, "%Y-%m-%dT%H:%M:%SZ"),
        "short_name": (!node.short_name.is_empty()).then_some(&node.short_name),
        "hard_link": (node.hard_link != 0).then_some(node.hard_link),
        "reparse_tag": node.reparse_tag,
        "streams": streams,
    })
}

/// In UTC; empty for times before 1970.
fn written(node: &Node, format: &str) -> String {
    let time = node.written.system_time();
    let time = time.and_then(|time| jiff::Timestamp::try_from(time).ok());
    time.map_or_else(String::new, |time| time.strftime(format).to_string())
}
