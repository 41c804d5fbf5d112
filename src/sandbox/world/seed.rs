//! What a new sandbox holds: a hotel, an apartment building, an office and a co-working house, and people who go there.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::World;
use super::acs_user::AcsUserDraft;
use super::ids::{AcsEntranceId, AcsSystemId, ConnectedAccountId};
use super::people::Contact;
use super::system::{AcsAccessGroup, AcsEntrance, AcsSystem};

/// Key, full name, phone number, and the systems (by name) that know the person. Their e-mail address is
/// `<key>@example.com`.
const PEOPLE: &[(&str, &str, &str, &[&str])] = &[
    ("jane_doe", "Jane Doe", "+15555550100", &["Grand Hotel"]),
    ("john_smith", "John Smith", "+15555550101", &["Grand Hotel"]),
    ("amara_okafor", "Amara Okafor", "+15555550102", &["Maple Court Apartments"]),
    ("luca_rossi", "Luca Rossi", "+15555550103", &["Maple Court Apartments", "Grand Hotel"]),
    ("mei_tanaka", "Mei Tanaka", "+15555550104", &["Northwind Office", "Northwind HID Origo"]),
    ("sofia_lind", "Sofia Lind", "+15555550105", &["Harbour Coworking", "Lakeside Clinic"]),
];

pub(super) fn furnish(world: &mut World, now: Timestamp) {
    let account = world.chance.id();
    let services = world.build("Credential Services", "assa_abloy_credential_service", account, None, now);
    hotel(world, services, now);
    apartments(world, now);
    office(world, now);
    coworking(world, now);
    clinic(world, now);
    people(world, now);
}

fn hotel(world: &mut World, services: AcsSystemId, now: Timestamp) {
    let account = world.chance.id();
    let hotel = world.build("Grand Hotel", "visionline_system", account, Some(services), now);
    let doors = [
        ("Room 101", "guest"),
        ("Room 102", "guest"),
        ("Room 201", "guest"),
        ("Penthouse Suite", "guest"),
        ("Main Entrance", "entrance"),
        ("Elevator", "elevator reader"),
        ("Spa", "common"),
    ];
    for (name, category) in doors {
        let lock = name.trim_start_matches("Room ");
        let profiles = json!([{"visionline_door_profile_id": "BLE-1", "visionline_door_profile_type": "BLE"}]);
        world.hang(hotel, name, json!({"door_category": category, "door_name": lock, "profiles": profiles}), now);
    }
}

fn apartments(world: &mut World, now: Timestamp) {
    let account = world.chance.id();
    let building = world.build("Maple Court Apartments", "latch_building", account, None, now);
    for (name, kind) in
        [("Lobby", "Building Entrance"), ("Apartment 1A", "Unit"), ("Apartment 2B", "Unit"), ("Gym", "Amenity")]
    {
        let words =
            json!({"accessibility_type": "COMMUNAL", "door_name": name, "door_type": kind, "is_connected": true});
        world.hang(building, name, words, now);
    }
}

fn office(world: &mut World, now: Timestamp) {
    let account = world.chance.id();
    let origo = world.build("Northwind HID Origo", "hid_credential_manager_organization", account, None, now);
    let account = world.chance.id();
    let office = world.build("Northwind Office", "brivo_account", account, Some(origo), now);
    let doors: Vec<AcsEntranceId> = ["Reception", "Server Room", "Roof Terrace"]
        .into_iter()
        .map(|name| world.hang(office, name, json!({"access_point_id": name, "site_id": 1, "site_name": "HQ"}), now))
        .collect();
    world.group(office, "Employees", vec![doors[0], doors[2]], now);
}

fn coworking(world: &mut World, now: Timestamp) {
    let account = world.chance.id();
    let site = world.build("Harbour Coworking", "salto_ks_site", account, None, now);
    let doors = ["Front Door", "Studio 3"]
        .into_iter()
        .map(|name| world.hang(site, name, json!({"door_name": name, "online": true, "lock_type": "escutcheon"}), now))
        .collect();
    world.group(site, "Members", doors, now);
}

fn clinic(world: &mut World, now: Timestamp) {
    let account = world.chance.id();
    let clinic = world.build("Lakeside Clinic", "salto_space_system", account, None, now);
    for name in ["Ward A", "Pharmacy"] {
        world.hang(clinic, name, json!({"door_name": name, "door_id": name, "audit_on_keys": true}), now);
    }
}

fn people(world: &mut World, now: Timestamp) {
    for (key, full_name, phone_number, systems) in PEOPLE {
        let contact = Contact {
            full_name: Some((*full_name).to_owned()),
            email_address: Some(format!("{key}@example.com")),
            phone_number: Some((*phone_number).to_owned()),
        };
        // The table above repeats no key, address or number, and names only systems that were built.
        let Ok(person) = world.create_user_identity(Some((*key).to_owned()), contact.clone(), &[], now) else {
            continue;
        };
        for name in *systems {
            let Some(system) = world.systems.live().find(|system| system.name == *name) else { continue };
            let system = system.acs_system_id;
            let groups = world.access_groups.live().filter(|group| group.acs_system_id == system);
            let access_groups = groups.map(|group| group.acs_access_group_id).collect();
            let draft = AcsUserDraft {
                contact: contact.clone(),
                user_identity_id: Some(person),
                access_schedule: None,
                access_groups,
            };
            if let Ok(user) = world.create_acs_user(system, draft, now)
                && let Some(user) = world.acs_users.get_mut(user)
            {
                // They were there long before the sandbox opened: nothing of theirs is news.
                user.synced_at = Some(now);
            }
        }
    }
}

impl World {
    fn build(
        &mut self,
        name: &str,
        external_type: &str,
        connected_account_id: ConnectedAccountId,
        default_credential_manager: Option<AcsSystemId>,
        now: Timestamp,
    ) -> AcsSystemId {
        let acs_system_id = self.chance.id();
        self.systems.insert(AcsSystem {
            acs_system_id,
            connected_account_id,
            created_at: now,
            deleted_at: None,
            name: name.to_owned(),
            external_type: external_type.to_owned(),
            time_zone: "America/New_York".to_owned(),
            default_credential_manager,
        });
        acs_system_id
    }

    fn hang(&mut self, acs_system_id: AcsSystemId, name: &str, metadata: Value, now: Timestamp) -> AcsEntranceId {
        let acs_entrance_id = self.chance.id();
        self.entrances.insert(AcsEntrance {
            acs_entrance_id,
            acs_system_id,
            created_at: now,
            deleted_at: None,
            display_name: name.to_owned(),
            metadata,
        });
        acs_entrance_id
    }

    fn group(&mut self, acs_system_id: AcsSystemId, name: &str, entrances: Vec<AcsEntranceId>, now: Timestamp) {
        let acs_access_group_id = self.chance.id();
        self.access_groups.insert(AcsAccessGroup {
            acs_access_group_id,
            acs_system_id,
            created_at: now,
            deleted_at: None,
            name: name.to_owned(),
            entrances,
        });
    }
}
