use crate::broker::{ChannelKind, ChannelRole, DEFAULT_PARTITIONS};
use crate::config::ChannelConfig;
use crate::config::problem::unknown;
use crate::config::reader::Reader;
use crate::model::ChannelName;

/// Reads a channel's table; `None` when its name, kind or broker is wrong.
pub(super) fn read(name: &str, mut r: Reader<'_>, brokers: &[String]) -> Option<ChannelConfig> {
    let name = r.own_name(name.parse::<ChannelName>());
    r.require("kind", "add kind = \"queue\" or kind = \"topic\"");
    let kind = r.choice("kind", &KINDS);
    let broker = broker(&mut r, brokers);
    let ordered = r.choice("order_by", &[("key", true)]).unwrap_or(false);
    let partitions = r.integer("partitions", 1..=10_000);
    if partitions.is_some() && !r.has("order_by") {
        let message = "only an ordered channel has partitions";
        r.problem("partitions", message, "add order_by = \"key\", or remove it");
    }
    let retention = r.positive("retention");
    let max_bytes = r.size("max_bytes");
    let replicas = r.integer("replicas", 1..=100);
    let settings = r.adapter_tables(|adapter, settings| adapter.check_channel(settings));
    Some(ChannelConfig {
        name: name?,
        kind: kind?,
        role: ChannelRole::Application,
        broker: broker?,
        ordered,
        partitions: partitions.unwrap_or(DEFAULT_PARTITIONS),
        retention,
        max_bytes,
        replicas,
        settings,
    })
}

fn broker(r: &mut Reader<'_>, brokers: &[String]) -> Option<String> {
    if let Some(name) = r.text("broker") {
        if brokers.iter().any(|b| b == name) {
            return Some(name.to_owned());
        }
        let what = format!("no broker is called `{name}`");
        let (message, fix) = unknown(&what, name, brokers.iter().map(String::as_str));
        r.problem("broker", message, fix);
        return None;
    }
    match brokers {
        [only] => Some(only.clone()),
        // That there is none is reported once, for the whole file.
        [] => None,
        several if !r.has("broker") => {
            let fix = format!("add broker = \"…\", one of {}", several.join(", "));
            r.problem("broker", "missing, and there are several brokers", fix);
            None
        }
        _ => None,
    }
}

const KINDS: [(&str, ChannelKind); 2] =
    [("queue", ChannelKind::Queue), ("topic", ChannelKind::Topic)];
