//! `check`, and what a wrong configuration or command line gets.

use super::bed::Place;

#[test]
fn everything_that_is_wrong_is_reported_at_once_with_its_place_and_its_fix() {
    let place = Place::with(
        "[broker]\nurl = \"memory://\"\n[channels.orders]\nkind = \"heap\"\n[consumers.mailer]\n\
         channel = \"ordres\"\nconcurency = 3\n",
    );
    let checked = place.run("check", "");
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let found: Vec<_> =
        checked.json().iter().map(|p| (p["line"].clone(), p["key"].clone())).collect();
    let wanted = [
        (4, "channels.orders.kind"),
        (6, "consumers.mailer.channel"),
        (7, "consumers.mailer.concurency"),
    ];
    assert_eq!(found, wanted.map(|(line, key)| (line.into(), key.into())));
    let first = &checked.json()[0];
    assert_eq!(first["file"], "polymq.toml");
    assert_eq!(first["severity"], "error");
    assert_eq!(first["fix"], "use \"queue\" or \"topic\"");
    assert!(checked.stderr.contains("3 errors, 0 warnings"), "{checked:?}");
}

#[test]
fn a_good_configuration_is_silent_and_a_variable_overrides_it() {
    let place = Place::embedded();
    let checked = place.run("check --connect", "");
    assert_eq!((checked.code, checked.stdout.as_str()), (Some(0), ""), "{checked:?}");
    let mut command = place.command("check");
    let checked = super::bed::end(command.env("POLYMQ_CONSUMERS__MAILER__CONCURRENCY", "0"), "");
    assert_eq!(checked.code, Some(1));
    let problem = &checked.json()[0];
    assert_eq!(problem["variable"], "POLYMQ_CONSUMERS__MAILER__CONCURRENCY");
}

#[test]
fn variables_about_a_message_in_hand_are_not_about_the_configuration() {
    let place = Place::embedded();
    let mut command = place.command("check");
    let checked = super::bed::end(command.env("POLYMQ_MESSAGE_ID", "42"), "");
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn a_file_that_is_not_there_is_named_with_its_whole_path() {
    let place = Place::embedded();
    let refused = place.run("--config other.toml sub mailer", "");
    assert_eq!(refused.code, Some(78));
    let path = place.path("other.toml").display().to_string();
    assert!(refused.stderr.contains(&path), "{refused:?}");
}

#[test]
fn a_name_that_is_not_there_lists_those_that_are() {
    let place = Place::embedded();
    for (arguments, says) in [
        ("pub order", "no channel `order`; did you mean `orders`?"),
        ("sub mail", "no consumer `mail`; did you mean `mailer`?"),
        ("explain nothing", "no channel `nothing`"),
    ] {
        let refused = place.run(arguments, "");
        assert_eq!(refused.code, Some(78), "{refused:?}");
        assert!(refused.stderr.contains(says), "{refused:?}");
    }
}

#[test]
fn a_wrong_command_line_and_a_question_about_it_end_differently() {
    let place = Place::embedded();
    assert_eq!(place.run("sub mailer --count none", "").code, Some(64));
    let help = place.run("--help", "");
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("Exit status:"), "{help:?}");
}
