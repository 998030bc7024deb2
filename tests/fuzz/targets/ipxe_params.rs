//! What a machine says about itself, read and written into a script.
#![no_main]

use bootstorm_proto::ipxe::{Arguments, Params, Script, Url};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| run(input));

fn run(input: &[u8]) {
    let params = Params::parse(input);
    let mut values: Vec<&str> = [
        &params.platform,
        &params.buildarch,
        &params.manufacturer,
        &params.product,
        &params.serial,
        &params.asset,
        &params.hostname,
        &params.version,
        &params.features,
    ]
    .into_iter()
    .flatten()
    .map(String::as_str)
    .collect();
    values.extend(
        params
            .other
            .iter()
            .flat_map(|(n, v)| [n.as_str(), v.as_str()]),
    );
    for value in values {
        assert!(!value.chars().any(char::is_control));
        write(value);
    }
}

fn write(value: &str) {
    let base = Url::new("http://10.0.0.1").expect("a URL");
    let mut script = Script::new();
    let label = script.label(value);
    script.place(&label).echo(value).set("x", value);
    script.imgfetch(value, &base.join(value).with_query(value, value));
    script.kernel(value, &Arguments::default());
    let text = script.render();
    assert_eq!(text.lines().count(), 6, "{text}");
    for word in text.lines().skip(1).flat_map(str::split_ascii_whitespace) {
        assert!(
            !matches!(word, "||" | "&&" | ";") && !word.starts_with('#'),
            "{text}"
        );
        assert!(!word.contains("${"), "{text}");
    }
    if let Ok(arguments) = Arguments::new(value) {
        assert_eq!(
            arguments.to_string().lines().count(),
            usize::from(!arguments.is_empty())
        );
    }
    let _ = Url::new(value);
}
