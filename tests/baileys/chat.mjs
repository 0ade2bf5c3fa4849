// Drives Baileys through pairing, the restart that follows it, and a chat both ways, against the lab server whose binary
// is named by the first argument. Says what it did; exits non-zero when a step does not happen in time.
import { join } from 'node:path'
import { Baileys, run } from './harness.mjs'

await run('baileys and the lab understand each other', async (lab, folder) => {
  const { url, group } = await lab.up()
  const baileys = new Baileys(lab, url, join(folder, 'auth'))
  await baileys.chat(group)
  await baileys.stop()
})
