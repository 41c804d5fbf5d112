// The operators' page in a real browser, over a real Keyferry and the sandbox: what an operator does with it, and what a
// hostile sender tries to do to it. See scripts/test-page.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { createHmac, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [modules, chromium, program, screenshots] = process.argv.slice(2)
const playwright = await import(pathToFileURL(join(modules, 'playwright-core/index.mjs')).href)

const APP_SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'
const TOKEN = 'a-token-of-the-page-test'
const HOSTILE_ID = '<img src=x onerror="window.hacked=1">'
// A plan's key has neither a slash nor a space.
const HOSTILE_KEY = '"><style>*{display:none}'

const home = mkdtempSync(join(tmpdir(), 'keyferry-page-'))
const running = []

// --- The town --------------------------------------------------------------------------------------------------------

/** Starts a process; `says(mark)` resolves to the word after a mark in what it prints. */
function start(args, env) {
  const child = spawn(program, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += data))
  const ended = new Promise((done) => child.on('exit', done))
  const says = (mark) =>
    until(`${args[0]} says ${mark}`, () => {
      assert.equal(child.exitCode, null, said)
      const at = said.indexOf(mark)
      return at < 0 ? null : /^[^\s"]*(?=[\s"])/.exec(said.slice(at + mark.length))?.[0]
    })
  const self = { says, said: () => said, end: () => (child.kill('SIGTERM'), ended), kill: () => child.kill('SIGKILL') }
  running.push(self)
  return self
}

async function until(what, ask) {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; ) {
    const answer = await ask()
    if (answer) return answer
    await new Promise((done) => setTimeout(done, 50))
  }
  throw new Error(`waited 30 s in vain: ${what}`)
}

const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => done(port))
    })
  })

const sandbox = start(['sandbox', '--listen', '127.0.0.1:0', '--speed', '200', '--seed', '7'], {})
const seamUrl = await sandbox.says('export SEAM_ENDPOINT=')
const apiKey = await sandbox.says('export SEAM_API_KEY=')
const receiver = `http://127.0.0.1:${await freePort()}`
const ops = `http://127.0.0.1:${await freePort()}`

async function post(url, body, headers = {}, method = 'POST') {
  const response = await fetch(url, { method, body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } })
  const text = await response.text()
  assert.ok(response.ok, `${url} answered ${response.status}: ${text}`)
  return text ? JSON.parse(text) : null
}
const seam = (path, body) => post(seamUrl + path, body, { authorization: `Bearer ${apiKey}` })

async function send(body) {
  const id = `msg_${randomUUID()}`
  const at = Math.floor(Date.now() / 1000)
  const key = Buffer.from(APP_SECRET.slice(6), 'base64')
  const signature = createHmac('sha256', key).update(`${id}.${at}.${body}`).digest('base64')
  const headers = { 'content-type': 'application/json', 'webhook-id': id, 'webhook-timestamp': String(at), 'webhook-signature': `v1,${signature}` }
  const response = await fetch(`${receiver}/webhooks/app`, { method: 'POST', body, headers })
  assert.equal(response.status, 202)
}
const sendEvent = (event) =>
  send(JSON.stringify({ event_id: randomUUID(), event_type: 'phone.registered', occurred_at: new Date().toISOString(), user_identity_id: 'nobody', ...event }))

const { webhook } = await seam('/webhooks/create', { url: `${receiver}/webhooks/seam` })
await seam('/_sandbox/senders', { kind: 'standard', url: `${receiver}/webhooks/app`, secret: APP_SECRET })

const config = join(home, 'keyferry.toml')
writeFileSync(config, '[worker]\nattempts_max = 1\nlease_seconds = 3\nsettle_seconds = 4\n[provider]\ndeadline_seconds = 2\n')

async function startKeyferry(token, database = 'one') {
  const environment = {
    SEAM_ENDPOINT: seamUrl,
    SEAM_API_KEY: apiKey,
    SEAM_WEBHOOK_SECRET: webhook.secret,
    KEYFERRY_APP_WEBHOOK_SECRET: APP_SECRET,
    KEYFERRY_STORE_URL: `sqlite:${join(home, database)}.db`,
    KEYFERRY_LISTEN: receiver.slice(7),
    KEYFERRY_OPS_LISTEN: ops.slice(7),
    ...(token && { KEYFERRY_OPS_TOKEN: token }),
  }
  const process = start(['run', '--config', config], environment)
  await until('readiness', () => fetch(`${ops}/readyz`).then((response) => response.ok, () => false))
  return process
}

