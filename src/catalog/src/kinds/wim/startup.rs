//! What a Windows PE runs when it has started: winpeshl.ini, or startnet.cmd.
//!
//! winpeshl.exe looks for the first, and runs the second in a command prompt only where the first is
//! missing. A machine whose network nobody starts is of no use, so somebody runs wpeinit in each.

use crate::Startup;

/// The client, as it is injected.
pub(super) const CLIENT: &str = "bootstorm-winpe.exe";

/// Programs that run wpeinit themselves: the command prompt of an image that says nothing, the
/// client, and the shells of Configuration Manager, MDT and DaRT.
const START_THE_NETWORK: [&str; 6] = [
    "wpeinit",
    "startnet",
    "bootstorm-winpe",
    "tsbootshell",
    "bddrun",
    "netstart",
];

/// The folder that files are injected into.
const SYSTEM32: &str = r"%SYSTEMROOT%\System32\";

/// The file for winpeshl.exe. `own` is the one that the image has.
pub(super) fn winpeshl(startup: &Startup, own: Option<&str>) -> String {
    let own = own.map(apps).filter(|apps| !apps.is_empty());
    let mut middle = Vec::new();
    if startup.client {
        middle.extend(own.as_deref().and_then(progress));
        middle.push(format!("{SYSTEM32}{CLIENT}"));
    } else {
        if startup.unattend.is_some() || !startup.start.is_empty() {
            middle.push(app(&wpeinit(startup)));
        }
        middle.extend(startup.start.iter().map(|line| app(line)));
    }
    if startup.start.is_empty() {
        let usual = || vec![app(&format!("{SYSTEM32}cmd.exe /k startnet.cmd"))];
        middle.extend(own.unwrap_or_else(usual));
    }
    if !middle.iter().any(|line| starts_the_network(line)) {
        middle.insert(0, app(&wpeinit(startup)));
    }
    let before = startup.before.iter().map(|line| app(line));
    let after = startup.after.iter().map(|line| app(line));
    let lines: Vec<String> = before.chain(middle).chain(after).collect();
    format!("[LaunchApps]\r\n{}\r\n", lines.join("\r\n"))
}

/// The same for the command prompt of an image without winpeshl.ini.
pub(super) fn startnet(startup: &Startup) -> String {
    let mut lines = vec!["@echo off".to_owned()];
    lines.extend(startup.before.iter().cloned());
    if startup.client {
        lines.push(format!("{SYSTEM32}{CLIENT}"));
    } else {
        lines.push(wpeinit(startup));
        lines.extend(startup.start.iter().cloned());
    }
    lines.extend(startup.after.iter().cloned());
    format!("{}\r\n", lines.join("\r\n"))
}

fn wpeinit(startup: &Startup) -> String {
    match &startup.unattend {
        Some(path) => format!("{SYSTEM32}wpeinit.exe -unattend:{path}"),
        None => format!("{SYSTEM32}wpeinit.exe"),
    }
}

/// A command line as winpeshl.ini has it: with a comma behind the program. One that has it already
/// stays as it is.
fn app(line: &str) -> String {
    let mut quoted = false;
    let end = line.find(|sign: char| {
        quoted ^= sign == '"';
        !quoted && (sign == ',' || sign == ' ' || sign == '\t')
    });
    let Some((program, arguments)) = end.map(|end| line.split_at(end)) else {
        return line.to_owned();
    };
    let arguments = arguments.trim_start();
    let arguments = arguments
        .strip_prefix(',')
        .unwrap_or(arguments)
        .trim_start();
    format!("{program}, {arguments}")
}

/// What an image's own winpeshl.ini starts, in its order.
fn apps(ini: &str) -> Vec<String> {
    let mut section = String::new();
    let mut apps = Vec::new();
    for line in ini.lines().map(str::trim) {
        if line.starts_with('[') {
            section = line.to_ascii_lowercase();
        } else if line.is_empty() || line.starts_with(';') {
        } else if section == "[launchapps]" {
            apps.push(line.to_owned());
        } else if section == "[launchapp]"
            && let Some((name, path)) = line.split_once('=')
            && name.trim().eq_ignore_ascii_case("AppPath")
        {
            apps.push(path.trim().to_owned());
        }
    }
    apps
}

/// What shows how far a task sequence of Configuration Manager is, for the client to be seen too.
fn progress(own: &[String]) -> Option<String> {
    let shell = "tsbootshell.exe";
    own.iter().find_map(|line| {
        let at = line.to_ascii_lowercase().find(shell)?;
        Some(format!(
            "{}TsProgressUI.exe,/register:winpe",
            line.get(..at)?
        ))
    })
}

