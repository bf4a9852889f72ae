//! The management plugin's HTTP API: what AMQP doesn't tell.

use std::time::Duration;

use lapin::types::ShortString;
use polymq_core::{Error, ErrorKind, Result};
use reqwest::{Certificate, Client, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::target::Target;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The API of the broker that a [`Target`] leads to, with the same user.
#[derive(Debug)]
pub(crate) struct Management<'a> {
    target: &'a Target,
    client: Client,
    base: Url,
}

/// A queue, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct QueueInfo {
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    #[serde(default)]
    pub(crate) exclusive: bool,
    #[serde(default)]
    pub(crate) arguments: Map<String, Value>,
    /// As of the last statistics, which are up to 5 s old; a new queue has none.
    messages_unacknowledged: Option<u64>,
}

impl QueueInfo {
    /// Handed out and not acked.
    pub(crate) fn in_flight(&self) -> u64 {
        self.messages_unacknowledged.unwrap_or_default()
    }
}

/// An exchange, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct ExchangeInfo {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) durable: bool,
    #[serde(default)]
    pub(crate) arguments: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct BindingInfo {
    routing_key: String,
}

impl<'a> Management<'a> {
    /// The API, where the table names it.
    ///
    /// # Errors
    /// `Config` for an address or a `ca_file` that cannot be read.
    pub(crate) fn of(target: &'a Target) -> Result<Option<Self>> {
        let Some(address) = target.management() else { return Ok(None) };
        let config = |problem: String| {
            Error::new(ErrorKind::Config, problem)
                .with_help("write `management = \"http://HOST:15672\"` in [broker.rabbitmq]")
        };
        let base = Url::parse(address).ok().filter(Url::has_host);
        let base = base.ok_or_else(|| config("`management` is not an address".to_owned()))?;
        let mut client = Client::builder().timeout(PATIENCE).no_proxy();
        if let Some(pem) = target.ca_file()? {
            let certificates = Certificate::from_pem_bundle(&pem);
            let certificates =
                certificates.map_err(|e| config(format!("`ca_file` holds no certificate: {e}")))?;
            client = client.tls_certs_merge(certificates);
        }
        let client = client.build().map_err(|e| config(format!("no HTTP client: {e}")))?;
        Ok(Some(Self { target, client, base }))
    }

    /// A queue, if there is one of this name.
    pub(crate) async fn queue(&self, name: &ShortString) -> Result<Option<QueueInfo>> {
        self.get("queues", &[name.as_str()]).await
    }

    /// An exchange, if there is one of this name.
    pub(crate) async fn exchange(&self, name: &ShortString) -> Result<Option<ExchangeInfo>> {
        self.get("exchanges", &[name.as_str()]).await
    }

    /// The routing keys by which an exchange leads to a queue.
    pub(crate) async fn routing_keys(
        &self,
        exchange: &ShortString,
        queue: &ShortString,
    ) -> Result<Vec<String>> {
        let path = ["e", exchange.as_str(), "q", queue.as_str()];
        let found: Option<Vec<BindingInfo>> = self.get("bindings", &path).await?;
        Ok(found.into_iter().flatten().map(|binding| binding.routing_key).collect())
    }

    /// `GET /api/KIND/VHOST/PATH`; `None` for what is not there.
    async fn get<T: DeserializeOwned>(&self, kind: &str, path: &[&str]) -> Result<Option<T>> {
        let uri = self.target.uri()?;
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", kind, &uri.vhost]).extend(path);
        }
        let login = uri.authority.userinfo;
        let request = self.client.get(url).basic_auth(login.username, Some(login.password));
        let answer = request.send().await.map_err(|e| self.away(e))?;
        match answer.status() {
            StatusCode::OK => answer.json().await.map(Some).map_err(|e| self.away(e)),
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.error(
                ErrorKind::PermissionDenied,
                "the management API refuses the user".to_owned(),
                "give the user the tag `management` (`rabbitmqctl set_user_tags USER management`), or \
                 remove `management` from [broker.rabbitmq]",
            )),
            status => Err(self.error(
                ErrorKind::Other,
                format!("the management API answers {status}"),
                "see the broker's log",
            )),
        }
    }

    fn away(&self, source: reqwest::Error) -> Error {
        self.error(
            ErrorKind::Disconnected,
            "the management API does not answer".to_owned(),
            "enable the plugin (`rabbitmq-plugins enable rabbitmq_management`), correct `management` in \
             [broker.rabbitmq], or remove it",
        )
        .with_source(source.without_url())
    }

    fn error(&self, kind: ErrorKind, message: String, help: &'static str) -> Error {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port_or_known_default().unwrap_or_default();
        Error::new(kind, message).with_help(help).with_context("address", format!("{host}:{port}"))
    }
}
