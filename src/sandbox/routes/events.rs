//! `/events/*`.

use jiff::Timestamp;

use super::{Call, Endpoint};
use crate::sandbox::answer::{Answer, Outcome};
use crate::sandbox::input::Input;
use crate::sandbox::world::event::Event;
use crate::sandbox::world::event_types::KNOWN;
use crate::sandbox::world::ids::{
    AccessGrantId, AccessMethodId, AcsCredentialId, AcsEntranceId, AcsSystemId, AcsUserId, ConnectedAccountId,
    DeviceId, EventId,
};
use crate::sandbox::world::refusal::Refusal;

pub(super) static ENDPOINTS: &[Endpoint] = &[Endpoint::get("/events/get", get), Endpoint::get("/events/list", list)];

fn get(call: &mut Call<'_>) -> Outcome {
    let (id, event_type, device) = call.read(|input| {
        let id: Option<EventId> = input.optional("event_id");
        let device: Option<DeviceId> = input.optional("device_id");
        (id, input.text("event_type"), device)
    })?;
    if id.is_none() && (event_type.is_none() || device.is_none()) {
        return Err(Refusal::together("Must specify either event_id or event_type and device_id"));
    }
    let mut newest_first = call.world.events.iter().rev();
    let found = newest_first.find(|event| {
        id.is_none_or(|id| event.event_id == id)
            && event_type.as_deref().is_none_or(|name| event.event_type.name() == name)
            && device.is_none_or(|device| event.about.device_id == Some(device))
    });
    let found = found.ok_or_else(|| Refusal::not_found("event", "Event"))?;
    Ok(Answer::of("event", found.as_ref()))
}

struct Filter {
    from: Timestamp,
    until: Option<Timestamp>,
    types: Option<Vec<String>>,
    ids: Option<Vec<EventId>>,
    grants: Option<Vec<AccessGrantId>>,
    methods: Option<Vec<AccessMethodId>>,
    credential: Option<AcsCredentialId>,
    entrance: Option<AcsEntranceId>,
    systems: Option<Vec<AcsSystemId>>,
    user: Option<AcsUserId>,
    account: Option<ConnectedAccountId>,
    devices: Option<Vec<DeviceId>>,
    /// Asks for something that no event here is about: a lock's code, a webview, a space, a customer.
    about_something_else: bool,
    limit: usize,
    offset: usize,
}

/// The one form and the list form of the same filter, together.
fn either<T: crate::sandbox::input::Parameter>(input: &mut Input, one: &str, many: &str) -> Option<Vec<T>> {
    let single: Option<T> = input.optional(one);
    let several: Option<Vec<T>> = input.optional(many);
    match (single, several) {
        (Some(single), several) => Some(several.into_iter().flatten().chain([single]).collect()),
        (None, several) => several,
    }
}

fn read_filter(input: &mut Input) -> Filter {
    let since: Option<Timestamp> = input.optional("since");
    let between: Option<Vec<Timestamp>> = input.optional("between");
    let span = match (since, between.as_deref()) {
        (Some(since), None) => Some((since, None)),
        (None, Some([from, until])) => Some((*from, Some(*until))),
        (None, Some(_)) => {
            input.issue("between", "Array must contain exactly 2 element(s)");
            None
        }
        // An unreadable time has its own issue already.
        _ if !input.is_sound() => None,
        _ => {
            input.issue("", "Must specify either since or between");
            None
        }
    };
    let types: Option<Vec<String>> = either(input, "event_type", "event_types");
    for name in types.iter().flatten().filter(|name| !KNOWN.contains(&name.as_str())) {
        input.issue("event_type", format!("Invalid enum value, received '{name}'"));
    }
    let elsewhere = [
        "access_code_id",
        "access_code_ids",
        "connect_webview_id",
        "space_id",
        "space_ids",
        "customer_key",
        "acs_access_group_id",
        "acs_encoder_id",
        "user_identity_id",
    ];
    let (from, until) = span.unwrap_or_default();
    Filter {
        from,
        until,
        types,
        ids: input.optional("event_ids"),
        grants: either(input, "access_grant_id", "access_grant_ids"),
        methods: either(input, "access_method_id", "access_method_ids"),
        credential: input.optional("acs_credential_id"),
        entrance: input.optional("acs_entrance_id"),
        systems: either(input, "acs_system_id", "acs_system_ids"),
        user: input.optional("acs_user_id"),
        account: input.optional("connected_account_id"),
        devices: either(input, "device_id", "device_ids"),
        about_something_else: elsewhere
            .iter()
            .filter(|name| input.optional::<serde_json::Value>(name).is_some())
            .count()
            > 0,
        limit: input.optional("limit").unwrap_or(500),
        offset: input.optional("unstable_offset").unwrap_or(0),
    }
}

impl Filter {
    fn takes(&self, event: &Event) -> bool {
        fn among<T: PartialEq>(wanted: Option<&Vec<T>>, is: Option<&T>) -> bool {
            wanted.is_none_or(|wanted| is.is_some_and(|is| wanted.contains(is)))
        }
        let about = &event.about;
        let at = event.created_at.0;
        let grants = about.access_grant_id.iter().chain(about.access_grant_ids.iter().flatten());
        at >= self.from
            && self.until.is_none_or(|until| at <= until)
            && self.types.as_ref().is_none_or(|types| types.iter().any(|name| name == event.event_type.name()))
            && among(self.ids.as_ref(), Some(&event.event_id))
            && self.grants.as_ref().is_none_or(|wanted| grants.clone().any(|grant| wanted.contains(grant)))
            && among(self.methods.as_ref(), about.access_method_id.as_ref())
            && self.credential.is_none_or(|id| about.acs_credential_id == Some(id))
            && self.entrance.is_none_or(|id| about.acs_entrance_id == Some(id))
            && among(self.systems.as_ref(), about.acs_system_id.as_ref())
            && self.user.is_none_or(|id| about.acs_user_id == Some(id))
            && self.account.is_none_or(|id| about.connected_account_id == Some(id))
            && among(self.devices.as_ref(), about.device_id.as_ref())
    }
}

/// Oldest first. There is no cursor; a client goes on from the last `created_at`.
fn list(call: &mut Call<'_>) -> Outcome {
    let filter = call.read(read_filter)?;
    let rows = call.world.events.iter().filter(|event| !filter.about_something_else && filter.takes(event));
    let page: Vec<&Event> = rows.skip(filter.offset).take(filter.limit).map(AsRef::as_ref).collect();
    Ok(Answer::of("events", page))
}
