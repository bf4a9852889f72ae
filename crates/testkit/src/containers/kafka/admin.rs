use std::sync::Arc;
use std::time::Duration;

use polymq_core::{Error, ErrorKind, Result};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use tokio::task::spawn_blocking;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(5);

/// A client that isn't ours, for what lies between tests.
#[derive(Clone)]
pub(crate) struct Admin(Arc<AdminClient<DefaultClientContext>>);

impl Admin {
    /// A client for the broker at this host and port; it connects when it is used.
    pub(crate) fn new(address: &str) -> Result<Self> {
        let client = ClientConfig::new()
            .set("bootstrap.servers", address)
            .set("client.id", "polymq-testkit")
            .set("reconnect.backoff.max.ms", "200")
            .create();
        Ok(Self(Arc::new(client.map_err(unanswered)?)))
    }

    /// All topics.
    pub(crate) async fn topics(&self) -> Result<Vec<String>> {
        self.ask(|client| {
            let metadata = client.inner().fetch_metadata(None, ANSWER)?;
            Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
        })
        .await
    }

    /// All consumer groups.
    pub(crate) async fn groups(&self) -> Result<Vec<String>> {
        self.ask(|client| {
            let groups = client.inner().fetch_group_list(None, ANSWER)?;
            Ok(groups.groups().iter().map(|group| group.name().to_owned()).collect())
        })
        .await
    }

    /// Deletes topics, and then groups. One that is in use, or has gone, is left alone.
    pub(crate) async fn delete(&self, topics: &[String], groups: &[String]) -> Result<()> {
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        if !topics.is_empty() {
            self.0.delete_topics(&borrowed(topics), &options).await.map_err(unanswered)?;
        }
        if !groups.is_empty() {
            self.0.delete_groups(&borrowed(groups), &options).await.map_err(unanswered)?;
        }
        Ok(())
    }

    /// The client waits for answers on the thread that asks.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&AdminClient<DefaultClientContext>) -> Result<T, KafkaError>
        + Send
        + 'static,
    ) -> Result<T> {
        let client = Arc::clone(&self.0);
        let asked = spawn_blocking(move || question(&client));
        match asked.await {
            Ok(answer) => answer.map_err(unanswered),
            Err(error) => Err(Error::new(ErrorKind::Other, "a question was not put to the end")
                .with_source(error)),
        }
    }
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn unanswered(error: KafkaError) -> Error {
    Error::new(ErrorKind::Disconnected, "Kafka doesn't answer").with_source(error)
}
