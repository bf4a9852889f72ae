use std::process::{ExitStatus, Stdio};

use polymq::config::MESSAGE_PREFIX;
use polymq::{Context, HandlerError};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::envelope::Envelope;

/// The exit status that says: never try this message again (`EX_DATAERR`).
const DATA_ERROR: i32 = 65;
/// The longest value that a variable can safely have: Linux allows 128 KiB for name and value.
const MAX_VALUE: usize = 100 << 10;

/// Runs a command for each message.
#[derive(Debug)]
pub(super) struct Exec {
    command: String,
    broker: String,
}

impl Exec {
    pub(super) fn new(command: &str, broker: String) -> Self {
        Self { command: command.to_owned(), broker }
    }

    /// Runs the command to its end. Dropping the future, as at the consumer's `timeout`, kills it
    /// and what it has started.
    pub(super) async fn run<S>(&self, context: &Context<S>) -> Result<(), HandlerError> {
        let mut command = shell(&self.command);
        command.stdin(Stdio::piped()).kill_on_drop(true);
        self.describe(&mut command, context);
        let mut child = Group::spawn(&mut command)
            .map_err(|error| failed(format!("the command cannot be started: {error}")))?;
        let stdin = child.0.stdin.take();
        let payload = context.message().payload().cloned().unwrap_or_default();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A command may leave its input unread.
                let _ = stdin.write_all(&payload).await;
            }
        };
        let ((), status) = tokio::join!(feed, child.0.wait());
        judge(status.map_err(|error| failed(format!("the command is lost: {error}")))?)
    }

    /// The metadata as variables. What this message lacks, or no variable can hold, is removed: a
    /// `polymq sub` around this one may have set it.
    fn describe<S>(&self, command: &mut Command, context: &Context<S>) {
        let envelope = Envelope::new(context, &self.broker);
        let headers = Some(envelope.headers_json().into());
        for (field, value) in envelope.metadata().chain([("headers", headers)]) {
            let name = format!("{MESSAGE_PREFIX}{}", field.to_ascii_uppercase());
            match value.filter(|v| v.len() <= MAX_VALUE && !v.contains('\0')) {
                Some(value) => command.env(name, &*value),
                None => command.env_remove(name),
            };
        }
    }
}

#[cfg(unix)]
fn shell(text: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", text]);
    // Ctrl-C in a terminal is for us, who drain; the commands in hand are to finish.
    command.process_group(0);
    command
}

#[cfg(not(unix))]
fn shell(text: &str) -> Command {
    let mut command = Command::new("cmd");
    command.args(["/C", text]);
    command
}

/// A child and the process group that it leads. Dropping it before its end kills the group.
#[derive(Debug)]
struct Group(Child);

impl Group {
    fn spawn(command: &mut Command) -> std::io::Result<Self> {
        command.spawn().map(Self)
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        // No id: it has ended, and was waited for.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(rustix::process::Pid::from_raw) {
            // It may have ended by itself in this moment.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

/// What a command's end means for its message.
fn judge(status: ExitStatus) -> Result<(), HandlerError> {
    match status.code() {
        Some(0) => Ok(()),
        Some(DATA_ERROR) => {
            Err(failed(format!("the command exited with {DATA_ERROR}")).permanent())
        }
        Some(code) => Err(failed(format!("the command exited with {code}"))),
        None => Err(failed(format!("the command was ended: {status}"))),
    }
}

fn failed(text: String) -> HandlerError {
    HandlerError::new(text).class("exec")
}
