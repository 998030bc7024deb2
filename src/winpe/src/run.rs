//! From the command line to the exit code.

use std::process::ExitCode;

use bootstorm_winpe::command::{self, Command, HELP};
use bootstorm_winpe::{End, Instructions, Journey, Outcome, Step, Trouble};

use crate::machine::Machine;
use crate::windows;

/// The command line or `bootstorm.json` cannot be used.
const UNUSABLE: u8 = 2;

pub(crate) fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let code = match command::parse(&words) {
        Ok(Command::Help) => {
            print!("{HELP}");
            0
        }
        Ok(Command::Version) => {
            println!("bootstorm-winpe {}", env!("CARGO_PKG_VERSION"));
            0
        }
        Ok(Command::Run) => go(Journey::new),
        Ok(Command::Report { milestone, text }) => {
            go(|instructions| Journey::report(milestone, text, instructions))
        }
        Err(told) => {
            eprintln!("bootstorm-winpe: {told}");
            UNUSABLE
        }
    };
    ExitCode::from(code)
}

fn go(journey: impl FnOnce(&Instructions) -> Journey) -> u8 {
    windows::listen_for_ctrl_c();
    let mut machine = match Machine::open() {
        Ok(machine) => machine,
        Err(told) => {
            eprintln!("bootstorm-winpe: {told}");
            return UNUSABLE;
        }
    };
    let mut journey = journey(machine.instructions());
    loop {
        let step = journey.step().clone();
        if let Step::End(end) = step {
            machine.say(match end {
                End::Done => "done",
                End::Program => "ended: a program failed",
                End::Server => "ended: the boot server cannot be reached or refuses",
                End::Stopped => "ended by Ctrl-C",
            });
            return match end {
                End::Done => 0,
                End::Program => 1,
                End::Server => 3,
                End::Stopped => 130,
            };
        }
        let outcome = machine.perform(&step);
        if let Outcome::Failed(trouble) = &outcome {
            machine.say(&match trouble {
                Trouble::Passing(why) | Trouble::Lasting(why) => format!("  {why}"),
                Trouble::Stopped => "  Ctrl-C".to_owned(),
            });
        }
        journey.went(outcome, machine.elapsed());
    }
}
