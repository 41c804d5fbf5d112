//! `/client_sessions/*`.

use super::{Call, Endpoint};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::input::Input;
use crate::sandbox::world::ids::UserIdentityId;
use crate::sandbox::world::session::ClientSessionDraft;

pub(super) static ENDPOINTS: &[Endpoint] = &[
    Endpoint::put("/client_sessions/create", create),
    Endpoint::post("/client_sessions/get_or_create", get_or_create),
    Endpoint::delete("/client_sessions/delete", delete),
];

fn read_draft(input: &mut Input) -> ClientSessionDraft {
    // There are no webviews and no customers here; what is said of them is taken and has no effect.
    let _: (Option<Vec<String>>, Option<Vec<String>>) =
        (input.optional("connect_webview_ids"), input.optional("connected_account_ids"));
    let _: Option<String> = input.optional("customer_id");
    let several: Option<Vec<UserIdentityId>> = input.optional("user_identity_ids");
    if several.as_ref().is_some_and(|several| several.len() != 1) {
        input.issue("user_identity_ids", "Array must contain exactly 1 element(s)");
    }
    ClientSessionDraft {
        user_identity_id: input.optional("user_identity_id").or(several.and_then(|several| several.first().copied())),
        user_identifier_key: input.text("user_identifier_key"),
        customer_key: input.text("customer_key"),
        expires_at: input.optional("expires_at"),
    }
}

fn create(call: &mut Call<'_>) -> Outcome {
    let draft = call.read(read_draft)?;
    let id = call.world.create_client_session(draft, call.now)?;
    Ok(call.one("client_session", call.world.client_session(id)?))
}

fn get_or_create(call: &mut Call<'_>) -> Outcome {
    let draft = call.read(read_draft)?;
    let found = call.world.client_sessions.live().find(|session| {
        session.user_identity_id == draft.user_identity_id
            && session.user_identifier_key == draft.user_identifier_key
            && call.now < session.expires_at
    });
    let id = match found {
        Some(session) => session.client_session_id,
        None => call.world.create_client_session(draft, call.now)?,
    };
    Ok(call.one("client_session", call.world.client_session(id)?))
}

fn delete(call: &mut Call<'_>) -> Outcome {
    let id = call.read(|input| input.required("client_session_id"))?;
    call.world.delete_client_session(id, call.now)?;
    Ok(Answer::void())
}
