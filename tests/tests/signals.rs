//! What a process that runs a service does when it is told to stop.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

const CONFIG: &str = r#"
    drain_timeout = "1s"
    [broker]
    url = "memory://"
    [channels.orders]
    kind = "queue"
    [consumers.mailer]
    channel = "orders"
"#;

/// A running service that has said its first word.
fn service(mode: &str) -> Child {
    let file = std::env::temp_dir().join(format!("polymq-{mode}-{}.toml", std::process::id()));
    std::fs::write(&file, CONFIG).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_service"))
        .arg(mode)
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("handl"), "{line:?}");
    std::fs::remove_file(file).unwrap();
    child
}

/// Sends a signal and waits for the end: the exit status and what was printed to stderr.
fn stop(mut child: Child, signal: &str) -> (Option<i32>, String) {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code(), text)
}

#[test]
fn a_signal_drains_the_service_and_prints_the_report() {
    for signal in ["TERM", "INT"] {
        let (status, report) = stop(service("quick"), signal);
        assert_eq!(status, Some(0), "{report}");
        assert!(report.contains("drained, nothing left"), "{report}");
        assert!(report.contains("mailer: 1 received, 1 handled"), "{report}");
    }
}

#[test]
fn a_handler_that_never_yields_does_not_keep_the_process_from_ending() {
    let (status, report) = stop(service("stuck"), "TERM");
    assert_eq!(status, Some(70), "{report}");
    assert!(report.contains("never yielded and could not be cancelled: 1"), "{report}");
}
