use std::panic::Location;
use std::sync::Arc;

use polymq_core::config::Config;
use polymq_core::{App, Service};

use super::attempts::Attempts;
use super::{Configuration, TestApp, TestBroker, memory};
use crate::faults::{Faults, FaultyAdapter, FaultyStore};

/// Starts a service on a private memory broker, in virtual time.
///
/// `config` is the path of the file that `main` uses, or a
/// [`ConfigBuilder`](polymq_core::config::ConfigBuilder), or a [`Config`]. Every broker of the
/// configuration is replaced by the private one, and every deduplication store by one in memory.
/// Tokio's clock is paused, unless it is already: the test needs the runtime that `#[tokio::test]`
/// makes by default.
///
/// # Panics
/// With what is wrong, when the service does not start.
#[track_caller]
pub fn start<S: Send + Sync + 'static>(
    config: impl Configuration,
    service: Service<S>,
) -> impl Future<Output = TestApp> {
    start_on(memory(), config, service)
}

/// [`start`], on a broker that the test has made: to start a service again after a crash, several
/// services side by side, or on a real broker.
///
/// ```
/// use polymq_core::config::Config;
/// use polymq_core::{Context, HandlerError, Message, Service};
/// use polymq_testkit::{memory, start_on};
///
/// async fn print(_: Message, _: Context<()>) -> Result<(), HandlerError> { Ok(()) }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let config = || Config::builder().text("polymq.toml", r#"
///     [broker]
///     url = "memory://"
///     [channels.lines]
///     kind = "queue"
///     [consumers.printer]
///     channel = "lines"
/// "#);
/// let broker = memory();
/// let first = start_on(broker.clone(), config(), Service::new(())).await;
/// first.publish_message("lines", Message::new("hello")).await;
/// drop(first);                                    // as a crash would
/// let second = start_on(broker, config(), Service::new(()).on("printer", print)).await;
/// second.idle().await;
/// second.handled("printer").assert_eq(1);
/// # }
/// ```
///
/// # Panics
/// As [`start`].
#[track_caller]
pub fn start_on<S: Send + Sync + 'static>(
    broker: TestBroker,
    config: impl Configuration,
    service: Service<S>,
) -> impl Future<Output = TestApp> {
    let caller = Location::caller();
    let config = config.read();
    async move {
        let config = config.unwrap_or_else(|error| panic!("{caller}: {error}"));
        start_config(broker, config, service)
            .await
            .unwrap_or_else(|error| panic!("{caller}: the service does not start: {error:?}"))
    }
}

async fn start_config<S: Send + Sync + 'static>(
    broker: TestBroker,
    mut config: Config,
    service: Service<S>,
) -> polymq_core::Result<TestApp> {
    broker.carry(&mut config);
    let (faults, attempts) = (Faults::new(), Attempts::default());
    let adapter = FaultyAdapter::with(Arc::clone(&broker.adapter), faults.clone());
    let mut app =
        App::with(adapter).clock(Arc::clone(&broker.clock)).serve(service.layer(attempts.clone()));
    for dedup in config.consumers.values().filter_map(|consumer| consumer.dedup.as_ref()) {
        let store = FaultyStore::new(broker.store(&dedup.store), faults.clone());
        app = app.dedup_store(&dedup.store, Arc::new(store));
    }
    let running = app.start(config).await?;
    Ok(TestApp::new(running, broker, faults, attempts))
}