fn starts_the_network(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    START_THE_NETWORK.iter().any(|name| line.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(start: &[&str]) -> Startup {
        Startup {
            start: start.iter().map(|line| (*line).to_owned()).collect(),
            before: vec![r"X:\first.exe".to_owned()],
            after: vec!["wpeutil.exe shutdown".to_owned()],
            ..Startup::default()
        }
    }

    const SHELL: &str = "[LaunchApps]\r\n%SYSTEMDRIVE%\\sms\\bin\\x64\\TsBootShell.exe\r\n";

    #[test]
    fn winboot_09_own_entries_stand_around_the_usual_ones() {
        assert_eq!(
            winpeshl(&startup(&[]), None),
            "[LaunchApps]\r\n\
             X:\\first.exe\r\n\
             %SYSTEMROOT%\\System32\\cmd.exe, /k startnet.cmd\r\n\
             wpeutil.exe, shutdown\r\n"
        );
        let setup = startup(&[r#""X:\my tools\setup.exe" /unattend:x"#, "a.exe,/b c"]);
        assert_eq!(
            winpeshl(&setup, Some(SHELL)),
            "[LaunchApps]\r\n\
             X:\\first.exe\r\n\
             %SYSTEMROOT%\\System32\\wpeinit.exe\r\n\
             \"X:\\my tools\\setup.exe\", /unattend:x\r\n\
             a.exe, /b c\r\n\
             wpeutil.exe, shutdown\r\n"
        );
        let answers = Startup {
            unattend: Some(r"X:\u.xml".to_owned()),
            start: vec!["s.exe".to_owned()],
            ..Startup::default()
        };
        let ini = winpeshl(&answers, None);
        assert!(
            ini.contains("wpeinit.exe, -unattend:X:\\u.xml\r\n"),
            "{ini}"
        );
    }

    #[test]
    fn twopxe_18_what_the_image_itself_starts_goes_on_behind_the_client() {
        let client = Startup {
            client: true,
            ..startup(&[])
        };
        assert_eq!(
            winpeshl(&client, Some(SHELL)),
            "[LaunchApps]\r\n\
             X:\\first.exe\r\n\
             %SYSTEMDRIVE%\\sms\\bin\\x64\\TsProgressUI.exe,/register:winpe\r\n\
             %SYSTEMROOT%\\System32\\bootstorm-winpe.exe\r\n\
             %SYSTEMDRIVE%\\sms\\bin\\x64\\TsBootShell.exe\r\n\
             wpeutil.exe, shutdown\r\n"
        );
        let mdt = "; MDT\n[LaunchApp]\nAppPath = X:\\a.exe\n[launchapps]\nbddrun.exe, /bootstrap\n";
        assert_eq!(
            winpeshl(&Startup::default(), Some(mdt)),
            "[LaunchApps]\r\nX:\\a.exe\r\nbddrun.exe, /bootstrap\r\n"
        );
        // Client and own program: the client starts it.
        let both = Startup {
            client: true,
            ..startup(&["setup.exe"])
        };
        let ini = winpeshl(&both, None);
        assert!(
            !ini.contains("setup.exe") && !ini.contains("startnet"),
            "{ini}"
        );
    }

    #[test]
    fn winboot_09_somebody_runs_wpeinit_wherever_the_file_is_sent() {
        let strange = Some("[LaunchApps]\nX:\\tools\\menu.exe\n");
        for own in [None, Some(SHELL), strange, Some(""), Some("[LaunchApps]")] {
            for client in [false, true] {
                for start in [&[][..], &["setup.exe"]] {
                    let startup = Startup {
                        client,
                        ..startup(start)
                    };
                    for text in [winpeshl(&startup, own), startnet(&startup)] {
                        assert!(starts_the_network(&text), "{text}");
                        let lines = text.split_terminator("\r\n");
                        assert!(lines.into_iter().all(|line| !line.contains(['\r', '\n'])));
                        assert!(text.ends_with("\r\n"), "{text}");
                    }
                    assert!(winpeshl(&startup, own).starts_with("[LaunchApps]\r\n"));
                }
            }
        }
        let ini = winpeshl(&Startup::default(), strange);
        assert!(
            ini.contains("wpeinit.exe\r\nX:\\tools\\menu.exe\r\n"),
            "{ini}"
        );
    }
}
