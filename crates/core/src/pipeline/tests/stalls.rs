//! A store that fails, hangs or panics holds up only what depends on it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Order;
use crate::config::Config;
use crate::dedup::{Claim, ClaimRequest, DedupStore, HandOver, Held, MemoryDedupStore};
use crate::{App, Context, Error, ErrorKind, HandlerError, Message, Result, Service, VirtualClock};

/// Fails, hangs or panics for the messages whose ids say so.
#[derive(Debug)]
struct Moody(MemoryDedupStore);

impl Moody {
    async fn check(&self, held: &[Held]) -> Result<()> {
        if held.iter().any(|h| h.key.as_str().contains("hang")) {
            std::future::pending::<()>().await;
        }
        assert!(!held.iter().any(|h| h.key.as_str().contains("panic")), "a store that panics");
        if held.iter().any(|h| h.key.as_str().contains("fail")) {
            return Err(Error::new(ErrorKind::Store, "down"));
        }
        Ok(())
    }
}

#[async_trait]
impl DedupStore for Moody {
    async fn claim(&self, requests: &[ClaimRequest]) -> Result<Vec<Claim>> {
        self.0.claim(requests).await
    }
    async fn renew(&self, held: &[Held], lease: Duration) -> Result<Vec<bool>> {
        self.0.renew(held, lease).await
    }
    async fn commit(&self, held: &[Held], retain: Duration) -> Result<Vec<bool>> {
        self.check(held).await?;
        self.0.commit(held, retain).await
    }
    async fn hand_over(&self, handed: &[HandOver]) -> Result<Vec<bool>> {
        self.0.hand_over(handed).await
    }
    async fn release(&self, held: &[Held]) -> Result<()> {
        self.check(held).await?;
        self.0.release(held).await
    }
}

async fn start_moody<S: Send + Sync + 'static>(
    consumer: &str,
    service: Service<S>,
) -> crate::Running {
    let clock = Arc::new(VirtualClock::default());
    let store = Moody(MemoryDedupStore::new(clock.clone()));
    let config = format!(
        "[broker]\nurl = \"memory://\"\n\
         [channels.orders]\nkind = \"queue\"\norder_by = \"key\"\n\
         [consumers.mailer]\nchannel = \"orders\"\ndedup.store = \"moody\"\n{consumer}"
    );
    let app = App::new().clock(clock).dedup_store("moody", Arc::new(store)).serve(service);
    app.start(Config::builder().text("polymq.toml", &config).build().unwrap()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_has_failed() {
    async fn handle(_: Order, _: Context<()>) -> std::result::Result<(), HandlerError> {
        Ok(())
    }
    let running = start_moody("", Service::new(()).on("mailer", handle)).await;
    for id in ["panic", "good"] {
        let order = Message::of(&Order { n: 1 }).unwrap().with_id(id);
        running.publisher().publish_message("orders", order).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let state = running.state("mailer").unwrap();
    assert_eq!((state.tally.handled, state.settling), (1, 1), "{state:?}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_has_failed() {
    async fn handle(_: Order, _: Context<()>) -> std::result::Result<(), HandlerError> {
        Ok(())
    }
    let dedup = "dedup.on_store_failure = \"pass\"";
    let running = start_moody(dedup, Service::new(()).on("mailer", handle)).await;
    let order = Message::of(&Order { n: 1 }).unwrap().with_id("hang");
    running.publisher().publish_message("orders", order).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(running.state("mailer").unwrap().tally.handled, 1);
}

#[tokio::test(start_paused = true)]
async fn messages_that_cannot_be_finished_hold_up_no_others() {
    async fn handle(_: Order, _: Context<()>) -> std::result::Result<(), HandlerError> {
        Ok(())
    }
    let running = start_moody("", Service::new(()).on("mailer", handle)).await;
    let order = |id: String| Message::of(&Order { n: 1 }).unwrap().with_id(id);
    for n in 0..40 {
        running.publisher().publish_message("orders", order(format!("fail-{n}"))).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    running.publisher().publish_message("orders", order("good".into())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(running.state("mailer").unwrap().tally.handled, 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_does_not_hold_up_a_drain() {
    async fn handle(_: Order, _: Context<()>) -> std::result::Result<(), HandlerError> {
        Err("not yet".into())
    }
    // On an ordered channel a delay is waited for in the process, with the claim held.
    let consumer = "retry = { immediate = 0, delayed = 3, base = \"1m\" }";
    let running = start_moody(consumer, Service::new(()).on("mailer", handle)).await;
    let order = Message::of(&Order { n: 1 }).unwrap().with_id("hang").with_key("k");
    running.publisher().publish_message("orders", order).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(running.state("mailer").unwrap().waiting, 1);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    running.drain_by(deadline).await;
    assert!(tokio::time::Instant::now() <= deadline + Duration::from_secs(1));
}
