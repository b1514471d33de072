// What a server's background processes do, done between the clients' transactions: the engine has none.
// Checkpoints (without them a restart after 3M rows took 35 s, with them 1.5 s), statistics, TimescaleDB's jobs.

import fs from 'node:fs'

const CHECKPOINT_EVERY_MS = 30_000
const ANALYZE_EVERY_MS = 600_000
const JOBS_EVERY_MS = 60_000

const JOBS = `SELECT job_id, extract(epoch FROM schedule_interval) * 1000 AS every_ms
  FROM timescaledb_information.jobs WHERE scheduled AND job_id >= 1000 ORDER BY job_id`
const TABLES = `SELECT format('%I.%I', hypertable_schema, hypertable_name) AS name
  FROM timescaledb_information.hypertables ORDER BY name`

export class Housekeeping {
  #server
  #jobsFile
  #timers = []
  #ownTurn = {}

  constructor(server, jobsFile) {
    this.#server = server
    this.#jobsFile = jobsFile
  }

  start() {
    this.#every(CHECKPOINT_EVERY_MS, () => this.#ifWritten('checkpoint', () => this.#run('CHECKPOINT')))
    this.#every(ANALYZE_EVERY_MS, () => this.#ifWritten('analyze', () => this.#analyze()))
    this.#every(JOBS_EVERY_MS, () => this.#jobs())
  }

  stop() {
    this.#timers.forEach(clearInterval)
  }

  #every(ms, work) {
    let busy = false
    this.#timers.push(setInterval(async () => {
      if (busy) return
      busy = true
      await work()
      busy = false
    }, ms))
  }

  #writtenAt = {}
  async #ifWritten(name, work) {
    const calls = this.#server.calls
    if (this.#writtenAt[name] === calls) return
    await work()
    this.#writtenAt[name] = this.#server.calls
  }

  async #analyze() {
    for (const { name } of await this.#rows(TABLES)) await this.#run(`ANALYZE ${name}`)
  }

  async #jobs() {
    const last = this.#lastRuns()
    for (const { job_id, every_ms } of await this.#rows(JOBS)) {
      last[job_id] ??= Date.now()
      if (Date.now() - last[job_id] < Number(every_ms)) continue
      await this.#run(`CALL run_job(${job_id})`)
      last[job_id] = Date.now()
    }
    fs.writeFileSync(this.#jobsFile, JSON.stringify(last))
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
