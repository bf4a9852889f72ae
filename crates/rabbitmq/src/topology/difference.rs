//! What differs, in the configuration's words.

use polymq_core::broker::Difference;

use super::objects::{Object, Shape};

/// Reads the broker's refusal of a declaration, which names the first difference:
/// `inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': received '2000' but current is '1000'`.
pub(super) fn read(text: &str, object: &Object) -> Difference {
    let parsed = text.split_once("inequivalent arg '").and_then(|(_, rest)| {
        let (argument, rest) = rest.split_once('\'')?;
        let (_, rest) = rest.split_once("received ")?;
        let (wanted, found) = rest.split_once(" but current is ")?;
        Some(between(argument, value(wanted), value(found), object))
    });
    parsed.unwrap_or_else(|| Difference {
        field: object.shape.word().to_owned(),
        wanted: "what the configuration implies".to_owned(),
        found: format!("something else: {text}"),
    })
}

/// A difference of one argument.
pub(super) fn between(argument: &str, wanted: &str, found: &str, object: &Object) -> Difference {
    let partitions = |name: &str| {
        let (_, count) = name.rsplit_once("._of.")?;
        count.parse::<u32>().is_ok().then(|| count.to_owned())
    };
    if let ("alternate-exchange", Some(wanted), Some(found)) =
        (argument, partitions(wanted), partitions(found))
    {
        return Difference { field: "partitions".to_owned(), wanted, found };
    }
    let word = match (argument, &object.shape) {
        ("type", Shape::Exchange(_)) if object.channel.is_some() => Some("kind or order_by"),
        ("x-max-length-bytes" | "x-overflow", _) => Some("max_bytes"),
        ("x-quorum-initial-group-size", _) => Some("replicas"),
        ("x-single-active-consumer", _) => Some("order_by"),
        _ => None,
    };
    let of = object.shape.word();
    let field = match word {
        Some(word) => format!("{word} (`{argument}` of the {of})"),
        None => format!("`{argument}`"),
    };
    Difference { field, wanted: wanted.to_owned(), found: found.to_owned() }
}

/// `'v'`, `the value 'v' of type 'longstr'`, or `none`.
fn value(text: &str) -> &str {
    let quoted = text.split_once('\'').map(|(_, rest)| rest);
    quoted.and_then(|rest| rest.split_once('\'')).map_or(text.trim(), |(value, _)| value)
}

#[cfg(test)]
mod tests {
    use lapin::ExchangeKind;
    use lapin::types::FieldTable;

    use super::*;

    fn object(shape: Shape) -> Object {
        Object {
            channel: Some("orders".parse().unwrap()),
            name: "ns.orders".into(),
            shape,
            arguments: FieldTable::default(),
            is_bound: false,
        }
    }

    fn read_queue(text: &str) -> (String, String, String) {
        let difference = read(text, &object(Shape::Queue));
        (difference.field, difference.wanted, difference.found)
    }

    fn triple(field: &str, wanted: &str, found: &str) -> (String, String, String) {
        (field.to_owned(), wanted.to_owned(), found.to_owned())
    }

    #[test]
    fn the_brokers_refusal_is_read() {
        assert_eq!(
            read_queue(
                "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': \
                 received '-1' but current is '20'"
            ),
            triple("`x-delivery-limit`", "-1", "20")
        );
        assert_eq!(
            read_queue(
                "PRECONDITION_FAILED - inequivalent arg 'x-max-length-bytes' for queue 'q' in vhost '/': \
                 received none but current is the value '1000' of type 'signedint'"
            ),
            triple("max_bytes (`x-max-length-bytes` of the queue)", "none", "1000")
        );
        let (field, _, found) = read_queue("PRECONDITION_FAILED - what the next version says");
        assert_eq!(field, "queue");
        assert!(found.contains("what the next version says"));
    }

    #[test]
    fn a_channels_shape_differs_in_the_configurations_words() {
        let exchange = object(Shape::Exchange(ExchangeKind::Topic));
        let kind = between("type", "topic", "fanout", &exchange);
        assert_eq!(kind.field, "kind or order_by (`type` of the exchange)");
        let partitions =
            between("alternate-exchange", "ns.orders._of.12", "ns.orders._of.6", &exchange);
        assert_eq!(
            (partitions.field.as_str(), partitions.wanted.as_str(), partitions.found.as_str()),
            ("partitions", "12", "6")
        );
    }
}
