//! Envelopes, errors, methods, query forms and pages: what SDKs see before any meaning.

use http::StatusCode;
use serde_json::{Value, json};

use super::house::{House, answer};

#[tokio::test]
async fn errors_are_worded_as_seams_server_words_them() {
    let house = House::open().await;
    let none = house.client.post(format!("{}/phones/list", house.url));
    let wrong = house.client.post(format!("{}/phones/list", house.url)).bearer_auth("seam_other_key");
    let cases = [
        (none, 401, "unauthorized", "No authentication methods succeeded"),
        (wrong, 401, "unauthorized", "API Key not found"),
        (house.call("PUT", "/phones/list"), 405, "method_not_allowed", "only GET,POST accepted"),
        (house.call("POST", "/acs/systems/get").json(&json!({})), 400, "invalid_input", "acs_system_id is required"),
        (
            house.call("GET", "/acs/systems/get?acs_system_id=x"),
            400,
            "invalid_input",
            "Invalid uuid for \"acs_system_id\"",
        ),
        (
            house
                .call("POST", "/acs/systems/get")
                .json(&json!({"acs_system_id": "00000000-0000-4000-8000-000000000000"})),
            404,
            "acs_system_not_found",
            "Access control system not found",
        ),
        (
            house.call("POST", "/acs/users/create").json(&json!({"acs_system_id": 1, "full_name": 2})),
            400,
            "invalid_input",
            "2 Input Errors: Expected string, received number for \"acs_system_id\", \
             Expected string, received number for \"full_name\"",
        ),
        (
            house.call("POST", "/events/list").json(&json!({})),
            400,
            "invalid_input",
            "Must specify either since or between",
        ),
        (
            house
                .call("POST", "/webhooks/create")
                .json(&json!({"url": "http://a.example", "event_types": ["no.such"]})),
            400,
            "invalid_event_types",
            "Invalid event types",
        ),
        (
            house.call("POST", "/phones/list").header("content-type", "text/plain").body("x"),
            400,
            "invalid_content_type",
            "POST requests must have Content-Type header with \"application/json\"",
        ),
    ];
    for (call, status, kind, message) in cases {
        let (got, body) = answer(call).await;
        assert_eq!(got.as_u16(), status, "{body}");
        assert_eq!((&body["error"]["type"], &body["error"]["message"]), (&json!(kind), &json!(message)));
        assert_eq!(body["ok"], false);
    }
    let broken = house.call("POST", "/phones/list").header("content-type", "application/json").body("{");
    assert_eq!(answer(broken).await, (StatusCode::BAD_REQUEST, json!("Invalid JSON")));
    assert_eq!(answer(house.call("POST", "/no/such")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn validation_errors_are_a_tree_and_each_answer_has_a_request_id() {
    let house = House::open().await;
    let (_, body) = house.try_seam("/acs/systems/get", &json!({})).await;
    assert_eq!(body["error"]["validation_errors"], json!({"_errors": [], "acs_system_id": {"_errors": ["Required"]}}));
    let response = house.call("POST", "/acs/systems/list").send().await.expect("an answer");
    let id = response.headers().get("seam-request-id").expect("an id").to_str().expect("a text");
    assert_eq!(id.len(), 36);
}

#[tokio::test]
async fn both_generations_of_sdks_ask_in_their_own_way() {
    let house = House::open().await;
    let (jane, user) = house.person("jane_doe", "visionline_system").await;
    let parent = house.parent(&user, &json!({})).await["acs_credential_id"].clone();
    let (jane, parent) = (jane.as_str().expect("an id"), parent.as_str().expect("an id"));
    let list = |query: &str| house.call("GET", &format!("/acs/credentials/list?{query}"));
    let strict = format!("is_multi_phone_sync_credential=true&user_identity_id={jane}&_strict=true");
    let older = format!("is_multi_phone_sync_credential=yes&user_identity_id={jane}");
    let with_body = house.call("GET", "/acs/credentials/list?user_identity_id=nonsense");
    let calls = [
        list(&strict),
        list(&older),
        with_body.json(&json!({"user_identity_id": jane})),
        house.call("POST", "/acs/credentials/list").header("content-type", "application/x-www-form-urlencoded"),
        house.call("POST", "/acs/credentials/list").json(&json!({"page_cursor": null, "limit": 10.0})),
    ];
    for call in calls {
        let (status, body) = answer(call).await;
        assert_eq!(
            (status, &body["acs_credentials"][0]["acs_credential_id"]),
            (StatusCode::OK, &json!(parent)),
            "{body}"
        );
    }
    for query in
        ["user_identity_ids={}&user_identity_ids={}&_strict=true", "user_identity_ids[]={}", "user_identity_ids={},{}"]
    {
        let query = query.replace("{}", jane);
        let (status, body) = answer(house.call("GET", &format!("/user_identities/list?{query}"))).await;
        assert_eq!((status, body["user_identities"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{query}");
    }
    let commas = house.call("GET", &format!("/user_identities/list?user_identity_ids={jane},{jane}&_strict=true"));
    assert_eq!(answer(commas).await.0, StatusCode::BAD_REQUEST, "strict splits no commas");
}

#[tokio::test]
async fn pages_follow_each_other_and_a_cursor_belongs_to_its_question() {
    let house = House::open().await;
    let all = house.seam("/acs/entrances/list", &json!({})).await["acs_entrances"].clone();
    let mut pages: Vec<Value> = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let page = house.seam("/acs/entrances/list", &json!({"limit": 5, "page_cursor": cursor})).await;
        pages.extend(page["acs_entrances"].as_array().expect("a list").clone());
        cursor = page["pagination"]["next_page_cursor"].clone();
        assert_eq!(page["pagination"]["has_next_page"], !cursor.is_null());
        if cursor.is_null() {
            break;
        }
        let other = json!({"limit": 5, "page_cursor": cursor, "search": "room"});
        house.refused("/acs/entrances/list", &other, "invalid_input").await;
    }
    assert_eq!(Value::from(pages), all);
    house.refused("/acs/entrances/list", &json!({"page_cursor": "nonsense"}), "invalid_input").await;
}

#[tokio::test]
async fn filters_of_credentials_narrow_together() {
    let house = House::open().await;
    let (jane, user) = house.person("jane_doe", "visionline_system").await;
    house.active_phone(&jane).await;
    let doors = house.doors(&["Room 101"]).await;
    let first = house.parent(&user, &json!({"allowed_acs_entrance_ids": doors})).await;
    house.pass(super::house::A_WHILE).await;
    let (john, _) = house.person("john_smith", "visionline_system").await;
    for (filter, count) in [
        (json!({"acs_user_id": user}), 2),
        (json!({"user_identity_id": jane}), 2),
        (json!({"user_identity_id": john}), 0),
        (json!({"user_identity_id": john, "acs_user_id": user}), 0),
        (json!({"acs_user_id": user, "is_multi_phone_sync_credential": true}), 1),
        (json!({"acs_system_id": first["acs_system_id"], "search": "room 101"}), 1),
        (json!({"created_before": first["created_at"]}), 0),
    ] {
        let listed = house.seam("/acs/credentials/list", &filter).await;
        assert_eq!(listed["acs_credentials"].as_array().map(Vec::len), Some(count), "{filter}");
    }
    for id in [&first["acs_credential_id"], &house.children(&first["acs_credential_id"]).await[0]["acs_credential_id"]]
    {
        let opened = house.seam("/acs/entrances/list", &json!({"acs_credential_id": id})).await;
        assert_eq!(opened["acs_entrances"][0]["acs_entrance_id"], doors[0]);
    }
}

#[tokio::test]
async fn a_seed_repeats_its_world_and_its_ids() {
    let (one, same) = (House::open().await, House::open().await);
    for house in [&one, &same] {
        let (jane, user) = house.person("jane_doe", "visionline_system").await;
        house.active_phone(&jane).await;
        house.parent(&user, &json!({})).await;
        house.pass(super::house::A_WHILE).await;
    }
    assert_eq!(one.world().await, same.world().await);
    one.order("reset", &json!({})).await;
    let (reset, fresh) = (one.world().await, House::open().await.world().await);
    assert_eq!(reset["user_identities"][0]["user_identity_id"], fresh["user_identities"][0]["user_identity_id"]);
    assert_eq!(reset["phones"], json!([]));
}

#[tokio::test]
async fn an_app_calls_with_its_client_session() {
    let house = House::open().await;
    let (jane, _) = house.person("jane_doe", "visionline_system").await;
    let session = house.seam("/client_sessions/create", &json!({"user_identity_id": jane})).await;
    let token = session["client_session"]["token"].as_str().expect("a token").to_owned();
    assert!(token.starts_with("seam_cst"), "{token}");
    let path = "/seam/mobile_sdk/v1/phone_sessions/get_or_create";
    let body = json!({"custom_sdk_installation_id": "app-1", "phone_os": "ios"});
    for _ in 0..2 {
        let call = house.client.post(format!("{}{path}", house.url)).bearer_auth(&token).json(&body);
        let (status, made) = answer(call).await;
        assert_eq!((status, &made["phone_session"]["user_identity"]["user_identity_id"]), (StatusCode::OK, &jane));
    }
    let phones = house.seam("/phones/list", &json!({"owner_user_identity_id": jane})).await;
    assert_eq!(phones["phones"].as_array().map(Vec::len), Some(1), "one phone for each installation");
    let call = house.client.get(format!("{}/phones/list", house.url)).header("client-session-token", token);
    assert_eq!(answer(call).await.0, StatusCode::OK);
}
