//! Queries of URLs. Boot tokens stand there, and reports are sent around.

/// How a query begins, also where a whole URL is the name of a file.
const MARKS: [&str; 3] = ["?", "%3F", "%3f"];

/// What may stand behind a URL in a sentence.
const PUNCTUATION: [char; 5] = [':', ',', ';', '.', ')'];

/// A text in whose URLs the values of queries are left out: `/boot?mac=...&token=...`.
pub(crate) fn without_values(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = begin_of_query(rest) {
        let (before, behind) = rest.split_at(begin);
        shown.push_str(before);
        let end = behind.find(ends_a_url).unwrap_or(behind.len());
        let query = behind[..end].trim_end_matches(PUNCTUATION);
        rest = &behind[query.len()..];
        // `<?xml` begins a page, not a query.
        if before.ends_with("<?") {
            shown.push_str(query);
        } else {
            push_names(query, &mut shown);
        }
    }
    shown + rest
}

fn begin_of_query(text: &str) -> Option<usize> {
    let marks = MARKS.iter();
    let found = marks.filter_map(|mark| text.find(mark).map(|at| at + mark.len()));
    found.min()
}

fn ends_a_url(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control() || "\"`<>#".contains(letter)
}

fn push_names(query: &str, shown: &mut String) {
    for (place, pair) in query.split('&').enumerate() {
        if place > 0 {
            shown.push('&');
        }
        if let Some((name, _)) = pair.split_once('=') {
            shown.push_str(name);
            shown.push('=');
        }
        if !pair.is_empty() {
            shown.push_str("...");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_shown_and_values_are_not() {
        for (text, shown) in [
            ("GET http://h/boot?token=s3", "GET http://h/boot?token=..."),
            (
                "http://h:80/b?mac=02:b5&token=s%26,3&x=: waited 60s",
                "http://h:80/b?mac=...&token=...&x=...: waited 60s",
            ),
            ("\"boot?s3\" and `/a?b=s3`", "\"boot?...\" and `/a?b=...`"),
            ("a?x=s3#part, b?y=s3?z=s3.", "a?x=...#part, b?y=...."),
            (
                "tftp://h/boot%3Ftoken%3Ds3: 5 bytes",
                "tftp://h/boot%3F...: 5 bytes",
            ),
            ("is it up? yes", "is it up? yes"),
            ("<?xml version=\"1.0\"?>", "<?xml version=\"1.0\"?>"),
            ("http://h/boot?", "http://h/boot?"),
            ("", ""),
        ] {
            assert_eq!(without_values(text), shown);
        }
    }

    proptest! {
        #[test]
        fn no_token_stays(before in "[a-z/:?& ]{0,9}", token in "[A-Z0-9]{4,9}", behind in "\\PC{0,9}") {
            let text = format!("http://h/{before}boot?a=b&token={token} {behind}");
            let shown = without_values(&text);
            let shown = shown.strip_suffix(&*behind).unwrap_or(&shown);
            prop_assert!(!shown.contains(&token), "{}", shown);
        }
    }
}
