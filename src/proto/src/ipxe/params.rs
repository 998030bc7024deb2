//! What a machine tells about itself: a query or a form body.

use std::net::IpAddr;

use crate::types::{MacAddress, MachineGuid};

/// Pairs that are read at most; the rest is ignored.
const PAIRS_MAX: usize = 64;
/// Bytes of a name and of a value that are kept at most.
const NAME_MAX: usize = 64;
const VALUE_MAX: usize = 1024;

/// Ends the names of values that are written in hexadecimal.
const HEXADECIMAL: &str = ".hex";

/// Everything that the machine sent about itself. Values come from SMBIOS and the network: they
/// hold no control characters, and nothing else may be assumed of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// Address of the network interface that it boots from.
    pub mac: Option<MacAddress>,
    /// SMBIOS system UUID, unless it is blank.
    pub uuid: Option<MachineGuid>,
    /// Its own address.
    pub ip: Option<IpAddr>,
    /// `pcbios` or `efi`.
    pub platform: Option<String>,
    /// What iPXE was built for: `i386`, `x86_64`, `arm64` ...
    pub buildarch: Option<String>,
    /// SMBIOS manufacturer.
    pub manufacturer: Option<String>,
    /// SMBIOS product name.
    pub product: Option<String>,
    /// SMBIOS serial number.
    pub serial: Option<String>,
    /// SMBIOS asset tag.
    pub asset: Option<String>,
    /// Host name from DHCP.
    pub hostname: Option<String>,
    /// iPXE's version.
    pub version: Option<String>,
    /// iPXE's features.
    pub features: Option<String>,
    /// Everything else, in the order sent, names in lower case.
    pub other: Vec<(String, String)>,
}

impl Params {
    /// Reads a query or an `application/x-www-form-urlencoded` body. Never fails: what cannot be
    /// read is left out.
    ///
    /// `+` stands for itself: iPXE writes a space as `%20` and leaves `+` alone, so a serial number
    /// keeps its plus signs.
    #[must_use]
    pub fn parse(form: &[u8]) -> Self {
        let mut params = Self::default();
        for pair in form
            .split(|b| *b == b'&')
            .filter(|p| !p.is_empty())
            .take(PAIRS_MAX)
        {
            let end = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(end);
            let name = decode(name, NAME_MAX).to_ascii_lowercase();
            let value = decode(value.get(1..).unwrap_or_default(), VALUE_MAX);
            let (name, value) = match name.strip_suffix(HEXADECIMAL) {
                Some(name) => (name.to_owned(), unhex(&value)),
                None => (name, value),
            };
            if !name.is_empty() && !value.is_empty() {
                params.take(name, value);
            }
        }
        params
    }

    /// The query first, then the body: what the body says counts.
    #[must_use]
    pub fn of_request(query: &str, body: &[u8]) -> Self {
        let mut form = body.to_vec();
        form.push(b'&');
        form.extend_from_slice(query.as_bytes());
        Self::parse(&form)
    }

    /// A value that has no field of its own; name in lower case.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&str> {
        self.other
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first value counts, as for everything that a client repeats.
    fn take(&mut self, name: String, value: String) {
        match name.as_str() {
            "mac" => fill(&mut self.mac, value.parse().ok()),
            "uuid" => {
                let guid = value
                    .parse()
                    .ok()
                    .filter(|guid: &MachineGuid| !guid.is_blank());
                fill(&mut self.uuid, guid);
            }
            "ip" => fill(&mut self.ip, value.parse().ok()),
            "platform" => fill(&mut self.platform, Some(value)),
            "buildarch" | "arch" => fill(&mut self.buildarch, Some(value)),
            "manufacturer" | "make" => fill(&mut self.manufacturer, Some(value)),
            "product" | "model" => fill(&mut self.product, Some(value)),
            "serial" => fill(&mut self.serial, Some(value)),
            "asset" => fill(&mut self.asset, Some(value)),
            "hostname" => fill(&mut self.hostname, Some(value)),
            "version" => fill(&mut self.version, Some(value)),
            "features" => fill(&mut self.features, Some(value)),
            _ if self.other(&name).is_none() => self.other.push((name, value)),
            _ => {}
        }
    }
}

fn fill<T>(slot: &mut Option<T>, value: Option<T>) {
    if slot.is_none() {
        *slot = value;
    }
}

/// A text of several lines out of a form: the last `max` bytes of the first value of that name,
/// without control characters and empty lines. `name` is in lower case.
#[must_use]
pub fn lines(form: &[u8], name: &str, max: usize) -> Vec<String> {
    let mut pairs = form.split(|byte| *byte == b'&').take(PAIRS_MAX);
    let value = pairs.find_map(|pair| {
        let end = pair.iter().position(|byte| *byte == b'=')?;
        let (its, value) = pair.split_at(end);
        let is_it = decode(its, NAME_MAX).eq_ignore_ascii_case(name);
        is_it.then(|| value.get(1..).unwrap_or_default())
    });
    let bytes: Vec<u8> = unescaped(value.unwrap_or_default()).collect();
    let end = bytes.get(bytes.len().saturating_sub(max)..);
    let lines = end.unwrap_or_default().split(|byte| *byte == b'\n');
    lines.map(cleaned).filter(|line| !line.is_empty()).collect()
}

