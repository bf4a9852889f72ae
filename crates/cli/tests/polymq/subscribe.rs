//! `sub` as a process: its ends, and its commands.

use std::collections::BTreeSet;

use super::bed::Place;

#[tokio::test]
async fn a_signal_drains_it_and_prints_the_report() {
    let place = Place::rabbitmq().await;
    place.publish(50);
    for (signal, count) in [("TERM", 10), ("INT", 0)] {
        let mut started = place.start("sub mailer --idle 1h");
        for _ in 0..count {
            started.line();
        }
        if count == 0 {
            // Its signal handlers are there once it consumes.
            place.publish(1);
            started.line();
        }
        started.signal(signal);
        let ended = started.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("drained, nothing left"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_count_takes_exactly_as_many() {
    let place = Place::rabbitmq().await;
    place.publish(100);
    let (some, rest) =
        (place.run("sub mailer --count 30", ""), place.run("sub mailer --idle 1s", ""));
    assert_eq!((some.ids().len(), rest.ids().len()), (30, 70), "{some:?} {rest:?}");
    let all: BTreeSet<_> = some.ids().into_iter().chain(rest.ids()).collect();
    assert_eq!(all.len(), 100);
}

#[tokio::test]
async fn a_command_that_fails_gets_its_message_again_after_the_delay() {
    let place = Place::rabbitmq().await;
    place.publish(1);
    let log = place.path("log");
    let script = format!("echo $POLYMQ_MESSAGE_ATTEMPT >> {}; exit 1", log.display());
    let mut command = place.command("sub mailer --idle 3s --exec");
    let ended = super::bed::end(command.arg(script), "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("2 retried, 1 dead-lettered"), "{ended:?}");
    assert_eq!(std::fs::read_to_string(log).unwrap(), "1\n2\n3\n");
}

#[tokio::test]
async fn a_command_can_be_a_polymq_itself() {
    let place = Place::rabbitmq().await;
    place.publish(20);
    let polymq = env!("CARGO_BIN_EXE_polymq");
    let script = format!(
        "(printf '{{\"id\":\"%s\",\"payload\":' \"$POLYMQ_MESSAGE_ID\"; cat; echo '}}') | {polymq} pub copies"
    );
    let mut command = place.command("sub mailer --count 20 --exec");
    let ended = super::bed::end(command.arg(script), "");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let copies = place.run("sub copier --count 20", "");
    assert_eq!(copies.ids().into_iter().collect::<BTreeSet<_>>().len(), 20);
}

#[test]
fn an_idle_time_ends_it() {
    let ended = Place::embedded().run("sub mailer --idle 200ms", "");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), ""), "{ended:?}");
}
