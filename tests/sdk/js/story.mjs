// The story through the official JavaScript SDK, of either generation.
//
//     SEAM_ENDPOINT=… SEAM_API_KEY=… node story.mjs MODULES old|new
//
// MODULES is the node_modules with the `seam` to use. Each `sample…` is a code sample of Seam's guides as it was written;
// what its comment calls a trap is meant to be there.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { pathToFileURL } from 'node:url'

const [modules, generation] = process.argv.slice(2)
const isNew = generation === 'new'
const sdk = await import(pathToFileURL(`${modules}/seam/index.js`).href)
const { SeamHttp, SeamWebhook, isSeamHttpApiError, isSeamHttpInvalidInputError, isSeamHttpUnauthorizedError } = sdk

const endpoint = process.env.SEAM_ENDPOINT
const seam = new SeamHttp({ apiKey: process.env.SEAM_API_KEY, endpoint, ...(isNew ? {} : { isUndocumentedApiEnabled: true }) })

const at = (days) => new Date(Date.now() + days * 86_400_000).toISOString()
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// Asks until the answer is true, within a deadline.
const until = async (what, ask) => {
  const end = Date.now() + 30_000
  while (Date.now() < end) {
    const answer = await ask()
    if (answer) return answer
    await pause(20)
  }
  throw new Error(`waited 30 s in vain: ${what}`)
}

const post = async (path, body) => (await seam.client.post(path, body)).data

