//! What a broker's URL may be: a scheme that some adapter serves, and no plaintext to elsewhere.

use std::net::IpAddr;

use url::Url;

use super::keys::Adapters;
use super::problem::{Findings, suggest};
use super::secret::Address;

/// The adapters that the façade can compile in, with their schemes.
const FEATURES: [(&str, &[&str]); 4] = [
    ("rabbitmq", &["amqp", "amqps"]),
    ("kafka", &["kafka", "kafka+ssl"]),
    ("sqs", &["sqs"]),
    ("nats", &["nats", "tls"]),
];

/// Schemes that send everything in the clear, credentials included, and what to use instead.
const PLAINTEXT: [(&str, &str); 4] = [
    ("amqp", "use amqps://"),
    ("kafka", "use kafka+ssl://"),
    ("nats", "use tls://"),
    ("http", "use https://"),
];

/// Whether some adapter serves the scheme.
pub(super) fn check_scheme(
    findings: &mut Findings,
    path: &str,
    scheme: &str,
    adapters: Adapters<'_>,
) -> bool {
    if adapters.registered.is_none() {
        return true;
    }
    let served: Vec<_> = adapters.iter().flat_map(|a| a.schemes()).copied().collect();
    if served.contains(&scheme) {
        return true;
    }
    let compiled_in = match served.as_slice() {
        [] => "no adapter is compiled in".to_owned(),
        served => format!("compiled in are {}", served.join(", ")),
    };
    let message = format!("the URL scheme `{scheme}` is not supported: {compiled_in}");
    let feature = FEATURES.iter().find(|(_, schemes)| schemes.contains(&scheme));
    let fix = match (feature, suggest(scheme, served.iter().copied())) {
        (Some((feature, _)), _) => format!(
            "enable the feature `{feature}` of `polymq`, or add `polymq-{feature}` and \
             `App::with(polymq_{feature}::adapter())`"
        ),
        (None, Some(meant)) => format!("did you mean `{meant}`?"),
        (None, None) => "use a scheme that is compiled in, or add the adapter that serves it with \
                         `App::with`"
            .to_owned(),
    };
    findings.problem(path, message, fix);
    false
}

/// Warns about plaintext to another host; a problem when `strict`.
pub(super) fn check_plaintext(findings: &mut Findings, path: &str, url: &Url, strict: bool) {
    let Some((_, instead)) = PLAINTEXT.iter().find(|(s, _)| *s == url.scheme()) else {
        return;
    };
    if url.host_str().is_none_or(is_loopback) {
        return;
    }
    let message = format!(
        "plaintext to another host, {}: everybody on the way reads the messages and the password",
        Address(url)
    );
    if strict {
        findings.problem(path, message, format!("{instead} (security is \"strict\")"));
    } else {
        findings.warning(path, message, *instead);
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_name_and_by_address() {
        for host in ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "10.0.0.1", "[::2]", "broker"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
