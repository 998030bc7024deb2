//! The one form in which expressions, templates, programs and services see a machine.

use serde_json::{Map, Value, json};

use super::Facts;
use crate::{Identity, Machine};

impl Facts {
    /// The facts as docs/reference/decisions.md lists them. What is not known is null, so that every
    /// name is there; a GUID that does not identify is null, too.
    #[must_use]
    pub fn to_json(&self, identity: &Identity, machine: Option<&Machine>) -> Value {
        let arches: Vec<u16> = self.arches.iter().map(|arch| arch.0).collect();
        let params: Map<String, Value> = self
            .params()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        json!({
            "version": 1,
            "stage": self.stage.name(),
            "machine": machine_json(identity, machine),
            "firmware": {
                "asker": self.asker.map(asker_name),
                "arch": arches,
                "family": shown(self.family),
                "undi": self.undi,
                "vendor_class": self.vendor_class,
                "user_class": self.user_class,
                "client_id": self.client_id,
                "secs": self.secs,
            },
            "network": {
                "interface": self.interface_name.as_deref(),
                "server": shown(self.local),
                "address": shown(self.address),
                "relay": shown(self.relay),
                "circuit_id": self.circuit_id,
                "remote_id": self.remote_id,
            },
            "smbios": {
                "manufacturer": self.manufacturer,
                "product": self.product,
                "serial": self.serial,
                "asset": self.asset,
                "uuid": shown(self.guid),
                "bios_vendor": self.bios_vendor,
                "bios_version": self.bios_version,
                "bios_date": self.bios_date,
            },
            "ipxe": {
                "version": self.ipxe_version,
                "features": self.features,
                "platform": self.platform,
                "buildarch": self.buildarch,
            },
            "hostname": self.hostname,
            "params": params,
        })
    }
}

fn machine_json(identity: &Identity, machine: Option<&Machine>) -> Value {
    json!({
        "mac": shown(identity.mac),
        "guid": shown(identity.guid),
        "id": machine.map(|m| m.id),
        "name": machine.and_then(|m| m.name.as_deref()),
        "tags": machine.map(|m| m.tags.as_slice()).unwrap_or_default(),
        "values": machine.map(|m| &m.values),
        "known": machine.is_some_and(|m| m.known),
    })
}

const fn asker_name(asker: bootstorm_proto::dhcp::Asker) -> &'static str {
    use bootstorm_proto::dhcp::Asker;
    match asker {
        Asker::Firmware => "firmware",
        Asker::HttpFirmware => "http-firmware",
        Asker::Ipxe => "ipxe",
    }
}

fn shown(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_and_what_is_not_known_is_null() {
        let facts = Facts {
            serial: Some("S/N 1".to_owned()),
            guid: "11223344-5566-7788-99aa-bbccddeeff00".parse().ok(),
            other: ["offerid", "token", "password", "asked"]
                .map(|name| (name.to_owned(), "1".to_owned()))
                .into(),
            ..Facts::default()
        };
        let json = facts.to_json(&Identity::default(), None);
        assert_eq!(json["smbios"]["serial"], "S/N 1");
        assert_eq!(json["machine"]["guid"], Value::Null);
        assert_eq!(
            json["smbios"]["uuid"],
            "11223344-5566-7788-99aa-bbccddeeff00"
        );
        assert!(json["network"].as_object().unwrap().contains_key("relay"));
        assert_eq!(json["machine"]["known"], false);
        assert_eq!(json["params"], json!({"offerid": "1"}));
    }
}
