use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use secrecy::ExposeSecret;

use super::broker::MemoryBroker;
use super::config::{ChannelTable, MemoryOptions, server_name};
use super::server::{MemoryServer, lock};
use super::{error, facts};
use crate::broker::{Adapter, Broker, ChannelFacts, ChannelSpec, Connect, Topology};
use crate::config::Settings;
use crate::{Error, Result};

/// The adapter of the embedded broker, for URLs `memory://` and `memory://NAME`.
///
/// An adapter value owns its servers: two connections to one name through the same value, or a
/// clone of it, reach the same messages; through another value they don't. Nothing is global.
#[derive(Debug, Clone, Default)]
pub struct MemoryAdapter(Arc<Servers>);

#[derive(Debug, Default)]
struct Servers {
    /// The server of [`MemoryServer::adapter`], for every name.
    fixed: Option<MemoryServer>,
    named: Mutex<HashMap<String, MemoryServer>>,
}

/// An adapter without servers: the first connection to a name makes the one of that name.
#[must_use]
pub fn adapter() -> MemoryAdapter {
    MemoryAdapter::default()
}

impl MemoryAdapter {
    pub(super) fn of(server: MemoryServer) -> Self {
        Self(Arc::new(Servers { fixed: Some(server), named: Mutex::default() }))
    }

    fn server(&self, name: &str, settings: &Settings) -> Result<MemoryServer> {
        let options = options(settings).map_err(first)?;
        let mut named = lock(&self.0.named);
        let known = self.0.fixed.as_ref().or_else(|| named.get(name));
        if let Some(server) = known {
            let same = *settings == Settings::default() || *server.options() == options;
            return match same {
                true => Ok(server.clone()),
                false => Err(error::other_options(&format!("memory://{name}"))),
            };
        }
        let server = MemoryServer::new(options);
        named.insert(name.to_owned(), server.clone());
        Ok(server)
    }
}

fn options(settings: &Settings) -> Result<MemoryOptions, Vec<Error>> {
    settings.parse()
}

/// `check_broker` reports them all; connecting needs only one to fail.
fn first(errors: Vec<Error>) -> Error {
    let mut errors = errors.into_iter();
    errors.next().unwrap_or_else(|| error::bad_address("the table [broker.memory] cannot be read"))
}

#[async_trait]
impl Adapter for MemoryAdapter {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn check_broker(&self, settings: &Settings) -> Result<(), Vec<Error>> {
        options(settings).map(drop)
    }

    fn check_channel(&self, settings: &Settings) -> Result<(), Vec<Error>> {
        settings.parse::<ChannelTable>().map(drop)
    }

    fn versions(&self) -> &'static [&'static str] {
        &[""]
    }

    fn describe(
        &self,
        _version: &str,
        settings: &Settings,
        topology: &Topology,
        channel: &ChannelSpec,
    ) -> Result<ChannelFacts> {
        let options = options(settings).map_err(first)?;
        Ok(facts::describe(&options, &topology.namespace, channel))
    }

    async fn connect(&self, request: Connect) -> Result<Arc<dyn Broker>> {
        let server = match request.urls.as_slice() {
            [url] => server_name(url.expose_secret())
                .and_then(|name| Ok((self.server(name, &request.settings)?, name.to_owned()))),
            _ => Err(error::bad_address("the memory broker has exactly one URL")),
        };
        let (server, name) = server.map_err(|e| e.with_broker(&request.name))?;
        Ok(Arc::new(MemoryBroker::new(server, &name, request)))
    }
}
