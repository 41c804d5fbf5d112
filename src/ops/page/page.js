// The operators' page. It reads the ops API and shows what that says; it holds no rule of its own.
//
// Texts come from senders and providers, so they reach the document as text nodes and never as markup. The token lives in
// this tab and travels in a header. What grows has a limit: lines kept, lines shown, characters of a body.

const LINES_KEPT_MAX = 2000
const LINES_SHOWN_MAX = 300
const BACKLOG = 300
const PARKED_SHOWN_MAX = 25
const BODY_CHARS_MAX = 4000
// Of a sender's clock; the edge is at five minutes.
const SKEW_SHOWN_SECONDS = 30
const STATUS_EVERY_MS = 3000
const CALL_TIMEOUT_MS = 15_000
// The server sends a heartbeat every 15 s.
const STREAM_SILENCE_MS = 40_000
const STREAM_LINE_CHARS_MAX = 256 * 1024
const PAUSE_MAX_MS = 15_000
const TOKEN = 'keyferry.token'

const $ = (id) => document.getElementById(id)
const wait = (ms) => new Promise((done) => setTimeout(done, ms))

// --- Texts -----------------------------------------------------------------------------------------------------------

// Characters that cannot be seen, or that turn the direction of others around, are shown by their numbers.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g
const shown = (value) =>
  String(value).replace(UNSEEN, (c) => `⟨U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}⟩`)

/** An element with a class, and children that are elements or texts. */
function el(name, className, ...children) {
  const element = document.createElement(name)
  if (className) element.className = className
  element.append(...children.filter((child) => child != null).map((child) => (child instanceof Node ? child : shown(child))))
  return element
}

const id = (text) => el('span', 'id', text)
const plural = (count, one, many) => `${count} ${count === 1 ? one : many}`