/// Control characters become spaces, other bytes that are not UTF-8 the replacement character; at
/// most `max` bytes.
fn decode(text: &[u8], max: usize) -> String {
    let bytes: Vec<u8> = unescaped(text).take(max).collect();
    cleaned(&bytes)
}

/// Percent-decodes leniently: a `%` without two digits stands for itself.
fn unescaped(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        let escaped = (first == b'%')
            .then(|| tail.get(..2).and_then(hex))
            .flatten();
        rest = if escaped.is_some() {
            tail.get(2..).unwrap_or_default()
        } else {
            tail
        };
        Some(escaped.unwrap_or(first))
    })
}

/// Hexadecimal digits as text; what is none is nothing.
fn unhex(digits: &str) -> String {
    let pairs = digits.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| hex(pair).filter(|_| pair.len() == 2))
        .collect();
    bytes.map(|bytes| cleaned(&bytes)).unwrap_or_default()
}

fn cleaned(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    clean.trim().to_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0_u8, |byte, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some((byte << 4) | u8::try_from(value).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twopxe_06_texts_in_hexadecimal_arrive_as_they_are() {
        let told = |form: &str| Params::parse(form.as_bytes()).serial;
        let serial = "A  b%20&+${mac}|| é";
        let digits: String = serial.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            told(&format!("serial.hex={digits}")).as_deref(),
            Some(serial)
        );
        let longest = "ab".repeat(255);
        let known = told(&format!("serial.hex={longest}")).map(|text| text.chars().count());
        assert_eq!(known, Some(255));
        for wrong in [
            "serial.hex=4",
            "serial.hex=4g",
            "serial.hex=414",
            "serial.hex=",
        ] {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_form_of_ipxe_is_read() {
        let params = Params::parse(
            b"mac=52%3A54%3A00%3A99%3A00%3A01&uuid=11223344-5566-7788-99aa-bbccddeeff00\
              &platform=efi&buildarch=x86_64&manufacturer=Dell%20Inc.&product=OptiPlex%207090\
              &serial=A+B%2FC&ip=10.99.0.100&asset=&tokenid=42&TokenID=43",
        );
        assert_eq!(params.mac.unwrap().to_string(), "52:54:00:99:00:01");
        assert_eq!(
            params.uuid.unwrap().to_string(),
            "11223344-5566-7788-99aa-bbccddeeff00"
        );
        assert_eq!(params.ip, Some("10.99.0.100".parse().unwrap()));
        assert_eq!(params.platform.as_deref(), Some("efi"));
        assert_eq!(params.buildarch.as_deref(), Some("x86_64"));
        assert_eq!(params.manufacturer.as_deref(), Some("Dell Inc."));
        assert_eq!(params.product.as_deref(), Some("OptiPlex 7090"));
        assert_eq!(params.serial.as_deref(), Some("A+B/C"));
        assert_eq!(params.asset, None);
        assert_eq!(params.other("tokenid"), Some("42"));
    }

    #[test]
    fn the_body_counts_before_the_query() {
        let params = Params::of_request("mac=52-54-00-00-00-02&serial=q", b"serial=b");
        assert_eq!(params.serial.as_deref(), Some("b"));
        assert!(params.mac.is_some());
    }

    #[test]
    fn hostile_values_hold_no_control_characters_and_are_short() {
        let mut form = b"serial=a%0d%0aexit%00%1b[2J%zz%".to_vec();
        form.extend_from_slice(b"&product=");
        form.extend(std::iter::repeat_n(b'x', 5000));
        form.extend_from_slice(b"&asset=%ff%fe&uuid=00000000-0000-0000-0000-000000000000");
        let params = Params::parse(&form);
        assert_eq!(params.serial.as_deref(), Some("a  exit  [2J%zz%"));
        assert_eq!(params.product.map(|p| p.len()), Some(VALUE_MAX));
        assert_eq!(params.asset.as_deref(), Some("\u{fffd}\u{fffd}"));
        assert_eq!(params.uuid, None);
    }

    #[test]
    fn lines_are_the_end_of_a_text_and_harmless() {
        let form = b"log2=no&LOG=first%0d%0asec%1bond%0A%0A%ff&log=no";
        assert_eq!(lines(form, "log", 8192), ["first", "sec ond", "\u{fffd}"]);
        assert_eq!(lines(form, "log", 8), ["c ond", "\u{fffd}"]);
        assert_eq!(lines(b"log&log=", "log", 9), [""; 0]);
        assert_eq!(lines(b"", "log", 9), [""; 0]);
    }

    #[test]
    fn the_number_of_pairs_is_bounded() {
        let form: Vec<u8> = (0..1000)
            .flat_map(|n| format!("k{n}=v&").into_bytes())
            .collect();
        assert_eq!(Params::parse(&form).other.len(), PAIRS_MAX);
    }
}
