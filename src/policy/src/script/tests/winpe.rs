//! Scripts that boot a Windows PE.

use bootstorm_config::Peers;

use super::*;

#[test]
fn winboot_07_each_file_comes_by_initrd_and_those_of_the_machine_with_its_token() {
    let urls = urls().with_token("0123abcd");
    let script = render(
        &BootPlan::Entry(Box::new(wim())),
        &urls,
        &machine(Family::X64),
    );
    let lines: Vec<&str> = script.lines().collect();
    let kernel = "imgfetch --name wimboot http://10.0.0.1:8080/images/boot/wimboot || goto again";
    assert!(lines.contains(&kernel), "{script}");
    assert!(lines.contains(&"kernel wimboot gui index=2 || goto failed"));
    let files: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix("initrd --name "))
        .collect();
    let own = "http://10.0.0.1:8080/boot/file/winpe/bootstorm.json?token=0123abcd&\
               mac=52%3A54%3A00%3A99%3A00%3A01";
    let images = "http://10.0.0.1:8080/images";
    assert_eq!(
        files,
        [
            format!("bootstorm.json {own} bootstorm.json || goto again"),
            format!("winpeshl.ini {images}/winpe/winpeshl.ini winpeshl.ini || goto again"),
            format!("boot.wim {images}/winpe.wim boot.wim || goto again"),
        ]
    );
    assert!(lines.contains(&"boot || goto failed") && lines.contains(&":failed"));
    let mut quiet = wim();
    if let EntryKind::Wim { args, .. } = &mut quiet.entry.kind {
        *args = "rawbcd pause".to_owned();
    }
    let script = boot(quiet, Family::X64);
    assert!(
        script.contains("\nkernel wimboot rawbcd pause index=2 ||"),
        "{script}"
    );
}

#[test]
fn twopxe_28_the_network_says_whether_machines_load_from_each_other() {
    let script = |plan: &BootPlan| render(plan, &urls(), &machine(Family::X64));
    let mut plan = BootPlan::Entry(Box::new(wim()));
    assert!(!script(&plan).contains("peer"));
    plan.share(&Peers {
        shared: false,
        cache: None,
    });
    let alone = script(&plan);
    assert!(alone.contains("set peerdist 0 ||\n") && !alone.contains("peerhost"));
    let mut menu = menu(vec![linux(), wim()], None);
    menu.share(&Peers {
        shared: true,
        cache: Some("10.0.0.5:1337".to_owned()),
    });
    let shared = script(&menu);
    assert_eq!(shared.matches("set peerdist 1 ||\n").count(), 2, "{shared}");
    assert_eq!(shared.matches("set peerhost 10.0.0.5:1337 ||\n").count(), 2);
}

fn by_boot_manager() -> Choice {
    let mut choice = wim();
    if let EntryKind::Wim { loader, .. } = &mut choice.entry.kind {
        *loader = WimLoader::BootManager(None);
    }
    choice.manager = Some("winpe.wim/bootmgfw.efi".to_owned());
    choice
}

#[test]
fn windows_own_boot_manager_is_loaded_by_tftp() {
    let script = boot(by_boot_manager(), Family::X64);
    assert!(script.contains("imgfetch --name bootmgfw.efi tftp://"));
    assert!(script.contains("/winpe.wim/bootmgfw.efi || goto again"));
    assert!(script.contains("\nkernel bootmgfw.efi || goto failed\n"));
    assert!(!script.contains("wimboot"));
    let script = boot(
        Choice {
            manager: None,
            ..by_boot_manager()
        },
        Family::X64,
    );
    assert!(script.contains("[catalog.no-boot-manager]") && !script.contains("tftp://"));
}

#[test]
fn wds_11_a_bios_takes_images_of_both_widths_and_64_bits_only_where_the_processor_can() {
    let of = |families: &[Family], family| {
        let mut choice = wim();
        choice.entry.families = families.to_vec();
        assert!(choice.entry.boots(family));
        boot(choice, family)
    };
    let asks = |script: String| script.contains("\ncpuid --ext 29 || goto failed\n");
    assert!(asks(of(&[Family::Bios, Family::X64], Family::Bios)));
    assert!(!asks(of(&[Family::Bios, Family::X64], Family::X64)));
    assert!(!asks(of(&[Family::Bios, Family::Ia32], Family::Bios)));
    assert!(!asks(of(&[], Family::Bios)));
}
