//! `workspace`, `webhook`, `client_session`, `instant_key`, `enrollment_automation`: what a workspace sets up beside people and doors.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Wire, value};
use crate::sandbox::world::World;
use crate::sandbox::world::ids::{
    AcsSystemId, ClientSessionId, ConnectedAccountId, EnrollmentAutomationId, InstantKeyId, UserIdentityId, WebhookId,
    WorkspaceId,
};
use crate::sandbox::world::moment::At;
use crate::sandbox::world::session::{ClientSession, EnrollmentAutomation, InstantKey};
use crate::sandbox::world::webhook::Webhook;

#[derive(Serialize)]
struct WebhookObject<'a> {
    webhook_id: WebhookId,
    url: &'a str,
    event_types: &'a [String],
    secret: &'a str,
}

impl Wire for Webhook {
    fn wire(&self, _world: &World) -> Value {
        value(WebhookObject {
            webhook_id: self.webhook_id,
            url: &self.url,
            event_types: &self.event_types,
            secret: &self.secret,
        })
    }

    fn secrets(&self) -> Vec<(&'static str, Value)> {
        self.disabled_at.map(|at| ("disabled_at", json!(At(at)))).into_iter().collect()
    }
}

#[derive(Serialize)]
struct ClientSessionObject<'a> {
    client_session_id: ClientSessionId,
    workspace_id: WorkspaceId,
    created_at: At,
    expires_at: At,
    token: &'a str,
    user_identifier_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_key: Option<&'a str>,
    device_count: usize,
    connected_account_ids: Vec<ConnectedAccountId>,
    connect_webview_ids: [String; 0],
    user_identity_ids: Vec<UserIdentityId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_identity_id: Option<UserIdentityId>,
}

impl Wire for ClientSession {
    fn wire(&self, world: &World) -> Value {
        let person = self.user_identity_id.and_then(|id| world.user_identities.get(id));
        value(ClientSessionObject {
            client_session_id: self.client_session_id,
            workspace_id: world.workspace_id,
            created_at: At(self.created_at),
            expires_at: At(self.expires_at),
            token: &self.token,
            user_identifier_key: self.user_identifier_key.as_deref(),
            customer_key: self.customer_key.as_deref(),
            device_count: person.map_or(0, |person| person.phones.len()),
            connected_account_ids: Vec::new(),
            connect_webview_ids: [],
            user_identity_ids: self.user_identity_id.into_iter().collect(),
            user_identity_id: self.user_identity_id,
        })
    }
}

#[derive(Serialize)]
struct EnrollmentAutomationObject {
    enrollment_automation_id: EnrollmentAutomationId,
    credential_manager_acs_system_id: AcsSystemId,
    user_identity_id: UserIdentityId,
    created_at: At,
    workspace_id: WorkspaceId,
    /// These two were there until 2024; code of that time reads them.
    is_running: bool,
    acs_credential_provisioning_automation_id: EnrollmentAutomationId,
}

impl Wire for EnrollmentAutomation {
    fn wire(&self, world: &World) -> Value {
        value(EnrollmentAutomationObject {
            enrollment_automation_id: self.enrollment_automation_id,
            credential_manager_acs_system_id: self.credential_manager,
            user_identity_id: self.user_identity_id,
            created_at: At(self.created_at),
            workspace_id: world.workspace_id,
            is_running: self.deleted_at.is_none(),
            acs_credential_provisioning_automation_id: self.enrollment_automation_id,
        })
    }
}

#[derive(Serialize)]
struct InstantKeyObject {
    instant_key_id: InstantKeyId,
    workspace_id: WorkspaceId,
    created_at: At,
    instant_key_url: String,
    client_session_id: ClientSessionId,
    user_identity_id: UserIdentityId,
    expires_at: At,
}

impl Wire for InstantKey {
    fn wire(&self, world: &World) -> Value {
        value(InstantKeyObject {
            instant_key_id: self.instant_key_id,
            workspace_id: world.workspace_id,
            created_at: At(self.created_at),
            instant_key_url: format!("https://ik.seam.co/{}", self.code),
            client_session_id: self.client_session_id,
            user_identity_id: self.user_identity_id,
            expires_at: At(self.expires_at),
        })
    }
}

/// `workspace`.
pub(crate) fn workspace(world: &World) -> Value {
    json!({
        "workspace_id": world.workspace_id,
        "name": "Keyferry Sandbox",
        "company_name": "Keyferry Sandbox",
        "is_sandbox": true,
        "is_suspended": false,
        "is_publishable_key_auth_enabled": false,
        "organization_id": null,
        "connect_partner_name": null,
        "connect_webview_customization": {},
    })
}
