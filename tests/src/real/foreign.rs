//! Clients that aren't ours, and the command line that tells what came of what they say.

use std::path::Path;

use polymq_core::Service;
use serde_json::Value;
use tokio::process::Command;

use super::{Ended, Process, built, start};

/// Runs a script of `tests/interop`, which uses this library, to its end: the lines of JSON that it
/// printed.
///
/// # Panics
/// When it fails, or the library is missing.
pub async fn python(library: &str, script: &str, arguments: &[String]) -> Vec<Value> {
    let interpreter = std::env::var("TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = format!("import {library}");
    let has_library = Command::new(&interpreter).args(["-c", &import]).output().await;
    assert!(
        has_library.is_ok_and(|output| output.status.success()),
        "`{interpreter}` has no {library}: `cargo xtask test` brings it; else install it by `pip` or as \
         Debian's package, and name the interpreter that has it in TEST_PYTHON"
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(script);
    let mut command = Command::new(interpreter);
    lines(&Process::spawn(command.arg(script).args(arguments)).ended().await.assert_success())
}

/// Runs `polymq` to its end.
///
/// # Panics
/// When it cannot be built or started.
pub async fn polymq(config: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(built("polymq").await);
    command.arg("--json").arg("--config").arg(config).args(arguments);
    Process::spawn(&mut command).ended().await
}

/// What `polymq sub` prints about so many messages.
///
/// # Panics
/// When it fails, or gets less.
pub async fn sub(config: &Path, consumer: &str, count: usize) -> Vec<Value> {
    let arguments = ["sub", consumer, "--count", &count.to_string(), "--idle", "20s"];
    let received = lines(&polymq(config, &arguments).await.assert_success());
    assert_eq!(received.len(), count, "{received:#?}");
    received
}

/// Gives lines of JSON to `polymq pub`.
///
/// # Panics
/// When it fails, or one is not confirmed.
pub async fn publish(config: &Path, channel: &str, messages: &[Value]) {
    let input: String = messages.iter().map(|line| format!("{line}\n")).collect();
    let mut command = Command::new(built("polymq").await);
    command.arg("--config").arg(config).args(["pub", channel]);
    let process = Process::spawn_with(&mut command, &input).await;
    for answer in lines(&process.ended().await.assert_success()) {
        assert_eq!(answer["status"], "confirmed", "{answer}");
    }
}

/// Creates the topology.
pub async fn apply(config: &Path) {
    start(config, Service::new(())).await.drain().await;
}

/// Ends the test unless everything that is expected was found, whatever else was.
///
/// # Panics
/// With the first field that differs.
pub fn assert_says(found: &Value, expected: &Value) {
    let Value::Object(fields) = expected else {
        assert_eq!(found, expected);
        return;
    };
    for (name, value) in fields {
        match value {
            Value::Object(_) if found[name].is_object() => assert_says(&found[name], value),
            _ => assert_eq!(&found[name], value, "{name} of {found}"),
        }
    }
}

fn lines(text: &str) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(line).collect()
}
