// Takes a login over from Baileys: it pairs and chats on the lab server and stops; Tautline imports its folder, and reads
// and writes in the sessions that are there. Arguments: the lab's binary, tautline's, and optionally a folder to keep the
// login and the lab's phones in: that is how tests/fixtures/baileys was made.
import { spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Baileys, expect, note, run } from './harness.mjs'

const [, , , tautline, keep] = process.argv
// What a kept folder has of the 800 pre-keys.
const PRE_KEYS_KEPT = 6

function keepFolder(lab, auth) {
  const kept = join(keep, 'auth')
  rmSync(kept, { recursive: true, force: true })
  mkdirSync(kept, { recursive: true })
  const number = file => Number(file.match(/^pre-key-(\d+)\.json$/)?.[1])
  const files = readdirSync(auth)
  const ids = files.map(number).filter(id => id > 0).sort((a, b) => a - b).slice(0, PRE_KEYS_KEPT)
  for (const file of files) {
    if (!(number(file) > 0) || ids.includes(number(file))) cpSync(join(auth, file), join(kept, file))
  }
  lab.tell(`save ${join(keep, 'lab.json')} ${ids.join(',')}`)
}

async function status(base, what, wanted) {
  for (let tries = 0; tries < 600; tries++) {
    const found = await (await fetch(`${base}/v1/status`)).json()
    if (wanted(found.sessions[0])) return console.log(`ok: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
  throw new Error(`${what}: not within 60 s`)
}

async function publish(base, route, text) {
  const { id } = await (await fetch(`${base}/${route}`, { method: 'POST', body: text })).json()
  const alert = await (await fetch(`${base}/v1/alerts/${id}?wait=delivered&timeout=60s`)).json()
  if (alert.state !== 'delivered') throw new Error(`${text}: ${JSON.stringify(alert)}`)
  console.log(`ok: delivered: ${text}`)
}

await run("tautline goes on where baileys stopped", async (lab, folder) => {
  const { url, group } = await lab.up()
  const auth = join(folder, 'auth')
  const baileys = new Baileys(lab, url, auth)
  await baileys.chat(group)
  await baileys.stop()
  await expect('baileys has stopped', /baileys: closed (?!515)/)
  if (keep) {
    keepFolder(lab, auth)
    await expect('kept', /saved/)
  }

  const config = join(folder, 'tautline.toml')
  writeFileSync(config, `[[session]]
name = "default"
endpoint = "${url}"
[[route]]
name = "friend"
session = "default"
to = ["+15550100002"]
[[route]]
name = "all"
session = "default"
to = ["${group}"]
[gateway]
listen = ["127.0.0.1:0"]
`)
  const common = ['--config', config, '--state', join(folder, 'state')]
  const imported = spawnSync(tautline, [...common, 'store', 'import-baileys', auth, '--json'], { encoding: 'utf8' })
  if (imported.status !== 0) throw new Error(`import: ${imported.status}: ${imported.stderr}`)
  const { taken, left_out } = JSON.parse(imported.stdout)
  console.log(`ok: imported: ${JSON.stringify(taken)}`)
  if (left_out.length) throw new Error(`left out: ${JSON.stringify(left_out)}`)

  // Sent while nobody is on the line: they wait, encrypted for the sessions of Baileys.
  lab.tell('send Friend Owner for the old session')
  lab.tell('send Friend Group for the old sender key')
  const relay = spawn(tautline, [...common, 'run'], { stdio: ['ignore', 'pipe', 'inherit'] })
  try {
    createInterface({ input: relay.stdout }).on('line', line => note(`relay: ${line}`))
    const [, base] = await expect('the relay is up', /relay: Tautline is at (http:\S+?)\/?$/)
    await status(base, 'logged in without pairing', session => session.state === 'online')
    await status(base, 'both messages were read', session => session.inbound_recorded >= 2)
    lab.tell('encs')
    const [, encs] = await expect('the lab says how they were encrypted', /lab: encs: (.*)/)
    const toUs = encs.split(', ').filter(enc => enc.startsWith('S->C')).slice(-2)
    if (!toUs.every(enc => enc === 'S->C msg' || enc === 'S->C skmsg')) throw new Error(`not the old session: ${encs}`)
    await publish(base, 'friend', 'an alert from tautline')
    await expect("Friend's phone has it", /Friend's phone: from 15550100001 in 15550100001: an alert from tautline/)
    await publish(base, 'all', 'an alert for everybody')
    await expect("and the group's", /Friend's phone: from 15550100001 in \d+@g\.us: an alert for everybody/)
  } finally {
    relay.kill('SIGTERM')
  }
})
