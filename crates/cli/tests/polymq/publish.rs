//! `pub` on the embedded broker.

use std::process::Stdio;

use super::bed::Place;

#[test]
fn there_is_a_line_for_each_message_in_the_order_of_the_input() {
    let input: String =
        (0..3_000).map(|n| format!("{{\"id\":\"m-{n}\",\"payload\":\"x\"}}\n")).collect();
    let published = Place::embedded().run("pub orders", &input);
    assert_eq!(published.code, Some(0), "{}", published.stderr);
    assert!(published.json().iter().all(|line| line["status"] == "confirmed"));
    let wanted: Vec<_> = (0..3_000).map(|n| format!("m-{n}")).collect();
    assert_eq!(published.ids(), wanted);
}

#[test]
fn a_message_without_an_id_gets_one() {
    let published = Place::embedded().run("pub orders", "{\"payload\":\"x\"}");
    assert_eq!(published.ids()[0].len(), 22);
}

#[test]
fn a_malformed_line_is_reported_with_its_number_and_the_rest_goes_on() {
    let input =
        "{\"id\":\"a\",\"payload\":1}\n\nno json\n{\"payload\":1,\"idd\":1}\n{\"id\":\"b\"}\n";
    let published = Place::embedded().run("pub orders", input);
    assert_eq!(published.code, Some(65));
    let lines: Vec<_> = published
        .json()
        .iter()
        .map(|line| (line["line"].clone(), line["status"].clone()))
        .collect();
    let wanted = [(1, "confirmed"), (3, "rejected"), (4, "rejected"), (5, "confirmed")];
    assert_eq!(lines, wanted.map(|(line, status)| (line.into(), status.into())));
    assert!(published.stderr.contains("line 3: "), "{published:?}");
    assert!(published.stderr.contains("line 4: unknown field `idd`"), "{published:?}");
}

#[test]
fn a_message_that_the_broker_cannot_take_is_rejected_and_the_rest_goes_on() {
    let large = "x".repeat(2 << 20);
    let input = format!("{{\"payload\":\"{large}\"}}\n{{\"payload\":\"x\"}}\n");
    let published = Place::embedded().run("pub orders", &input);
    assert_eq!(published.code, Some(1), "{}", published.stderr);
    let lines = published.json();
    assert_eq!(lines[0]["status"], "rejected");
    assert!(lines[0]["error"].as_str().unwrap().contains("exceed the limit"), "{}", lines[0]);
    assert_eq!(lines[1]["status"], "confirmed");
}

#[test]
fn a_line_longer_than_any_message_is_refused_without_being_held() {
    let input = format!("{}\n{{\"payload\":\"x\"}}\n", "x".repeat(8 << 20));
    let published = Place::embedded().run("pub orders", &input);
    assert_eq!(published.code, Some(65));
    let lines = published.json();
    assert!(lines[0]["error"].as_str().unwrap().starts_with("longer than"), "{}", lines[0]);
    assert_eq!(lines[1]["status"], "confirmed");
}

#[test]
fn a_closed_stdout_ends_it_quietly() {
    let place = Place::embedded();
    let mut command = place.command("pub orders");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    // It stops reading, so a write fails in the end.
    while std::io::Write::write_all(&mut stdin, b"{\"payload\":\"x\"}\n").is_ok() {}
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(74), "not all were answered: {stderr}");
    assert_eq!(stderr, "");
}
