//! How the broker in a container is configured: by variables, as the official image is.

use super::Keystore;

/// The container's ports: without authentication, with SASL, with TLS.
pub(super) const PLAINTEXT: u16 = 9092;
pub(super) const SASL: u16 = 9094;
pub(super) const TLS: u16 = 9095;
pub(super) const PORTS: &[u16] = &[PLAINTEXT, SASL, TLS];

/// Where tools within the container find the broker.
pub(super) const INTERNAL: &str = "localhost:19092";

/// What the certificate of the listener with TLS is for.
pub(super) const TLS_HOST: &str = "localhost";

const CLUSTER: &str = "5L6g3nShT-eMCtK--X86sw";

/// One node that is its own controller; what tests wait for happens at once, or within a second.
const PROPERTIES: &[(&str, &str)] = &[
    ("node.id", "1"),
    ("process.roles", "broker,controller"),
    ("controller.quorum.voters", "1@localhost:9093"),
    ("controller.listener.names", "CONTROLLER"),
    ("inter.broker.listener.name", "INTERNAL"),
    ("log.dirs", "/var/lib/kafka/data"),
    ("offsets.topic.replication.factor", "1"),
    ("offsets.topic.num.partitions", "4"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("transaction.state.log.num.partitions", "4"),
    ("auto.create.topics.enable", "false"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("group.min.session.timeout.ms", "1000"),
    // After a kill the broker waits for the end of its own session.
    ("broker.session.timeout.ms", "2000"),
    ("broker.heartbeat.interval.ms", "500"),
    ("log.initial.task.delay.ms", "1000"),
    ("log.retention.check.interval.ms", "1000"),
    ("log.cleaner.backoff.ms", "1000"),
    ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
    ("super.users", "User:ANONYMOUS;User:admin"),
    ("allow.everyone.if.no.acl.found", "true"),
    ("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"),
    (
        "listener.name.sasl.plain.sasl.jaas.config",
        r#"org.apache.kafka.common.security.plain.PlainLoginModule required user_admin="admin" user_alice="alice";"#,
    ),
    (
        "listener.name.sasl.scram-sha-256.sasl.jaas.config",
        "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    ),
    (
        "listener.name.sasl.scram-sha-512.sasl.jaas.config",
        "org.apache.kafka.common.security.scram.ScramLoginModule required;",
    ),
];

/// The variables for a container whose [`PORTS`] are these on `host`, and on this machine with TLS.
/// Clients come back to where the broker says it is.
pub(super) fn environment(
    host: &str,
    ports: &[u16],
    keystore: Option<&Keystore>,
) -> Vec<(String, String)> {
    // The official image has its own idea of how listeners called SSL and SASL_… are set up.
    let mut listeners =
        vec![("PLAINTEXT", "PLAINTEXT", PLAINTEXT, host), ("SASL", "SASL_PLAINTEXT", SASL, host)];
    listeners.extend(keystore.map(|_| ("TLS", "SSL", TLS, TLS_HOST)));

    let mut bound = format!("CONTROLLER://localhost:9093,INTERNAL://{INTERNAL}");
    let mut advertised = format!("INTERNAL://{INTERNAL}");
    let mut protocols = "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT".to_owned();
    for ((name, protocol, port, host), mapped) in listeners.into_iter().zip(ports) {
        bound.push_str(&format!(",{name}://0.0.0.0:{port}"));
        advertised.push_str(&format!(",{name}://{host}:{mapped}"));
        protocols.push_str(&format!(",{name}:{protocol}"));
    }
    let fixed = PROPERTIES.iter().map(|(name, value)| (variable(name), (*value).to_owned()));
    let tls = keystore.map(|keystore| keystore.properties("tls")).unwrap_or_default();
    fixed
        .chain(tls.into_iter().map(|(name, value)| (variable(&name), value)))
        .chain([
            ("CLUSTER_ID".to_owned(), CLUSTER.to_owned()),
            (variable("listeners"), bound),
            (variable("advertised.listeners"), advertised),
            (variable("listener.security.protocol.map"), protocols),
        ])
        .collect()
}

/// The variable that the official image turns into a property.
fn variable(property: &str) -> String {
    let name = property.replace('_', "__").replace('-', "___").replace('.', "_");
    format!("KAFKA_{}", name.to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_becomes_a_variable_as_the_official_image_reads_it() {
        assert_eq!(variable("log.dirs"), "KAFKA_LOG_DIRS");
        assert_eq!(variable("a.scram-sha-256.b_c"), "KAFKA_A_SCRAM___SHA___256_B__C");
    }

    #[test]
    fn the_broker_advertises_its_ports_on_the_host() {
        let variables = environment("127.0.0.1", &[5001, 5002, 5003], None);
        let value = |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(
            value("KAFKA_ADVERTISED_LISTENERS"),
            Some("INTERNAL://localhost:19092,PLAINTEXT://127.0.0.1:5001,SASL://127.0.0.1:5002"),
        );
        assert!(!variables.iter().any(|(name, _)| name.contains("_SSL_")));
    }
}
