//! The command line.

use crate::Milestone;

/// What is asked of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Everything, from the first report to the last program.
    Run,
    /// One report, for scripts.
    Report {
        /// How far the machine is.
        milestone: Milestone,
        /// In the script's words.
        text: String,
    },
    /// Say which version this is.
    Version,
    /// Say how it is used.
    Help,
}

/// How it is used.
pub const HELP: &str = "\
bootstorm-winpe                       do what bootstorm.json beside this program says
bootstorm-winpe report PHASE [TEXT]   tell the boot server how far this machine is:
                                      client-started, network-up, image-applied, done, failed
bootstorm-winpe /version              say which version this is

It ends with 0 when all is done, 1 when a program failed, 2 when bootstorm.json or the command line
cannot be used, 3 when the boot server cannot be reached or refuses, 130 after Ctrl-C.
What it did is in bootstorm-winpe.log beside this program.
";

/// Reads the words behind the program's name.
///
/// # Errors
/// What is wrong with them, for people.
pub fn parse(words: &[String]) -> Result<Command, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => Ok(Command::Run),
        ["/version" | "-version" | "--version" | "-V"] => Ok(Command::Version),
        ["/?" | "/help" | "-h" | "--help"] => Ok(Command::Help),
        ["report", phase, text @ ..] => {
            let milestone = Milestone::named(phase)
                .ok_or_else(|| format!("there is no phase {phase}; /? names them"))?;
            let text = text.join(" ");
            Ok(Command::Report { milestone, text })
        }
        ["report"] => Err("report which phase? /? names them".to_owned()),
        [other, ..] => Err(format!("{other} is not understood; /? shows what is")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    #[test]
    fn every_way_to_call_it_is_understood() {
        assert_eq!(parsed(""), Ok(Command::Run));
        assert_eq!(parsed("/version"), Ok(Command::Version));
        assert_eq!(parsed("/?"), Ok(Command::Help));
        let report = |milestone, text: &str| {
            let text = text.to_owned();
            Ok(Command::Report { milestone, text })
        };
        assert_eq!(
            parsed("report Image-Applied disk 0, 40 GB"),
            report(Milestone::ImageApplied, "disk 0, 40 GB")
        );
        assert_eq!(parsed("report finished"), report(Milestone::Done, ""));
        for milestone in Milestone::ALL {
            assert!(HELP.contains(milestone.name()), "{milestone:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_named() {
        assert!(parsed("report").is_err());
        assert!(parsed("report nonsense").is_err_and(|told| told.contains("nonsense")));
        assert!(parsed("/wipe now").is_err_and(|told| told.contains("/wipe")));
    }
}
