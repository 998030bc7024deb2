//! Expressions over the facts of a machine, in the Common Expression Language (CEL).
//!
//! They see the names that [`Facts::to_json`](crate::Facts::to_json) gives. What is not known is
//! null there, and an expression that asks more of a null than whether it is one does not fit.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use bootstorm_telemetry::event::Reason;
use cel::objects::{Key, Map};
use cel::{Context, Env, ExecutionError, Program, Value};

use crate::{Facts, Identity, version_lt};
use names::{Found, Name, names};

mod names;

const RULE_FAILED: &str = "policy.rule-failed";

/// Longer expressions are refused.
const LENGTH_MAX: usize = 4096;

static STANDARD: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib()));

/// An expression that fits a machine or does not.
pub struct Matcher {
    source: String,
    program: Program,
    /// That it failed has been told.
    told: AtomicBool,
}

/// Why a text is no expression that fits machines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {text}")]
pub struct BadExpression {
    /// Line of the expression, from 1.
    pub line: usize,
    /// Column of that line, from 1.
    pub column: usize,
    /// What is wrong.
    pub text: String,
}

/// The facts of one machine, as expressions see them.
pub struct Subject {
    context: Context<'static, 'static>,
    facts: serde_json::Value,
}

impl Matcher {
    /// Reads an expression.
    ///
    /// # Errors
    /// Where it is none, or names what the facts do not have, or says something else than yes or no.
    pub fn compile(source: &str) -> Result<Self, BadExpression> {
        let whole = |text: String| BadExpression {
            line: 1,
            column: 1,
            text,
        };
        if source.len() > LENGTH_MAX {
            return Err(whole(format!("longer than {LENGTH_MAX} characters")));
        }
        let program = STANDARD.compile(source).map_err(|errors| {
            let position = |at: isize| usize::try_from(at).unwrap_or_default().max(1);
            errors.errors.first().map_or_else(
                || whole("it cannot be read".to_owned()),
                |error| BadExpression {
                    line: position(error.pos.0),
                    column: position(error.pos.1 + 1),
                    text: error.msg.clone(),
                },
            )
        })?;
        let nobody = Facts::default().to_json(&Identity::default(), None);
        let nowhere = |name: &Name<'_>| name.among(&nobody) == Found::Nowhere;
        if let Some(Name { offset, text }) = names(source).find(nowhere) {
            return Err(BadExpression::missing(source, offset, text));
        }
        let matcher = Self {
            source: source.to_owned(),
            program,
            told: AtomicBool::new(false),
        };
        match matcher.program.execute(&Subject::new(nobody).context) {
            Ok(Value::Bool(_)) => Ok(matcher),
            Ok(other) => Err(whole(format!(
                "it says a {}, not yes or no",
                other.type_of()
            ))),
            Err(ExecutionError::UndeclaredReference(name)) => {
                let offset = source.find(name.as_str()).unwrap_or_default();
                Err(BadExpression::missing(source, offset, &name))
            }
            // What is null of nobody may be there of a machine.
            Err(_) => Ok(matcher),
        }
    }

    /// Whether it fits. What is not known of the machine fits nothing.
    ///
    /// # Errors
    /// Why it cannot be told although everything is known that it asks about.
    pub fn fits(&self, subject: &Subject) -> Result<bool, String> {
        match self.program.execute(&subject.context) {
            Ok(Value::Bool(fits)) => Ok(fits),
            Ok(other) => Err(format!("it says a {}, not yes or no", other.type_of())),
            Err(_) if self.asks_for_more(&subject.facts) => Ok(false),
            Err(e) => Err(e.to_string()),
        }
    }

    /// The same; the log tells the first time that it fails. `whose` is the key that has it.
    ///
    /// # Errors
    /// [`Self::fits`]'s, for the record of the decision.
    pub(crate) fn holds(&self, subject: &Subject, whose: &str) -> Result<bool, Reason> {
        self.fits(subject).map_err(|text| {
            let text = format!("{whose}: {text}");
            if !self.told.swap(true, Ordering::Relaxed) {
                tracing::warn!(code = RULE_FAILED, "an expression fails: {text}");
            }
            Reason {
                code: RULE_FAILED,
                text: text.into(),
            }
        })
    }

    /// Whether it names a fact that is not known.
    fn asks_for_more(&self, facts: &serde_json::Value) -> bool {
        names(&self.source).any(|name| name.among(facts) == Found::Unknown)
    }
}

impl BadExpression {
    fn missing(source: &str, offset: usize, name: &str) -> Self {
        let before = source.get(..offset).unwrap_or_default();
        Self {
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|c| *c != '\n').count() + 1,
            text: format!("there is no `{name}` among the facts and functions"),
        }
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Matcher").field(&self.source).finish()
    }
}

