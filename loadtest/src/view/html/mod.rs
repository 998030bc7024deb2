//! A storm's report, and a comparison of two, as one self-contained HTML page each: no script,
//! nothing from elsewhere.

mod chart;
mod compared;
mod page;

use anyhow::Context;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Serialize;
use serde_json::Value as Json;

use super::compare::Comparison;
use super::units::safe;
use crate::report::Report;

/// The templates. Whatever they show is escaped: their names end in `.html`.
const TEMPLATES: [(&str, &str); 3] = [
    ("base.html", include_str!("base.html")),
    ("report.html", include_str!("report.html")),
    ("compared.html", include_str!("compared.html")),
];

/// A storm's report.
pub(crate) fn report(report: &Report) -> anyhow::Result<String> {
    render("report.html", &page::Page::new(report))
}

/// A comparison.
pub(crate) fn comparison(comparison: &Comparison) -> anyhow::Result<String> {
    render("compared.html", &compared::Page::new(comparison))
}

fn render(template: &str, page: &impl Serialize) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    let template = environment.get_template(template)?;
    let page = value(serde_json::to_value(page)?);
    template.render(page).context("the page cannot be made")
}

/// What a template shows. Escaping keeps what servers wrote out of the markup; leaving letters
/// out that are not [`safe`] keeps it from turning the text around it, and the page well-formed.
fn value(json: Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(truth) => Value::from(truth),
        Json::Number(number) => match number.as_u64() {
            Some(whole) => Value::from(whole),
            None => Value::from(number.as_f64()),
        },
        Json::String(text) => Value::from(text.chars().map(safe).collect::<String>()),
        Json::Array(list) => list.into_iter().map(value).collect(),
        Json::Object(map) => {
            Value::from_pairs(map.into_iter().map(|(key, json)| (key, value(json))))
        }
    }
}

#[cfg(test)]
mod tests;
