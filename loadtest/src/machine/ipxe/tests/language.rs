//! The language, word by word.

use super::*;

#[test]
fn settings_are_set_forgotten_and_written_in_their_types() {
    let expand = |set: &str, reference: &str| {
        let path = shown(&format!("{set}\nkernel /x${{{reference}}}\n"));
        path.strip_prefix("/x").unwrap().to_owned()
    };
    assert_eq!(expand("set a  b", "a"), "b");
    assert_eq!(expand("set a b\nclear a", "a"), "");
    assert_eq!(expand("set a b\nset a", "a"), "");
    assert_eq!(expand("set a:int32 41\ninc a", "a"), "42");
    assert_eq!(expand("set a:int32 40\ninc a 2", "a:int32"), "42");
    assert_eq!(expand("set a:int32 21\ninc a ${a}", "a"), "42");
    assert_eq!(expand("set a 41\ninc a ||", "a"), "41");
    assert_eq!(expand("inc a", "a:uint8"), "0x1");
    assert_eq!(expand("set bar:hex 7c", "bar:string"), "%7C");
    assert_eq!(expand("set a:ipv4 10.1.2.3", "a:hexraw"), "0a010203");
    assert_eq!(expand("set a x&y", "a:uristring"), "x%26y");
    for (reference, value) in [
        ("mac", "02:b5:70:00:00:07"),
        ("net0/mac:hexhyp", "02-b5-70-00-00-07"),
        ("netX/mac:hexraw", "02b570000007"),
        ("net0/ip", "10.99.8.8"),
        ("netmask", "255.255.248.0"),
        ("next-server", "10.99.0.2"),
        ("filename", "http://10.99.0.2:8050/boot"),
        ("uuid", "000070b5-6f62-746f-7374-6f726d000007"),
        ("buildarch", "x86_64"),
        ("platform", "efi"),
        ("cwuri", "http://10.99.0.2:8050/boot"),
        ("cwduri", "http://10.99.0.2:8050/"),
        ("net0/busid", "01:1a:f4:10:00"),
        ("memsize", "4096"),
        ("nothing", ""),
        ("mac:nonsense", ""),
        ("175:string", ""),
    ] {
        assert_eq!(expand("", reference), value, "{reference}");
    }
}

#[test]
fn references_are_replaced_from_the_inside_until_none_is_left() {
    let set = "set a b\nset ab c\nset both ${a}-${ab}\n";
    assert_eq!(shown(&format!("{set}kernel /${{a${{a}}}}\n")), "/c");
    assert_eq!(shown(&format!("{set}kernel /${{both}}\n")), "/b-c");
    assert_eq!(shown(&format!("{set}kernel /${{both\n")), "/$%7Bboth");
}

#[test]
fn commands_are_joined_by_what_they_came_to() {
    let is_run = |line: &str| {
        let (_, asked) = run(&format!("{line} ||\nexit 0\n:there\nkernel /there\n"));
        !asked.is_empty()
    };
    assert!(is_run("iseq a a && goto there"));
    assert!(!is_run("iseq a b && goto there"));
    assert!(is_run("iseq a b || goto there"));
    assert!(!is_run("iseq a a || goto there"));
    assert!(is_run("iseq a b && echo no || goto there"));
    assert!(!is_run("iseq a a && echo yes || goto there"));
    assert!(is_run("iseq a b ; goto there"));
    assert!(is_run("isset ${mac} && goto there"));
    assert!(!is_run("isset ${nothing} && goto there"));
    assert!(!is_run("echo # && goto there"));
    assert!(is_run("set a || && goto there"));
    assert!(!is_run("isset ${nothing} && \\\ngoto there"));
    assert!(is_run("isset ${mac} && \\\ngoto there"));
}

#[test]
fn a_line_that_fails_ends_its_script() {
    assert_eq!(
        run("isset ${nothing}\nkernel k\n"),
        (Err(Code::ScriptFailed), vec![])
    );
    let (end, asked) = run("isset ${nothing} ||\nkernel k\nboot\n");
    assert_eq!((end, asked.len()), (Ok(Verdict::Booted), 1));
}

#[test]
fn labels_stand_alone_and_the_first_counts() {
    let (_, asked) = run("goto a\n: b\n:ab\nexit\n  :a  \r\nkernel /one\nexit\n:a\nkernel /two\n");
    assert_eq!(asked, ["/one"]);
}

#[test]
fn menus_take_what_nobody_chooses() {
    let chosen = |choose: &str, items: &str| {
        shown(&format!(
            "menu\n{items}\n{choose} x || exit\nkernel /${{x}}\n"
        ))
    };
    let items = "item --gap -- Title\nitem one One\nitem --default two Two\nitem -k 3 three";
    assert_eq!(chosen("choose --default three", items), "/three");
    assert_eq!(chosen("choose --default=three", items), "/three");
    assert_eq!(chosen("choose --default nowhere", items), "/two");
    assert_eq!(chosen("choose", items), "/two");
    assert_eq!(chosen("choose", "item one\nitem two"), "/one");
    assert_eq!(chosen("choose", ""), "");
}

#[test]
fn waits_take_their_time() {
    let took = |line: &str| {
        let mut sim = Sim::new(Profile::Uefi);
        let script = format!("#!ipxe\n{line} ||\n");
        assert_eq!(
            boot(&mut sim, &[("/boot", &script)]),
            Ok(Verdict::LocalDisk)
        );
        sim.took().as_millis()
    };
    assert_eq!(took("sleep 7"), 7_000);
    assert_eq!(
        took("prompt --key 0x147e --timeout 2500 Press F8 && sleep 9"),
        2_500
    );
    assert_eq!(took("prompt Press a key && sleep 9"), 9_000);
    assert_eq!(took("menu\nitem a\nchoose -t 1500 x && sleep 1"), 2_500);
}

#[test]
fn images_are_known_by_their_names() {
    let (end, asked) = run("imgfetch --name a /x/y.efi?z\nimgselect a\nboot\n");
    assert_eq!((end, asked.len()), (Ok(Verdict::Booted), 1));
    let (end, asked) = run("imgfetch /x/y.efi?z\nimgexec y.efi\n");
    assert_eq!((end, asked.len()), (Ok(Verdict::Booted), 1));
    let (end, _) = run("kernel k\nimgfree k\nboot\n");
    assert_eq!(end, Err(Code::ScriptFailed));
    let (end, _) = run("imgargs k a b\n");
    assert_eq!(end, Err(Code::ScriptFailed));
}

#[test]
fn autoboot_begins_again() {
    let mut sim = Sim::new(Profile::Uefi);
    let mut first = true;
    let end = boot_from(&mut sim, SCRIPT, |_| {
        let script = if first { "autoboot" } else { "exit" };
        first = false;
        ok(format!("#!ipxe\n{script}\n"))
    });
    assert_eq!(end, Ok(Verdict::LocalDisk));
    assert_eq!(sim.asked(), ["/boot", "/boot"]);
}

#[test]
fn a_machine_with_a_bios_says_so() {
    let mut sim = Sim::new(Profile::Bios);
    let files = [("/boot", "#!ipxe\nchain ${platform}-${buildarch} || exit\n")];
    assert_eq!(boot(&mut sim, &files), Ok(Verdict::LocalDisk));
    assert_eq!(sim.asked()[1], "/pcbios-i386");
}
