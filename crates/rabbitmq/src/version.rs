//! Which product answers, and at which version: from the greeting that opens every connection.

use std::fmt;

use lapin::protocol::connection::AMQPMethod;
use lapin::protocol::{AMQPClass, parse_class};
use lapin::types::AMQPValue;

/// Frame type 1 is a method; the type, the AMQP channel and the length come before what it says.
const HEADER: usize = 7;

/// No greeting is longer.
const LONGEST: usize = 64 << 10;

/// What a broker says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) product: String,
    /// Major and minor; zeros when the text is no version.
    pub(crate) number: (u16, u16),
    /// In the broker's words: `4.3.6`.
    pub(crate) text: String,
}

impl Version {
    /// Reads a product and its version.
    pub(crate) fn new(product: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let mut parts = text.split(['.', '-', '+']).map_while(|part| part.parse().ok());
        let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        Self { product: product.into(), number, text }
    }

    /// Whether it is this version or a later one.
    pub(crate) fn is_at_least(&self, major: u16, minor: u16) -> bool {
        self.number >= (major, minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.product, self.text)
    }
}

/// Collects the first frame that a broker sends: the greeting.
#[derive(Debug, Default)]
pub(crate) struct Greeting(Vec<u8>);

/// How far a greeting has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    More,
    /// What it says, if it can be understood.
    All(Option<Version>),
}

impl Greeting {
    /// Takes the next bytes of the stream.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Heard {
        self.0.extend_from_slice(bytes);
        let Some((header, rest)) = self.0.split_first_chunk::<HEADER>() else { return Heard::More };
        let [kind, _, _, length @ ..] = *header;
        let length = u32::from_be_bytes(length) as usize;
        if kind != 1 || length > LONGEST {
            return Heard::All(None);
        }
        match rest.get(..length) {
            Some(method) => Heard::All(version(method)),
            None => Heard::More,
        }
    }
}

fn version(method: &[u8]) -> Option<Version> {
    let (_, class) = parse_class(method).ok()?;
    let AMQPClass::Connection(AMQPMethod::Start(start)) = class else { return None };
    let text = |key: &str| match start.server_properties.inner().get(key)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    };
    Some(Version::new(text("product")?, text("version")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `connection.start` of version 0-9, with two server properties.
    fn greeting() -> Vec<u8> {
        let mut table = Vec::new();
        for (key, value) in [("product", "RabbitMQ"), ("version", "4.3.6")] {
            table.push(key.len() as u8);
            table.extend_from_slice(key.as_bytes());
            table.push(b'S');
            table.extend_from_slice(&(value.len() as u32).to_be_bytes());
            table.extend_from_slice(value.as_bytes());
        }
        let mut method = vec![0, 10, 0, 10, 0, 9];
        for text in [&table[..], b"PLAIN", b"en_US"] {
            method.extend_from_slice(&(text.len() as u32).to_be_bytes());
            method.extend_from_slice(text);
        }
        let mut frame = vec![1, 0, 0];
        frame.extend_from_slice(&(method.len() as u32).to_be_bytes());
        frame.extend(method);
        frame.push(0xce);
        frame
    }

    #[test]
    fn the_greeting_names_product_and_version_however_it_is_cut() {
        for cut in 0..greeting().len() {
            let (mut collected, bytes) = (Greeting::default(), greeting());
            let (first, second) = bytes.split_at(cut);
            let heard = match collected.hear(first) {
                Heard::More => collected.hear(second),
                all => all,
            };
            assert_eq!(heard, Heard::All(Some(Version::new("RabbitMQ", "4.3.6"))), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_greeting_is_no_version() {
        assert_eq!(Greeting::default().hear(b"HTTP/1.1 400 Bad Request"), Heard::All(None));
        assert_eq!(Greeting::default().hear(&[1, 0, 0, 255, 255, 255, 255]), Heard::All(None));
        assert_eq!(Greeting::default().hear(&[1, 0, 0, 0, 0, 0, 2, 9, 9, 0xce]), Heard::All(None));
    }

    #[test]
    fn versions_compare_by_number() {
        let version = |text| Version::new("RabbitMQ", text);
        assert!(version("4.10.0-rc.1").is_at_least(4, 3));
        assert!(!version("4.2.9").is_at_least(4, 3));
        assert!(!version("unknown").is_at_least(0, 1));
        assert_eq!(version("4.3.6").to_string(), "RabbitMQ 4.3.6");
    }
}
