use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdout, Command};

use super::within;

/// A process that a test started; killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status; `None` after a signal.
    pub status: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Ended {
    /// Ends the test unless the process succeeded; what it printed.
    ///
    /// # Panics
    /// With what it complained of.
    pub fn assert_success(self) -> String {
        assert_eq!(self.status, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

impl Process {
    /// Starts a program.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(program: &Path, arguments: &[&OsStr]) -> Self {
        Self::spawn(Command::new(program).args(arguments))
    }

    /// Starts a command.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn spawn(command: &mut Command) -> Self {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
        Self { child, name }
    }

    /// Starts a command that reads this, and nothing more.
    ///
    /// # Panics
    /// When it cannot be started, or doesn't read.
    pub async fn spawn_with(command: &mut Command, input: &str) -> Self {
        let mut process = Self::spawn(command.stdin(Stdio::piped()));
        if let Some(mut stdin) = process.child.stdin.take() {
            let written = stdin.write_all(input.as_bytes()).await;
            written.unwrap_or_else(|e| panic!("{}: {e}", process.name));
        }
        process
    }

    /// Its id.
    ///
    /// # Panics
    /// When it has been waited for.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("{} has ended", self.name))
    }

    /// What it prints from now on.
    ///
    /// # Panics
    /// When it was taken before.
    #[must_use]
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().unwrap_or_else(|| panic!("{}'s output was taken", self.name))
    }

    /// SIGKILL: returns when it is dead.
    ///
    /// # Panics
    /// When it has ended by itself.
    pub async fn kill(mut self) {
        let early = self.child.try_wait().ok().flatten();
        assert!(early.is_none(), "{} had ended by itself: {early:?}", self.name);
        self.child.kill().await.unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }

    /// SIGTERM, and what comes of it.
    ///
    /// # Panics
    /// When it doesn't end within a minute.
    pub async fn terminate(self) -> Ended {
        let kill = Command::new("kill").args(["-s", "TERM", &self.id().to_string()]).status().await;
        assert!(kill.is_ok_and(|status| status.success()), "SIGTERM to {}", self.name);
        self.ended().await
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it doesn't end within a minute.
    pub async fn ended(self) -> Ended {
        let output = within(&self.name, self.child.wait_with_output()).await;
        let output = output.unwrap_or_else(|e| panic!("{}: {e}", self.name));
        Ended {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The programs that tests start and no test's own package has. Built together with an example, so that
/// their dependencies have the features that they have in tests, and nothing is built twice.
static PROGRAMS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--message-format=json", "--workspace", "--bin=polymq"])
        .args(["--example=quickstart", "--example=switch-producer", "--example=switch-consumer"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap_or_else(|e| panic!("cargo: {e}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let messages = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    messages.filter_map(|m| Some(PathBuf::from(m.get("executable")?.as_str()?))).collect()
});

/// A program of the workspace: `polymq` or an example.
///
/// # Panics
/// When there is none of that name, or it cannot be built.
pub async fn built(name: &str) -> &'static Path {
    // Building may take a minute, and must hold up no runtime.
    let building = tokio::task::spawn_blocking(|| LazyLock::force(&PROGRAMS)).await;
    building.unwrap_or_else(|e| panic!("{e}"));
    let found = PROGRAMS.iter().find(|path| path.file_stem() == Some(OsStr::new(name)));
    found.unwrap_or_else(|| panic!("no `{name}` among {PROGRAMS:?}"))
}
