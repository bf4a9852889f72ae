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
        Ok(()) => {
            process::run(Command::new("rustup").args(["run", &toolchain, "cargo", "check"]).args([
                "--locked",
                "--workspace",
                "--all-features",
            ]))
            .with_context(|| format!("the workspace does not build with Rust {toolchain}"))
        }
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
    let declared = metadata.packages.iter().map(|package| {
        let name = format!("{} {}", package.name, package.version);
        (name, package.rust_version.as_ref())
    });
    let too_new = newer_than(promised, declared);
    if !too_new.is_empty() {
        bail!("newer than Rust {promised}:\n  {}", too_new.join("\n  "));
    }
    let all = metadata.packages.len();
    println!("{all} packages: none declares a newer Rust than {promised}");
    Ok(())
}

/// The packages that need a newer Rust; one that declares nothing is believed to be fine.
fn newer_than<'a>(
    promised: &Version,
    declared: impl Iterator<Item = (String, Option<&'a Version>)>,
) -> Vec<String> {
    declared
        .filter_map(|(name, needed)| Some((name, needed?)))
        .filter(|(_, needed)| *needed > promised)
        .map(|(name, needed)| format!("{name} needs {needed}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_dependency_with_a_newer_rust_is_named() {
        let (older, same, newer) =
            (Version::new(1, 70, 0), Version::new(1, 89, 0), Version::new(1, 89, 1));
        let declared = [
            ("a 1.0.0", Some(&older)),
            ("b 1.0.0", Some(&same)),
            ("c 1.0.0", Some(&newer)),
            ("d 1.0.0", None),
        ];
        let declared = declared.into_iter().map(|(n, v)| (n.to_owned(), v));
        assert_eq!(newer_than(&same, declared), ["c 1.0.0 needs 1.89.1"]);
    }
}
