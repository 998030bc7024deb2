//! What DHCP tells of a machine.

use bootstorm_proto::dhcp::ClientFacts;
use bootstorm_proto::types::ClientArch;

use super::{Facts, Stage};

impl From<&ClientFacts> for Facts {
    fn from(client: &ClientFacts) -> Self {
        Self {
            stage: Stage::Dhcp,
            asker: Some(client.asker),
            mac: client.hardware.mac(),
            guid: client.guid,
            client_id: hexadecimal(&client.client_id),
            arches: client.arches.clone(),
            family: client.arches.iter().copied().find_map(ClientArch::family),
            undi: client.undi.map(|(major, minor)| format!("{major}.{minor}")),
            vendor_class: text(&client.vendor_class),
            user_class: text(&client.user_class),
            relay: client.relay,
            circuit_id: text(&client.circuit_id),
            remote_id: text(&client.remote_id),
            interface: Some(client.interface),
            local: Some(client.local),
            address: client.address,
            secs: client.secs,
            ipxe_features: client.ipxe_features,
            ..Self::default()
        }
    }
}

/// Bytes of an option: as they are where they are printable, else in hexadecimal.
fn text(bytes: &[u8]) -> Option<String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && !text.contains(char::is_control) => Some(text.to_owned()),
        _ => hexadecimal(bytes),
    }
}

fn hexadecimal(bytes: &[u8]) -> Option<String> {
    use std::fmt::Write as _;
    if bytes.is_empty() {
        return None;
    }
    Some(bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_text_only_when_people_can_read_them() {
        assert_eq!(text(b"Gi1/0/7").as_deref(), Some("Gi1/0/7"));
        assert_eq!(text(b"\x00\x04port").as_deref(), Some("0004706f7274"));
        assert_eq!(text(b"\xff\xfe").as_deref(), Some("fffe"));
        assert_eq!(text(b""), None);
    }
}
