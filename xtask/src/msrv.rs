//! The oldest Rust that the workspace promises, `rust-version` in the root `Cargo.toml`, tried out.

use std::process::Command;

use anyhow::{Context, Result, bail};
use cargo_metadata::Metadata;
use cargo_metadata::semver::Version;

use crate::process;

pub(crate) fn run() -> Result<()> {
    let metadata = process::metadata(true)?;
    let promised = promised(&metadata)?;
    let toolchain = promised.to_string();
    match provide(&toolchain) {
        Ok(()) => process::run(
            Command::new("rustup")
                .args(["run", &toolchain, "cargo", "check"])
                .args(["--locked", "--workspace", "--all-features"]),
        )
        .with_context(|| format!("the workspace does not build with Rust {toolchain}")),
        Err(error) => {
            eprintln!("WARNING: Rust {toolchain} could not be had: {error:#}");
            eprintln!("WARNING: NOT COMPILED with it; comparing what the dependencies declare");
            compare(&metadata, &promised)
        }
    }
}

/// The highest `rust-version` among our packages: the one that a user of all of them needs.
fn promised(metadata: &Metadata) -> Result<Version> {
    let packages = metadata.workspace_packages();
    packages
        .iter()
        .filter_map(|p| p.rust_version.clone())
        .max()
        .context("no package of the workspace has a rust-version")
}

fn provide(toolchain: &str) -> Result<()> {
    if process::works(Command::new("rustup").args(["run", toolchain, "rustc", "--version"])) {
        return Ok(());
    }
    process::run(Command::new("rustup").args([
        "toolchain",
        "install",
        toolchain,
        "--profile",
        "minimal",
        "--no-self-update",
    ]))
}

fn compare(metadata: &Metadata, promised: &Version) -> Result<()> {
    let mut silent = 0;
    let mut too_new = Vec::new();
    for package in &metadata.packages {
        match &package.rust_version {
            None => silent += 1,
            Some(needed) if needed > promised => {
                too_new.push(format!(
                    "{} {} needs {needed}",
                    package.name, package.version
                ));
            }
            Some(_) => {}
        }
    }
    let all = metadata.packages.len();
    if !too_new.is_empty() {
        bail!("newer than Rust {promised}:\n  {}", too_new.join("\n  "));
    }
    println!("{all} packages: none declares a newer Rust than {promised}; {silent} declare none");
    Ok(())
}
