//! Sections that are read and checked before the server can do what they say. To use one is an
//! error: nothing that is configured is ever ignored.

use toml::de::{DeTable, DeValue};

use crate::lint::Finding;

/// Values of `type` that are refused in `[[provider]]` although the table itself is not.
const AWAITED_PROVIDERS: &[&str] = &["approval"];

/// What of a file cannot be done.
pub(crate) fn findings(root: &DeTable<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let providers = root.get("provider").map(toml::Spanned::get_ref);
    let providers = providers.and_then(DeValue::as_array).into_iter().flatten();
    for (index, provider) in providers.enumerate() {
        let table = provider.get_ref().as_table();
        let kind = table.and_then(|table| table.get("type")?.get_ref().as_str());
        if kind.is_some_and(|kind| AWAITED_PROVIDERS.contains(&kind)) {
            findings.push(not_built(&format!("provider[{index}].type")));
        }
    }
    findings
}

fn not_built(key: &str) -> Finding {
    let text = "this version of bootstorm cannot do that";
    Finding::error("config.not-built", key, text)
}
