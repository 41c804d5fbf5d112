//! A phone came, a phone went.
//!
//! `phone.registered` never means "create a credential for this phone": Seam replicates one credential per stay to every
//! phone of the person. It means: for each live plan of the person, ensure that the credential exists, and that this
//! phone gets its key.

use jiff::Timestamp;

use super::{Troubles, ignored, look_at_all};
use crate::domain::{Entry, Kind, Outcome, Person, Phone};
use crate::provider;
use crate::store::Change;
use crate::worker::Hand;
use crate::worker::classify::Trouble;

pub(super) async fn registered(
    hand: &Hand<'_>,
    person: &Person,
    device_id: Option<&str>,
    device_type: Option<&str>,
) -> Result<Outcome, Trouble> {
    let people = people(hand, person).await?;
    if people.is_empty() {
        return Ok(ignored(NO_SUCH_ALIAS));
    }
    let mut troubles = Troubles::default();
    for user_identity_id in people {
        troubles.note(has_phone(hand, &user_identity_id, device_id, device_type).await)?;
    }
    troubles.outcome()
}

/// Somebody else's word that a key has reached a phone: each plan of the person is read again at the provider.
pub(super) async fn key_reported(hand: &Hand<'_>, person: &Person) -> Result<Outcome, Trouble> {
    let mut plans = Vec::new();
    let people = people(hand, person).await?;
    if people.is_empty() {
        return Ok(ignored(NO_SUCH_ALIAS));
    }
    for user_identity_id in people {
        plans.extend(hand.store().plans_of_person(&user_identity_id).await?);
    }
    look_at_all(hand, plans).await
}

/// Not lost: putting a plan with this alias makes the event due again.
const NO_SUCH_ALIAS: &str = "no plan has this alias yet; one that is put later will take this up again";

/// Who is meant. An alias is nobody while no plan has it, and one person unless plans contradict each other.
async fn people(hand: &Hand<'_>, person: &Person) -> Result<Vec<String>, Trouble> {
    Ok(match person {
        Person::UserIdentityId(id) => vec![id.clone()],
        Person::UserIdentityKey(_) => vec![hand.provider().find_person(person).await?],
        Person::Alias { source, id } => hand.store().people_of_alias(source, id).await?,
    })
}

async fn has_phone(
    hand: &Hand<'_>,
    user_identity_id: &str,
    device_id: Option<&str>,
    device_type: Option<&str>,
) -> Result<(), Trouble> {
    let seen_at = hand.now();
    let listed = hand.provider().phones_of_person(user_identity_id).await?;
    let told = match device_id {
        Some(device_id) => Some(told_of(hand, user_identity_id, device_id, device_type, &listed).await?),
        None => None,
    };
    note_phones(hand, user_identity_id, seen_at, &listed, told.as_ref()).await?;

    let mut troubles = Troubles::default();
    for (plan, issuance) in hand.store().plans_of_person(user_identity_id).await? {
        let ensured = match hand.ensure(&plan, issuance).await {
            Ok(issuance) => hand.look(&plan, &issuance, told.as_ref()).await,
            Err(trouble) => Err(trouble),
        };
        troubles.note(ensured)?;
    }
    troubles.result()
}

/// The phone that an event tells of, as it stands. The provider's list is the truth; a phone that it doesn't show (yet)
/// is believed, unless its deactivation came first.
async fn told_of(
    hand: &Hand<'_>,
    user_identity_id: &str,
    device_id: &str,
    device_type: Option<&str>,
    listed: &[provider::Phone],
) -> Result<Phone, Trouble> {
    let is_listed = listed.iter().any(|phone| phone.device_id == device_id);
    let known = hand.store().phone(device_id).await?;
    Ok(Phone {
        device_id: device_id.to_owned(),
        user_identity_id: user_identity_id.to_owned(),
        device_type: device_type.map(str::to_owned).or_else(|| known.as_ref().and_then(|it| it.device_type.clone())),
        is_active: is_listed || known.is_none_or(|phone| phone.is_active),
    })
}

/// Records the phones of a person that are new, or differ from what is known: also those that no webhook told of.
pub(super) async fn note_phones(
    hand: &Hand<'_>,
    user_identity_id: &str,
    seen_at: Timestamp,
    listed: &[provider::Phone],
    told: Option<&Phone>,
) -> Result<(), Trouble> {
    let known = hand.store().phones_of_person(user_identity_id).await?;
    let listed = listed.iter().map(|phone| Phone {
        device_id: phone.device_id.clone(),
        user_identity_id: user_identity_id.to_owned(),
        device_type: Some(phone.device_type.clone()),
        is_active: true,
    });
    let listed: Vec<Phone> = listed.collect();
    let told: Vec<Phone> =
        told.filter(|told| listed.iter().all(|phone| phone.device_id != told.device_id)).cloned().into_iter().collect();
    for (mut phones, seen_at) in [(listed, Some(seen_at)), (told, None)] {
        phones.retain(|phone| !known.contains(phone));
        // In one order for everybody, so that two handlers with the same phones cannot wait for each other in a circle.
        phones.sort_by(|one, other| one.device_id.cmp(&other.device_id));
        note(hand, user_identity_id, phones, seen_at).await?;
    }
    Ok(())
}

async fn note(
    hand: &Hand<'_>,
    user_identity_id: &str,
    phones: Vec<Phone>,
    phones_seen_at: Option<Timestamp>,
) -> Result<(), Trouble> {
    if phones.is_empty() {
        return Ok(());
    }
    let ledger = phones
        .iter()
        .map(|phone| {
            let kind = if phone.is_active { Kind::PhoneRegistered } else { Kind::PhoneDeactivated };
            Entry::new(kind).person(user_identity_id).device(&phone.device_id)
        })
        .collect();
    hand.commit(Change { phones, phones_seen_at, ledger, ..Change::default() }).await
}

pub(super) async fn deactivated(hand: &Hand<'_>, device_id: &str) -> Result<Outcome, Trouble> {
    let known = hand.store().phone(device_id).await?;
    if known.as_ref().is_none_or(|phone| phone.is_active) {
        if still_there(hand, device_id).await? {
            return Ok(ignored("the provider still has the phone; its deactivation was undone, or is old news"));
        }
        // Unknown so far: remembered all the same, because its registration may come later than this. Whose it is stays
        // known if somebody learns it in the meantime.
        let phone = match known {
            Some(phone) => Phone { is_active: false, ..phone },
            None => Phone {
                device_id: device_id.to_owned(),
                user_identity_id: String::new(),
                device_type: None,
                is_active: false,
            },
        };
        let entry = Entry::new(Kind::PhoneDeactivated).device(device_id);
        let entry = if phone.user_identity_id.is_empty() { entry } else { entry.person(&phone.user_identity_id) };
        hand.commit(Change { phones: vec![phone], ledger: vec![entry], ..Change::default() }).await?;
    }
    let plans = hand.store().plans_of_phone(device_id).await?;
    if plans.is_empty() {
        return Ok(Outcome::Done);
    }
    look_at_all(hand, plans).await
}

async fn still_there(hand: &Hand<'_>, device_id: &str) -> Result<bool, Trouble> {
    match hand.provider().get_phone(device_id).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}
