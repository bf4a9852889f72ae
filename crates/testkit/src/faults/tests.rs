use std::sync::Arc;
use std::time::Duration;

use polymq_core::broker::{
    Adapter, Broker, Connect, Consumer, Destination, Outcome, Send, Settlement, Subscription,
};
use polymq_core::config::Config;
use polymq_core::dedup::{Claim, ClaimRequest, DedupKey, DedupStore, MemoryDedupStore};
use polymq_core::memory::MemoryServer;
use polymq_core::{ChannelName, ConsumerName, ErrorKind, GroupName, Message, VirtualClock};
use tokio::time::{Instant, timeout};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn soon() -> Instant {
    Instant::now() + SECOND
}

fn channel() -> ChannelName {
    ChannelName::new("lines").unwrap()
}

fn line(id: &str) -> Send {
    Send::new(Destination::Channel(channel()), Message::new(id.to_owned()).with_id(id))
}

/// A broker with the queue `lines`, wrapped.
async fn broker() -> (Arc<dyn Broker>, Faults) {
    connect(&MemoryServer::default()).await
}

async fn connect(server: &MemoryServer) -> (Arc<dyn Broker>, Faults) {
    let config = "[broker]\nurl = 'memory://'\n[channels.lines]\nkind = 'queue'";
    let config = Config::builder().text("polymq.toml", config).build().unwrap();
    let topology = config.topology_of("default", "memory");
    let request = Connect::new("default", vec!["memory://".into()], topology, soon());
    let (adapter, faults) = FaultyAdapter::new(server.adapter());
    let broker = adapter.connect(request).await.unwrap();
    let plan = broker.admin().plan().await.unwrap();
    broker.admin().apply(&plan).await.unwrap();
    (broker, faults)
}

async fn subscribe(broker: &dyn Broker) -> Arc<dyn Consumer> {
    let group = GroupName::new("lines").unwrap();
    let name = ConsumerName::new("printer").unwrap();
    let subscription = Subscription::new(channel(), group, name, 10, SECOND);
    broker.subscribe(subscription, soon()).await.unwrap()
}

async fn ids(consumer: &dyn Consumer) -> Vec<String> {
    match timeout(SECOND, consumer.recv(10)).await {
        Err(_) => Vec::new(),
        Ok(deliveries) => {
            let id = |message: &Message| message.id().unwrap().to_string();
            deliveries.unwrap().iter().map(|d| id(&d.message)).collect()
        }
    }
}

fn is(id: &'static str) -> impl Fn(&Send) -> bool {
    move |send| send.message.id().is_some_and(|found| found.as_str() == id)
}

#[tokio::test(start_paused = true)]
async fn a_planned_send_goes_wrong_and_the_others_of_its_batch_do_not() {
    let (broker, faults) = broker().await;
    faults.fail_publish(is("rejected"), PublishFault::Rejected(ErrorKind::Full));
    faults.fail_publish(is("unconfirmed"), PublishFault::Unconfirmed(ErrorKind::Disconnected));
    faults.fail_publish(is("lost"), PublishFault::Lost(ErrorKind::Disconnected));
    let sends = ["first", "rejected", "unconfirmed", "lost", "last"].map(line).to_vec();
    let outcomes = broker.publish(sends, soon()).await;
    assert!(
        matches!(
            outcomes[..],
            [
                Outcome::Confirmed(_),
                Outcome::Rejected(_),
                Outcome::Unconfirmed(_),
                Outcome::Unconfirmed(_),
                Outcome::Confirmed(_),
            ]
        ),
        "{outcomes:?}"
    );
    assert_eq!(outcomes[1].error().unwrap().kind(), ErrorKind::Full);
    let consumer = subscribe(&*broker).await;
    assert_eq!(ids(&*consumer).await, ["first", "unconfirmed", "last"], "what is really there");
    let recorded: Vec<_> = faults.sends().iter().map(|s| s.outcome.is_confirmed()).collect();
    assert_eq!(recorded, [true, false, false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_broker_answers_at_the_deadline() {
    let (broker, faults) = broker().await;
    let silent = faults.fail_publish(|_| true, PublishFault::Silent);
    let deadline = soon();
    let outcomes = broker.publish(vec![line("a")], deadline).await;
    assert_eq!(Instant::now(), deadline);
    assert_eq!(outcomes[0].error().unwrap().kind(), ErrorKind::Timeout);
    silent.end();
    assert!(broker.publish(vec![line("b")], soon()).await[0].is_confirmed());
}

#[tokio::test(start_paused = true)]
async fn a_plan_strikes_as_often_as_it_was_told_to() {
    let (broker, faults) = broker().await;
    let plan = faults.fail(Operation::Settle, ErrorKind::Timeout).times(2);
    broker.publish(vec![line("a")], soon()).await;
    let consumer = subscribe(&*broker).await;
    let token = consumer.recv(1).await.unwrap()[0].token;
    for settled in [false, false, true] {
        let results = consumer.settle(&[(token, Settlement::Ack)], soon()).await;
        assert_eq!(results[0].is_ok(), settled, "{results:?}");
    }
    assert!(!plan.is_in_force());
    assert_eq!(faults.calls(Operation::Settle), 3);
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_a_publish_leaves_nothing_after_it_everything_halfway_through_half() {
    for (n, when, found) in [
        (1, When::Before, &[][..]),
        (2, When::Halfway, &["a"][..]),
        (3, When::After, &["a", "b"][..]),
    ] {
        let server = MemoryServer::default();
        let (broker, faults) = connect(&server).await;
        faults.crash_at(n);
        let sends = vec![line("a"), line("b")];
        let crashed = tokio::select! {
            point = faults.crashed() => point,
            outcomes = broker.publish(sends, soon()) => panic!("the caller learnt {outcomes:?}"),
        };
        assert_eq!(crashed, CrashPoint { n, operation: Operation::Publish, when });
        let (survivor, _) = connect(&server).await;
        assert_eq!(ids(&*subscribe(&*survivor).await).await, found, "{crashed}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_nothing_returns_and_nothing_has_an_effect() {
    let server = MemoryServer::default();
    let (broker, faults) = connect(&server).await;
    let store = MemoryDedupStore::new(Arc::new(VirtualClock::default()));
    let store: Arc<dyn DedupStore> = Arc::new(store);
    let faulty = FaultyStore::new(Arc::clone(&store), faults.clone());
    broker.publish(vec![line("a")], soon()).await;
    let consumer = subscribe(&*broker).await;
    let token = consumer.recv(1).await.unwrap()[0].token;

    faults.crash_at(faults.crash_points().len() + 1);
    assert!(timeout(SECOND, broker.publish(vec![line("b")], soon())).await.is_err());
    assert!(faults.is_crashed());
    let ack = [(token, Settlement::Ack)];
    assert!(timeout(SECOND, consumer.settle(&ack, soon())).await.is_err());
    assert!(timeout(SECOND, consumer.recv(1)).await.is_err());
    assert!(timeout(SECOND, faults.alive()).await.is_err());
    let key = DedupKey::new(&channel(), &GroupName::new("lines").unwrap(), "a", 0);
    let request = [ClaimRequest { key, attempt: 1, lease: SECOND }];
    assert!(timeout(SECOND, faulty.claim(&request)).await.is_err());

    drop((broker, consumer));
    assert!(matches!(store.claim(&request).await.unwrap()[..], [Claim::Granted(_)]));
    let (survivor, _) = connect(&server).await;
    assert_eq!(ids(&*subscribe(&*survivor).await).await, ["a"]);
}
