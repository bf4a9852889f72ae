use std::fmt;
use std::net::TcpListener;

use polymq_core::{Error, ErrorKind, Result};
use testcontainers::core::IntoContainerPort;
use testcontainers::{ContainerRequest, GenericImage, ImageExt};

/// The variables of a container's environment, made from its ports on the host.
type Environment = Box<dyn Fn(&[u16]) -> Vec<(String, String)> + Send + Sync>;

/// What a container gets when it is made.
pub struct Setup {
    ports: &'static [u16],
    environment: Environment,
    loopback: bool,
    command: Vec<String>,
    files: Vec<(String, String)>,
}

impl Setup {
    /// The container's ports; each gets one of the host's, on all its addresses.
    pub(super) fn new(ports: &'static [u16]) -> Self {
        let environment: Environment = Box::new(|_| Vec::new());
        Self { ports, environment, loopback: false, command: Vec::new(), files: Vec::new() }
    }

    /// Keeps the ports to this machine.
    #[cfg(feature = "kafka")]
    pub(super) fn with_loopback(mut self, loopback: bool) -> Self {
        self.loopback = loopback;
        self
    }

    /// Sets variables, for an image that has to know its ports on the host.
    #[cfg(feature = "kafka")]
    pub(super) fn with_environment(
        mut self,
        environment: impl Fn(&[u16]) -> Vec<(String, String)> + Send + Sync + 'static,
    ) -> Self {
        self.environment = Box::new(environment);
        self
    }

    /// Gives the image's program these arguments.
    #[cfg(feature = "nats")]
    pub(super) fn with_command(mut self, arguments: &[&str]) -> Self {
        self.command = arguments.iter().map(|&argument| argument.to_owned()).collect();
        self
    }

    /// Adds a file.
    #[cfg(feature = "nats")]
    pub(super) fn with_file(mut self, path: &str, text: &str) -> Self {
        self.files.push((path.to_owned(), text.to_owned()));
        self
    }

    /// Ports of the host are chosen now: those that the engine chooses change with each start.
    pub(super) fn apply(
        &self,
        mut request: ContainerRequest<GenericImage>,
    ) -> Result<ContainerRequest<GenericImage>> {
        let free = free_ports(self.ports.len())?;
        for (port, free) in self.ports.iter().zip(&free) {
            request = request.with_mapped_port(*free, port.tcp());
        }
        for (name, value) in (self.environment)(&free) {
            request = request.with_env_var(name, value);
        }
        if !self.command.is_empty() {
            request = request.with_cmd(&self.command);
        }
        for (path, text) in &self.files {
            request = request.with_copy_to(path, text.clone().into_bytes());
        }
        if self.loopback {
            request = request.with_host_config_modifier(|host| {
                let bindings = host.port_bindings.iter_mut().flat_map(|map| map.values_mut());
                for binding in bindings.flatten().flatten() {
                    binding.host_ip = Some("127.0.0.1".to_owned());
                }
            });
        }
        Ok(request)
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("ports", &self.ports).finish_non_exhaustive()
    }
}

/// Each is held until all are chosen, so that no two are the same.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held: std::io::Result<Vec<_>> =
        (0..count).map(|_| TcpListener::bind(("0.0.0.0", 0))).collect();
    let ports = held.and_then(|held| held.iter().map(|l| Ok(l.local_addr()?.port())).collect());
    ports.map_err(|error| {
        Error::new(ErrorKind::Other, "no free port for a container").with_source(error)
    })
}
