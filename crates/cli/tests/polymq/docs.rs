//! Pages that are made of facts are as the facts.

use super::bed::Place;

#[test]
fn the_page_of_capabilities_is_up_to_date() {
    let page = include_str!("../../../../docs/capabilities.md");
    let made = Place::embedded().run("capabilities", "").stdout;
    assert!(
        page == made,
        "make it anew: cargo run -p polymq-cli -- capabilities > docs/capabilities.md"
    );
}

#[test]
fn the_manual_names_every_command_and_option() {
    let manual = include_str!("../../../../docs/cli.md");
    let place = Place::embedded();
    for command in ["pub", "sub", "check", "topology plan", "seek", "explain", "capabilities"] {
        assert!(manual.contains(&format!("polymq {command}")), "{command}");
        let help = place.run(&format!("{command} --help"), "").stdout;
        let options = help.split_whitespace().filter(|word| word.starts_with("--"));
        for option in options.map(|word| word.trim_end_matches(['.', ',', '`'])) {
            assert!(manual.contains(option), "{option} of {command}");
        }
    }
}
