//! Who lives in a schedule: guests of the sandbox's hotel, what the customer plans for them, and their phones.

use jiff::SignedDuration;
use jiff::Timestamp;
use keyferry::clock::add;
use keyferry::domain::PlanSpec;
use serde_json::{Value, json};

use super::desk::{Stay, list, stay, text};

/// A guest, as Seam knows them.
#[derive(Debug, Clone)]
pub(super) struct Guest {
    pub(super) user_identity_id: String,
    pub(super) user_identity_key: String,
    pub(super) acs_user_id: String,
}

/// A plan that the customer has in mind.
#[derive(Debug, Clone)]
pub(super) struct Booking {
    pub(super) key: String,
    pub(super) spec: PlanSpec,
    pub(super) stay: Stay,
    pub(super) is_put: bool,
}

/// The hotel: its guests, and its rooms with guest locks.
pub(super) struct Hotel {
    pub(super) guests: Vec<Guest>,
    credential_manager: String,
    rooms: Vec<String>,
    lobby: String,
}

impl Hotel {
    pub(super) fn of(world: &Value) -> Self {
        let systems = list(world, "acs_systems");
        let hotel = systems.iter().find(|it| it["external_type"] == "visionline_system").expect("a hotel");
        let is_here = |it: &&Value| it["acs_system_id"] == hotel["acs_system_id"];
        let people = list(world, "user_identities");
        let guest = |user: &Value| Guest {
            user_identity_id: text(user, "user_identity_id"),
            user_identity_key: text(
                people.iter().find(|it| it["user_identity_id"] == user["user_identity_id"]).expect("a person"),
                "user_identity_key",
            ),
            acs_user_id: text(user, "acs_user_id"),
        };
        let doors = || list(world, "acs_entrances").iter().filter(is_here);
        let category = |door: &Value| text(&door["visionline_metadata"], "door_category");
        let ids = |wanted: &str| -> Vec<String> {
            doors().filter(|it| category(it) == wanted).map(|it| text(it, "acs_entrance_id")).collect()
        };
        Self {
            guests: list(world, "acs_users").iter().filter(is_here).map(guest).collect(),
            credential_manager: text(hotel, "default_credential_manager_acs_system_id"),
            rooms: ids("guest"),
            lobby: ids("entrance").remove(0),
        }
    }

    /// A stay of `guest` in room `number` from `now` on, which also tells stays apart. An `override` is exclusive: it
    /// would end other keys for the room.
    pub(super) fn booking(&self, key: &str, guest: &Guest, number: usize, now: Timestamp, ways: &Ways) -> Booking {
        let starts_at = add(now, SignedDuration::from_millis(i64::try_from(number).expect("small")));
        let mut body = json!({
            "user_identity_id": guest.user_identity_id,
            "acs_user_id": guest.acs_user_id,
            "credential_manager_acs_system_id": self.credential_manager,
            "allowed_acs_entrance_ids": [self.rooms[number], self.lobby],
            "starts_at": format!("{starts_at:.3}"),
            "ends_at": format!("{:.3}", add(now, ways.ends_in)),
        });
        if ways.overrides {
            body["visionline_metadata"] = json!({"card_format": "rfid48", "override": true});
        }
        if ways.at_once {
            body["create"] = json!("at_once");
        }
        let spec = PlanSpec::from_json(body.to_string().as_bytes()).expect("a plan");
        Booking { key: key.to_owned(), spec, stay: stay(&guest.acs_user_id, starts_at), is_put: false }
    }
}

/// How long a booking is for, and how its credential is made.
pub(super) struct Ways {
    pub(super) ends_in: SignedDuration,
    pub(super) overrides: bool,
    pub(super) at_once: bool,
}
