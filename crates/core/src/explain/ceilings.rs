use super::{Statement, statement};
use crate::broker::{Capability, ChannelFacts};
use crate::config::{ByteSize, HumanDuration};

/// The broker's limits, in the order of the documentation's table.
pub(super) fn ceilings(facts: &ChannelFacts) -> Vec<Statement> {
    let limits = &facts.capabilities.limits;
    let size = |bytes: usize| ByteSize(bytes as u64);
    let time = |limit: Option<_>| limit.map(|d| HumanDuration(d).to_string());
    let endless = || "none".to_owned();
    let retention = match facts.capabilities.has(Capability::Retention) {
        true => time(limits.max_retention).unwrap_or_else(endless),
        false => "not to be set".to_owned(),
    };
    let priority = match limits.max_priority {
        0 => "none".to_owned(),
        highest => format!("0 to {highest}"),
    };
    let lease = match limits.lease {
        Some(lease) => format!("{}, renewed while it is in hand", HumanDuration(lease)),
        None => "nothing to renew".to_owned(),
    };
    vec![
        statement("message size", size(limits.max_message_bytes).to_string()),
        statement(
            "header size",
            format!("{} in {} headers", size(limits.max_header_bytes), limits.max_headers),
        ),
        statement("longest wait", time(limits.max_delay).unwrap_or_else(endless)),
        statement("lateness of a wait", format!("10 % or {}", HumanDuration(limits.delay_slack))),
        statement("longest retention", retention),
        statement("lease", lease),
        statement("longest in hand", time(limits.max_lease).unwrap_or_else(endless)),
        statement("priorities", priority),
    ]
}
