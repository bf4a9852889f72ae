use std::borrow::Cow;

use super::{Broker, Capabilities, ChannelSpec};

/// An object on the broker and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ObjectFact {
    /// The broker's word for what it is: `queue`, `exchange`, `stream`.
    pub kind: &'static str,
    /// Its physical name.
    pub name: String,
    /// What it is for.
    pub purpose: Cow<'static, str>,
}

impl ObjectFact {
    /// An object of this kind and name, and what it is for.
    #[must_use]
    pub fn new(
        kind: &'static str,
        name: impl Into<String>,
        purpose: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { kind, name: name.into(), purpose: purpose.into() }
    }
}

/// What becomes of a channel on a broker of one version: what only the adapter knows, as data.
///
/// The texts are ends of sentences, without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelFacts {
    /// The product and version that this is about: `RabbitMQ 4.3`.
    pub product: String,
    /// What a confirmed publish has survived.
    pub durability: Cow<'static, str>,
    /// What the broker can do for the channel, with limits.
    pub capabilities: Capabilities,
    /// The objects that stand for the channel, in the order in which they are created.
    pub objects: Vec<ObjectFact>,
    /// How the order of each key is kept, if it is.
    pub order: Cow<'static, str>,
    /// Where a message waits for its next attempt.
    pub retry_wait: Cow<'static, str>,
    /// What may come again after a crash, beside what every consumer and publisher has in hand.
    pub duplicates: Vec<Cow<'static, str>>,
}

impl ChannelFacts {
    /// Facts about a product with these capabilities, and nothing else yet.
    #[must_use]
    pub fn new(product: impl Into<String>, capabilities: Capabilities) -> Self {
        Self {
            product: product.into(),
            durability: Cow::Borrowed(""),
            capabilities,
            objects: Vec::new(),
            order: Cow::Borrowed(""),
            retry_wait: Cow::Borrowed(""),
            duplicates: Vec::new(),
        }
    }

    /// The same, with what a running broker says of itself.
    #[must_use]
    pub fn of_running(mut self, broker: &dyn Broker, channel: &ChannelSpec) -> Self {
        let info = broker.info();
        self.product.clone_from(&info.product);
        self.durability = Cow::Borrowed(info.durability);
        self.capabilities = broker.capabilities(channel);
        self
    }
}
