//! The container engine that the tests' brokers run in: one that answers, or, as root on Debian, one
//! that is installed and started.

use std::env;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process;

/// How long an engine that was just started may take to answer.
const STARTUP: Duration = Duration::from_secs(60);

/// An engine that answers.
pub(crate) struct Engine {
    program: &'static str,
    /// Its socket, for programs that don't ask the client.
    host: Option<String>,
}

impl Engine {
    /// Finds Docker or Podman; as root on Debian, installs and starts Docker where neither is there.
    pub(crate) fn find_or_start() -> Result<Self> {
        if let Some(engine) = docker().or_else(podman) {
            return Ok(engine);
        }
        if !is_root() {
            bail!(
                "no container engine answers, and the tests need brokers: start Docker, or Podman \
                 with its socket (`systemctl --user start podman.socket`), or set DOCKER_HOST"
            );
        }
        if !process::works(Command::new("dockerd").arg("--version")) {
            install(&["docker.io", "docker-cli", "iptables"])
                .context("no container engine is installed, and none can be")?;
        }
        start_docker()?;
        docker().context("docker was started and does not answer")
    }

    /// Its client.
    pub(crate) fn command(&self) -> Command {
        Command::new(self.program)
    }

    /// What it knows of an image, if that is there.
    pub(crate) fn inspect(&self, image: &str, format: &str) -> Option<String> {
        let inspect = ["image", "inspect", "--format", format, image];
        process::output(self.command().args(inspect)).ok()
    }

    /// What `DOCKER_HOST` has to be for others to find it, unless it is that already.
    pub(crate) fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// What the client is called, and the engine's version.
    pub(crate) fn describe(&self) -> String {
        let format = ["version", "--format", "{{.Server.Version}}"];
        let version = process::output(self.command().args(format)).unwrap_or_default();
        format!("{} {version}", self.program)
    }
}

fn docker() -> Option<Engine> {
    if !process::works(Command::new("docker").arg("version")) {
        return None;
    }
    let context = ["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"];
    let host = match env::var_os("DOCKER_HOST") {
        Some(_) => None,
        None => process::output(Command::new("docker").args(context)).ok(),
    };
    Some(Engine { program: "docker", host })
}

fn podman() -> Option<Engine> {
    let socket = ["info", "--format", "{{.Host.RemoteSocket.Path}}"];
    let socket = process::output(Command::new("podman").args(socket)).ok()?;
    let path = socket.trim_start_matches("unix://");
    Path::new(path)
        .exists()
        .then(|| Engine { program: "podman", host: Some(format!("unix://{path}")) })
}

pub(crate) fn is_root() -> bool {
    process::output(Command::new("id").arg("-u")).is_ok_and(|id| id == "0")
}

/// Installs those of Debian's packages that there are: what a release splits off, an older one has
/// inside.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if !Path::new("/etc/debian_version").exists() {
        bail!("this is no Debian: install {} by hand", packages.join(", "));
    }
    println!("installing {} with apt-get", packages.join(", "));
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    process::run(apt().args(["--quiet", "--quiet", "update"]))?;
    let known = packages.iter().filter(|p| {
        let policy = process::output(Command::new("apt-cache").args(["policy", p]));
        policy.is_ok_and(|p| p.contains("Candidate:") && !p.contains("Candidate: (none)"))
    });
    let install = ["--quiet", "--quiet", "--yes", "--no-install-recommends", "install"];
    process::run(apt().args(install).args(known))
}

/// Starts the engine in the background; it stays when we end.
fn start_docker() -> Result<()> {
    // Where there is an init system, the package has told it to.
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        if docker().is_some() {
            return Ok(());
        }
        sleep(Duration::from_millis(500));
    }
    let folder = process::cache()?;
    fs::create_dir_all(&folder)?;
    let path = folder.join("dockerd.log");
    println!("starting dockerd in the background; it stays; its log is {}", path.display());
    let log = File::create(&path).with_context(|| path.display().to_string())?;
    let daemon = Command::new("dockerd")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("dockerd could not be started")?;
    await_docker(daemon).with_context(|| format!("its log ends with:\n{}", tail(&path)))
}

fn await_docker(mut daemon: Child) -> Result<()> {
    let end = Instant::now() + STARTUP;
    while docker().is_none() {
        if let Some(status) = daemon.try_wait()? {
            bail!("dockerd ended: {status}");
        }
        if Instant::now() >= end {
            bail!("dockerd does not answer after {} s", STARTUP.as_secs());
        }
        sleep(Duration::from_millis(250));
    }
    Ok(())
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
