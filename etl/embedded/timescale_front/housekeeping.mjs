// What a server's background processes do, done between the clients' transactions: the engine has none.
// Checkpoints (without them a restart after 3M rows took 35 s, with them 1.5 s), statistics, TimescaleDB's jobs.

import fs from 'node:fs'

const ANALYZE_EVERY_ROUNDS = 20

const JOBS = `SELECT job_id, extract(epoch FROM schedule_interval) * 1000 AS every_ms
  FROM timescaledb_information.jobs WHERE scheduled AND job_id >= 1000 ORDER BY job_id`
const TABLES = `SELECT format('%I.%I', hypertable_schema, hypertable_name) AS name
  FROM timescaledb_information.hypertables ORDER BY name`

export class Housekeeping {
  #server
  #jobsFile
  #everyMs
  #timer = null
  #round = 0
  #calls = { checkpoint: 0, analyze: 0 }
  #ownTurn = {}

  constructor(server, jobsFile, everyMs) {
    this.#server = server
    this.#jobsFile = jobsFile
    this.#everyMs = everyMs
  }

  start() {
    this.#timer = setTimeout(async () => {
      await this.#tidy()
      this.start()
    }, this.#everyMs)
  }

  stop() {
    clearTimeout(this.#timer)
  }

  async #tidy() {
    this.#round += 1
    await this.#jobs()
    if (this.#round % ANALYZE_EVERY_ROUNDS === 0) await this.#ifUsed('analyze', () => this.#analyze())
    await this.#ifUsed('checkpoint', () => this.#run('CHECKPOINT'))
  }

  /** Not when nobody has asked anything of the engine since; our own calls are not counted. */
  async #ifUsed(name, work) {
    if (this.#calls[name] === this.#server.clientCalls) return
    this.#calls[name] = this.#server.clientCalls
    await work()
  }

  async #analyze() {
    for (const { name } of await this.#rows(TABLES)) await this.#run(`ANALYZE ${name}`)
  }

  async #jobs() {
    const last = this.#lastRuns()
    let changed = false
    for (const { job_id, every_ms } of await this.#rows(JOBS)) {
      const due = job_id in last && Date.now() - last[job_id] >= Number(every_ms)
      if (job_id in last && !due) continue
      if (due) await this.#run(`CALL run_job(${job_id})`)
      last[job_id] = Date.now()
      changed = true
    }
    if (changed) fs.writeFileSync(this.#jobsFile, JSON.stringify(last))
  }

  /** When each job last ran: kept over restarts, or a daily job would never come to run. */
  #lastRuns() {
    try {
      return JSON.parse(fs.readFileSync(this.#jobsFile, 'utf8'))
    } catch (error) {
      if (error.code === 'ENOENT' || error instanceof SyntaxError) return {}
      throw error
    }
  }

  async #run(sql) {
    await this.#server.turn.take(this.#ownTurn)
    const failure = this.#server.statement(sql)
    if (failure) console.error(`timescale: ${sql}: ${failure}`)
    this.#server.turn.release(this.#ownTurn)
  }

  async #rows(sql) {
    await this.#server.turn.take(this.#ownTurn)
    const rows = this.#server.rows(sql)
    this.#server.turn.release(this.#ownTurn)
    return rows
  }
}
