//! What a boot server's offers and answers should not be like.

use std::net::SocketAddrV4;

use super::message::Program;
use super::reply::Reply;
use crate::finding::Code;
use crate::machine::io::World;
use crate::machine::plan::Leases;

/// Looks at an offer. Only the server under test is judged: other DHCP servers of the network may
/// be anything.
pub(super) fn offer(program: Program, from: SocketAddrV4, reply: &Reply, world: &mut World<'_>) {
    let tested = world.plan.server;
    if *from.ip() != tested && reply.server != Some(tested) {
        return;
    }
    if from.port() != world.plan.ports.dhcp {
        let evidence = format!("the offer came from {from}");
        world.finding(Code::DhcpWrongPort, evidence);
    }
    server_id(from, reply, world);
    let lease = leases(program, reply, world);
    class(program, reply, world);
    guid(reply, world);
    next_server(reply, world);
    if let [option, field] = &reply.names
        && !option.is_empty()
        && !field.is_empty()
        && option != field
    {
        let evidence = format!("option 67 is {option:?}, the header's file {field:?}");
        world.finding(Code::DhcpFilesDiffer, evidence);
    }
    if !lease && reply.yiaddr.is_none() {
        not_asked(program, reply, world);
    }
}

/// Looks at the answer of a boot server's port 4011.
pub(super) fn boot_answer(from: SocketAddrV4, reply: &Reply, world: &mut World<'_>) {
    server_id(from, reply, world);
    guid(reply, world);
    next_server(reply, world);
}

fn server_id(from: SocketAddrV4, reply: &Reply, world: &mut World<'_>) {
    match reply.server {
        None => world.finding(Code::DhcpNoServerId, format!("{from} sent no option 54")),
        Some(id) if id != *from.ip() => {
            let evidence = format!("option 54 says {id}, the packet came from {from}");
            world.finding(Code::DhcpWrongServerId, evidence);
        }
        Some(_) => {}
    }
}

/// Options of a lease: renewal times, mask, router and name servers.
const LEASE: [u8; 6] = [51, 58, 59, 1, 3, 6];

/// True if the boot server leased what it should not.
fn leases(program: Program, reply: &Reply, world: &mut World<'_>) -> bool {
    if let (Some(address), Leases::Harness(_)) = (reply.yiaddr, world.plan.leases) {
        let evidence = format!("yiaddr is {address}");
        world.finding(Code::DhcpLeaseInProxyOffer, evidence);
        return true;
    }
    if reply.yiaddr.is_some() {
        return false;
    }
    let lease = |code: &u8| LEASE.contains(code) && !(program.is_http() && *code == 6);
    let codes: Vec<u8> = reply.codes().filter(lease).collect();
    if codes.is_empty() {
        return false;
    }
    let evidence = format!("yiaddr is 0.0.0.0, and there are options {codes:?}");
    world.finding(Code::DhcpLeaseInProxyOffer, evidence);
    true
}

fn class(program: Program, reply: &Reply, world: &mut World<'_>) {
    let class = program.class();
    // A lease with a boot file boots PXE without it.
    let needed = reply.yiaddr.is_none() || program.is_http() && reply.file().is_some();
    if needed && !reply.has_class(class) {
        let got = String::from_utf8_lossy(&reply.class);
        let evidence = format!("option 60 is {got:?}, {class} is taken alone");
        world.finding(Code::DhcpNoClass, evidence);
    }
}

fn guid(reply: &Reply, world: &mut World<'_>) {
    if !reply.has_class("PXEClient") {
        return;
    }
    let asked = &world.identity.guid;
    if reply.guid.first() != Some(&0) || reply.guid.get(1..) != Some(&asked[..]) {
        let (got, asked) = (hex::encode(&reply.guid), hex::encode(asked));
        let evidence = format!("option 97 is {got:?} where 00{asked} was sent");
        world.finding(Code::DhcpGuidNotEchoed, evidence);
    }
}

fn next_server(reply: &Reply, world: &mut World<'_>) {
    let tested = world.plan.server;
    match (reply.siaddr, reply.file()) {
        (Some(siaddr), _) if siaddr != tested => {
            let evidence = format!("siaddr is {siaddr}, the server under test {tested}");
            world.finding(Code::DhcpWrongSiaddr, evidence);
        }
        (None, Some(file)) if !file.contains("://") => {
            let evidence = format!("siaddr is 0.0.0.0 and the boot file {file:?}");
            world.finding(Code::DhcpWrongSiaddr, evidence);
        }
        _ => {}
    }
}

/// What PXE servers send unasked: PXE 2.1's own, overload, client and agent, and those of WDS.
const ALWAYS: [u8; 14] = [43, 52, 53, 54, 60, 61, 66, 67, 82, 97, 243, 250, 252, 255];

fn not_asked(program: Program, reply: &Reply, world: &mut World<'_>) {
    let wants = program.wants();
    let extra = |code: &u8| !wants.contains(code) && !ALWAYS.contains(code);
    let codes: Vec<u8> = reply.codes().filter(extra).collect();
    if !codes.is_empty() {
        let evidence = format!("options {codes:?} are not in the request's list");
        world.finding(Code::DhcpOptionsNotAsked, evidence);
    }
}
