//! Running other programs: each is printed before it starts, and its failure names it.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand};

/// The cargo of the toolchain that built this program.
pub(crate) fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// What cargo knows of the workspace and, if asked, of everything it depends on.
pub(crate) fn metadata(dependencies: bool) -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    if !dependencies {
        command.no_deps();
    }
    command.other_options(["--locked".to_owned()]).exec().context("cargo metadata failed")
}

/// Runs to the end with the terminal as its own; fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = announce(command);
    let status = command.status().with_context(|| format!("`{line}` could not be started"))?;
    succeeded(&line, status)
}

/// Like [`run`], but ends the program after `limit`.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Result<()> {
    let line = announce(command);
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("`{line}` could not be started"))?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return succeeded(&line, status);
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            bail!("`{line}` took longer than {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the program prints, without the space around it; fails unless it succeeds.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("`{line}` could not be started"))?;
    succeeded(&line, output.status)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A new file for what a program prints.
pub(crate) fn log(folder: &Path, name: &str) -> Result<File> {
    let path = folder.join(format!("{name}.log"));
    File::create(&path).with_context(|| path.display().to_string())
}

/// Whether the program can be started and says that it is well.
pub(crate) fn works(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Where downloads and tools live: `$POLYMQ_CACHE`, else `polymq` in the user's cache folder.
pub(crate) fn cache() -> Result<PathBuf> {
    let folder = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    folder("POLYMQ_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("polymq")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache").join("polymq")))
        .context("no cache folder: set POLYMQ_CACHE, XDG_CACHE_HOME or HOME")
}

fn announce(command: &Command) -> String {
    let line = line(command);
    eprintln!("$ {line}");
    line
}

fn line(command: &Command) -> String {
    let mut line = PathBuf::from(command.get_program())
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy()
        .into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

fn succeeded(line: &str, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}
