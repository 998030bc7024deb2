//! One row: something that is deployed to a device.

use serde_json::Value;

use crate::ProviderError;
use crate::database::Columns;

/// A machine, as far as deployments can be found for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asker {
    /// In lower case, with colons.
    pub(super) mac: Option<String>,
    /// In lower case, as people read it.
    pub(super) guid: Option<String>,
    /// `bios`, `x64` ...
    pub(super) family: Option<String>,
    /// It wants to run this deployment and no other.
    pub(super) offer: Option<Offer>,
}

/// A deployment that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    /// The deployment's id.
    pub(super) id: String,
    /// Nobody is asked.
    pub(super) required: bool,
}

impl Asker {
    /// The machine that facts tell of; what does not identify it is not in them.
    pub(super) fn of(facts: &Value) -> Self {
        let text = |pointer| {
            facts
                .pointer(pointer)?
                .as_str()
                .map(str::to_ascii_lowercase)
        };
        Self {
            mac: text("/machine/mac"),
            guid: text("/machine/guid"),
            family: text("/firmware/family"),
            offer: Offer::of(facts),
        }
    }
}

impl Offer {
    fn of(facts: &Value) -> Option<Self> {
        let param = |name| facts.get("params")?.get(name)?.as_str();
        let is_set = |name| param(name).is_some_and(|value| ["true", "1"].contains(&value));
        Some(Self {
            id: param("offerid")?.to_owned(),
            required: is_set("mandatory") || is_set("nomenu"),
        })
    }
}

/// A task sequence that is deployed to a device, or to unknown computers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Deployment {
    /// The device; `None` is an unknown computer.
    pub(super) resource: Option<String>,
    /// MAC of the device, in lower case.
    pub(super) mac: Option<String>,
    /// Machine GUID of the device, in lower case.
    pub(super) guid: Option<String>,
    /// The deployment's id. `None`: nothing is deployed to this device.
    pub(super) deployment: Option<String>,
    /// The entry that its boot image is here.
    pub(super) boot: Option<String>,
    /// What the boot image runs on: `x86`, `x64` or `arm64`; `None`: everything.
    pub(super) architecture: Option<String>,
    /// Nobody is asked.
    pub(super) required: bool,
    /// The device has run it.
    pub(super) done: bool,
    /// Greater ones go first, whatever their ids.
    pub(super) preferred: i64,
    /// Added to the kernel's command line.
    pub(super) arguments: Option<Value>,
    /// All other columns.
    pub(super) values: Columns,
}

impl Deployment {
    pub(super) fn read(row: Columns) -> Result<Self, ProviderError> {
        let mut read = Self::default();
        for (column, cell) in row.into_iter().filter(|(_, cell)| !cell.is_null()) {
            let bad = |what: &str| {
                ProviderError::Failed(format!("column `{}` is no {what}", column.escape_debug()))
            };
            let text = || match &cell {
                Value::String(text) => Ok(Some(text.trim().to_owned()).filter(|t| !t.is_empty())),
                Value::Number(number) => Ok(Some(number.to_string())),
                _ => Err(bad("text")),
            };
            let lower = || text().map(|text| text.map(|text| text.to_ascii_lowercase()));
            let flag = || match &cell {
                Value::Bool(flag) => Ok(*flag),
                cell => cell
                    .as_i64()
                    .map(|n| n != 0)
                    .ok_or_else(|| bad("yes or no")),
            };
            match column.as_str() {
                "resource" => read.resource = text()?,
                "mac" => read.mac = lower()?.map(|mac| mac.replace('-', ":")),
                "guid" => read.guid = lower()?,
                "deployment" => read.deployment = text()?,
                "boot" => read.boot = text()?,
                "architecture" => read.architecture = lower()?,
                "required" => read.required = flag()?,
                "done" => read.done = flag()?,
                "preferred" => read.preferred = cell.as_i64().ok_or_else(|| bad("number"))?,
                "arguments" => read.arguments = Some(cell),
                _ => {
                    read.values.insert(column, cell);
                }
            }
        }
        Ok(read)
    }

    /// BIOS machines boot x86 and x64 images; UEFI has to match exactly.
    pub(super) fn runs_on(&self, family: Option<&str>) -> bool {
        let Some(architecture) = self.architecture.as_deref() else {
            return true;
        };
        match (family, architecture) {
            (Some("bios"), "x86" | "x64") | (Some("ia32"), "x86") => true,
            (Some(family), architecture) => family == architecture,
            (None, _) => false,
        }
    }
}