const world = await (await fetch(`${seamUrl}/_sandbox/world`)).json()
const hotel = world.acs_systems.find((it) => it.external_type === 'visionline_system')
const guests = world.acs_users.filter((it) => it.acs_system_id === hotel.acs_system_id && it.user_identity_id)
const doors = world.acs_entrances.filter((it) => it.acs_system_id === hotel.acs_system_id)
// Each has a room of its own: an `override` credential ends the one before it for the same door.
const stay = (guest) => ({
  user_identity_id: guest.user_identity_id,
  acs_user_id: guest.acs_user_id,
  credential_manager_acs_system_id: hotel.default_credential_manager_acs_system_id,
  allowed_acs_entrance_ids: [doors[guests.indexOf(guest)].acs_entrance_id],
  starts_at: new Date().toISOString(),
  ends_at: new Date(Date.now() + 3 * 86_400_000).toISOString(),
  visionline_metadata: { card_format: 'rfid48', override: true },
})
const putPlan = (key, guest) =>
  post(`${ops}/v1/plans/${encodeURIComponent(key)}`, stay(guest), { authorization: `Bearer ${TOKEN}` }, 'PUT')

// --- The browser -----------------------------------------------------------------------------------------------------

const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']
const browser = await playwright.chromium.launch({ executablePath: chromium, headless: true, args: flags })
const troubles = []

async function openPage(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, ...options })
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  page.on('pageerror', (error) => troubles.push(`an error in the script: ${error.stack}`))
  page.on('dialog', (dialog) => troubles.push(`a dialog: ${dialog.message()}`))
  page.on('console', (message) => {
    // A refused call is logged by the browser itself, and so is a server that is away.
    const isCall = message.text().startsWith('Failed to load resource')
    if (message.type() === 'error' && !isCall) troubles.push(`the console: ${message.text()}`)
  })
  page.on('request', (request) => {
    const url = new URL(request.url())
    if (url.origin !== ops) troubles.push(`a request to elsewhere: ${url}`)
    if (url.href.includes(TOKEN)) troubles.push('the token in a URL')
  })
  await page.goto(ops)
  return page
}

const step = (text) => console.log(`page: ${text}`)
const line = (page, text) => page.locator('#log > li', { hasText: text })
const shoot = async (page, name) => screenshots && page.screenshot({ path: join(screenshots, `${name}.png`), fullPage: true })

async function tokenIsAskedFor() {
  const page = await openPage()
  await page.getByLabel('Token').waitFor()
  await shoot(page, 'locked')
  assert.equal(await page.locator('#desk').isVisible(), false)
  await page.getByLabel('Token').fill('a wrong one')
  await page.getByRole('button', { name: 'Open' }).click()
  await page.getByText('visible ASCII').waitFor()
  await page.getByLabel('Token').fill('wrong')
  await page.keyboard.press('Enter')
  await page.getByText('That is not the token.').waitFor()
  assert.equal(await page.locator('#desk').isVisible(), false)
  await page.getByLabel('Token').fill(TOKEN)
  await page.keyboard.press('Enter')
  await page.locator('#desk').waitFor()
  await page.getByText('live', { exact: true }).waitFor()
  assert.equal(await page.locator('#unlock').isVisible(), false)
  await page.reload()
  await page.locator('#desk').waitFor()
  assert.equal(page.url(), `${ops}/`)
  return page
}

async function linesAppear(page) {
  for (const [index, key] of ['booking-1', 'booking-2', HOSTILE_KEY].entries()) await putPlan(key, guests[index])
  await line(page, 'booking-1').first().waitFor()
  await seam('/phones/simulate/create_sandbox_phone', { user_identity_id: guests[0].user_identity_id })
  await seam('/phones/simulate/create_sandbox_phone', { user_identity_id: guests[2].user_identity_id })
  await line(page, 'phone_key.issued').filter({ hasText: 'booking-1' }).first().waitFor()
  await page.locator('#phone-keys').getByText('2 issued').waitFor()
  await page.locator('#secrets').getByText(/app: \S+, last \d+ s ago/).waitFor()
  await page.locator('#tiles').getByText(/^\d+\/100$/).waitFor()
  await line(page, 'phone_key.issued').getByRole('button', { name: 'booking-1' }).first().click()
  await page.locator('#story').getByText(guests[0].user_identity_id).first().waitFor()
  assert.match(await page.locator('#story .facts').innerText(), /phone\s+\S+ issued since/)
  await page.getByLabel('Plan key').fill('no such plan')
  await page.keyboard.press('Enter')
  await page.locator('#story').getByText('there is no plan').waitFor()
  await page.getByLabel('Plan key').fill('booking-1')
  await page.keyboard.press('Enter')
  await page.locator('#story').getByText('credential').first().waitFor()
}

