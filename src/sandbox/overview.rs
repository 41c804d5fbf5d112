//! What a sandbox holds, in short, for a person to read.

use super::world::World;

/// The access systems and the people of a sandbox.
#[derive(Debug)]
pub struct Overview {
    pub systems: Vec<SystemOverview>,
    pub people: Vec<PersonOverview>,
}

#[derive(Debug)]
pub struct SystemOverview {
    pub id: String,
    pub name: String,
    pub kind: &'static str,
    pub entrances: Vec<String>,
}

#[derive(Debug)]
pub struct PersonOverview {
    pub id: String,
    pub key: String,
    pub name: String,
}

impl Overview {
    pub(super) fn of(world: &World) -> Self {
        let systems = world.systems.live().map(|system| {
            let doors = world.entrances.live().filter(|door| door.acs_system_id == system.acs_system_id);
            SystemOverview {
                id: system.acs_system_id.to_string(),
                name: system.name.clone(),
                kind: system.family().system_type().1,
                entrances: doors.map(|door| door.display_name.clone()).collect(),
            }
        });
        let people = world.user_identities.live().map(|person| PersonOverview {
            id: person.user_identity_id.to_string(),
            key: person.user_identity_key.clone().unwrap_or_default(),
            name: person.contact.full_name.clone().unwrap_or_default(),
        });
        Self { systems: systems.collect(), people: people.collect() }
    }
}
