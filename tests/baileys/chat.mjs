// Drives Baileys through pairing, the restart that follows it, and a chat both ways, against the lab server whose binary
// is named by the first argument. Says what it did; exits non-zero when a step does not happen in time.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import makeWASocket, { DisconnectReason, useMultiFileAuthState } from 'baileys'

const FRIEND = '15550100002@s.whatsapp.net'
const STEP_MS = 30_000
const logger = {
  level: 'silent',
  child: () => logger,
  trace() {}, debug() {}, info() {}, warn() {}, error() {},
}
if (process.env.LAB_VERBOSE) {
  logger.warn = logger.error = (...args) => console.error(...args)
}

const lab = spawn(process.argv[2], ['--listen', '127.0.0.1:0'], { stdio: ['pipe', 'pipe', 'inherit'] })
const folder = mkdtempSync(join(tmpdir(), 'lab-check-'))
const seen = []
const waiting = []

// Something was printed or received: whoever waits for it goes on.
function note(text) {
  seen.push(text)
  if (process.env.LAB_VERBOSE) console.error('·', text)
  for (const w of [...waiting]) w()
}

function expect(what, pattern) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: not within ${STEP_MS / 1000} s`)), STEP_MS)
    const look = () => {
      const found = seen.map(text => text.match(pattern)).find(Boolean)
      if (!found) return
      clearTimeout(timer)
      waiting.splice(waiting.indexOf(look), 1)
      console.log(`ok: ${what}`)
      resolve(found)
    }
    waiting.push(look)
    look()
  })
}

const tell = line => lab.stdin.write(line + '\n')
createInterface({ input: lab.stdout }).on('line', line => note(`lab: ${line}`))

let socket
async function connect(url) {
  const { state, saveCreds } = await useMultiFileAuthState(folder)
  socket = makeWASocket({
    auth: state,
    logger,
    waWebSocketUrl: url,
    version: [2, 3000, 1035194821],
    markOnlineOnConnect: false,
    shouldSyncHistoryMessage: () => false,
  })
  let scanned = false
  socket.ev.on('creds.update', saveCreds)
  socket.ev.on('connection.update', async ({ connection, qr, lastDisconnect }) => {
    if (qr && !scanned) {
      scanned = true
      tell(`scan ${qr}`)
    }
    if (connection === 'open') note('baileys: open')
    if (connection === 'close') {
      const code = lastDisconnect?.error?.output?.statusCode
      note(`baileys: closed ${code}`)
      if (code === DisconnectReason.restartRequired) await connect(url)
    }
  })
  socket.ev.on('messages.upsert', ({ messages }) => {
    for (const { key, message } of messages) {
      const text = message?.conversation ?? message?.extendedTextMessage?.text
      if (text) note(`baileys: ${key.remoteJid} says ${text}`)
    }
  })
  socket.ev.on('messages.update', updates => {
    for (const { key, update } of updates) note(`baileys: status of ${key.id} is ${update.status}`)
  })
}

async function story() {
  const [, url] = await expect('the lab is up', /lab server on (\S+)/)
  const [group] = (await expect('the lab has a group', /\d+@g\.us/))
  await connect(url)
  await expect('paired by QR code', /paired as device 1/)
  await expect('asked to restart', /baileys: closed 515/)
  await expect('logged in', /baileys: open/)
  const sent = await socket.sendMessage(FRIEND, { text: 'hello from baileys' })
  await expect("Friend's phone has the text", /Friend's phone: from 15550100001 .*hello from baileys/)
  await expect("Owner's phone has its copy", /Owner's phone: from 15550100001 in 15550100002: hello from baileys/)
  await expect('delivered', new RegExp(`baileys: status of ${sent.key.id} is 3`))
  tell('send Friend Owner hello from friend')
  await expect('the answer arrived', /baileys: \S+ says hello from friend/)
  await socket.sendMessage(group, { text: 'hello everybody' })
  await expect("Friend's phone has the group's text", /Friend's phone: from 15550100001 in \d+@g\.us: hello everybody/)
  tell('send Friend Group hello group')
  await expect('the answer in the group arrived', /baileys: \d+@g\.us says hello group/)
}

let failure = 0
try {
  await story()
  console.log('baileys and the lab understand each other')
} catch (error) {
  failure = 1
  console.error(`failed: ${error.message}`)
  if (!process.env.LAB_VERBOSE) console.error(seen.slice(-12).join('\n'))
}
socket?.end(undefined)
lab.stdin.end('quit\n')
rmSync(folder, { recursive: true, force: true })
setTimeout(() => process.exit(failure), 300)
