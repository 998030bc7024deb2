//! What a machine has told that iPXE does not know by itself goes along from script to script.
//!
//! It stands in the URL, where any value can be written as it is.

use bootstorm_proto::ipxe::Url;

use crate::Facts;
use crate::trail::VIA;

/// What of it goes along at most, in bytes: a request has room for some times more.
const CARRIED_MAX: usize = 2048;

/// What a boot server of another make has given the machine for itself alone.
const OF_ONE_SERVER: [&str; 6] = [
    "pxeurl",
    "requestid",
    "statusid",
    "tokenid",
    "updatedparams",
    "wsurl",
];

/// The same place of this server, with what the machine has told and where it came from.
pub(super) fn known(url: &Url, machine: &Facts) -> Url {
    let via = machine.other(VIA).map(|via| (VIA, via));
    with(url, machine.params().chain(via))
}

/// A place of another server, with what the machine has told of itself.
pub(super) fn to_another(url: &Url, machine: &Facts) -> Url {
    with(
        url,
        machine
            .params()
            .filter(|(name, _)| !OF_ONE_SERVER.contains(name)),
    )
}

fn with<'a>(url: &Url, params: impl Iterator<Item = (&'a str, &'a str)>) -> Url {
    let mut room = CARRIED_MAX;
    params.fold(url.clone(), |url, (name, value)| {
        let longer = url.with_query(name, value);
        let bytes = longer.to_string().len() - url.to_string().len();
        match room.checked_sub(bytes) {
            Some(left) => {
                room = left;
                longer
            }
            None => url,
        }
    })
}
