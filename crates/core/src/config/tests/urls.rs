use secrecy::ExposeSecret;

use super::*;

fn url_problems(url: &str) -> Vec<String> {
    all_problems(&format!("[broker]\nurl = {url}"))
}

#[test]
fn an_unsupported_scheme_lists_those_compiled_in_and_names_the_feature() {
    assert_eq!(
        url_problems("'amqps://u:hunter2@h'"),
        ["p.toml:2:1: broker.url: the URL scheme `amqps` is not supported: compiled in are \
             memory, fake; fix: enable the feature `rabbitmq` of `polymq`, or add \
             `polymq-rabbitmq` and `App::with(polymq_rabbitmq::adapter())`"]
    );
    assert_eq!(
        url_problems("'memry://'"),
        ["p.toml:2:1: broker.url: the URL scheme `memry` is not supported: compiled in are \
             memory, fake; fix: did you mean `memory`?"]
    );
}

#[test]
fn urls_of_one_broker_are_of_one_scheme() {
    assert_eq!(
        url_problems("[\n'fake://a',\n'memory://b',\n7]"),
        [
            "p.toml:4:1: broker.url[1]: the scheme `memory` differs from the first URL's, `fake`; \
             fix: the URLs of one broker are those of one cluster, all of one scheme",
            "p.toml:5:1: broker.url[2]: expected text, found an integer",
        ]
    );
}

#[test]
fn a_text_that_is_no_url_is_not_quoted() {
    for url in ["'guest:hunter2@h:5672'", "'hunter2'", "'fake://a:hunter2'"] {
        let found = url_problems(url);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("not a URL"), "{found:?}");
        assert!(!found[0].contains("hunter2"), "{found:?}");
    }
}

#[test]
fn secrets_are_in_no_debug_output() {
    let config = build("[broker]\nurl = 'fake://u:hunter2@h:1/x?k=hunter2'\npassword = 'hunter2'")
        .set("broker.fake.limit", 1)
        .build()
        .unwrap();
    let debug = format!("{config:?}");
    assert!(debug.contains("fake://h:1"), "{debug}");
    assert!(!debug.contains("hunter2"), "{debug}");
    let broker = &config.brokers["default"];
    let password = broker.credentials.password().unwrap().unwrap();
    assert_eq!(password.expose_secret(), "hunter2");
}

#[test]
fn a_username_goes_into_the_urls() {
    let config = build("[broker]\nurl = 'fake://h:1'\nusername = 'a@b'").build();
    let broker = &config.unwrap().brokers["default"];
    assert_eq!(broker.urls[0].expose_secret(), "fake://a%40b@h:1");
    assert_eq!(
        all_problems("[broker]\nurl = 'memory://'\nusername = 'a'"),
        ["p.toml:3:1: username: `memory://` takes no username; fix: remove it"
            .replace("username: `", "broker.username: `")]
    );
}

#[test]
fn plaintext_to_another_host_is_warned_about_and_refused_when_strict() {
    let text = "[broker]\nurl = 'nats://u:hunter2@broker.example:4222'\n";
    let unchecked = |text: &str| Config::builder().text("p.toml", text);
    let config = unchecked(text).build().unwrap();
    assert_eq!(
        warnings(&config),
        ["p.toml:2:1: broker.url: plaintext to another host, nats://broker.example:4222: \
             everybody on the way reads the messages and the password; fix: use tls://"]
    );
    assert_eq!(
        lines(unchecked(&format!("security = 'strict'\n{text}"))),
        ["p.toml:3:1: broker.url: plaintext to another host, nats://broker.example:4222: \
             everybody on the way reads the messages and the password; fix: use tls:// (security \
             is \"strict\")"]
    );
    for quiet in
        ["amqp://localhost", "kafka://127.0.0.1:9092", "kafka+ssl://broker", "tls://broker"]
    {
        let config = unchecked(&format!("[broker]\nurl = '{quiet}'")).build();
        assert_eq!(config.unwrap().warnings, [], "{quiet}");
    }
}

#[test]
fn brokers_are_named_and_have_a_url() {
    assert_eq!(
        all_problems("[broker]\n[brokers.default]\nurl = 'fake://a'\n[brokers.B]\nurl = []"),
        [
            "p.toml:1:2: broker.url: missing; fix: add url = \"memory://\", or another broker's",
            "p.toml:2:10: brokers.default: `[broker]` is called `default` too; fix: rename this \
             one",
            "p.toml:4:10: brokers.B: the broker name `B` does not start with a lowercase letter; \
             fix: names match [a-z][a-z0-9-]* and are at most 48 characters long",
            "p.toml:5:1: brokers.B.url: the list is empty; fix: name at least one URL",
        ]
    );
}

#[test]
fn one_password_at_a_time() {
    assert_eq!(
        problems("password = 'hunter2'\npassword_file = '/x'"),
        ["p.toml:4:1: broker.password_file: `password` is set too: which one holds is unclear; \
             fix: remove one of them"]
    );
}

#[test]
fn an_adapters_table_is_checked_by_the_adapter_and_one_that_is_away_is_left_unread() {
    assert_eq!(
        problems("kafka.whatever = 1\nfake = { limit = 'hunter2', limmit = 1 }\nother = {}"),
        [
            "p.toml:4:10: broker.fake.limit: expected u32, found text",
            "p.toml:4:29: broker.fake.limmit: unknown key; did you mean `limit`?",
            "p.toml:5:1: broker.other: unknown key; fix: use one of url, username, password, \
             password_file",
        ]
    );
    assert_eq!(
        problems("[channels.a]\nkind = 'queue'\n[channels.a.fake]\nlimit = true"),
        ["p.toml:6:1: channels.a.fake.limit: expected u32, found a boolean"]
    );
}
