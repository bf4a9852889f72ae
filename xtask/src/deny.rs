//! Licences, banned crates, sources and advisories of the whole dependency graph, by cargo-deny.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process;

/// How long fetching the advisory database may take.
const FETCH: Duration = Duration::from_secs(120);

pub(crate) fn run() -> Result<()> {
    let deny = find_or_install()?;
    let deny = || Command::new(&deny);
    process::run(deny().args(["check", "licenses", "bans", "sources"]))
        .context("a dependency breaks a rule of deny.toml")?;

    if let Err(error) = process::run_within(deny().args(["fetch", "db"]), FETCH) {
        println!("advisories: NOT CHECKED, the advisory database could not be had ({error:#})");
        return Ok(());
    }
    process::run(deny().args(["check", "--disable-fetch", "advisories"]))
        .context("a dependency has an advisory")?;
    println!("advisories: checked against the database as of now");
    Ok(())
}

/// cargo-deny from the path or the cache; else it is built into the cache, once.
fn find_or_install() -> Result<PathBuf> {
    let tools = process::cache()?.join("tools");
    let cached = tools.join("bin").join("cargo-deny");
    let known = [Path::new("cargo-deny"), &cached];
    if let Some(found) =
        known.into_iter().find(|path| process::works(Command::new(path).arg("--version")))
    {
        return Ok(found.to_owned());
    }
    println!("cargo-deny is not installed; building it into {}", tools.display());
    process::run(
        process::cargo().args(["install", "cargo-deny", "--locked", "--root"]).arg(&tools),
    )
    .context("cargo-deny could not be installed")?;
    Ok(cached)
}
