//! `send` and the receiver: one signs as the other verifies.

use std::path::PathBuf;

use keyferry::cli::send::{Args, run};
use keyferry::clock::SeededEntropy;
use keyferry::domain::Fact;
use keyferry::http;
use keyferry::queue::Content;
use keyferry::receiver::{Limits, Source};
use url::Url;

use super::{APP_SECRET, Fate, SECRET, Served, seam};

fn args(source: &str, file: &str) -> Args {
    let file = PathBuf::from(format!("{}/tests/fixtures/webhook/{file}", env!("CARGO_MANIFEST_DIR")));
    Args { source: source.to_owned(), file, secret: None, url: None, print: false }
}

async fn send(served: &Served, args: Args, source: Option<Source>) -> Result<(), String> {
    let url: Url = format!("http://{}", served.at).parse().expect("a URL");
    run(args, source, url, &served.clock, &SeededEntropy::new(1)).await.map_err(|error| format!("{error:#}"))
}

#[tokio::test]
async fn what_is_sent_is_accepted_byte_for_byte() {
    let served = Served::start().await;
    let file = "seam/acs_credential.issued.json";
    send(&served, args("seam", file), Some(seam())).await.expect("accepted");
    let [envelope] = served.published().try_into().expect("one envelope");
    assert_eq!(envelope.body, super::fixture(file));
    assert!(envelope.delivery_id.starts_with("msg_"));
    let Content::Event(event) = envelope.content else { panic!("{:?} is an event", envelope.content) };
    assert!(matches!(event.fact, Fact::CredentialChanged { .. }));
}

#[tokio::test]
async fn a_secret_and_an_address_can_be_given() {
    let served = Served::start().await;
    let file = "seam/phone.deactivated.json";
    let given = |text: &str| Args { secret: Some(text.into()), ..args("app", file) };
    send(&served, given(APP_SECRET), None).await.expect("accepted without configuration");
    send(&served, given(APP_SECRET), Some(seam())).await.expect("the given secret wins");
    let elsewhere = Args { url: Some("http://127.0.0.1:1".parse().expect("a URL")), ..given(APP_SECRET) };
    assert!(send(&served, elsewhere, None).await.expect_err("nobody is there").contains("did not answer"));
    assert_eq!(served.published().len(), 2);
}

#[tokio::test]
async fn what_goes_wrong_is_said_with_what_to_do() {
    let served = Served::start().await;
    let file = "seam/phone.deactivated.json";
    let given = |text: &str| Args { secret: Some(text.into()), ..args("app", file) };
    let error = send(&served, args("app", file), None).await.expect_err("no source");
    assert!(error.contains("--secret"), "{error}");
    let error = send(&served, given(SECRET), None).await.expect_err("a wrong secret");
    assert!(error.contains("401") && error.contains("clock"), "{error}");
    let error = send(&served, given("whsec_hunter2"), None).await.expect_err("no secret at all");
    assert!(error.contains("whsec_") && !error.contains("hunter2"), "{error}");
    let error = send(&served, args("seam", "no such file"), Some(seam())).await.expect_err("no file");
    assert!(error.contains("no such file"), "{error}");
    assert!(served.published().is_empty());

    let broken = Served::with(Fate::Unavailable, Limits::default(), http::Limits::default()).await;
    let error = send(&broken, args("seam", file), Some(seam())).await.expect_err("not durable");
    assert!(error.contains("503") && error.contains("send again"), "{error}");
}
