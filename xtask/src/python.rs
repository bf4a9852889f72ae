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
    /// Debian's package.
    package: &'static str,
    requirement: &'static str,
}

const MODULES: [Module; 2] = [
    Module { name: "pika", package: "python3-pika", requirement: "pika>=1.2,<2" },
    Module {
        name: "confluent_kafka",
        package: "python3-confluent-kafka",
        requirement: "confluent-kafka>=1.7,<3",
    },
];

/// Finds one; else installs Debian's packages as root, or makes a virtual environment in the cache.
pub(crate) fn provide() -> Result<PathBuf> {
    let environment = process::cache()?.join("python");
    let own = environment.join("bin").join("python3");
    let named = env::var_os(PYTHON).filter(|name| !name.is_empty()).map(PathBuf::from);
    let system = Path::new("/usr/bin/python3");
    let known = named.into_iter().chain(["python3".into(), system.to_owned(), own.clone()]);
    if let Some(python) = known.into_iter().find(|python| lacking(python).next().is_none()) {
        return Ok(python);
    }
    if engine::is_root() && process::works(Command::new("apt-get").arg("--version")) {
        let packages: Vec<_> = lacking(system).map(|module| module.package).collect();
        match engine::install(&packages) {
            Ok(()) if lacking(system).next().is_none() => return Ok(system.to_owned()),
            Ok(()) => println!("{} still lacks a module", system.display()),
            Err(error) => println!("{} cannot be installed: {error:#}", packages.join(", ")),
        }
    }
    make(&environment, &own).with_context(|| {
        let (packages, names): (Vec<_>, Vec<_>) =
            MODULES.iter().map(|module| (module.package, module.name)).unzip();
        format!(
            "the tests need a Python with {}: install {} or the like, and name the interpreter in \
             {PYTHON}",
            names.join(", "),
            packages.join(", ")
        )
    })?;
    Ok(own)
}

/// Makes an environment that has what the system's has, and installs what is lacking.
fn make(environment: &Path, python: &Path) -> Result<()> {
    let venv = ["-m", "venv", "--system-site-packages"];
    process::run(Command::new("python3").args(venv).arg(environment))?;
    let requirements: Vec<_> = lacking(python).map(|module| module.requirement).collect();
    let install = ["-m", "pip", "install", "--quiet"];
    process::run(Command::new(python).args(install).args(requirements))?;
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
