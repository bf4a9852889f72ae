/// The images of one broker that the tests need.
pub(super) struct Broker {
    /// What people call it, and its folder in `docker/`.
    pub(super) name: &'static str,
    /// The variable with the image that the tests use, for all who run them.
    pub(super) image: &'static str,
    /// The variable with its tag where a test asks for no version.
    pub(super) tag: &'static str,
    pub(super) official: &'static str,
    pub(super) equivalent: &'static str,
    /// The tag of each version that is tested, and the Debian that an equivalent is made of; the first
    /// is the default.
    pub(super) versions: &'static [Version],
    /// The tag that testkit asks for by itself.
    pub(super) unversioned: &'static str,
}

/// A version that is tested.
pub(super) struct Version {
    pub(super) tag: &'static str,
    pub(super) suite: &'static str,
}

pub(super) const BROKERS: [Broker; 3] = [
    Broker {
        name: "rabbitmq",
        image: "TEST_RABBITMQ_IMAGE",
        tag: "TEST_RABBITMQ_TAG",
        official: "rabbitmq",
        equivalent: "polymq/rabbitmq",
        versions: &[
            Version { tag: "4.3-management", suite: "sid" },
            Version { tag: "4.0-management", suite: "trixie" },
        ],
        unversioned: "4-management",
    },
    Broker {
        name: "kafka",
        image: "TEST_KAFKA_IMAGE",
        tag: "TEST_KAFKA_TAG",
        official: "apache/kafka",
        equivalent: "polymq/kafka",
        versions: &[Version { tag: "4.2.0", suite: "sid" }],
        unversioned: "4.2.0",
    },
    Broker {
        name: "nats",
        image: "TEST_NATS_IMAGE",
        tag: "TEST_NATS_TAG",
        official: "nats",
        equivalent: "polymq/nats",
        versions: &[
            Version { tag: "2.15", suite: "sid" },
            Version { tag: "2.10", suite: "trixie" },
        ],
        unversioned: "2.15",
    },
];

impl Broker {
    /// The tag that tests use where they ask for no version.
    pub(super) fn default_tag(&self) -> &'static str {
        self.versions.first().map_or(self.unversioned, |version| version.tag)
    }
}
