use std::fmt;
use std::time::Duration;

use polymq_core::{Error, ErrorKind, Result};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::Url;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// RabbitMQ's management API, as far as tests need it.
#[derive(Clone)]
pub(super) struct Management {
    client: Client,
    /// With a slash at its end.
    url: String,
    user: String,
    password: String,
}

/// A virtual host, as the API tells of it and is told.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct VirtualHost {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
}

/// A queue, as the API tells of it.
#[derive(Debug, Deserialize)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) arguments: serde_json::Map<String, serde_json::Value>,
}

impl Management {
    /// The API at this address, with the credentials of the broker's URL, whatever its own has.
    ///
    /// # Errors
    /// `Other` when the HTTP client cannot be made.
    pub(super) fn new(url: &Url, broker: &Url) -> Result<Self> {
        let or_guest = |text: &str| if text.is_empty() { "guest" } else { text }.to_owned();
        let mut url = url.clone();
        // A URL with a host can do without either.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        // No connection is kept: it would live and die with the runtime of the test that opened it.
        let client = Client::builder().pool_max_idle_per_host(0).timeout(ANSWER).build();
        Ok(Self {
            client: client.map_err(|error| {
                Error::new(ErrorKind::Other, "no HTTP client can be made").with_source(error)
            })?,
            url: format!("{}/", url.as_str().trim_end_matches('/')),
            user: or_guest(broker.username()),
            password: or_guest(broker.password().unwrap_or_default()),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The broker's version.
    pub(super) async fn version(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Overview {
            rabbitmq_version: String,
        }
        let overview: Overview = self.get("overview?columns=rabbitmq_version").await?;
        Ok(overview.rabbitmq_version)
    }

    /// All virtual hosts.
    pub(super) async fn vhosts(&self) -> Result<Vec<VirtualHost>> {
        self.get("vhosts?columns=name,description").await
    }

    /// Makes a virtual host, or gives it another description.
    pub(super) async fn put_vhost(&self, vhost: &VirtualHost) -> Result<()> {
        let request = self.request(Method::PUT, &format!("vhosts/{}", vhost.name));
        self.send(request.json(vhost)).await.map(drop)
    }

    /// Deletes a virtual host and all that is in it; one that has gone is no error.
    pub(super) async fn delete_vhost(&self, name: &str) -> Result<()> {
        match self.send(self.request(Method::DELETE, &format!("vhosts/{name}"))).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The queues of a virtual host. Their numbers of messages are not asked for: they are seconds
    /// old.
    pub(super) async fn queues(&self, vhost: &str) -> Result<Vec<Queue>> {
        self.get(&format!("queues/{vhost}?disable_stats=true&enable_queue_totals=false")).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let response = self.send(self.request(Method::GET, path)).await?;
        response.json().await.map_err(|error| {
            Error::new(ErrorKind::Malformed, "the management API says something else")
                .with_source(error)
        })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}api/{path}", self.url));
        request.basic_auth(&self.user, Some(&self.password))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request.send().await.map_err(|error| {
            Error::new(ErrorKind::Disconnected, "RabbitMQ's management API doesn't answer")
                .with_context("address", &self.url)
                .with_source(error)
        })?;
        let kind = match response.status() {
            status if status.is_success() => return Ok(response),
            StatusCode::NOT_FOUND => ErrorKind::NotFound,
            StatusCode::UNAUTHORIZED => ErrorKind::Unauthenticated,
            StatusCode::FORBIDDEN => ErrorKind::PermissionDenied,
            _ => ErrorKind::Other,
        };
        let text = format!("RabbitMQ's management API says {}", response.status());
        Err(Error::new(kind, text)
            .with_context("address", &self.url)
            .with_help("the user needs the tag `administrator` to make virtual hosts for tests"))
    }
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management").field("url", &self.url).finish_non_exhaustive()
    }
}
