//! Enough of iPXE's script language to boot what a boot server's script boots.

use std::collections::HashMap;

use anyhow::{Context as _, bail, ensure};

/// A script that jumps this often is a loop.
const STEPS_MAX: usize = 10_000;

/// What a script comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// URLs to fetch, in order: kernel first.
    pub(crate) files: Vec<String>,
    /// Another script to go on with.
    pub(crate) chain: Option<String>,
    /// It ends in `boot`; else in `exit`, and the machine goes to its disk.
    pub(crate) boots: bool,
}

/// Runs a script as a machine whose user touches no key: menus take their default.
pub(crate) fn run(script: &str, base: &str) -> anyhow::Result<Outcome> {
    let lines: Vec<&str> = script.lines().collect();
    ensure!(
        lines
            .first()
            .is_some_and(|line| line.trim_end() == "#!ipxe"),
        "no #!ipxe script"
    );
    let mut variables: HashMap<String, String> = HashMap::new();
    let (mut outcome, mut at, mut items) = (Outcome::default(), 1, Vec::new());
    for _ in 0..STEPS_MAX {
        let Some(line) = lines.get(at) else {
            return Ok(outcome);
        };
        at += 1;
        // What stands behind `||` is for commands that fail; fetches here fail as errors.
        let line = expand(line.split("||").next().unwrap_or_default(), &variables);
        let mut words = line.split_whitespace();
        let Some(command) = words.next() else {
            continue;
        };
        if command.starts_with(['#', ':']) {
            continue;
        }
        let words: Vec<&str> = words.collect();
        match command {
            "set" => {
                let (name, value) = words.split_first().context("set without a name")?;
                variables.insert((*name).to_owned(), value.join(" "));
            }
            "menu" => items.clear(),
            "item" => items.extend(menu_label(&words)),
            "choose" => {
                let (name, label) = choice(&words, &items)?;
                variables.insert(name, label);
            }
            "goto" => {
                let label = words.first().context("goto without a label")?;
                let target = lines.iter().position(|line| {
                    line.strip_prefix(':')
                        .is_some_and(|name| name.trim() == *label)
                });
                at = target.with_context(|| format!("goto to `{label}`, which is nowhere"))?;
            }
            "kernel" | "initrd" | "imgfetch" | "module" => {
                let url = location(&words).with_context(|| format!("{command} without a URL"))?;
                outcome.files.push(absolute(url, base)?);
            }
            "chain" | "imgexec" => {
                outcome.chain = Some(absolute(
                    location(&words).context("chain to where?")?,
                    base,
                )?);
                return Ok(outcome);
            }
            "sanboot" => bail!("this script boots a virtual drive, which is not simulated"),
            "boot" => {
                outcome.boots = true;
                return Ok(outcome);
            }
            "exit" | "poweroff" | "reboot" | "shell" => return Ok(outcome),
            // iseq, isset, echo, sleep, prompt, imgfree, imgargs, params ... fetch nothing.
            _ => {}
        }
    }
    bail!("the script loops")
}

fn expand(line: &str, variables: &HashMap<String, String>) -> String {
    let mut text = line.to_owned();
    // Settings of the machine that nobody simulates stay empty, as in iPXE.
    while let Some(start) = text.rfind("${") {
        let Some(length) = text[start..].find('}') else {
            break;
        };
        let name = text[start + 2..start + length]
            .split(':')
            .next()
            .unwrap_or_default();
        let value = variables.get(name).cloned().unwrap_or_default();
        text.replace_range(start..=start + length, &value);
    }
    text
}

fn menu_label(words: &[&str]) -> Option<String> {
    if words.contains(&"--gap") {
        return None;
    }
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--key" | "-k" => {
                words.next();
            }
            "--default" | "-d" => {}
            label => return Some(label.to_owned()),
        }
    }
    None
}

fn choice(words: &[&str], items: &[String]) -> anyhow::Result<(String, String)> {
    let mut default = items.first().cloned();
    let mut name = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--default" | "-d" => default = words.next().map(|word| (*word).to_owned()),
            "--timeout" | "-t" | "--menu" | "-m" => {
                words.next();
            }
            "&&" => break,
            other if !other.starts_with('-') => name = Some(other.to_owned()),
            _ => {}
        }
    }
    Ok((
        name.context("choose without a variable")?,
        default.context("a menu without items")?,
    ))
}

fn location<'a>(words: &[&'a str]) -> Option<&'a str> {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--name" | "-n" | "--timeout" | "-t" => {
                words.next();
            }
            other if !other.starts_with('-') => return Some(other),
            _ => {}
        }
    }
    None
}

fn absolute(url: &str, base: &str) -> anyhow::Result<String> {
    if url.contains("://") {
        return Ok(url.to_owned());
    }
    let scheme = base.find("://").context("a base that is no URL")? + 3;
    let host = base[scheme..]
        .find('/')
        .map_or(base.len(), |slash| scheme + slash);
    if url.starts_with('/') {
        return Ok(format!("{}{url}", &base[..host]));
    }
    let path = base.split(['?', '#']).next().unwrap_or(base);
    let folder = path
        .rfind('/')
        .filter(|slash| *slash >= host)
        .map_or(host, |slash| slash);
    Ok(format!("{}/{url}", &path[..folder]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "http://10.0.0.2:8080/boot?mac=x";

    #[test]
    fn the_default_of_a_menu_is_taken_and_the_entry_fetched() {
        let script = "#!ipxe\nset base http://10.0.0.2:8080/images\nmenu Boot\nitem local Disk\n\
                      item --key d deb Debian\nchoose --default deb --timeout 5000 chosen || goto local\n\
                      goto ${chosen}\n:local\nexit\n:deb\nkernel ${base}/a/vmlinuz quiet\n\
                      initrd --name i initrd.gz\nboot || goto failed\n";
        let outcome = run(script, BASE).unwrap();
        assert!(outcome.boots);
        assert_eq!(
            outcome.files,
            [
                "http://10.0.0.2:8080/images/a/vmlinuz",
                "http://10.0.0.2:8080/initrd.gz"
            ]
        );
    }

    #[test]
    fn local_disk_loops_and_rubbish_are_told_apart() {
        assert_eq!(run("#!ipxe\nexit 1\n", BASE).unwrap(), Outcome::default());
        assert!(run("#!ipxe\n:a\ngoto a\n", BASE).is_err());
        assert!(run("#!ipxe\ngoto nowhere\n", BASE).is_err());
        assert!(run("<html>", BASE).is_err());
        let chained = run("#!ipxe\nchain --autofree /next?x=1\n", BASE).unwrap();
        assert_eq!(
            chained.chain.as_deref(),
            Some("http://10.0.0.2:8080/next?x=1")
        );
    }
}
