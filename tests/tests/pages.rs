//! What the pages say about configuration is what the configuration does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;

use polymq_core::broker::Adapter;
use polymq_core::config::Config;

const REFERENCE: &str = include_str!("../../docs/configuration.md");

/// The TOML of a page, block after block.
fn toml(page: &str) -> String {
    let blocks = page.split("```toml\n").skip(1);
    blocks.filter_map(|block| block.split_once("```")).map(|(toml, _)| toml).collect()
}

fn config(toml: String) -> Config {
    let adapters: [Arc<dyn Adapter>; 1] = [Arc::new(polymq_core::memory::adapter())];
    Config::builder().text("page", toml).adapters(&adapters).build().unwrap()
}

#[test]
fn the_readme_shows_a_configuration_that_is_accepted() {
    assert!(config(toml(include_str!("../../README.md"))).warnings.is_empty());
}

#[test]
fn the_reference_shows_the_defaults() {
    let shown = config(toml(REFERENCE));
    let defaults = config(
        r#"
        [broker]
        url = "memory://"
        [channels.orders]
        kind = "queue"
        [consumers.mailer]
        channel = "orders"
        dedup = {}
        breaker = {}
        "#
        .to_owned(),
    );
    assert_eq!(shown.namespace, defaults.namespace);
    assert_eq!(shown.topology, defaults.topology);
    assert_eq!(shown.strict_security, defaults.strict_security);
    assert_eq!(shown.connect_timeout, defaults.connect_timeout);
    assert_eq!(shown.drain_timeout, defaults.drain_timeout);
    assert_eq!(shown.publish, defaults.publish);
    assert_eq!(shown.channels, defaults.channels);
    assert_eq!(shown.consumers, defaults.consumers);
}

#[test]
fn what_the_reference_comments_out_is_accepted_too() {
    let mut lines: Vec<String> = toml(REFERENCE).lines().map(uncommented).collect();
    // An embedded broker has no users, and a file with one broker has nothing to choose from.
    let elsewhere = ["username", "password", "broker ="];
    lines.retain(|line| !elsewhere.iter().any(|key| line.starts_with(key)));
    // `group` and `start` are a topic's.
    let text = lines.join("\n").replace("kind = \"queue\"", "kind = \"topic\"");
    assert_eq!(config(text).channels["orders"].replicas, Some(3));
}

fn uncommented(line: &str) -> String {
    line.strip_prefix("# ").unwrap_or(line).to_owned()
}

#[test]
fn the_reference_names_every_key() {
    let keys = include_str!("../../crates/core/src/config/keys.rs");
    let keys: Vec<_> =
        keys.split("(\"").skip(1).filter_map(|k| Some(k.split_once('"')?.0)).collect();
    assert!(keys.len() > 40, "the list of keys has moved: {keys:?}");
    for key in keys {
        let ways =
            [format!("\n{key} = "), format!("\n# {key} = "), format!(".{key}]"), format!("[{key}")];
        assert!(ways.iter().any(|way| REFERENCE.contains(way)), "`{key}` is missing");
    }
}
