//! What a decision means to a boot program of Windows that asks before it loads anything.

use bootstorm_proto::dhcp::WdsAction;

use crate::decision::{Boot, Referral, Wait};

/// How often such a program asks while it waits: six hours at WDS's ten seconds.
const TIMES: u16 = 2160;

/// What it does instead of loading the boot program that it would be given, if anything.
pub(crate) fn action(boot: &Boot) -> Option<WdsAction> {
    match boot {
        Boot::Wait(wait) => Some(WdsAction::Wait {
            every: wait.every,
            times: TIMES,
            request: number(wait),
            message: message(wait),
        }),
        Boot::Refer(Referral {
            tftp: Some((server, _)),
            ..
        }) => Some(WdsAction::Refer(*server)),
        Boot::Local => Some(WdsAction::Abort {
            message: "This machine boots from its own disk.".to_owned(),
        }),
        Boot::Refuse(reason) => Some(WdsAction::Abort {
            message: format!("{} ({})", reason.text, reason.code),
        }),
        Boot::Usual
        | Boot::Menu(_)
        | Boot::Entry(_)
        | Boot::Script(_)
        | Boot::Admission(_)
        | Boot::Refer(_) => None,
    }
}

/// The program has room for a number alone; what people say has letters and goes before the text.
fn number(wait: &Wait) -> u32 {
    let request = wait.request.as_deref().unwrap_or_default();
    request.parse().unwrap_or(0)
}

fn message(wait: &Wait) -> String {
    match &wait.request {
        Some(request) => format!("{request}: {}", wait.reason.text),
        None => wait.reason.text.clone().into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use bootstorm_telemetry::event::Reason;

    use super::*;

    fn reason(text: &'static str) -> Reason {
        Reason {
            code: "policy.held",
            text: text.into(),
        }
    }

    #[test]
    fn wds_21_a_machine_that_waits_is_pending_with_what_people_call_its_request() {
        let wait = |request: &str| {
            let boot = Boot::Wait(Wait {
                reason: reason("Ask the help desk."),
                every: Duration::from_secs(10),
                request: Some(request.to_owned()),
            });
            let Some(WdsAction::Wait {
                request, message, ..
            }) = action(&boot)
            else {
                panic!("it does not wait");
            };
            (request, message)
        };
        assert_eq!(wait("7F3K"), (0, "7F3K: Ask the help desk.".to_owned()));
        assert_eq!(wait("41").0, 41);
    }

    #[test]
    fn wds_10_a_machine_that_boots_nothing_here_is_told_to_leave() {
        let abort = |boot| matches!(action(&boot), Some(WdsAction::Abort { .. }));
        assert!(abort(Boot::Local));
        assert!(abort(Boot::Refuse(reason("not here"))));
    }

    #[test]
    fn who_is_referred_goes_there_and_who_boots_goes_on() {
        let refer = |tftp| {
            let url = "http://10.0.0.2/boot".to_owned();
            action(&Boot::Refer(Referral { url, tftp }))
        };
        let server = Ipv4Addr::new(10, 0, 0, 2);
        let file = "boot/wdsnbp.com".to_owned();
        assert_eq!(refer(Some((server, file))), Some(WdsAction::Refer(server)));
        assert_eq!(refer(None), None);
        assert_eq!(action(&Boot::Usual), None);
    }
}
