//! Who is answered at all, and how soon, by where the request comes from.

use std::collections::HashMap;
use std::sync::Arc;

use bootstorm_config::{AnswerTo, Peers, PolicyConfig, RequestFrom};
use bootstorm_telemetry::event::Reason;

use crate::Facts;

/// Names of interfaces by their index.
pub(crate) type InterfaceNames = HashMap<u32, Arc<str>>;

/// What holds in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Who is answered.
    pub answer: AnswerTo,
    /// Seconds that a machine that is not known must have been asking before it is offered anything.
    pub delay: u16,
    /// Which `[[policy.where]]` said so, counted from 0.
    pub by: Option<usize>,
}

impl Place {
    /// What holds for a request: the first place that fits decides what differs there.
    pub(crate) fn of(config: &PolicyConfig, names: &InterfaceNames, facts: &Facts) -> Self {
        let fits = |from: &RequestFrom| fits(from, names, facts);
        let by = config.places.iter().position(|place| fits(&place.from));
        let place = by.and_then(|index| config.places.get(index));
        Self {
            answer: place.and_then(|p| p.answer).unwrap_or(config.answer),
            delay: place.and_then(|p| p.delay).unwrap_or(config.delay),
            by,
        }
    }

    /// Why a machine is not answered here, if it is not.
    pub(crate) fn refusal(self, is_known: bool) -> Option<Reason> {
        let place = self.by.map(|index| format!(" (policy.where[{index}])"));
        let place = place.unwrap_or_default();
        match self.answer {
            AnswerTo::All => None,
            AnswerTo::Known if is_known => None,
            AnswerTo::Known => Some(Reason {
                code: "policy.unknown-machine",
                text: format!("only machines that are known are answered{place}").into(),
            }),
            AnswerTo::None => Some(Reason {
                code: "policy.none",
                text: format!("nobody is answered{place}").into(),
            }),
        }
    }
}

/// Whether machines load from each other where this one is: by its own address, too, since nobody
/// may have heard where its network begins.
pub(crate) fn peers<'a>(
    config: &'a PolicyConfig,
    names: &InterfaceNames,
    facts: &Facts,
) -> Option<&'a Peers> {
    let is_in = |from: &RequestFrom| match (from, facts.address) {
        (RequestFrom::Subnet(subnet), Some(address)) => subnet.contains(address),
        _ => false,
    };
    let mut places = config.places.iter();
    places.find_map(|place| {
        let here = fits(&place.from, names, facts) || is_in(&place.from);
        place.peers.as_ref().filter(|_| here)
    })
}

fn fits(from: &RequestFrom, names: &InterfaceNames, facts: &Facts) -> bool {
    let relay = facts.relay.map(|relay| relay.to_canonical());
    match from {
        RequestFrom::Interface(name) => {
            let found = facts.interface.and_then(|index| names.get(&index));
            found.is_some_and(|found| **found == **name)
        }
        RequestFrom::Relay(address) => relay == Some(address.to_canonical()),
        RequestFrom::Subnet(subnet) => {
            let at = relay.or(facts.local);
            at.is_some_and(|address| subnet.contains(address))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use bootstorm_config::PolicyPlace;

    use super::*;

    fn place(from: RequestFrom, answer: Option<AnswerTo>, delay: Option<u16>) -> PolicyPlace {
        PolicyPlace {
            from,
            answer,
            delay,
            peers: None,
        }
    }

    fn config() -> PolicyConfig {
        let relay = RequestFrom::Relay([10, 9, 0, 1].into());
        let subnet = RequestFrom::Subnet("10.9.0.0/16".parse().unwrap());
        PolicyConfig {
            answer: AnswerTo::Known,
            delay: 4,
            places: vec![
                place(
                    RequestFrom::Interface("lab0".to_owned()),
                    Some(AnswerTo::All),
                    None,
                ),
                place(relay, Some(AnswerTo::None), None),
                place(subnet, None, Some(10)),
            ],
            ..PolicyConfig::default()
        }
    }

    fn at(interface: u32, local: [u8; 4], relay: Option<IpAddr>) -> (AnswerTo, u16) {
        let names = HashMap::from([(2, "eth0".into()), (3, "lab0".into())]);
        let facts = Facts {
            interface: Some(interface),
            local: Some(local.into()),
            relay,
            ..Facts::default()
        };
        let place = Place::of(&config(), &names, &facts);
        (place.answer, place.delay)
    }

    #[test]
    fn the_first_place_that_fits_decides_what_differs_there() {
        assert_eq!(at(2, [10, 0, 0, 1], None), (AnswerTo::Known, 4));
        assert_eq!(at(3, [10, 0, 0, 1], None), (AnswerTo::All, 4));
        let relay = |last| Some(IpAddr::from([10, 9, 0, last]));
        assert_eq!(at(2, [10, 0, 0, 1], relay(1)), (AnswerTo::None, 4));
        assert_eq!(at(2, [10, 0, 0, 1], relay(2)), (AnswerTo::Known, 10));
        assert_eq!(at(3, [10, 0, 0, 1], relay(2)), (AnswerTo::All, 4));
        assert_eq!(at(2, [10, 9, 7, 1], None), (AnswerTo::Known, 10));
        let mapped = "::ffff:10.9.0.1".parse().ok();
        assert_eq!(at(2, [10, 0, 0, 1], mapped), (AnswerTo::None, 4));
    }

    #[test]
    fn wds_02_all_known_none() {
        let code = |answer, is_known| {
            let place = Place {
                answer,
                delay: 0,
                by: None,
            };
            place.refusal(is_known).map(|reason| reason.code)
        };
        for known in [false, true] {
            assert_eq!(code(AnswerTo::All, known), None);
            assert_eq!(code(AnswerTo::None, known), Some("policy.none"));
        }
        assert_eq!(code(AnswerTo::Known, true), None);
        assert_eq!(code(AnswerTo::Known, false), Some("policy.unknown-machine"));
    }

    #[test]
    fn the_first_place_that_says_whether_machines_share_decides() {
        let shares = |from, shared| PolicyPlace {
            peers: Some(Peers {
                shared,
                cache: None,
            }),
            ..place(from, None, None)
        };
        let subnet = |text: &str| RequestFrom::Subnet(text.parse().unwrap());
        let config = PolicyConfig {
            places: vec![
                place(subnet("10.0.0.0/8"), Some(AnswerTo::All), None),
                shares(subnet("10.9.0.0/16"), false),
                shares(subnet("10.0.0.0/8"), true),
            ],
            ..PolicyConfig::default()
        };
        let at = |address: [u8; 4], relay: Option<[u8; 4]>| {
            let facts = Facts {
                address: Some(address.into()),
                relay: relay.map(IpAddr::from),
                ..Facts::default()
            };
            peers(&config, &HashMap::new(), &facts).map(|peers| peers.shared)
        };
        assert_eq!(at([10, 9, 0, 1], None), Some(false));
        assert_eq!(at([192, 168, 0, 1], Some([10, 9, 0, 1])), Some(false));
        assert_eq!(at([10, 8, 0, 1], None), Some(true));
        assert_eq!(at([192, 168, 0, 1], None), None);
    }
}
