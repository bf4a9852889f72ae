//! A Python that has the brokers' own clients, for the tests of interoperability.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{engine, process};

/// The interpreter that the tests use.
pub(crate) const PYTHON: &str = "TEST_PYTHON";

/// A client that isn't ours.
struct Module {
    name: &'static str,
    /// Debian's package, if it has one.
    package: Option<&'static str>,
    requirement: &'static str,
}

const MODULES: [Module; 3] = [
    Module { name: "pika", package: Some("python3-pika"), requirement: "pika>=1.2,<2" },
    Module {
        name: "confluent_kafka",
        package: Some("python3-confluent-kafka"),
        requirement: "confluent-kafka>=1.7,<3",
    },
    Module { name: "nats", package: None, requirement: "nats-py>=2.9,<3" },
];

const SYSTEM: &str = "/usr/bin/python3";

/// Finds one; else makes a virtual environment in the cache. As root on Debian it has most from
/// Debian's packages, which are installed.
pub(crate) fn provide() -> Result<PathBuf> {
    let environment = process::cache()?.join("python");
    let own = environment.join("bin").join("python3");
    let named = env::var_os(PYTHON).filter(|name| !name.is_empty()).map(PathBuf::from);
    let known = named.into_iter().chain(["python3".into(), SYSTEM.into(), own.clone()]);
    if let Some(python) = known.into_iter().find(|python| lacking(python).next().is_none()) {
        return Ok(python);
    }
    let base = match install() {
        Ok(()) => Path::new(SYSTEM),
        Err(error) => {
            println!("not from Debian's packages: {error:#}");
            Path::new("python3")
        }
    };
    make(&environment, base, &own).with_context(|| {
        let names: Vec<_> = MODULES.iter().map(|module| module.requirement).collect();
        format!(
            "the tests need a Python with {}: `pip install` them, and name the interpreter in {PYTHON}",
            names.join(", ")
        )
    })?;
    Ok(own)
}

/// Installs Debian's packages of what the system's interpreter lacks.
fn install() -> Result<()> {
    if !engine::is_root() {
        bail!("only root can install them");
    }
    let packages: Vec<_> = lacking(Path::new(SYSTEM)).filter_map(|module| module.package).collect();
    let environments = ["-c", "import ensurepip"];
    let environments = process::works(Command::new(SYSTEM).args(environments));
    let missing: Vec<_> =
        packages.into_iter().chain((!environments).then_some("python3-venv")).collect();
    if missing.is_empty() { Ok(()) } else { engine::install(&missing) }
}

/// Makes an environment that has what `base` has, and installs what is lacking.
fn make(environment: &Path, base: &Path, python: &Path) -> Result<()> {
    let venv = ["-m", "venv", "--clear", "--system-site-packages"];
    process::run(Command::new(base).args(venv).arg(environment))?;
    let requirements: Vec<_> = lacking(python).map(|module| module.requirement).collect();
    if !requirements.is_empty() {
        let install = ["-m", "pip", "install", "--quiet"];
        process::run(Command::new(python).args(install).args(requirements))?;
    }
    match lacking(python).next() {
        Some(module) => bail!("{} cannot import {}", python.display(), module.name),
        None => Ok(()),
    }
}

/// The modules that this interpreter cannot import.
fn lacking(python: &Path) -> impl Iterator<Item = &'static Module> {
    MODULES.iter().filter(move |module| {
        let import = format!("import {}", module.name);
        !process::works(Command::new(python).args(["-c", &import]))
    })
}
