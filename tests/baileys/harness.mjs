// What every story here needs: the lab server as a process, Baileys on a folder, and waiting for what is said.
import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import makeWASocket, { DisconnectReason, useMultiFileAuthState } from 'baileys'

export const FRIEND = '15550100002@s.whatsapp.net'
const STEP_MS = 60_000
const logger = {
  level: 'silent',
  child: () => logger,
  trace() {}, debug() {}, info() {}, warn() {}, error() {},
}
if (process.env.LAB_VERBOSE) {
  logger.warn = logger.error = (...args) => console.error(...args)
} else {
  // libsignal prints its sessions, keys and all.
  console.info = () => {}
}

const seen = []
const waiting = []

// Something was printed or received: whoever waits for it goes on.
export function note(text) {
  seen.push(text)
  if (process.env.LAB_VERBOSE) console.error('·', text)
  for (const w of [...waiting]) w()
}

export function expect(what, pattern) {
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

export class Lab {
  constructor(program) {
    this.process = spawn(program, ['--listen', '127.0.0.1:0'], { stdio: ['pipe', 'pipe', 'inherit'] })
    createInterface({ input: this.process.stdout }).on('line', line => note(`lab: ${line}`))
  }

  tell(line) {
    this.process.stdin.write(line + '\n')
  }

  // Waits until it is up. Returns the address to connect to and the group's.
  async up() {
    const [, url] = await expect('the lab is up', /lab server on (\S+)/)
    const [group] = await expect('the lab has a group', /\d+@g\.us/)
    return { url, group }
  }
}

// Baileys with its login in a folder, paired by scanning its QR code with the Owner's phone.
export class Baileys {
  constructor(lab, url, folder) {
    Object.assign(this, { lab, url, folder, saving: Promise.resolve() })
  }

  async connect() {
    const { state, saveCreds } = await useMultiFileAuthState(this.folder)
    const socket = (this.socket = makeWASocket({
      auth: state,
      logger,
      waWebSocketUrl: this.url,
      version: [2, 3000, 1035194821],
      markOnlineOnConnect: false,
      shouldSyncHistoryMessage: () => false,
    }))
    let scanned = false
    socket.ev.on('creds.update', () => (this.saving = this.saving.then(saveCreds)))
    socket.ev.on('connection.update', async ({ connection, qr, lastDisconnect }) => {
      if (qr && !scanned) {
        scanned = true
        this.lab.tell(`scan ${qr}`)
      }
      if (connection === 'open') note('baileys: open')
      if (connection === 'close') {
        const code = lastDisconnect?.error?.output?.statusCode
        note(`baileys: closed ${code}`)
        if (code === DisconnectReason.restartRequired) await this.connect()
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

  // Pairing, the restart that follows it, and a chat both ways, with one person and in the group.
  async chat(group) {
    await this.connect()
    await expect('paired by QR code', /paired as device 1/)
    await expect('asked to restart', /baileys: closed 515/)
    await expect('logged in', /baileys: open/)
    const sent = await this.socket.sendMessage(FRIEND, { text: 'hello from baileys' })
    await expect("Friend's phone has the text", /Friend's phone: from 15550100001 .*hello from baileys/)
    await expect("Owner's phone has its copy", /Owner's phone: from 15550100001 in 15550100002: hello from baileys/)
    await expect('delivered', new RegExp(`baileys: status of ${sent.key.id} is 3`))
    this.lab.tell('send Friend Owner hello from friend')
    await expect('the answer arrived', /baileys: \S+ says hello from friend/)
    await this.socket.sendMessage(group, { text: 'hello everybody' })
    await expect("Friend's phone has the group's text", /Friend's phone: from 15550100001 in \d+@g\.us: hello everybody/)
    this.lab.tell('send Friend Group hello group')
    await expect('the answer in the group arrived', /baileys: \d+@g\.us says hello group/)
  }

  // Ends it; the folder is then as whole as Baileys leaves it.
  async stop() {
    this.socket?.end(undefined)
    await this.saving
  }
}

// Runs a story in a folder that is gone afterwards, and ends the process: with 1 if a step did not happen.
export async function run(end, story) {
  const lab = new Lab(process.argv[2])
  const folder = mkdtempSync(join(tmpdir(), 'lab-check-'))
  let failure = 0
  try {
    await story(lab, folder)
    console.log(end)
  } catch (error) {
    failure = 1
    console.error(`failed: ${error.message}`)
    if (!process.env.LAB_VERBOSE) console.error(seen.slice(-12).join('\n'))
  }
  lab.process.stdin.end('quit\n')
  rmSync(folder, { recursive: true, force: true })
  setTimeout(() => process.exit(failure), 300)
}
