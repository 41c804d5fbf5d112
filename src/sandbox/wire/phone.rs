//! `phone`.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{NOTHING, Note, Wire, value};
use crate::sandbox::world::World;
use crate::sandbox::world::ids::{DeviceId, UserIdentityId, WorkspaceId};
use crate::sandbox::world::moment::At;
use crate::sandbox::world::phone::{DeviceType, EndpointState, Phone};

#[derive(Serialize)]
struct PhoneObject<'a> {
    device_id: DeviceId,
    device_type: DeviceType,
    display_name: &'a str,
    workspace_id: WorkspaceId,
    created_at: At,
    custom_metadata: &'a Map<String, Value>,
    errors: [Note; 0],
    warnings: [Note; 0],
    properties: Properties<'a>,
}

#[derive(Serialize)]
struct Properties<'a> {
    assa_abloy_credential_service_metadata: AssaAbloy<'a>,
    salto_space_credential_service_metadata: SaltoSpace,
}

#[derive(Serialize)]
struct AssaAbloy<'a> {
    has_active_endpoint: bool,
    endpoints: Vec<Endpoint<'a>>,
}

#[derive(Serialize)]
struct Endpoint<'a> {
    endpoint_id: &'a str,
    is_active: bool,
}

#[derive(Serialize)]
struct SaltoSpace {
    has_active_phone: bool,
}

impl Wire for Phone {
    fn wire(&self, world: &World) -> Value {
        // An endpoint is there from the moment that the phone sets it up.
        let has_endpoint = matches!(
            self.endpoint,
            EndpointState::Activating
                | EndpointState::Active
                | EndpointState::ActivationFailure
                | EndpointState::Terminated
        );
        let endpoint = Endpoint { endpoint_id: &self.endpoint_id, is_active: self.is_active() };
        value(PhoneObject {
            device_id: self.device_id,
            device_type: self.device_type,
            display_name: &self.model,
            workspace_id: world.workspace_id,
            created_at: At(self.created_at),
            custom_metadata: &self.custom_metadata,
            errors: NOTHING,
            warnings: NOTHING,
            properties: Properties {
                assa_abloy_credential_service_metadata: AssaAbloy {
                    has_active_endpoint: self.is_active(),
                    endpoints: has_endpoint.then_some(endpoint).into_iter().collect(),
                },
                salto_space_credential_service_metadata: SaltoSpace { has_active_phone: self.is_active() },
            },
        })
    }

    fn secrets(&self) -> Vec<(&'static str, Value)> {
        vec![("user_identity_id", json!(self.owner)), ("endpoint_state", json!(self.endpoint))]
    }
}

/// `phone_session`, as the mobile SDK reads it.
pub(crate) fn phone_session(world: &World, person: UserIdentityId, device: DeviceId) -> Value {
    let phone = world.phones.get(device);
    let state = phone.map(|phone| phone.endpoint);
    let is_being_activated = state.is_some_and(|state| {
        matches!(state, EndpointState::InvitationPending | EndpointState::Acknowledged | EndpointState::Activating)
    });
    let managers = world.systems.live().filter(|system| system.family().is_credential_manager());
    let sessions: Vec<Value> = managers
        .map(|manager| {
            let registration = json!({
                "phone_registration_id": phone.map(|phone| &phone.endpoint_id),
                "provider_name": manager.external_type,
                "is_being_activated": is_being_activated,
                "provider_state": {"state": state},
            });
            json!({"acs_credentials": [], "phone_registration": registration})
        })
        .collect();
    let user_identity = world.user_identity(person).map(|person| person.wire(world)).unwrap_or_default();
    json!({
        "workspace_id": world.workspace_id,
        "is_sandbox_workspace": true,
        "user_identity": user_identity,
        "provider_sessions": sessions,
    })
}
