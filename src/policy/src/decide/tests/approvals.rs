//! Machines that people have to let in.

use bootstorm_proto::dhcp::{WdsAction, WdsRequest};

use super::*;
use crate::Standing;

fn asking() -> Policy {
    let text = "[[provider]]\ntype = \"machines\"\n[[provider]]\ntype = \"approval\"\n\
                [[provider]]\ntype = \"menu\"\n";
    let loaded = Config::parse(text, std::path::Path::new("test.toml"));
    let config = loaded.config;
    let asked = config.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    policy(debian_nbps(), |c| c.providers = asked.providers)
}

fn stands(policy: &Policy, standing: Standing) {
    let until = SystemTime::now() + Duration::from_secs(600);
    let who = (Some(MAC), Some(guid()));
    policy.approvals().set(who, standing, until);
}

fn admitted() -> crate::Machine {
    crate::Machine {
        guid: Some(guid()),
        admitted: true,
        boot: None,
        ..stored("")
    }
}

#[test]
fn wds_08_firmware_gets_its_program_while_its_machine_waits() {
    let policy = asking();
    let firmware = client(Asker::Firmware, &[7]);
    assert_eq!(answer(&policy, &firmware), "snponly.efi");
    let code = "7F3K".into();
    stands(&policy, Standing::Pending { code });
    assert_eq!(answer(&policy, &firmware), "snponly.efi");
    let url = answer(&policy, &client(Asker::Ipxe, &[7]));
    assert!(url.starts_with("http://"), "{url}");
}

#[test]
fn wds_21_the_program_of_windows_waits_with_the_code_and_leaves_when_it_is_denied() {
    let policy = asking();
    let firmware = client(Asker::Firmware, &[7]);
    let wdsmgfw = ClientFacts {
        wds: Some(WdsRequest::default()),
        ..firmware.clone()
    };
    assert_eq!(answer(&policy, &firmware), "snponly.efi");
    assert_eq!(
        policy.dhcp(&wdsmgfw),
        Answer::Later,
        "people are asked first"
    );
    let code: Arc<str> = "7F3K".into();
    let pending = Standing::Pending {
        code: Arc::clone(&code),
    };
    stands(&policy, pending);
    for _ in 0..2 {
        let Answer::Wds(WdsAction::Wait { message, times, .. }) = policy.dhcp(&wdsmgfw) else {
            panic!("it does not wait");
        };
        assert!(message.starts_with("7F3K: "), "{message}");
        assert_eq!(times, 2160);
        assert_eq!(answer(&policy, &firmware), "snponly.efi");
    }
    stands(&policy, Standing::Denied { code, reason: None });
    let Answer::Wds(WdsAction::Abort { message }) = policy.dhcp(&wdsmgfw) else {
        panic!("it does not leave");
    };
    assert!(message.contains("7F3K"), "{message}");
    policy.machines().set_all([admitted()]);
    assert_eq!(answer(&policy, &wdsmgfw), "snponly.efi");
}

#[test]
fn wds_09_who_is_let_in_boots_what_was_given_at_once() {
    let policy = asking();
    let facts = facts(Family::X64);
    assert_eq!(policy.boot(&facts).name(), "wait");
    policy.machines().set_all([crate::Machine {
        boot: Some("local".to_owned()),
        ..admitted()
    }]);
    assert_eq!(policy.boot(&facts), BootPlan::Local);
}
