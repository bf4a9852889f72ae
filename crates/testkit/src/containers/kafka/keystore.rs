use std::fmt;

/// What a broker shows to its clients over TLS, as PEM.
#[derive(Clone)]
pub struct Keystore {
    /// Its certificate, for `localhost`, and those that lead to the authority's.
    pub certificates: String,
    /// Its key, as PKCS #8.
    pub key: String,
    /// The authority that has signed the certificates of its clients: every client needs one.
    pub clients: Option<String>,
}

impl Keystore {
    /// As properties of a listener. Kafka takes PEM on one line.
    pub(super) fn properties(&self, listener: &str) -> Vec<(String, String)> {
        let property = |name: &str, value: &str| {
            let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
            (format!("listener.name.{listener}.ssl.{name}"), line)
        };
        let mut properties = vec![
            property("keystore.type", "PEM"),
            property("keystore.certificate.chain", &self.certificates),
            property("keystore.key", &self.key),
        ];
        if let Some(clients) = &self.clients {
            properties.push(property("truststore.type", "PEM"));
            properties.push(property("truststore.certificates", clients));
            properties.push(property("client.auth", "required"));
        }
        properties
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keystore").finish_non_exhaustive()
    }
}
