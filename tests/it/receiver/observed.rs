//! What an operator sees of the receiver, and what nobody may see or cause.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use keyferry::http;
use keyferry::receiver::Limits;
use metrics_exporter_prometheus::PrometheusBuilder;
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use super::wire::{Post, REGISTERED, exchange};
use super::{Fate, Served};

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no test panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Runs `story` and returns what was logged at `level` and above, and the metrics.
///
/// Both are caught per thread, so the story runs on one thread.
fn observe(level: Level, story: impl Future<Output = ()>) -> (String, String) {
    let (log, metrics) = (Log::default(), PrometheusBuilder::new().build_recorder());
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(log.clone()).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tracing::subscriber::with_default(subscriber, || {
        metrics::with_local_recorder(&metrics, || runtime.block_on(story));
    });
    let log = String::from_utf8(log.0.lock().expect("no test panics with it").clone()).expect("UTF-8");
    (log, metrics.handle().render())
}

async fn status(served: &Served, post: &Post) -> u16 {
    exchange(served.at, &post.bytes()).await.expect("an answer").status
}

#[test]
fn everything_is_counted_under_names_that_we_chose() {
    let (_, metrics) = observe(Level::ERROR, async {
        let served = Served::start().await;
        let strange = REGISTERED.replace("phone.registered", "strange.new_type");
        assert_eq!(status(&served, &Post::app(REGISTERED)).await, 202);
        assert_eq!(status(&served, &Post::app(strange)).await, 202);
        assert_eq!(status(&served, &Post::app("{}")).await, 202);
        assert_eq!(status(&served, &Post::app(REGISTERED).body("{}")).await, 401);
        assert_eq!(status(&served, &Post::app(REGISTERED).set("Content-Type", "text/css")).await, 415);
        for name in ["mallory-1", "mallory-2", "mallory-3"] {
            let line = format!("POST /webhooks/{name} HTTP/1.1");
            assert_eq!(status(&served, &Post::app(REGISTERED).line(&line)).await, 401);
        }
    });
    for line in [
        r#"keyferry_webhooks_total{source="app",outcome="accepted"} 2"#,
        r#"keyferry_webhooks_total{source="app",outcome="unreadable"} 1"#,
        r#"keyferry_webhooks_total{source="app",outcome="refused"} 1"#,
        r#"keyferry_webhooks_total{source="app",outcome="not_json"} 1"#,
        r#"keyferry_webhooks_total{source="_unknown",outcome="refused"} 3"#,
        r#"keyferry_webhooks_refused_total{reason="signature_wrong"} 1"#,
        r#"keyferry_webhooks_refused_total{reason="source_unknown"} 3"#,
        "keyferry_webhook_accept_seconds_count 2",
    ] {
        assert!(metrics.lines().any(|present| present == line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains("mallory") && !metrics.contains("strange"), "{metrics}");
}

#[test]
fn a_stranger_does_not_choose_how_much_is_logged() {
    let (log, _) = observe(Level::INFO, async {
        let served = Served::start().await;
        for _ in 0..50 {
            assert_eq!(status(&served, &Post::app(REGISTERED).body("{}")).await, 401);
            assert_eq!(status(&served, &Post::app(REGISTERED).set("Content-Type", "text/css")).await, 415);
        }
        served.clock.advance(SignedDuration::from_mins(1));
        assert_eq!(status(&served, &Post::app(REGISTERED).body("{}")).await, 401);
    });
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(lines.iter().all(|line| line.contains("WARN") && line.contains("reason=\"signature_wrong\"")), "{log}");
    assert!(lines[1].contains("unsaid=49"), "{log}");
}

#[test]
fn a_clock_that_goes_wrong_is_said_before_anything_is_refused() {
    let (log, metrics) = observe(Level::WARN, async {
        let served = Served::start().await;
        // Half of what is tolerated may be the way; more is a clock, or something that holds deliveries up.
        for (seconds, answer) in [(150, 202), (1, 202), (150, 401)] {
            served.clock.advance(SignedDuration::from_secs(seconds));
            assert_eq!(status(&served, &Post::app(REGISTERED)).await, answer);
        }
    });
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 3, "{log}");
    assert!(lines[0].contains("source=\"app\" skew_seconds=151 tolerance_seconds=300"), "{log}");
    assert!(lines[1].contains("skew_seconds=301") && lines[2].contains("reason=\"too_old\""), "{log}");
    for line in [
        r#"keyferry_source_clock_skew_seconds{source="app"} 301"#,
        r#"keyferry_source_secret_uses_total{source="app",secret="1"} 2"#,
        r#"keyferry_source_secret_last_used_timestamp_seconds{source="app",secret="1"} 1772361756"#,
    ] {
        assert!(metrics.lines().any(|present| present == line), "{line} in\n{metrics}");
    }
}

#[test]
fn a_queue_that_is_down_is_said_once_a_minute() {
    let (log, _) = observe(Level::INFO, async {
        let served = Served::with(Fate::Unavailable, Limits::default(), http::Limits::default()).await;
        for _ in 0..10 {
            assert_eq!(status(&served, &Post::app(REGISTERED)).await, 503);
        }
    });
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("the broker is down"), "{log}");
}

#[test]
fn nothing_leaks_at_the_most_verbose_level() {
    let body =
        r#"{"event_id":"secret-id","event_type":"guest.named","occurred_at":"2026-03-01T10:40:00Z","name":"Jane"}"#;
    let posts = [
        Post::app(body),
        Post::app(body).without("webhook-id"),
        Post::app(body).set("webhook-id", "\x1b[31mmsg"),
        Post::app(body).body(body.replace("Jane", "Joan")),
        Post::app(body.replace("2026", "Jane")),
        Post::app(body).line("POST /webhooks/Jane HTTP/1.1"),
    ];
    let mut secrets = vec!["plJ3nmyC".to_owned(), "MfKQ9r8G".to_owned(), "Jane".to_owned(), "Joan".to_owned()];
    for post in &posts {
        let signature = post.headers.iter().find(|(name, _)| name == "webhook-signature").expect("signed");
        secrets.push(String::from_utf8(signature.1.clone()).expect("ASCII")["v1,".len()..].to_owned());
    }
    let (log, metrics) = observe(Level::TRACE, async {
        let served = Served::start().await;
        for post in &posts {
            // Some are refused; what is asked here is only what remains of them.
            exchange(served.at, &post.bytes()).await;
        }
    });
    assert!(log.contains("event_type=\"guest.named\""), "the log is there: {log}");
    for secret in secrets {
        assert!(!log.contains(&secret) && !metrics.contains(&secret), "{secret} in\n{log}\n{metrics}");
    }
    assert!(!log.contains('\x1b'), "{log}");
}
