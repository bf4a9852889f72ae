//! A Python that has pika, the client that isn't ours in the tests of interoperability.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{engine, process};

/// The interpreter that the tests use.
pub(crate) const PYTHON: &str = "TEST_PYTHON";
const PACKAGE: &str = "python3-pika";
const REQUIREMENT: &str = "pika>=1.2,<2";

/// Finds one; else installs Debian's package as root, or makes a virtual environment in the cache.
pub(crate) fn provide() -> Result<PathBuf> {
    let environment = process::cache()?.join("pika");
    let own = environment.join("bin").join("python3");
    let named = env::var_os(PYTHON).filter(|name| !name.is_empty()).map(PathBuf::from);
    let system = Path::new("/usr/bin/python3");
    let known = named.into_iter().chain(["python3".into(), system.to_owned(), own.clone()]);
    if let Some(python) = known.into_iter().find(|python| has_pika(python)) {
        return Ok(python);
    }
    if engine::is_root() && process::works(Command::new("apt-get").arg("--version")) {
        match engine::install(&[PACKAGE]) {
            Ok(()) if has_pika(system) => return Ok(system.to_owned()),
            Ok(()) => println!("{PACKAGE} is installed, and {} lacks it", system.display()),
            Err(error) => println!("{PACKAGE} cannot be installed: {error:#}"),
        }
    }
    make(&environment, &own).with_context(|| {
        format!(
            "the tests need a Python with pika: install {PACKAGE}, or `pip install pika`, and name the \
             interpreter in {PYTHON}"
        )
    })?;
    Ok(own)
}

fn make(environment: &Path, python: &Path) -> Result<()> {
    process::run(Command::new("python3").args(["-m", "venv"]).arg(environment))?;
    process::run(Command::new(python).args(["-m", "pip", "install", "--quiet", REQUIREMENT]))
}

fn has_pika(python: &Path) -> bool {
    process::works(Command::new(python).args(["-c", "import pika"]))
}
