use super::*;

const SERVICE: &str = "\
[channels.receipts]
kind = 'queue'
[channels.orders-eu]
kind = 'topic'
[consumers.mail-er]
channel = 'orders-eu'
retry = { delayed = 3, base = '2s' }
";

#[test]
fn the_environment_overrides_the_file_and_code_overrides_both() {
    let config = build(&format!("{BROKER}{SERVICE}"))
        .set("consumers.mail-er.timeout", "7s")
        .vars([
            ("POLYMQ_CONSUMERS__MAIL_ER__TIMEOUT", "6s"),
            ("POLYMQ_CONSUMERS__MAIL_ER__RETRY__DELAYED", "9"),
            ("POLYMQ_NAMESPACE", "42x"),
            ("HOME", "/nowhere"),
        ])
        .build();
    let errors = config.unwrap_err();
    assert!(errors.message().contains("environment variable POLYMQ_NAMESPACE: namespace: "));

    let config = build(&format!("{BROKER}{SERVICE}"))
        .set("consumers.mail-er.timeout", "7s")
        .vars([
            ("POLYMQ_CONSUMERS__MAIL_ER__TIMEOUT", "6s"),
            ("POLYMQ_CONSUMERS__MAIL_ER__RETRY__DELAYED", "9"),
            ("POLYMQ_CONSUMERS__MAIL_ER__OUTPUTS", "receipts"),
        ])
        .build()
        .unwrap();
    let consumer = &config.consumers["mail-er"];
    assert_eq!(consumer.timeout, Duration::from_secs(7));
    assert_eq!(consumer.retry.delayed, 9);
    assert_eq!(consumer.retry.base, Duration::from_secs(2));
    assert_eq!(consumer.outputs, [ChannelName::new("receipts").unwrap()]);
    assert_eq!(
        config.locate("consumers.mail-er.retry.delayed").to_string(),
        "environment variable POLYMQ_CONSUMERS__MAIL_ER__RETRY__DELAYED"
    );
    assert_eq!(*config.locate("consumers.mail-er.timeout"), Origin::Code);
}

#[test]
fn a_later_url_replaces_a_list_and_a_list_can_be_given() {
    let text = "[broker]\nurl = ['fake://a', 'fake://b']";
    let addresses = |url: &str| {
        let config = build(text).vars([("POLYMQ_BROKER__URL", url)]).build();
        config.unwrap().brokers["default"].addresses()
    };
    assert_eq!(addresses("memory://"), ["memory://"]);
    assert_eq!(addresses("['fake://c', 'fake://d']"), ["fake://c", "fake://d"]);
}

#[test]
fn a_whole_service_can_come_from_the_environment() {
    let config = Config::builder()
        .vars([
            ("POLYMQ_BROKER__URL", "memory://"),
            ("POLYMQ_BROKER__PASSWORD", "123"),
            ("POLYMQ_CHANNELS__NEW_ORDERS", "{ kind = 'topic', order_by = 'key' }"),
            ("POLYMQ_CHANNELS__NEW_ORDERS__PARTITIONS", " 3\n"),
            ("POLYMQ_CHANNELS__NEW_ORDERS__MAX_BYTES", "64MiB"),
            ("POLYMQ_CHANNELS__NEW_ORDERS__KAFKA__TOPIC", "legacy.Orders"),
            ("POLYMQ_CONSUMERS__BILLING__CHANNEL", "new-orders"),
            ("POLYMQ_CONSUMERS__BILLING__RETRY__LIMITS__TIMEOUT", "2"),
        ])
        .build()
        .unwrap();
    let channel = &config.channels["new-orders"];
    assert_eq!((channel.partitions, channel.max_bytes), (3, Some(64 << 20)));
    let kafka = Settings::from_toml("topic = 'legacy.Orders'").unwrap();
    assert_eq!(channel.settings["kafka"], kafka);
    assert_eq!(config.consumers["billing"].retry.limits["timeout"], 2);
}

#[test]
fn a_variable_about_a_message_in_hand_is_no_setting() {
    build(BROKER).vars([("POLYMQ_MESSAGE_ID", "42")]).build().unwrap();
}

#[test]
fn a_variable_that_fits_no_key_is_named() {
    let builder = build(BROKER).vars([
        ("POLYMQ_BROKER__ULR", "memory://"),
        ("POLYMQ_NAMESPACE__X", "a"),
        ("POLYMQ_PUBLISH", "7"),
        ("POLYMQ_PUBLISH__WINDOW", "many"),
    ]);
    assert_eq!(
        lines(builder),
        [
            "environment variable POLYMQ_BROKER__ULR: fits no key: `ulr` is unknown in `broker`; \
             did you mean `url`?; fix: unset it, or name a key, with `__` between levels, such as \
             POLYMQ_BROKER__URL",
            "environment variable POLYMQ_NAMESPACE__X: `namespace` has no keys below it; fix: \
             unset it, or name a key, with `__` between levels, such as POLYMQ_BROKER__URL",
            "environment variable POLYMQ_PUBLISH: publish: expected a table; fix: write the table \
             inline, such as `{ key = 1 }`, or name one of its keys",
            "environment variable POLYMQ_PUBLISH__WINDOW: publish.window: expected an integer, \
             found text",
        ]
    );
}

#[test]
fn a_key_set_in_code_is_checked_like_any_other() {
    let builder = build(BROKER).set("publish.windo", 1).set("broker.url.x", true);
    assert_eq!(
        lines(builder),
        [
            "code: broker.url.x: `broker.url` is set to something other than a table; fix: make it \
             a table",
            "code: publish.windo: unknown key; did you mean `window`?",
        ]
    );
}

#[test]
fn a_later_file_overrides_an_earlier_one_key_by_key() {
    let config = build(&format!("{BROKER}{SERVICE}"))
        .text("local.toml", "namespace = 'dev'\n[consumers.mail-er.retry]\ndelayed = 1")
        .build()
        .unwrap();
    assert_eq!(config.namespace, "dev");
    let retry = &config.consumers["mail-er"].retry;
    assert_eq!((retry.delayed, retry.base), (1, Duration::from_secs(2)));
    assert_eq!(config.locate("consumers.mail-er.retry.delayed").to_string(), "local.toml:3:1");
}

#[test]
fn a_missing_file_is_named_with_its_whole_path() {
    let error = Config::builder().file("no/such/polymq.toml").build().unwrap_err();
    let path = std::path::absolute("no/such/polymq.toml").unwrap();
    let message = error.message();
    assert!(message.contains(&format!("{}: ", path.display())), "{message}");
    assert!(message.contains("no such file"), "{message}");
}
