//! Where packets are sorted: as the running server says, else as this host would let it.

use bootstorm_config::{Config, Xdp};
use bootstorm_xdp::XdpError;

use super::{Report, Verdict};
use crate::cli::{live, sorted};

const SUBJECT: &str = "classifier";

/// Shows mode and counters of a running server; without one tries the kernel, attaching nothing.
pub(super) fn check(config: &Config, report: &mut Report) {
    if let Ok(Some(classifier)) = live::ask(config, "/api/v1/classifier") {
        for line in sorted::modes(&classifier) {
            report.add(SUBJECT, line, Verdict::Ok);
        }
        for note in classifier["notes"].as_array().into_iter().flatten() {
            let note = note.as_str().unwrap_or_default();
            let found = format!("{note}: DHCP that is not for PXE passes");
            report.add(SUBJECT, found, Verdict::Ok);
        }
        return report.add(SUBJECT, sorted::totals(&classifier), Verdict::Ok);
    }
    if config.xdp == Xdp::Off {
        return report.add(SUBJECT, "in the server (xdp = off)", Verdict::Ok);
    }
    let (found, verdict) = judge(config.xdp, bootstorm_xdp::check());
    report.add(SUBJECT, found, verdict);
}

fn judge(xdp: Xdp, probed: Result<(), XdpError>) -> (String, Verdict) {
    let Err(error) = probed else {
        let found = "the kernel takes it; whether in native or generic mode depends on the driver";
        return (found.to_owned(), Verdict::Ok);
    };
    let found = format!("{error} [{}]", error.code());
    let verdict = match xdp {
        Xdp::Native | Xdp::Generic => {
            Verdict::Fail("the server will not start like this; --xdp auto goes without".into())
        }
        Xdp::Auto | Xdp::Off => {
            Verdict::Warn("the server sorts packets by itself, which costs more in a flood".into())
        }
    };
    (found, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_and_cannot_be_had_is_in_the_way() {
        let refused = || {
            let cause = "bpf(2): EPERM".to_owned();
            Err(XdpError::NoPrivilege { cause })
        };
        let (found, verdict) = judge(Xdp::Native, refused());
        assert!(found.ends_with("[xdp.no-privilege]"), "{found}");
        assert!(matches!(verdict, Verdict::Fail(_)));
        assert!(matches!(judge(Xdp::Auto, refused()).1, Verdict::Warn(_)));
        assert!(matches!(judge(Xdp::Native, Ok(())).1, Verdict::Ok));
    }
}