async function hostileTextIsText(page) {
  const mirrored = 'abc\u202e\u2066fdp.exe'
  await sendEvent({ event_id: HOSTILE_ID, user_identity_id: '__proto__' })
  // The receiver parks an id that turns text around; its body is shown with what turns it made visible.
  await sendEvent({ event_id: mirrored })
  await sendEvent({ event_id: 'of-the-prototype', event_type: '__proto__' })
  await sendEvent({ event_id: 'javascript:alert(1)', event_type: 'constructor' })
  await line(page, HOSTILE_ID).first().waitFor()
  const parked = page.locator('#parked > li', { hasText: 'turns text around' })
  await parked.getByText('Headers and body').click()
  await parked.getByText('abc⟨U+202E⟩⟨U+2066⟩fdp.exe').waitFor()
  await line(page, '__proto__').first().waitFor()
  await line(page, 'constructor').first().waitFor()
  await line(page, HOSTILE_KEY).first().waitFor()
  await page.getByLabel('Plan key').fill(HOSTILE_KEY)
  await page.keyboard.press('Enter')
  await page.locator('#story h3').getByText(HOSTILE_KEY).waitFor()
  assert.equal(await page.locator('main img, main script, main style').count(), 0)
  assert.equal(await page.evaluate(() => window.hacked), undefined)
  assert.equal(await page.evaluate(() => ({}).polluted ?? Object.keys(Object.prototype).length), 0)
  // What would have to break first: the policy does not let it run even if it were in the document.
  const ran = await page.evaluate(async () => {
    try {
      document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.hacked=1">')
    } catch {
      return 'refused'
    }
    return 'inserted'
  })
  assert.equal(ran, 'refused')
  troubles.splice(0, Infinity, ...troubles.filter((it) => !/TrustedHTML|Trusted Types|trusted-types/i.test(it)))
}

async function parkedIsSettled(page) {
  // The provider fails once and only one attempt is allowed: parked. Released, it goes through.
  await seam('/_sandbox/faults', { path: '/phones/list', fault: 'status:503', times: 1 })
  await sendEvent({ event_id: 'comes-later', user_identity_id: guests[1].user_identity_id })
  await page.locator('#parked > li', { hasText: 'comes-later' }).waitFor()
  await send(`{"event_id": "${'<b>unreadable</b>'}`)
  const unreadable = page.locator('#parked > li', { hasText: '<b>unreadable</b>' })
  await unreadable.waitFor()
  await unreadable.getByText('Headers and body').click()
  await unreadable.getByText('<b>unreadable</b>').waitFor()
  await shoot(page, 'wide-light')
  await page.emulateMedia({ colorScheme: 'dark' })
  await shoot(page, 'wide-dark')
  await page.setViewportSize({ width: 390, height: 844 })
  await shoot(page, 'narrow-dark')
  await page.emulateMedia({ colorScheme: 'light' })
  await shoot(page, 'narrow-light')
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), 'wider than the screen')
  await page.setViewportSize({ width: 1440, height: 1000 })

  await unreadable.getByRole('button', { name: /Release/ }).click()
  await page.locator('#parked-said').getByText('still cannot be read').waitFor()
  assert.equal(await unreadable.locator('details').getAttribute('open'), '', 'what is being read stays open')
  await page.locator('#parked > li', { hasText: 'comes-later' }).getByRole('button', { name: /Release/ }).click()
  await line(page, 'event.released').first().waitFor()
  await line(page, 'event.done').filter({ hasText: 'comes-later' }).first().waitFor()
  await unreadable.getByRole('button', { name: /Discard/ }).click()
  assert.equal(await unreadable.count(), 1, 'one press discards nothing')
  await unreadable.getByRole('button', { name: /Discard/ }).click()
  await line(page, 'event.discarded').first().waitFor()
  // What the hostile sender sent is parked, too, and there are no others.
  for (const text of [HOSTILE_ID, 'turns text around']) {
    const item = page.locator('#parked > li', { hasText: text })
    await item.getByRole('button', { name: /Discard/ }).click()
    await item.getByRole('button', { name: /Discard/ }).click()
    await item.waitFor({ state: 'detached' })
  }
  await page.getByText('Nothing waits for a person.').waitFor()
}

