//! Named parameters of a query. They are bound, never spliced in: what a machine says of itself can
//! be found or not found, and do nothing else.

use serde_json::Value;

/// Every parameter and where in the facts its value is.
pub const PARAMETERS: [(&str, &str); 28] = [
    ("stage", "/stage"),
    ("mac", "/machine/mac"),
    ("guid", "/machine/guid"),
    ("name", "/machine/name"),
    ("asker", "/firmware/asker"),
    ("arch", "/firmware/arch/0"),
    ("family", "/firmware/family"),
    ("vendor_class", "/firmware/vendor_class"),
    ("user_class", "/firmware/user_class"),
    ("client_id", "/firmware/client_id"),
    ("secs", "/firmware/secs"),
    ("interface", "/network/interface"),
    ("server", "/network/server"),
    ("address", "/network/address"),
    ("relay", "/network/relay"),
    ("circuit_id", "/network/circuit_id"),
    ("remote_id", "/network/remote_id"),
    ("manufacturer", "/smbios/manufacturer"),
    ("product", "/smbios/product"),
    ("serial", "/smbios/serial"),
    ("asset", "/smbios/asset"),
    ("uuid", "/smbios/uuid"),
    ("bios_vendor", "/smbios/bios_vendor"),
    ("bios_version", "/smbios/bios_version"),
    ("bios_date", "/smbios/bios_date"),
    ("platform", "/ipxe/platform"),
    ("buildarch", "/ipxe/buildarch"),
    ("hostname", "/hostname"),
];

/// A query whose parameters have become `$1`, `$2` ...
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    text: String,
    /// Where in the facts the value of each is.
    pointers: Vec<&'static str>,
}

impl Query {
    /// Finds the parameters of a query: a colon and a name, outside of texts, quoted names and
    /// comments. `::type` is PostgreSQL's cast.
    pub(super) fn read(query: &str) -> Result<Self, String> {
        let mut read = Self {
            text: String::with_capacity(query.len()),
            pointers: Vec::new(),
        };
        let mut rest = query;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '\'' | '"' | '`' => quoted(rest, first),
                '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
                '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |at| at + 2),
                ':' if rest.starts_with("::") => 2,
                ':' if name(&rest[1..]) > 0 => {
                    let end = 1 + name(&rest[1..]);
                    let number = read.number(&rest[1..end])?;
                    read.text.push_str(&format!("${number}"));
                    rest = &rest[end..];
                    continue;
                }
                '$' => return Err(format!("its query: `$` at `{}`", beginning(rest))),
                other => other.len_utf8(),
            };
            let (taken, left) = rest.split_at(length);
            read.text.push_str(taken);
            rest = left;
        }
        Ok(read)
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What to bind, as text; `None` is NULL.
    pub(super) fn values(&self, facts: &Value) -> Vec<Option<String>> {
        let value = |pointer: &&str| match facts.pointer(pointer)? {
            Value::Null => None,
            // PostgreSQL has no such character.
            Value::String(text) => Some(text.replace('\0', "")),
            other => Some(other.to_string()),
        };
        self.pointers.iter().map(value).collect()
    }

    /// The number of a parameter, the same wherever it stands.
    fn number(&mut self, name: &str) -> Result<usize, String> {
        let Some((_, pointer)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = PARAMETERS.iter().map(|(name, _)| *name).collect();
            let known = known.join(", ");
            return Err(format!(
                "its query: there is no parameter `:{name}`; known are {known}"
            ));
        };
        let at = self.pointers.iter().position(|known| known == pointer);
        Ok(1 + at.unwrap_or_else(|| {
            self.pointers.push(pointer);
            self.pointers.len() - 1
        }))
    }
}

/// The length of a quoted text; the quote twice within it is one of its characters.
fn quoted(text: &str, quote: char) -> usize {
    let mut inside = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = inside.next() {
        if c == quote && inside.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

/// The length of the name that a text begins with.
fn name(text: &str) -> usize {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts {
        text.find(|c| !part(c)).unwrap_or(text.len())
    } else {
        0
    }
}

fn beginning(text: &str) -> String {
    text.chars()
        .take(20)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn text(query: &str) -> String {
        Query::read(query).unwrap().text
    }

    #[test]
    fn each_parameter_gets_one_number() {
        let query = Query::read("SELECT 1 WHERE mac=:mac AND (s=:serial OR m=:mac)").unwrap();
        assert_eq!(query.text, "SELECT 1 WHERE mac=$1 AND (s=$2 OR m=$1)");
        let facts = json!({"machine": {"mac": "aa"}, "smbios": {"serial": null}});
        assert_eq!(query.values(&facts), [Some("aa".to_owned()), None]);
    }

    #[test]
    fn a_colon_in_texts_names_comments_and_casts_is_none() {
        for query in [
            "SELECT ':mac', 'it''s :mac', \"a:mac\", `:mac`",
            "SELECT 1 -- :mac\n",
            "SELECT 1 /* :mac */ -- :nothing",
            "SELECT '1'::int, '2'::text",
            "SELECT a[1:2]",
        ] {
            assert_eq!(text(query), query);
        }
        assert_eq!(text("SELECT 'x' || :mac::text"), "SELECT 'x' || $1::text");
    }

    #[test]
    fn what_is_no_parameter_is_named() {
        let e = Query::read("SELECT :seriennummer").unwrap_err();
        assert!(e.contains("`:seriennummer`") && e.contains("serial"), "{e}");
        assert!(Query::read("SELECT $1").is_err());
        assert!(Query::read("SELECT $$ text $$").is_err());
    }

    #[test]
    fn every_parameter_is_a_fact() {
        let facts = bootstorm_policy::Facts {
            arches: [bootstorm_proto::types::ClientArch(7)]
                .into_iter()
                .collect(),
            ..bootstorm_policy::Facts::default()
        };
        let facts = facts.to_json(&bootstorm_policy::Identity::default(), None);
        for (name, pointer) in PARAMETERS {
            assert!(facts.pointer(pointer).is_some(), "{name}: {pointer}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_to_its_end(query in "[-'\"`:/*$a-c \\n\u{e9}]{0,40}") {
            if let Ok(read) = Query::read(&query) {
                prop_assert_eq!(read.text, query);
            }
        }
    }
}
