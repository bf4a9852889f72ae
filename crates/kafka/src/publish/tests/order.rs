use super::scene::{Scene, confirmed, numbered, numbers, soon};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test(flavor = "multi_thread")]
async fn one_key_keeps_its_order_within_and_across_calls_that_are_larger_than_the_window() {
    let scene = Scene::new().await;
    let publisher = scene.publisher("publish_window = 300");
    let sends = |call: usize| {
        let numbers = call * 1000..(call + 1) * 1000;
        numbers.map(|n| numbered(n, KEYS[n % KEYS.len()])).collect()
    };
    let calls: [_; 4] = std::array::from_fn(|call| publisher.publish(sends(call), soon()));
    let [a, b, c, d] = calls;
    let outcomes: [_; 4] = tokio::join!(a, b, c, d).into();
    outcomes.iter().for_each(|outcomes| confirmed(outcomes));
    let stored = scene.stored(&scene.name("orders")).await;
    for (nth, key) in KEYS.iter().enumerate() {
        let expected: Vec<_> = (0..4000).filter(|n| n % KEYS.len() == nth).collect();
        assert_eq!(numbers(&stored, key), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_lets_the_next_one_pass() {
    let scene = Scene::new().await;
    let publisher = scene.publisher("publish_window = 10");
    for _ in 0..20 {
        let many = (0..500).map(|n| numbered(n, "dropped")).collect();
        let call = publisher.publish(many, soon());
        let _ = tokio::time::timeout(std::time::Duration::from_millis(1), call).await;
    }
    confirmed(&publisher.publish(vec![numbered(1, "kept")], soon()).await);
    publisher.close(soon()).await.unwrap();
    let stored = scene.stored(&scene.name("orders")).await;
    assert_eq!(numbers(&stored, "kept"), [1]);
}
