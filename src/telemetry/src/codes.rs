//! Counters by reason code, found without a lock.

use std::sync::OnceLock;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

pub(crate) type Label = (&'static str, &'static str);

/// Reason codes are literals in the program: this is well above how many one family meets.
const CODES_MAX: usize = 64;

/// Counters by a code that the program spells as a literal, found without a lock.
#[derive(Debug)]
pub(crate) struct Codes<const L: usize> {
    family: Family<[Label; L], Counter>,
    labels: [Label; L],
    seen: [OnceLock<(&'static str, Counter)>; CODES_MAX],
}

impl<const L: usize> Codes<L> {
    /// The code goes into the last of `labels`.
    pub(crate) fn new(
        family: &Family<[Label; L], Counter>,
        labels: [Label; L],
        known: &[&'static str],
    ) -> Self {
        let codes = Self {
            family: family.clone(),
            labels,
            seen: [const { OnceLock::new() }; CODES_MAX],
        };
        for code in known {
            codes.counter(code);
        }
        codes
    }

    pub(crate) fn count(&self, code: &'static str) {
        match self.counter(code) {
            Some(counter) => counter.inc(),
            None => self.create("other").inc(),
        };
    }

    fn counter(&self, code: &'static str) -> Option<&Counter> {
        self.seen.iter().find_map(|slot| {
            // A slot that another thread filled first holds another code: go on to the next.
            let (known, counter) = slot.get_or_init(|| (code, self.create(code)));
            (std::ptr::eq(*known, code) || *known == code).then_some(counter)
        })
    }

    fn create(&self, code: &'static str) -> Counter {
        let mut labels = self.labels;
        if let Some(last) = labels.last_mut() {
            last.1 = code;
        }
        self.family.get_or_create_owned(&labels)
    }
}

#[cfg(test)]
mod tests {
    use super::CODES_MAX;
    use crate::metrics::Metrics;

    #[test]
    fn codes_beyond_the_table_are_counted_as_other() {
        let metrics = Metrics::new();
        for at in 0..=CODES_MAX {
            let code: &'static str = Box::leak(format!("test.code-{at}").into_boxed_str());
            metrics.dhcp.ignored(code);
        }
        let text = metrics.encode();
        assert!(text.contains(r#"{reason="test.code-63"} 1"#), "{text}");
        assert!(text.contains(r#"{reason="other"} 1"#), "{text}");
        assert!(!text.contains("test.code-64"), "{text}");
    }

    #[test]
    fn threads_that_meet_a_new_code_at_once_lose_no_count() {
        let metrics = Metrics::new();
        std::thread::scope(|scope| {
            for codes in [["a.a", "b.b", "c.c"], ["c.c", "b.b", "a.a"]] {
                let metrics = &metrics;
                scope.spawn(move || {
                    for _ in 0..1000 {
                        codes.iter().for_each(|c| metrics.tls.failed(c));
                    }
                });
            }
        });
        let text = metrics.encode();
        for code in ["a.a", "b.b", "c.c"] {
            let line = format!(r#"bootstorm_tls_failures_total{{reason="{code}"}} 2000"#);
            assert!(text.contains(&line), "{text}");
        }
    }
}
