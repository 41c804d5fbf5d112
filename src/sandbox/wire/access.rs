//! `access_grant` and `access_method`.

use serde::Serialize;
use serde_json::Value;

use super::{NOTHING, Note, Wire, at, value};
use crate::sandbox::world::World;
use crate::sandbox::world::access::{AccessGrant, AccessMethod};
use crate::sandbox::world::credential::AccessMethodMode;
use crate::sandbox::world::ids::{AccessGrantId, AccessMethodId, UserIdentityId, WorkspaceId};
use crate::sandbox::world::moment::At;

#[derive(Serialize)]
struct AccessGrantObject<'a> {
    access_grant_id: AccessGrantId,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_grant_key: Option<&'a str>,
    workspace_id: WorkspaceId,
    user_identity_id: UserIdentityId,
    created_at: At,
    display_name: &'a str,
    display_status: &'static str,
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reservation_key: Option<&'a str>,
    starts_at: At,
    ends_at: Option<At>,
    access_method_ids: &'a [AccessMethodId],
    requested_access_methods: Vec<Requested<'a>>,
    location_ids: [String; 0],
    space_ids: [String; 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    client_session_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instant_key_url: Option<String>,
    errors: Vec<Note>,
    warnings: [Note; 0],
    pending_mutations: [Note; 0],
}

#[derive(Serialize)]
struct Requested<'a> {
    display_name: &'static str,
    mode: AccessMethodMode,
    created_at: At,
    created_access_method_ids: [AccessMethodId; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
}

impl AccessMethodMode {
    fn display_name(self) -> &'static str {
        match self {
            Self::Code => "PIN Code",
            Self::Card => "Plastic Card",
            Self::MobileKey => "Mobile Key",
            Self::CloudKey => "Cloud Key",
        }
    }
}

fn instant_key_url(method: &AccessMethod) -> Option<String> {
    method.instant_key_code.as_ref().map(|code| format!("https://ik.seam.co/{code}"))
}

fn session_token<'a>(world: &'a World, grant: &AccessGrant) -> Option<&'a str> {
    world.client_sessions.get(grant.client_session_id?).map(|session| session.token.as_str())
}

impl Wire for AccessGrant {
    fn wire(&self, world: &World) -> Value {
        let methods: Vec<&AccessMethod> =
            self.access_methods.iter().filter_map(|id| world.access_methods.at(*id)).collect();
        let is_issued = !methods.is_empty() && methods.iter().all(|method| method.issued_at.is_some());
        let mut mobile_keys = methods.iter().filter(|method| method.mode == AccessMethodMode::MobileKey);
        let single_mobile_key = mobile_keys.next().filter(|_| mobile_keys.next().is_none());
        let failed = |(message, at): &(String, _)| Note::error("cannot_create_requested_access_methods", message, *at);
        value(AccessGrantObject {
            access_grant_id: self.access_grant_id,
            access_grant_key: self.access_grant_key.as_deref(),
            workspace_id: world.workspace_id,
            user_identity_id: self.user_identity_id,
            created_at: At(self.created_at),
            display_name: self.name.as_deref().unwrap_or("Access Grant"),
            display_status: if is_issued { "Active" } else { "Pending" },
            name: self.name.as_deref(),
            reservation_key: self.reservation_key.as_deref(),
            starts_at: At(self.starts_at),
            ends_at: at(self.ends_at),
            access_method_ids: &self.access_methods,
            requested_access_methods: methods.iter().map(|method| requested(method)).collect(),
            location_ids: [],
            space_ids: [],
            client_session_token: session_token(world, self),
            instant_key_url: single_mobile_key.and_then(|method| instant_key_url(method)),
            errors: self.error.iter().map(failed).collect(),
            warnings: NOTHING,
            pending_mutations: NOTHING,
        })
    }
}

fn requested(method: &AccessMethod) -> Requested<'_> {
    Requested {
        display_name: method.mode.display_name(),
        mode: method.mode,
        created_at: At(method.created_at),
        created_access_method_ids: [method.access_method_id],
        code: method.code.as_deref(),
    }
}

#[derive(Serialize)]
struct AccessMethodObject<'a> {
    access_method_id: AccessMethodId,
    workspace_id: WorkspaceId,
    created_at: At,
    display_name: &'static str,
    display_status: &'static str,
    mode: AccessMethodMode,
    is_issued: bool,
    issued_at: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_encoding_required: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_session_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instant_key_url: Option<String>,
    errors: [Note; 0],
    warnings: [Note; 0],
    pending_mutations: [Note; 0],
}

impl Wire for AccessMethod {
    fn wire(&self, world: &World) -> Value {
        let grant = world.access_grants.at(self.access_grant_id);
        let is_card = self.mode == AccessMethodMode::Card;
        let token = grant.and_then(|grant| session_token(world, grant));
        value(AccessMethodObject {
            access_method_id: self.access_method_id,
            workspace_id: world.workspace_id,
            created_at: At(self.created_at),
            display_name: self.mode.display_name(),
            display_status: match (self.issued_at, is_card) {
                (Some(_), _) => "Issued",
                (None, true) => "Awaiting encoding",
                (None, false) => "Awaiting issuance",
            },
            mode: self.mode,
            is_issued: self.issued_at.is_some(),
            issued_at: at(self.issued_at),
            code: self.code.as_deref(),
            is_encoding_required: is_card.then_some(self.issued_at.is_none()),
            client_session_token: token.filter(|_| self.mode == AccessMethodMode::MobileKey),
            instant_key_url: instant_key_url(self),
            errors: NOTHING,
            warnings: NOTHING,
            pending_mutations: NOTHING,
        })
    }
}
