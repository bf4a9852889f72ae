//! Credentials that the broker doesn't accept.

use std::time::{Duration, Instant};

use polymq_core::ErrorKind;
use polymq_tests::bed::Log;
use polymq_tests::real::mailer::{ORDERS, service};
use polymq_tests::real::{Place, Series, try_start};

on_each_series!(wrong_credentials_are_refused_at_once);

/// Long before `connect_timeout`, which is for a broker that is away.
const AT_ONCE: Duration = Duration::from_secs(5);

async fn wrong_credentials_are_refused_at_once(series: Series) {
    let place = Place::shared(series).await;
    let config = place.config_at(&place.url_as("somebody", "a-wrong-secret"), ORDERS);
    let began = Instant::now();
    let error = try_start(&config, service(&Log::default())).await.unwrap_err();
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert!(error.help().is_some_and(|help| help.contains("password")), "{error:?}");
    assert!(!format!("{error:?}").contains("a-wrong-secret"), "{error:?}");
}
