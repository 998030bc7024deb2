//! How a machine that has booted tells the server so.

use serde::Deserialize;

use crate::machine::body::Keep;
use crate::machine::fetch::Want;
use crate::machine::http::request::Agent;
use crate::machine::io::World;
use crate::machine::url::{Scheme, Url, encoded};

/// The file that tells the client in Windows PE where to report.
pub(super) const INSTRUCTIONS: &str = "bootstorm.json";

/// Bytes of it.
pub(super) const INSTRUCTIONS_MAX: usize = 64 * 1024;

/// The word of a kernel's command line that says where to report.
const WORD: &str = "report=";

/// What the client in Windows PE reports on its way.
const MILESTONES: [&str; 3] = ["client-started", "network-up", "done"];

/// Where a machine reports, if anywhere.
#[derive(Debug, Default)]
pub(super) enum Reports {
    /// Nowhere.
    #[default]
    None,
    /// An installer or initrd: here, when it is through.
    Url(Box<Url>),
    /// The client in Windows PE: as these instructions say.
    Client(Box<Instructions>),
}

/// As far as reports need it.
#[derive(Debug, Deserialize)]
pub(super) struct Instructions {
    server: String,
    token: Option<String>,
    mac: Option<String>,
    uuid: Option<String>,
}

impl Reports {
    /// Looks for the place to report to in a kernel's command line.
    pub(super) fn read(&mut self, arguments: &[String]) {
        let mut places = arguments.iter().filter_map(|word| word.strip_prefix(WORD));
        if let Some(url) = places.find_map(|place| Url::parse(place).ok())
            && url.scheme != Scheme::Tftp
        {
            *self = Self::Url(Box::new(url));
        }
    }

    /// Looks at a file.
    pub(super) fn see(&mut self, name: &str, text: Option<&[u8]>) {
        let instructions = text.filter(|_| name == INSTRUCTIONS);
        let instructions = instructions.and_then(|text| serde_json::from_slice(text).ok());
        if let Some(instructions) = instructions {
            *self = Self::Client(Box::new(instructions));
        }
    }

    /// What is to be sent, the last first.
    pub(super) fn wanted(&self, world: &World<'_>) -> Vec<Want> {
        if !world.plan.reports {
            return Vec::new();
        }
        match self {
            Self::None => Vec::new(),
            Self::Url(url) => {
                let mut url = Url::clone(url);
                let sign = if url.target.contains('?') { '&' } else { '?' };
                url.target.push_str(&format!("{sign}state=finished"));
                vec![want(url, None)]
            }
            Self::Client(instructions) => instructions.wanted(),
        }
    }
}

impl Instructions {
    fn wanted(&self) -> Vec<Want> {
        let place = format!("{}/boot/report", self.server.trim_end_matches('/'));
        let Ok(url) = Url::parse(&place) else {
            return Vec::new();
        };
        let pairs = [
            ("token", &self.token),
            ("mac", &self.mac),
            ("uuid", &self.uuid),
        ];
        let pairs = pairs.into_iter().filter_map(|(name, value)| {
            let value = encoded(value.as_ref()?, b"-._~");
            Some(format!("&{name}={value}"))
        });
        let who: String = pairs.collect();
        let milestones = MILESTONES.into_iter().rev();
        milestones
            .map(|state| want(url.clone(), Some(format!("state={state}{who}"))))
            .collect()
    }
}

fn want(url: Url, form: Option<String>) -> Want {
    Want {
        agent: Agent::Booted,
        url,
        form,
        keep: Keep::Discard,
        quiet: None,
    }
}
