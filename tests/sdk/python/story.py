"""The story through the official Python SDK, of either generation.

    SEAM_ENDPOINT=… SEAM_API_KEY=… story.py old|new

Each `sample_*` is a code sample of Seam's guides as it was written; what its comment calls a trap is meant to be there.
"""

import datetime
import json
import os
import sys
import threading
import time
import urllib.request
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from seam import Seam, SeamHttpApiError, SeamHttpInvalidInputError, SeamHttpUnauthorizedError, SeamWebhook

ENDPOINT = os.environ["SEAM_ENDPOINT"]
IS_NEW = sys.argv[1] == "new"
DEADLINE_SECONDS = 30


def now(**shift):
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(**shift)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def until(what, ask):
    """Asks until the answer is true, within a deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"waited {DEADLINE_SECONDS} s in vain: {what}")


def post(path, body, headers):
    request = urllib.request.Request(f"{ENDPOINT}{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def control(path, body):
    """The control room, which no SDK knows."""
    return post(f"/_sandbox/{path}", body, {"content-type": "application/json"})


def raw(seam, path, body):
    """A call that this generation has no method for, or no parameter of, through its own HTTP client."""
    response = seam.client.post(path, json=body)
    return response.json() if hasattr(response, "json") else response


class Ear:
    """A recipient of webhooks."""

    def __init__(self):
        self.heard = []
        ear = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                ear.heard.append((body, {name.lower(): value for name, value in self.headers.items()}))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()


class Story:
    def __init__(self):
        self.seam = Seam(api_key=os.environ["SEAM_API_KEY"], endpoint=ENDPOINT)
        systems = {system.external_type: system for system in self.seam.acs.systems.list()}
        self.hotel = systems["visionline_system"]
        self.services = systems["assa_abloy_credential_service"]
        self.latch = systems["latch_building"]
        self.salto_ks = systems["salto_ks_site"]

    def guest(self, system):
        """A new person, known to a system."""
        name = f"guest-{uuid.uuid4().hex[:8]}"
        person = self.seam.user_identities.create(
            user_identity_key=name, email_address=f"{name}@example.com", full_name="Jane Doe"
        )
        user = self.seam.acs.users.create(
            acs_system_id=system.acs_system_id, full_name="Jane Doe", user_identity_id=person.user_identity_id
        )
        return person, user

    def world(self, plural):
        with urllib.request.urlopen(f"{ENDPOINT}/_sandbox/world") as response:
            return json.load(response)[plural]

    def doors(self, system):
        return self.seam.acs.entrances.list(acs_system_id=system.acs_system_id)

    def phone(self, person):
        phone = self.seam.phones.simulate.create_sandbox_phone(
            user_identity_id=person.user_identity_id, phone_metadata={"operating_system": "ios"}
        )
        metadata = lambda: self.seam.phones.get(device_id=phone.device_id).properties  # noqa: E731
        until("an active endpoint", lambda: read(metadata(), "assa_abloy_credential_service_metadata", "has_active_endpoint"))
        return phone

    def parent(self, user, **beside):
        return self.seam.acs.credentials.create(
            acs_user_id=user.acs_user_id, access_method="mobile_key", is_multi_phone_sync_credential=True, **beside
        )

    def children(self, parent):
        rows = self.seam.acs.credentials.list(acs_user_id=parent.acs_user_id)
        return [row for row in rows if read(row, "parent_acs_credential_id") == parent.acs_credential_id]

    # The guides' samples.

    def sample_end_of_2023(self):
        """Trap: no `access_method`, and `card_format` and `facility_code` at the top level."""
        _, user = self.guest(self.hotel)
        body = {"is_multi_phone_sync_credential": True, "acs_user_id": user.acs_user_id, "card_format": "rfid48", "facility_code": "9"}
        made = raw(self.seam, "/acs/credentials/create", body)["acs_credential"]
        assert made["is_multi_phone_sync_credential"] and made["access_method"] == "mobile_key", made

    def sample_early_2024(self):
        """Enrolment by hand, then the same credential."""
        person, user = self.guest(self.hotel)
        launch = {
            "user_identity_id": person.user_identity_id,
            "credential_manager_acs_system_id": self.services.acs_system_id,
            "create_credential_manager_user": True,
        }
        path = "/user_identities/enrollment_automations"
        launched = raw(self.seam, f"{path}/launch", launch)["enrollment_automation"]
        assert launched["is_running"] and launched["user_identity_id"] == person.user_identity_id, launched
        listed = raw(self.seam, f"{path}/list", {"user_identity_id": person.user_identity_id})
        assert listed["enrollment_automations"] == [launched], listed
        body = {"is_multi_phone_sync_credential": True, "acs_user_id": user.acs_user_id, "card_format": "rfid48", "facility_code": "9"}
        raw(self.seam, "/acs/credentials/create", body)
        raw(self.seam, f"{path}/delete", {"enrollment_automation_id": launched["enrollment_automation_id"]})

    def sample_visionline_override(self):
        """Trap: `cardFormat` in camel case and a `label`, both of which are dropped in silence."""
        _, user = self.guest(self.hotel)
        made = self.parent(
            user,
            credential_manager_acs_system_id=self.services.acs_system_id,
            allowed_acs_entrance_ids=[self.doors(self.hotel)[0].acs_entrance_id],
            visionline_metadata={"cardFormat": "rfid48", "label": "%ROOMNUM%", "override": True},
        )
        assert read(made, "visionline_metadata", "card_function_type") == "guest", made

    def sample_salto_ks(self):
        """Mobile key, PIN and card of a site whose doors are granted by access group."""
        _, user = self.guest(self.salto_ks)
        made = self.parent(user)
        assert made.display_name == "Multi Phone Sync Credential" and made.code is None, made
        pin = self.seam.acs.credentials.create(acs_user_id=user.acs_user_id, access_method="code", code="1234")
        assert pin.code == "1234" and pin.display_name == "****", pin
        card = self.seam.acs.credentials.create(acs_user_id=user.acs_user_id, access_method="card")
        assert card.access_method == "card" and not card.is_issued, card
        override = {"card_format": "TLCode", "is_override_key": True}
        _, guest = self.guest(self.hotel)
        self.parent(guest, visionline_metadata=override)

    def sample_latch(self):
        """A mobile key whose code nobody gave, and a PIN."""
        _, user = self.guest(self.latch)
        doors = [door.acs_entrance_id for door in self.doors(self.latch)[:2]]
        times = {"starts_at": now(), "ends_at": now(days=3)}
        made = self.parent(user, allowed_acs_entrance_ids=doors, **times)
        assert len(made.code) == 7 and made.external_type == "latch_access", made
        pin = self.seam.acs.credentials.create(
            acs_user_id=user.acs_user_id, access_method="code", code="123456", allowed_acs_entrance_ids=doors[:1], **times
        )
        assert pin.code == "123456", pin
        refused = raises(
            SeamHttpInvalidInputError,
            lambda: self.seam.acs.credentials.create(
                acs_user_id=user.acs_user_id, access_method="mobile_key", code="1", allowed_acs_entrance_ids=doors
            ),
        )
        assert refused.status_code == 400, refused

    # The life of a credential.

    def life_cycle(self):
        person, user = self.guest(self.hotel)
        doors = [door.acs_entrance_id for door in self.doors(self.hotel)[:1]]
        parent = self.parent(user, allowed_acs_entrance_ids=doors, starts_at=now(), ends_at=now(days=2))
        assert not parent.is_issued
        first = self.phone(person)
        issued = lambda: [row for row in self.children(parent) if row.is_issued]  # noqa: E731
        until("the first child", lambda: len(issued()) == 1)
        second = self.phone(person)
        until("the second child", lambda: len(issued()) == 2)
        assert self.seam.acs.credentials.get(acs_credential_id=parent.acs_credential_id).is_issued
        held = self.seam.phones.list(acs_credential_id=parent.acs_credential_id)
        assert {phone.device_id for phone in held} == {first.device_id, second.device_id}
        opened = self.seam.acs.credentials.list_accessible_entrances(acs_credential_id=issued()[0].acs_credential_id)
        assert [door.acs_entrance_id for door in opened] == doors
        self.seam.acs.credentials.update(acs_credential_id=parent.acs_credential_id, ends_at=now(days=3))
        self.seam.phones.deactivate(device_id=first.device_id)
        assert len(self.children(parent)) == 1
        self.seam.acs.credentials.unassign(acs_credential_id=parent.acs_credential_id, acs_user_id=user.acs_user_id)
        self.seam.acs.credentials.assign(acs_credential_id=parent.acs_credential_id, acs_user_id=user.acs_user_id)
        until("the key again", lambda: len(issued()) == 1)
        self.seam.acs.credentials.delete(acs_credential_id=parent.acs_credential_id)
        assert self.seam.phones.list(owner_user_identity_id=person.user_identity_id)[0].device_id == second.device_id
        self.seam.user_identities.delete(user_identity_id=person.user_identity_id)

    def people_and_sessions(self):
        person, user = self.guest(self.hotel)
        known = self.seam.user_identities.get(user_identity_key=person.user_identity_key)
        assert known.user_identity_id == person.user_identity_id
        session = self.seam.client_sessions.create(user_identity_ids=[person.user_identity_id])
        assert session.token.startswith("seam_cst"), session
        assert self.seam.user_identities.list_acs_users(user_identity_id=person.user_identity_id)[0].acs_user_id == user.acs_user_id
        self.seam.user_identities.remove_acs_user(user_identity_id=person.user_identity_id, acs_user_id=user.acs_user_id)
        self.seam.user_identities.add_acs_user(user_identity_id=person.user_identity_id, acs_user_id=user.acs_user_id)
        managers = self.seam.acs.systems.list_compatible_credential_manager_acs_systems(acs_system_id=self.hotel.acs_system_id)
        assert managers[0].acs_system_id == self.services.acs_system_id
        listed = self.seam.acs.users.list(user_identity_id=person.user_identity_id, acs_system_id=self.hotel.acs_system_id)
        assert [row.acs_user_id for row in listed] == [user.acs_user_id]

    def access_grant(self):
        person, _ = self.guest(self.hotel)
        grant = self.seam.access_grants.create(
            user_identity_id=person.user_identity_id,
            acs_entrance_ids=[self.doors(self.hotel)[1].acs_entrance_id],
            requested_access_methods=[{"mode": "mobile_key"}],
            starts_at=now(),
            ends_at=now(days=1),
        )
        self.phone(person)
        method = grant.access_method_ids[0]
        until("an issued method", lambda: self.seam.access_methods.get(access_method_id=method).is_issued)
        assert self.seam.access_methods.list(access_grant_id=grant.access_grant_id)[0].access_method_id == method
        self.seam.access_grants.delete(access_grant_id=grant.access_grant_id)

    def every_other_path(self):
        """What no sample calls, in the form that each generation can: a POST."""
        call = lambda path, **body: raw(self.seam, path, body)  # noqa: E731
        person, user = self.guest(self.hotel)
        person, user = person.user_identity_id, user.acs_user_id
        other = call("/user_identities/create", full_name="Nobody")["user_identity"]["user_identity_id"]
        call("/user_identities/update", user_identity_id=other, full_name=None, phone_number="+15555550199")
        call("/user_identities/merge", user_identity_id=person, merged_user_identity_ids=[other])
        assert call("/user_identities/get", user_identity_id=other)["user_identity"]["user_identity_id"] == person
        assert call("/user_identities/list_acs_systems", user_identity_id=person)["acs_systems"]
        call("/user_identities/list", user_identity_ids=[person], search="jane")
        key = call("/user_identities/generate_instant_key", user_identity_id=person)["instant_key"]
        assert key["instant_key_url"].startswith("https://ik.seam.co/"), key

        call("/acs/users/update", acs_user_id=user, full_name="Jane D.")
        for verb in ["suspend", "unsuspend"]:
            call(f"/acs/users/{verb}", user_identity_id=person, acs_system_id=self.hotel.acs_system_id)
        assert call("/acs/users/get", acs_user_id=user)["acs_user"]["full_name"] == "Jane D."
        door = self.doors(self.hotel)[2].acs_entrance_id
        call("/acs/entrances/grant_access", acs_entrance_id=door, acs_user_id=user)
        for owner in [("acs/users", {"acs_user_id": user}), ("user_identities", {"user_identity_id": person})]:
            opened = call(f"/{owner[0]}/list_accessible_entrances", **owner[1])["acs_entrances"]
            assert [row["acs_entrance_id"] for row in opened] == [door], opened
        call("/acs/entrances/get", acs_entrance_id=door)
        call("/acs/entrances/list_credentials_with_access", acs_entrance_id=door)
        call("/acs/systems/get", acs_system_id=self.hotel.acs_system_id)
        group = self.world("acs_access_groups")[0]
        member = next(row for row in self.world("acs_users") if row["acs_system_id"] == group["acs_system_id"])
        pair = {"acs_access_group_id": group["acs_access_group_id"], "acs_user_id": member["acs_user_id"]}
        call("/acs/users/remove_from_access_group", **pair)
        call("/acs/users/add_to_access_group", **pair)

        session = call("/client_sessions/get_or_create", user_identity_id=person)["client_session"]
        headers = {"authorization": f"Bearer {session['token']}", "content-type": "application/json"}
        phone = post("/seam/mobile_sdk/v1/phone_sessions/get_or_create", {"custom_sdk_installation_id": "app", "phone_os": "ios"}, headers)
        assert phone["phone_session"]["user_identity"]["user_identity_id"] == person, phone
        post("/seam/mobile_sdk/v1/acs/credentials/list", {}, headers)
        call("/client_sessions/delete", client_session_id=session["client_session_id"])

        method = {"mode": "code", "code": "1234"}
        grant = call("/access_grants/create", user_identity_id=person, acs_entrance_ids=[], requested_access_methods=[method], access_grant_key=other)
        grant = grant["access_grant"]
        assert call("/access_grants/get", access_grant_key=other)["access_grant"]["access_grant_id"] == grant["access_grant_id"]
        call("/access_grants/list", user_identity_id=person)
        related = call("/access_methods/get_related", access_method_ids=grant["access_method_ids"])["batch"]
        assert related["access_grants"][0]["access_grant_id"] == grant["access_grant_id"], related
        call("/access_methods/delete", access_grant_id=grant["access_grant_id"])
        call("/access_grants/delete", access_grant_id=grant["access_grant_id"])
        launch = {"user_identity_id": person, "credential_manager_acs_system_id": self.services.acs_system_id}
        automation = call("/user_identities/enrollment_automations/launch", **launch)["enrollment_automation"]
        call("/user_identities/enrollment_automations/get", enrollment_automation_id=automation["enrollment_automation_id"])
        call("/acs/users/delete", acs_user_id=user)
        assert call("/workspaces/get")["workspace"]["is_sandbox"]

    # Errors and webhooks.

    def errors(self):
        stranger = Seam(api_key="seam_test1strange_key0", endpoint=ENDPOINT)
        raises(SeamHttpUnauthorizedError, lambda: stranger.phones.list())
        nowhere = "00000000-0000-4000-8000-000000000000"
        missing = raises(SeamHttpApiError, lambda: self.seam.phones.get(device_id=nowhere))
        assert (missing.code, missing.status_code) == ("phone_not_found", 404) and missing.request_id, missing
        wrong = raises(SeamHttpInvalidInputError, lambda: self.seam.phones.get(device_id="no uuid"))
        if IS_NEW:
            assert wrong.get_validation_error_messages("device_id") == ["Invalid uuid"], vars(wrong)
        raises(SeamHttpApiError, lambda: self.seam.webhooks.create(url="http://a.example", event_types=["no.such"]))

    def webhooks(self):
        ear = Ear()
        types = ["acs_credential.issued", "phone.deactivated"]
        webhook = self.seam.webhooks.create(url=ear.url, event_types=types)
        person, user = self.guest(self.hotel)
        self.parent(user)
        began = now(seconds=-2)
        phone = self.phone(person)
        until("two deliveries", lambda: len(ear.heard) >= 2)
        self.seam.phones.deactivate(device_id=phone.device_id)
        until("three deliveries", lambda: len(ear.heard) >= 3)
        verifier = SeamWebhook(webhook.secret)
        told = [verifier.verify(body, headers) for body, headers in ear.heard]
        assert [event.event_type for event in told] == [types[0], types[0], types[1]], told
        listed = self.seam.events.list(since=began, event_types=types)
        assert {event.event_id for event in told} <= {event.event_id for event in listed}
        assert self.seam.events.get(event_id=told[0].event_id).event_type == types[0]
        self.seam.events.list(between=[began, now(seconds=2)], event_type=types[0])
        self.seam.webhooks.update(webhook_id=webhook.webhook_id, event_types=["phone.deactivated"])
        assert self.seam.webhooks.get(webhook_id=webhook.webhook_id).event_types == ["phone.deactivated"]
        rotated = control("webhooks/rotate_secret", {"webhook_id": webhook.webhook_id})["secret"]
        self.seam.phones.deactivate(device_id=self.phone(person).device_id)
        until("a delivery after the rotation", lambda: len(ear.heard) >= 4)
        for secret in [webhook.secret, rotated]:
            SeamWebhook(secret).verify(*ear.heard[-1])
        assert webhook.webhook_id in [row.webhook_id for row in self.seam.webhooks.list()]
        self.seam.webhooks.delete(webhook_id=webhook.webhook_id)


def read(value, *names):
    """A field of what is an object in one generation and a dictionary in the other."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return value


def raises(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def main():
    story = Story()
    chapters = [name for name in vars(Story) if not name.startswith("_")]
    helpers = {"guest", "world", "doors", "phone", "parent", "children"}
    for name in [name for name in chapters if name not in helpers]:
        getattr(story, name)()
        print(f"ok {name}", flush=True)


if __name__ == "__main__":
    main()