impl Subject {
    /// Takes the facts as [`Facts::to_json`] gives them.
    #[must_use]
    pub fn new(facts: serde_json::Value) -> Self {
        let mut context = Context::with_env(Arc::clone(&STANDARD));
        // The name is no other function's, so this cannot fail.
        let _ = context.add_function("version_lt", |one: Arc<String>, other: Arc<String>| {
            version_lt(&one, &other)
        });
        for (name, value) in facts.as_object().into_iter().flatten() {
            context.add_variable_from_value(name.as_str(), converted(value));
        }
        Self { context, facts }
    }
}

/// Whole numbers become signed ones, which is what expressions are written with.
fn converted(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(values) => Value::List(Arc::new(values.iter().map(converted).collect())),
        Json::Object(values) => {
            let pairs = values.iter();
            let map: HashMap<Key, Value> = pairs
                .map(|(name, value)| (Key::from(name.clone()), converted(value)))
                .collect();
            Value::Map(Map { map: Arc::new(map) })
        }
    }
}

#[cfg(test)]
mod tests {
    use bootstorm_proto::types::ClientArch;

    use super::*;

    fn dell() -> Facts {
        Facts {
            manufacturer: Some("Dell Inc.".to_owned()),
            product: Some("OptiPlex 7090".to_owned()),
            bios_version: Some("1.9.0".to_owned()),
            arches: [ClientArch(7)].into_iter().collect(),
            secs: 8,
            relay: "10.9.0.1".parse().ok(),
            ..Facts::default()
        }
    }

    fn fits(expression: &str) -> Result<bool, String> {
        let subject = Subject::new(dell().to_json(&Identity::default(), None));
        Matcher::compile(expression).unwrap().fits(&subject)
    }

    #[test]
    fn expressions_see_the_facts() {
        for expression in [
            "smbios.manufacturer == 'Dell Inc.'",
            "smbios.product.startsWith('OptiPlex') && smbios.product.matches('[0-9]{4}$')",
            "7 in firmware.arch",
            "firmware.arch[0] == 7",
            "firmware.secs >= 4 && firmware.secs + 1 == 9",
            "network.relay == '10.9.0.1'",
            "stage == 'script'",
            "smbios.serial == null",
            "!machine.known",
            "size(machine.tags) == 0",
            "!machine.tags.exists(tag, tag == 'lab')",
            "version_lt(smbios.bios_version, '1.10')",
            "hostname in ['a', 'b'] || true",
        ] {
            assert_eq!(fits(expression), Ok(true), "{expression}");
        }
        assert_eq!(fits("smbios.product == 'Latitude'"), Ok(false));
    }

    #[test]
    fn what_is_null_fits_nothing_and_fails_nothing() {
        for expression in [
            "smbios.serial.startsWith('5CG')",
            "smbios.serial != null && smbios.serial.startsWith('5CG')",
            "version_lt(smbios.bios_date, '1')",
            "params.offerid == 'SMS 1'",
            "machine.values.seat > '3'",
        ] {
            assert_eq!(fits(expression), Ok(false), "{expression}");
        }
    }

    #[test]
    fn what_fails_on_what_is_known_is_told() {
        for expression in [
            "int(smbios.product) > 3",
            "1 / (firmware.secs - 8) == 1",
            "firmware.arch[7] == 0",
        ] {
            assert!(fits(expression).is_err(), "{expression}");
        }
        let subject = Subject::new(dell().to_json(&Identity::default(), None));
        let matcher = Matcher::compile("int(smbios.product) > 3").unwrap();
        let reason = matcher.holds(&subject, "rule[3]").unwrap_err();
        assert_eq!(reason.code, RULE_FAILED);
        assert!(reason.text.starts_with("rule[3]: "), "{}", reason.text);
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_place() {
        let refused = |text: &str| Matcher::compile(text).unwrap_err();
        let at = |text: &str| {
            let error = refused(text);
            (error.line, error.column)
        };
        assert_eq!(at("smbios.product ==\n  == 'x'").0, 2);
        assert_eq!(at("true &&\n  bios.version == 'x'"), (2, 3));
        assert_eq!(at("true &&\n  smbios.prodct == 'x'"), (2, 3));
        assert_eq!(at("network.rely == '10.0.0.1'"), (1, 1));
        assert!(refused("nonsense(1)").text.contains("nonsense"));
        assert!(refused("1 + 1").text.contains("not yes or no"));
        assert!(refused(&"!".repeat(5000)).text.contains("longer"));
        assert!(refused("").text.len() > 3);
    }
}
