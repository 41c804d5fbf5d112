//! Who may ask: the token, this machine, no page of another site.

use http::Method;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use keyferry::http::Limits;
use keyferry::ops::{Behind, Health, Ops};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::office::Office;

#[tokio::test]
async fn with_a_token_it_is_wanted_everywhere_but_for_health() {
    let office = Office::with_token(Some("s3cret")).await;
    assert_eq!(office.get("/v1/status").await.status, 200);
    assert_eq!(office.get("/metrics").await.status, 200);

    let client = reqwest::Client::new();
    let ask = |method: Method, path: &str| client.request(method, format!("{}{path}", office.url));
    let mut bodies = Vec::new();
    for request in [
        ask(Method::GET, "/v1/status"),
        ask(Method::GET, "/v1/status").bearer_auth("wrong"),
        ask(Method::GET, "/v1/status").header(AUTHORIZATION, "Basic czNjcmV0"),
        ask(Method::GET, "/v1/nope"),
        ask(Method::GET, "/metrics"),
        ask(Method::PATCH, "/v1/status"),
        ask(Method::POST, "/v1/parked/1/release"),
        ask(Method::PUT, "/v1/plans/booking-1").body("{"),
    ] {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 401);
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        bodies.push(answer.text().await.expect("text"));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the same words whatever was asked: {bodies:?}");
    assert_eq!(ask(Method::GET, "/livez").send().await.expect("an answer").status(), 200);
    assert_eq!(ask(Method::GET, "/readyz").send().await.expect("an answer").status(), 200);
}

#[tokio::test]
async fn without_a_token_only_this_machine_may_ask() {
    let office = Office::open().await;
    let rebound = office.send(office.request(Method::GET, "/v1/status").header(HOST, "evil.example:8081")).await;
    assert_eq!((rebound.status.as_u16(), rebound.json()["error"]["type"].as_str()), (403, Some("foreign_host")));
    let page = office.request(Method::POST, "/v1/parked/1/discard").header(ORIGIN, "https://evil.example");
    let page = office.send(page).await;
    assert_eq!((page.status.as_u16(), page.json()["error"]["type"].as_str()), (403, Some("foreign_origin")));
    let own = office.request(Method::GET, "/v1/status").header(ORIGIN, office.url.as_str());
    assert_eq!(office.send(own).await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_same_shape() {
    let office = Office::open().await;
    for path in ["/v1", "/v1/nope", "/v1/plans/", "/v1/plans/a/b", "/v1/plans/%ff"] {
        let answer = office.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.json()["error"]["type"].as_str()), (404, Some("no_such_path")));
    }
    let answer = office.post("/v1/status").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["type"].as_str()), (405, Some("method_not_allowed")));
    assert_eq!(answer.headers["allow"], "GET,HEAD");
}

#[tokio::test]
async fn a_receiver_alone_has_health_and_metrics_and_no_api() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let clock = std::sync::Arc::new(keyferry::clock::SystemClock);
    let router = keyferry::ops::router(Ops {
        health: Health::new(vec![], clock),
        metrics: PrometheusBuilder::new().build_recorder().handle(),
        token: None,
        behind: Behind::Nothing,
    });
    let server = keyferry::http::serve(listener, router, Limits::default(), CancellationToken::new());
    let server = tokio::spawn(server);
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/metrics", 200), ("/v1/status", 404), ("/", 404)] {
        let answer = reqwest::get(format!("{url}{path}")).await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
    }
    server.abort();
}

#[tokio::test]
async fn the_page_is_open_to_all_and_may_do_next_to_nothing() {
    let office = Office::with_token(Some("s3cret")).await;
    let client = reqwest::Client::new();
    for (path, media_type) in [("/", "text/html"), ("/page.js", "text/javascript"), ("/page.css", "text/css")] {
        let answer = client.get(format!("{}{path}", office.url)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let header = |name: &str| answer.headers()[name].to_str().expect("text").to_owned();
        assert!(header("content-type").starts_with(media_type), "{path}");
        let policy = header("content-security-policy");
        let directives: Vec<&str> = policy.split("; ").collect();
        for directive in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
            assert!(directives.contains(&directive), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("x-content-type-options"), "nosniff");
        let text = answer.text().await.expect("text");
        for forbidden in
            ["innerHTML", "outerHTML", "document.write", "eval(", "https://", "http://www", " style=\"", " onclick"]
        {
            assert!(!text.contains(forbidden), "{path} contains {forbidden}");
        }
    }
    let api = client.get(format!("{}/v1/status", office.url)).bearer_auth("s3cret").send().await.expect("an answer");
    assert_eq!(api.headers()["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
}
