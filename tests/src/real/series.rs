use std::fmt;

use super::{Kafka, Rabbitmq, Site};

/// A series of versions of one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Series {
    /// Of RabbitMQ.
    Rabbitmq(&'static str),
    /// Of Kafka.
    Kafka(&'static str),
}

impl Series {
    /// All that the tests run on.
    pub const ALL: [Self; 3] = [Self::Rabbitmq("4.3"), Self::Rabbitmq("4.0"), Self::Kafka("4.2")];

    /// A site on the broker that all tests of the series share; with a purpose, on the one that all tests
    /// with this purpose share.
    pub(super) async fn site(self, purpose: Option<&str>) -> Box<dyn Site> {
        match self {
            Self::Rabbitmq(series) => Box::new(Rabbitmq::new(series, purpose).await),
            Self::Kafka(series) => Box::new(Kafka::new(series, purpose).await),
        }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rabbitmq(series) => write!(f, "RabbitMQ {series}"),
            Self::Kafka(series) => write!(f, "Kafka {series}"),
        }
    }
}

/// Makes a module with a test of each scenario: a function that takes the series.
///
/// ```
/// use polymq_tests::real::Series;
///
/// async fn all_is_well(series: Series) {
///     assert!(Series::ALL.contains(&series));
/// }
///
/// polymq_tests::scenarios!(rabbitmq_4_3, polymq_tests::real::Series::Rabbitmq("4.3"), all_is_well);
/// ```
#[macro_export]
macro_rules! scenarios {
    ($module:ident, $series:expr, $($(#[$attribute:meta])* $scenario:ident),+ $(,)?) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                $(#[$attribute])*
                async fn $scenario() {
                    super::$scenario($series).await;
                }
            )+
        }
    };
}
