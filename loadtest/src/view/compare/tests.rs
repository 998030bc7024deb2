use super::*;
use crate::report::sample;

#[test]
fn a_run_is_the_same_as_itself() {
    let report = sample::report(1);
    let comparison = Comparison::of(&report, &report);
    assert_eq!(comparison.rows, []);
    assert_eq!(comparison.warnings, [""; 0]);
    assert!(comparison.same > 20);
    assert!(comparison.text().contains("0 figures better, 0 worse"));
}

#[test]
fn what_is_slower_is_worse() {
    let [a, b] = [sample::report(1), sample::report(2)];
    insta::assert_snapshot!(Comparison::of(&a, &b).text());
    let back = Comparison::of(&b, &a);
    let rate = back.rows.iter().find(|row| row.name == "rate").unwrap();
    assert_eq!(rate.verdict, Verdict::Better);
    assert!(back.rows.iter().all(|row| row.verdict != Verdict::Worse));
}

#[test]
fn what_only_one_has_is_counted_and_the_scenarios_may_differ() {
    let a = sample::report(1);
    let mut b = a.clone();
    b.findings.clear();
    b.scenario.name = "other".to_owned();
    b.scenario.machines = 13;
    b.cpu.server_s_per_gb = None;
    let comparison = Comparison::of(&a, &b);
    let [cpu, finding] = &comparison.rows[..] else {
        panic!("{:?}", comparison.rows)
    };
    assert_eq!(finding.name, "finding script.html");
    assert_eq!((finding.a.as_str(), finding.b.as_str()), ("1", "0"));
    assert_eq!(finding.verdict, Verdict::Better);
    assert_eq!((cpu.b.as_str(), cpu.verdict), ("–", Verdict::Other));
    assert_eq!(
        comparison.warnings,
        [
            "the scenarios differ: mixed_firmware and other",
            "the numbers of machines differ: 12 and 13"
        ]
    );
}

#[test]
fn both_files_have_to_be_reports() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.json", "b.json"].map(|name| folder.path().join(name));
    sample::report(1).save(&a).unwrap();
    std::fs::write(&b, "{\"seconds\": 1}").unwrap();
    let html = Some(folder.path().join("page.html"));
    let options = Options {
        a,
        b: b.clone(),
        html,
    };
    let error = format!("{:#}", prepare(options.clone()).err().unwrap());
    assert!(error.contains("b.json: this is no report"), "{error}");
    sample::report(2).save(&b).unwrap();
    assert_eq!(prepare(options.clone()).unwrap()().unwrap(), 0);
    let page = std::fs::read_to_string(options.html.unwrap()).unwrap();
    assert!(page.contains("+100 %"), "{page}");
}
