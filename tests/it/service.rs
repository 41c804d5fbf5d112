//! How the parts of a role end together.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::{Clock, SystemClock, SystemEntropy};
use keyferry::config::{self, Flags, Role};
use keyferry::lifecycle::Shutdown;
use keyferry::service::{self, Listeners, Surroundings};
use keyferry::sweep;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::support::ground::Ground;
use crate::support::town::APP_SECRET;
use crate::support::wait::DEADLINE;

/// The machine's clock, with a bug that the sweep meets.
struct Buggy;

impl Clock for Buggy {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<'static, ()> {
        SystemClock.sleep_until(at)
    }

    fn sleep(&self, duration: SignedDuration) -> BoxFuture<'static, ()> {
        assert_ne!(duration, sweep::Settings::default().poll, "a bug in the clock");
        SystemClock.sleep(duration)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_panics_ends_the_process_which_says_that_it_did_not_end_well() {
    let ground = Ground::embedded();
    let environment: BTreeMap<String, String> = [
        ("KEYFERRY_STORE_URL", ground.store_url.as_str()),
        ("KEYFERRY_APP_WEBHOOK_SECRET", APP_SECRET),
        ("SEAM_API_KEY", "seam_test1_key"),
        ("SEAM_ENDPOINT", "http://127.0.0.1:1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let config = config::load(Role::Run, &Flags::default(), &environment, None).expect("a configuration");
    let (_keep, roster) = watch::channel(Arc::clone(&config.roster));
    let bind = async || TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let listeners = Listeners { receiver: Some(bind().await), ops: bind().await };
    let surroundings = Surroundings {
        clock: Arc::new(Buggy),
        entropy: Arc::new(SystemEntropy),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
    };
    let shutdown = Shutdown::default();
    let running = service::run(Role::Run, config, roster, listeners, surroundings, &shutdown);
    let left = tokio::time::timeout(DEADLINE, running).await.expect("it ends by itself").expect("it had begun");
    assert_eq!(left, 1, "the part that panicked");
    assert!(!shutdown.soft.is_cancelled(), "which is the caller's");
}