async function filtersNarrow(page) {
  await page.locator('#kind').selectOption('issuance.')
  await page.locator('#about').fill('booking-1')
  await until('only what fits', async () => (await line(page, 'event.').count()) === 0 && (await line(page, 'issuance.').count()) > 0)
  assert.equal(await line(page, 'booking-2').count(), 0)
  await page.locator('#about').fill('')
  await page.locator('#kind').selectOption('')
  await page.getByRole('button', { name: 'Pause' }).click()
  await sendEvent({ event_id: 'while-paused' })
  await page.getByText(/paused; \d+ lines? since/).waitFor()
  assert.equal(await line(page, 'while-paused').count(), 0)
  await page.getByRole('button', { name: 'Go on' }).click()
  await line(page, 'while-paused').first().waitFor()
}

async function documentStaysSmall(page) {
  const batch = Array.from({ length: 250 }, (_, index) => sendEvent({ event_id: `many-${index}`, event_type: 'something.else' }))
  await Promise.all(batch)
  await until('all of them are counted', async () => {
    const { events } = await (await fetch(`${ops}/v1/events/many-249`, { headers: { authorization: `Bearer ${TOKEN}` } })).json()
    return events?.[0]?.state === 'ignored'
  })
  await line(page, 'many-').first().waitFor()
  await until('the rest', async () => (await page.locator('#log > li').count()) === 300)
}

async function comesBack(page, keyferry) {
  assert.equal(await keyferry.end(), 0)
  await page.getByText('unreachable').waitFor()
  const again = await startKeyferry(TOKEN)
  await page.getByText('live', { exact: true }).waitFor()
  await sendEvent({ event_id: 'after-the-restart' })
  const received = line(page, 'event.received').filter({ hasText: 'after-the-restart' })
  await received.waitFor()
  assert.equal(await received.count(), 1)
  await page.getByRole('button', { name: 'Lock' }).click()
  await page.getByLabel('Token').waitFor()
  assert.equal(await page.locator('#log > li').count(), 0)
  assert.equal(await page.evaluate(() => sessionStorage.length + localStorage.length + document.cookie.length), 0)
  await again.end()
}

async function withoutATokenItJustWorks() {
  const keyferry = await startKeyferry(null, 'two')
  const page = await openPage({ colorScheme: 'dark' })
  await page.locator('#desk').waitFor()
  await page.getByText('Nothing has happened yet.').waitFor()
  await shoot(page, 'empty-dark')
  await send('{"event_id": ')
  const item = page.locator('#parked > li')
  await item.waitFor()
  await item.getByRole('button', { name: /Discard/ }).click()
  await item.getByRole('button', { name: /Discard/ }).click()
  await line(page, 'event.discarded').waitFor()
  await keyferry.end()
}

try {
  const keyferry = await startKeyferry(TOKEN)
  step('the token is asked for, and a wrong one is refused')
  const page = await tokenIsAskedFor()
  step('lines appear as they happen, and a plan tells its story')
  await linesAppear(page)
  step('hostile text is shown as text and runs nothing')
  await hostileTextIsText(page)
  step('what is parked is read, released and discarded')
  await parkedIsSettled(page)
  step('filters and the pause')
  await filtersNarrow(page)
  step('the document stays small')
  await documentStaysSmall(page)
  step('it comes back after a restart, and forgets the token')
  await comesBack(page, keyferry)
  step('on loopback without a token it just works')
  await withoutATokenItJustWorks()
  assert.deepEqual(troubles, [])
  step('all good')
} catch (error) {
  for (const page of browser.contexts().flatMap((context) => context.pages())) {
    console.error(await page.locator('body').innerText().catch(() => ''))
    if (screenshots) await page.screenshot({ path: join(screenshots, 'failed.png') }).catch(() => {})
  }
  console.error(troubles.join('\n'))
  console.error(running.map((it) => it.said().slice(-3000)).join('\n---\n'))
  throw error
} finally {
  await browser.close()
  for (const process of running) process.kill()
  rmSync(home, { recursive: true, force: true })
}