const control = async (path, body) => {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(`${endpoint}/_sandbox/${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  return await response.json()
}

const systems = Object.fromEntries((await seam.acs.systems.list()).map((system) => [system.external_type, system]))
const { visionline_system: hotel, assa_abloy_credential_service: services, latch_building: latch, salto_ks_site: saltoKs } = systems

// A new person, known to a system.
const guest = async (system) => {
  const key = `guest-${crypto.randomUUID().slice(0, 8)}`
  const person = await seam.userIdentities.create({ user_identity_key: key, email_address: `${key}@example.com`, full_name: 'Jane Doe' })
  const { acs_system_id } = system
  const user = await seam.acs.users.create({ acs_system_id, full_name: 'Jane Doe', user_identity_id: person.user_identity_id })
  return { person, user }
}

const doors = async ({ acs_system_id }) =>
  (await seam.acs.entrances.list({ acs_system_id })).map((door) => door.acs_entrance_id)

const phone = async ({ user_identity_id }) => {
  const made = await seam.phones.simulate.createSandboxPhone({ user_identity_id, phone_metadata: { operating_system: 'ios' } })
  await until('an active endpoint', async () => {
    const { properties } = await seam.phones.get({ device_id: made.device_id })
    return properties.assa_abloy_credential_service_metadata.has_active_endpoint
  })
  return made
}

const parent = ({ acs_user_id }, beside = {}) =>
  seam.acs.credentials.create({ acs_user_id, access_method: 'mobile_key', is_multi_phone_sync_credential: true, ...beside })

const children = async ({ acs_user_id, acs_credential_id }) =>
  (await seam.acs.credentials.list({ acs_user_id })).filter((row) => row.parent_acs_credential_id === acs_credential_id)

const story = {
  // Trap: no `access_method`, and `card_format` and `facility_code` at the top level.
  async sampleEndOf2023() {
    const { user } = await guest(hotel)
    const body = { is_multi_phone_sync_credential: true, acs_user_id: user.acs_user_id, card_format: 'rfid48', facility_code: '9' }
    const { acs_credential: made } = await post('/acs/credentials/create', body)
    assert.equal(made.access_method, 'mobile_key')
  },

  // Enrolment by hand. The old SDK still has the method, for those who ask for what is undocumented.
  async sampleEarly2024() {
    const { person, user } = await guest(hotel)
    const { user_identity_id } = person
    const asked = { user_identity_id, credential_manager_acs_system_id: services.acs_system_id, create_credential_manager_user: true }
    const launched = isNew
      ? (await post('/user_identities/enrollment_automations/launch', asked)).enrollment_automation
      : await seam.userIdentities.enrollmentAutomations.launch(asked)
    assert.equal(launched.user_identity_id, user_identity_id)
    await post('/acs/credentials/create', { is_multi_phone_sync_credential: true, acs_user_id: user.acs_user_id, card_format: 'rfid48', facility_code: '9' })
  },

  // Trap: `cardFormat` in camel case and a `label`, both of which are dropped in silence.
  async sampleVisionlineOverride() {
    const { user } = await guest(hotel)
    const made = await parent(user, {
      credential_manager_acs_system_id: services.acs_system_id,
      allowed_acs_entrance_ids: (await doors(hotel)).slice(0, 1),
      visionline_metadata: { cardFormat: 'rfid48', label: '%ROOMNUM%', override: true },
    })
    assert.equal(made.visionline_metadata.card_function_type, 'guest')
  },

  async sampleSaltoKs() {
    const { user } = await guest(saltoKs)
    const made = await parent(user)
    assert.deepEqual([made.display_name, made.code], ['Multi Phone Sync Credential', null])
    const { acs_user_id } = user
    const pin = await seam.acs.credentials.create({ acs_user_id, access_method: 'code', code: '1234' })
    assert.deepEqual([pin.code, pin.display_name], ['1234', '****'])
    const card = await seam.acs.credentials.create({ acs_user_id, access_method: 'card' })
    assert.equal(card.is_issued, false)
  },

  // A mobile key whose code nobody gave. Trap: the sample's output says `mobile_Key`.
  async sampleLatch() {
    const { user } = await guest(latch)
    const made = await parent(user, { allowed_acs_entrance_ids: (await doors(latch)).slice(0, 2), starts_at: at(0), ends_at: at(3) })
    assert.deepEqual([made.access_method, made.code.length], ['mobile_key', 7])
  },

  async lifeCycle() {
    const { person, user } = await guest(hotel)
    const [door] = await doors(hotel)
    const made = await parent(user, { allowed_acs_entrance_ids: [door], starts_at: at(0), ends_at: at(2) })
    const { acs_credential_id } = made
    const issued = async () => (await children(made)).filter((row) => row.is_issued)
    const first = await phone(person)
    await until('the first child', async () => (await issued()).length === 1)
    await phone(person)
    await until('the second child', async () => (await issued()).length === 2)
    assert.equal((await seam.acs.credentials.get({ acs_credential_id })).is_issued, true)
    const opened = await seam.acs.credentials.listAccessibleEntrances({ acs_credential_id: (await issued())[0].acs_credential_id })
    assert.deepEqual(opened.map((entrance) => entrance.acs_entrance_id), [door])
    await seam.acs.credentials.update({ acs_credential_id, ends_at: at(3) })
    await seam.phones.deactivate({ device_id: first.device_id })
    assert.equal((await children(made)).length, 1)
    await seam.acs.credentials.assign({ acs_credential_id, acs_user_id: user.acs_user_id })
    await seam.acs.credentials.delete({ acs_credential_id })
    const { user_identity_id } = person
    assert.equal((await seam.phones.list({ owner_user_identity_id: user_identity_id })).length, 1)
    const known = await seam.userIdentities.get({ user_identity_key: person.user_identity_key })
    assert.equal(known.user_identity_id, user_identity_id)
    const session = await seam.clientSessions.create({ user_identity_ids: [user_identity_id] })
    assert.match(session.token, /^seam_cst/)
    await seam.userIdentities.addAcsUser({ user_identity_id, acs_user_id: user.acs_user_id })
    await seam.userIdentities.delete({ user_identity_id })
  },

  async accessGrant() {
    const { person } = await guest(hotel)
    const grant = await seam.accessGrants.create({
      user_identity_id: person.user_identity_id,
      acs_entrance_ids: (await doors(hotel)).slice(1, 2),
      requested_access_methods: [{ mode: 'mobile_key' }],
      starts_at: at(0),
      ends_at: at(1),
    })
    await phone(person)
    const [access_method_id] = grant.access_method_ids
    await until('an issued method', async () => (await seam.accessMethods.get({ access_method_id })).is_issued)
    await seam.accessGrants.delete({ access_grant_id: grant.access_grant_id })
  },

  async pages() {
    const pages = seam.createPaginator(seam.acs.entrances.list({ limit: 4 }))
    const all = await pages.flattenToArray()
    assert.equal(all.length, (await seam.acs.entrances.list()).length)
  },

  async errors() {
    const stranger = new SeamHttp({ apiKey: 'seam_test1strange_key0', endpoint })
    await assert.rejects(stranger.phones.list(), isSeamHttpUnauthorizedError)
    const nowhere = '00000000-0000-4000-8000-000000000000'
    await assert.rejects(seam.phones.get({ device_id: nowhere }), (error) =>
      isSeamHttpApiError(error) && error.code === 'phone_not_found' && error.statusCode === 404 && error.requestId.length === 36)
    await assert.rejects(seam.phones.get({ device_id: 'no uuid' }), (error) =>
      isSeamHttpInvalidInputError(error) && error.getValidationErrorMessages('device_id')[0] === 'Invalid uuid')
  },

  async webhooks() {
    const heard = []
    const server = createServer(async (request, response) => {
      let body = ''
      for await (const chunk of request) body += chunk
      heard.push({ body, headers: request.headers })
      response.writeHead(204).end()
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    const types = ['acs_credential.issued', 'phone.deactivated']
    const began = at(-0.0001)
    const webhook = await seam.webhooks.create({ url: `http://127.0.0.1:${server.address().port}`, event_types: types })
    const { person, user } = await guest(hotel)
    await parent(user)
    const { device_id } = await phone(person)
    await until('two deliveries', () => heard.length >= 2)
    await seam.phones.deactivate({ device_id })
    await until('three deliveries', () => heard.length >= 3)
    const verifier = new SeamWebhook(webhook.secret)
    const told = heard.map(({ body, headers }) => verifier.verify(body, headers))
    assert.deepEqual(told.map((event) => event.event_type), [types[0], types[0], types[1]])
    const listed = new Set((await seam.events.list({ since: began, event_types: types })).map((event) => event.event_id))
    assert.ok(told.every((event) => listed.has(event.event_id)))
    const { webhook_id } = webhook
    const { secret } = await control('webhooks/rotate_secret', { webhook_id })
    await seam.phones.deactivate({ device_id: (await phone(person)).device_id })
    await until('a delivery after the rotation', () => heard.length >= 4)
    const { body, headers } = heard.at(-1)
    for (const each of [webhook.secret, secret]) new SeamWebhook(each).verify(body, headers)
    await seam.webhooks.update({ webhook_id, event_types: ['phone.deactivated'] })
    await seam.webhooks.delete({ webhook_id })
    server.close()
  },
}

for (const [name, chapter] of Object.entries(story)) {
  await chapter()
  console.log(`ok ${name}`)
}
process.exit(0)