function age(seconds) {
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} days`
}

function moment(at) {
  const date = new Date(at)
  if (Number.isNaN(date.getTime())) return el('time', '', at)
  const two = (number) => String(number).padStart(2, '0')
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  const isToday = date.toDateString() === new Date().toDateString()
  const day = isToday ? '' : `${two(date.getMonth() + 1)}-${two(date.getDate())} `
  const time = el('time', '', day + clock)
  time.dateTime = time.title = String(at)
  return time
}

const TONES = new Map([
  ...['issued', 'done', 'registered'].map((word) => [word, 'good']),
  ...['planned', 'creating', 'created', 'waiting', 'unknown', 'retry', 'overdue'].map((word) => [word, 'pending']),
  ...['failed', 'parked'].map((word) => [word, 'bad']),
])
const tone = (word) => TONES.get(word) ?? ''
const verb = (kind) => kind.slice(kind.lastIndexOf('.') + 1)
const NEEDS_A_LOOK = new Set(['failed', 'parked', 'overdue', 'unknown', 'retry'])

// --- Calls -----------------------------------------------------------------------------------------------------------

let token = sessionStorage.getItem(TOKEN) ?? ''

class Refused extends Error {
  constructor(status, message) {
    super(message)
    this.status = status
  }
}

async function call(path, { method = 'GET', signal = AbortSignal.timeout(CALL_TIMEOUT_MS) } = {}) {
  const headers = token ? { authorization: `Bearer ${token}` } : {}
  const response = await fetch(path, { method, headers, signal, cache: 'no-store', redirect: 'error', credentials: 'omit' })
  if (response.ok) return response
  const said = await response.json().catch(() => null)
  if (response.status === 401) lock(token ? 'That is not the token.' : '')
  throw new Refused(response.status, said?.error?.message ?? `The server answered ${response.status}.`)
}

const json = async (path, options) => (await call(path, options)).json()
const at = (path, key) => `${path}/${encodeURIComponent(key)}`

// --- The lock --------------------------------------------------------------------------------------------------------

// Each opening of the page is an era of its own: what an earlier one has under way ends without a word.
let era = new AbortController()

function lock(why) {
  era.abort()
  token = ''
  sessionStorage.removeItem(TOKEN)
  $('desk').hidden = $('forget').hidden = true
  $('unlock').hidden = false
  $('refused').textContent = why
  $('line').textContent = ''
  pill('locked', 'pending')
  forgetAll()
  $('token').focus()
}

function open() {
  era.abort()
  era = new AbortController()
  $('forget').hidden = !token
  follow(era.signal)
  watch(era.signal)
}

$('unlock').addEventListener('submit', async (event) => {
  event.preventDefault()
  const given = $('token').value.trim()
  $('token').value = ''
  if (!/^[\x21-\x7e]+$/.test(given)) {
    $('refused').textContent = 'A token is visible ASCII characters without spaces.'
    return
  }
  token = given
  $('refused').textContent = ''
  try {
    await call('/v1/status')
  } catch (error) {
    if (error.status !== 401) $('refused').textContent = `${error.message} Try again.`
    return
  }
  sessionStorage.setItem(TOKEN, token)
  open()
})

$('forget').addEventListener('click', () => lock(''))

// --- At a glance -----------------------------------------------------------------------------------------------------

function pill(text, className) {
  $('ready').className = `pill ${className}`
  if ($('ready').textContent !== text) $('ready').textContent = text
}

function tile(name, value, className) {
  return el('div', '', el('dt', '', name), el('dd', className, value))
}

function bar(counts) {
  const present = Object.entries(counts ?? {}).filter(([, count]) => count > 0)
  const parts = present.map(([word, count]) => {
    const part = el('i', tone(word))
    part.style.flexGrow = count
    return part
  })
  const line = el('div', 'bar', ...parts)
  line.ariaHidden = 'true'
  const words = present.map(([word, count]) => el('span', '', el('b', tone(word), count), ` ${word}`))
  return [line, el('div', 'legend', ...(words.length ? words : [el('span', 'faint', 'none yet')]))]
}

// Whatever else a newer server's status says is shown as it is.
const KNOWN = new Set(['at', 'ready', 'checks', 'inbox', 'calls', 'parked', 'issuances', 'phone_keys', 'sources', 'ledger_head', 'overdue'])

function facts(value, depth = 0) {
  const list = el('dl', 'facts')
  for (const [name, inner] of Object.entries(value).slice(0, 40)) {
    if (inner == null) continue
    const text = typeof inner !== 'object' ? id(inner) : depth < 2 ? facts(inner, depth + 1) : id(JSON.stringify(inner).slice(0, 200))
    list.append(el('dt', '', Array.isArray(value) ? (inner.name ?? name) : name.replaceAll('_', ' ')), el('dd', '', text))
  }
  return list
}

/** A line for each secret of a source: how much it has proven, and whether it is still needed. */
function secretLines({ name, clock_skew_seconds: skew, secrets }, now) {
  const off = Math.abs(skew ?? 0) < SKEW_SHOWN_SECONDS ? null : el('b', 'pending', ` its clock and ours are ${age(Math.abs(skew))} apart`)
  return secrets.map((secret) => {
    const last = secret.last_used_at && age(Math.max(0, Math.floor((now - new Date(secret.last_used_at)) / 1000)))
    const rest = secret.configured === false ? ', no longer configured' : secret.safe_to_remove ? ', no longer needed' : ''
    const used = el('span', 'faint', last ? `, last ${last} ago` : ', not used yet', rest)
    return el('li', '', el('b', '', secret.events), id(`${name}: ${secret.name}`), used, off?.cloneNode(true))
  })
}

let parkedCount = -1

async function show(status) {
  const { inbox, checks = [] } = status
  const down = checks.filter((check) => check.vital && !check.ok).map((check) => check.name)
  if (status.ready) pill('ready', 'good')
  else pill(`not ready: ${shown(down.join(', '))}`, 'bad')
  document.title = `${status.parked > 0 ? `(${status.parked}) ` : ''}Keyferry${status.ready ? '' : ': not ready'}`
  const oldest = inbox.oldest_age_seconds
  const tiles = [
    tile('waiting', inbox.waiting),
    tile('tried again', inbox.retrying, inbox.retrying ? 'pending' : ''),
    tile('in hand', inbox.in_flight),
    tile('oldest', oldest == null ? '–' : age(oldest), oldest > 300 ? 'pending' : ''),
    tile('parked', status.parked, status.parked ? 'bad' : ''),
  ]
  const rate = status.calls?.rate
  if (rate) tiles.push(tile('burst of calls used', `${rate.burst_used}/${rate.burst_max}`, rate.burst_used < rate.burst_max ? '' : 'pending'))
  if (status.overdue != null) tiles.push(tile('overdue', status.overdue, status.overdue ? 'bad' : ''))
  $('tiles').replaceChildren(...tiles)
  $('issuances').replaceChildren(...bar(status.issuances))
  $('phone-keys').replaceChildren(...bar(status.phone_keys))
  $('waits').hidden = !inbox.reasons?.length
  $('reasons').replaceChildren(...(inbox.reasons ?? []).map(({ count, why }) => el('li', '', el('b', 'pending', count), id(why))))
  $('checks').replaceChildren(
    ...checks.map(({ name, ok, vital, why }) =>
      el('li', '', el('b', ok ? 'good' : vital ? 'bad' : 'pending', ok ? '✓ ' : '✗ '), name, why ? el('span', 'faint', ': ', id(why)) : null),
    ),
  )
  const secrets = (status.sources ?? []).flatMap((source) => secretLines(source, new Date(status.at)))
  $('senders').hidden = !secrets.length
  $('secrets').replaceChildren(...secrets)
  const more = Object.entries(status).filter(([name, value]) => !KNOWN.has(name) && value != null)
  $('more').replaceChildren(
    ...more.map(([name, value]) =>
      el('div', '', el('h3', '', name.replaceAll('_', ' ')), typeof value === 'object' ? facts(value) : id(value)),
    ),
  )
  if (status.parked !== parkedCount) await showParked(status.parked)
}

// A change in the ledger asks for a look soon; else there is one every few seconds.
let look = () => {}

async function watch(signal) {
  while (!signal.aborted) {
    const nudge = new Promise((done) => (look = done))
    try {
      const status = await json('/v1/status')
      if (signal.aborted) return
      $('unlock').hidden = true
      $('desk').hidden = false
      await show(status)
    } catch (error) {
      if (signal.aborted) return
      pill(error instanceof Refused ? 'no answer' : 'unreachable', 'bad')
      $('line').textContent = shown(error instanceof Refused ? error.message : 'The server cannot be reached; trying again.')
    }
    await Promise.race([wait(STATUS_EVERY_MS), nudge.then(() => wait(300))])
  }
}

// --- Parked ----------------------------------------------------------------------------------------------------------

function bodyText(base64) {
  const head = atob(base64.slice(0, BODY_CHARS_MAX * 2))
  const bytes = Uint8Array.from(head, (c) => c.charCodeAt(0))
  const text = new TextDecoder().decode(bytes)
  return text.length > BODY_CHARS_MAX || base64.length > BODY_CHARS_MAX * 2 ? `${text.slice(0, BODY_CHARS_MAX)} …` : text
}

async function settle(item, act, button) {
  for (const other of button.parentElement.querySelectorAll('button')) other.disabled = true
  try {
    const { state } = await json(`${at('/v1/parked', item.id)}/${act}`, { method: 'POST' })
    $('parked-said').textContent = shown(`${item.id} is ${state}.`)
  } catch (error) {
    $('parked-said').textContent = shown(`${item.id}: ${error.message}`)
  }
  parkedCount = -1
  look()
}

function parkedItem(item) {
  const release = el('button', 'main', 'Release')
  release.addEventListener('click', () => settle(item, 'release', release))
  const discard = el('button', 'danger', 'Discard')
  // The second press means it, and only for a moment.
  discard.addEventListener('click', async () => {
    if (discard.classList.contains('sure')) return settle(item, 'discard', discard)
    discard.classList.add('sure')
    discard.textContent = 'Discard for good?'
    await wait(4000)
    discard.classList.remove('sure')
    discard.textContent = 'Discard'
  })
  for (const button of [release, discard]) button.type = 'button'
  release.setAttribute('aria-label', `Release ${item.id}`)
  const about = [`from ${item.source}`, item.event_type, item.event_id && `event ${item.event_id}`].filter(Boolean)
  const headers = Object.entries(item.headers ?? {}).map(([name, value]) => `${name}: ${value}\n`)
  return el(
    'li',
    '',
    el('div', 'why', el('b', 'bad', `${item.id} `), item.why),
    el('div', 'faint', moment(item.received_at), ' · ', el('span', 'why', about.join(' · '))),
    el('details', '', el('summary', '', 'Headers and body'), el('pre', '', `${headers.join('')}\n${bodyText(item.body_base64)}`)),
    el('div', 'row', release, discard),
  )
}

async function showParked(count) {
  $('parked-count').textContent = count
  $('parked-count').className = count ? 'count bad' : 'count'
  $('parked-none').hidden = count > 0
  // An open item is being read, and a button may be about to be pressed: those that stay, stay as they are.
  const kept = new Map([...$('parked').children].map((row) => [row.dataset.id, row]))
  const items = count ? (await json(`/v1/parked?limit=${PARKED_SHOWN_MAX}`)).parked : []
  const rows = items.map((item) => {
    const row = kept.get(String(item.id)) ?? parkedItem(item)
    row.dataset.id = item.id
    for (const button of row.querySelectorAll('button')) button.disabled = false
    return row
  })
  if (count > rows.length) rows.push(el('li', 'faint', `and ${count - rows.length} more: keyferry parked list`))
  $('parked').replaceChildren(...rows)
  // Only now: what could not be read is asked for again.
  parkedCount = count
}

// --- A plan's story --------------------------------------------------------------------------------------------------

let storyKey = null

function planLink(key) {
  const link = el('button', 'link', key)
  link.type = 'button'
  link.addEventListener('click', () => {
    $('key').value = key
    tell(key)
    $('story-title').scrollIntoView({ block: 'nearest' })
  })
  return link
}

async function tell(key) {
  storyKey = key
  try {
    const [issuance, { ledger }] = await Promise.all([
      json(at('/v1/issuances', key)),
      json(`${at('/v1/issuances', key)}/ledger?limit=100`),
    ])
    if (storyKey !== key) return
    const list = el('dl', 'facts')
    const fact = (name, value) => value != null && list.append(el('dt', '', name), el('dd', '', id(value)))
    list.append(el('dt', '', 'status'), el('dd', '', el('b', tone(issuance.status), issuance.status), issuance.overdue ? el('b', 'bad', ' overdue') : null))
    fact('person', issuance.user_identity_id)
    fact('ACS user', issuance.acs_user_id)
    fact('credential', issuance.acs_credential_id)
    fact('attempts', issuance.attempts)
    fact('error', issuance.error)
    for (const phone of issuance.phones ?? []) {
      const since = phone.issued_at ? [' since ', moment(phone.issued_at)] : []
      list.append(el('dt', '', 'phone'), el('dd', '', id(phone.device_id), ' ', el('b', tone(phone.status), phone.status), ...since))
    }
    const lines = ledger.toReversed().map((line) => el('li', '', moment(line.at), kind(line), about(line, true)))
    $('story').replaceChildren(el('h3', '', id(key)), list, el('ol', 'lines', ...lines))
  } catch (error) {
    if (storyKey === key) $('story').replaceChildren(el('p', 'bad', error.message))
  }
}

$('find').addEventListener('submit', (event) => {
  event.preventDefault()
  tell($('key').value)
})

// --- The ledger ------------------------------------------------------------------------------------------------------

// The newest first.
let lines = []
let last = null
let isHeld = false
let passed = 0

function kind(line) {
  const word = verb(line.kind)
  return el('span', 'kind', line.kind.slice(0, -word.length), el('span', tone(word), word))
}

function about(line, isInStory = false) {
  const named = (name, value) => value && el('span', '', name ? el('i', '', `${name} `) : null, id(value))
  return el(
    'span',
    'about',
    line.plan_key && !isInStory ? planLink(line.plan_key) : null,
    ...[
      named('phone', line.device_id),
      named('credential', line.acs_credential_id),
      isInStory ? null : named('person', line.user_identity_id),
      named('', line.event_type),
      named('event', line.event_id),
      named('from', line.source),
    ].filter(Boolean),
    line.why ? el('span', 'why', line.why) : null,
  )
}

function row(line) {
  const item = el('li', '', moment(line.at), kind(line), about(line))
  item.title = `line ${line.seq}`
  return item
}

function wanted() {
  const text = $('about').value.trim().toLowerCase()
  const family = $('kind').value
  const ids = ['plan_key', 'user_identity_id', 'device_id', 'acs_credential_id', 'event_id', 'event_type', 'source', 'why']
  return (line) =>
    (family === '' || (family === '!' ? NEEDS_A_LOOK.has(verb(line.kind)) : line.kind.startsWith(family))) &&
    (text === '' || ids.some((name) => line[name]?.toLowerCase().includes(text)))
}

function note(found) {
  const parts = []
  if (isHeld) parts.push(passed ? `paused; ${plural(passed, 'line', 'lines')} since` : 'paused')
  if ($('about').value || $('kind').value) parts.push(`of the last ${plural(lines.length, 'line', 'lines')}, ${found} fit`)
  else if (!lines.length) parts.push('Nothing has happened yet.')
  $('log-note').textContent = parts.join('; ')
}

function showLines() {
  const found = lines.filter(wanted())
  $('log').replaceChildren(...found.slice(0, LINES_SHOWN_MAX).map(row))
  note(found.length)
}

// A burst of lines costs one change of the document.
let arrived = []
function arrive(line) {
  last = line.seq
  if (arrived.push(line) === 1) setTimeout(takeIn, 60)
}

function takeIn() {
  const fresh = arrived.toReversed()
  arrived = []
  lines = [...fresh, ...lines].slice(0, LINES_KEPT_MAX)
  look()
  if (storyKey != null && fresh.some((line) => line.plan_key === storyKey)) tell(storyKey)
  if (isHeld) {
    passed += fresh.length
    return note(lines.filter(wanted()).length)
  }
  const list = $('log')
  const rows = fresh.filter(wanted()).slice(0, LINES_SHOWN_MAX).map(row)
  const isFirst = !list.hasChildNodes()
  // Whoever has scrolled down keeps reading where they are: the browser anchors the scroll position.
  list.prepend(...rows)
  if (!isFirst) for (const item of rows) item.classList.add('new')
  while (list.children.length > LINES_SHOWN_MAX) list.lastElementChild.remove()
  note($('about').value || $('kind').value ? lines.filter(wanted()).length : 0)
}

/** Reads server-sent events: calls `take` with each one's data. Ends when the stream does. */
async function readStream(response, alive, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let rest = ''
  let data = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    alive()
    const parts = (rest + value).split('\n')
    rest = parts.pop()
    if (rest.length > STREAM_LINE_CHARS_MAX) throw new Error('a line of the stream has no end')
    for (const part of parts) {
      if (part.startsWith('data:')) data += part.slice(5)
      else if (part.trim() === '' && data) {
        take(JSON.parse(data))
        data = ''
      }
    }
  }
}

/** Follows the ledger until the era ends, and comes back after every break where it stopped. */
async function follow(signal) {
  for (let failures = 0; !signal.aborted; failures += 1) {
    const cut = new AbortController()
    let timer
    const alive = () => {
      clearTimeout(timer)
      timer = setTimeout(() => cut.abort(), STREAM_SILENCE_MS)
    }
    try {
      alive()
      const head = (await json('/v1/status', { signal })).ledger_head
      // A head before our last line is another ledger's.
      if (last == null || head < last) {
        lines = []
        last = Math.max(0, head - BACKLOG)
      }
      const response = await call(`/v1/ledger/stream?after=${last}`, { signal: AbortSignal.any([signal, cut.signal]) })
      $('line').textContent = 'live'
      showLines()
      await readStream(response, () => ((failures = 0), alive()), arrive)
    } catch (error) {
      if (signal.aborted || error.status === 401) return
    } finally {
      clearTimeout(timer)
    }
    $('line').textContent = 'reconnecting …'
    await wait(Math.min(PAUSE_MAX_MS, 500 * 2 ** failures) * (0.5 + Math.random() / 2))
  }
}

function forgetAll() {
  lines = []
  arrived = []
  last = storyKey = null
  parkedCount = -1
  for (const list of ['log', 'parked', 'story', 'reasons', 'checks', 'more', 'tiles']) $(list).replaceChildren()
}

$('about').addEventListener('input', showLines)
$('kind').addEventListener('change', showLines)
$('filter').addEventListener('submit', (event) => event.preventDefault())
$('hold').addEventListener('click', () => {
  isHeld = !isHeld
  passed = 0
  $('hold').setAttribute('aria-pressed', String(isHeld))
  $('hold').textContent = isHeld ? 'Go on' : 'Pause'
  showLines()
})

open()
