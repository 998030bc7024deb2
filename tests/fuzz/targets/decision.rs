//! What programs and services say of a machine.
#![no_main]

use bootstorm_policy::decision::{Boot, Verdict};
use bootstorm_proto::ipxe::{Arguments, Url};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(input));

fn run(input: &[u8]) {
    match Verdict::from_json(input, "fuzz") {
        Err(e) => harmless(&e.to_string()),
        Ok(Verdict::Ignore(reason) | Verdict::Pass(reason)) => harmless(&reason.text),
        Ok(Verdict::Serve(plan)) => {
            plan.nbp.as_deref().map(harmless);
            if let Some(line) = &plan.arguments {
                assert!(Arguments::new(line).is_ok(), "{line}");
            }
            for (name, value) in &plan.values {
                assert!(!name.contains('/') && !name.starts_with('.'), "{name}");
                harmless(value);
            }
            match &plan.boot {
                Boot::Script(file) | Boot::Menu(file) => {
                    assert!(!file.contains('/') && !file.starts_with('.'), "{file}");
                }
                Boot::Refer(referral) => assert!(Url::new(&referral.url).is_ok()),
                Boot::Entry(text) => harmless(text),
                Boot::Wait(wait) => assert!(!wait.every.is_zero()),
                Boot::Refuse(reason) => harmless(&reason.text),
                Boot::Admission(_) => panic!("people are asked by this server alone"),
                Boot::Usual | Boot::Local => {}
            }
        }
    }
}

fn harmless(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}
