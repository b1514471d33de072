// One connection. Messages are gathered into batches (up to Sync, Flush or a simple Query); a batch runs when the
// turn is the client's, one message per engine call: the engine silently cuts pipelined input over about 8 kB.

import * as analyst from './analyst.mjs'
import * as wire from './wire.mjs'

const CHANGES_SETTINGS = /^\s*(SET|RESET)\b|\bset_config\b/i
const ENGINE_TYPES = 'QPBDCESH' // any other type is fatal to the engine, and so to all clients
const DISCARD_ALL = /^\s*(DISCARD|DEALLOCATE(\s+PREPARE)?)\s+ALL\s*;?\s*$/i
const DEALLOCATE = /^\s*DEALLOCATE\s+(?:PREPARE\s+)?(?:"([^"]+)"|(\w+))\s*;?\s*$/i

export const MESSAGE_BYTES_MAX = 256 << 20
export const COPY_BYTES_MAX = 128 << 20
export const PENDING_BATCHES_MAX = 64

export class Client {
  #framer = new wire.Framer()
  #started = false
  #isAnalyst = false
  #isLetIn = false // an analyst who has told the password
  #closed = false
  #refused = false
  #batch = []
  #batchBytes = 0
  #pending = [] // batches that wait for their turn; an empty one is the client's goodbye
  #running = false
  #copy = null // { statement, parts, bytes } while the client sends COPY data
  #statements = new Set()
  #settings = [] // what this client has SET, put back whenever the turn is its again
  #settingsChanged = false
  #idleTimer = null

  constructor(socket, server, id) {
    this.socket = socket
    this.server = server
    this.prefix = `c${id}_`
    this.id = id
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#receive(chunk))
    socket.on('error', () => socket.destroy())
    socket.on('close', () => this.#leave())
  }

  /** Say why, and close. */
  refuse(code, words) {
    this.#refused = true
    this.socket.end(wire.errorResponse(code, words, 'FATAL'))
    this.socket.destroySoon()
  }

  #receive(chunk) {
    if (this.#refused) return
    this.#framer.push(chunk)
    try {
      for (;;) {
        const message = this.#framer.next(this.#started ? 1 : 0)
        if (this.#framer.needed > MESSAGE_BYTES_MAX) return this.#tooLarge()
        if (message === null) return
        if (!this.#started) this.#greet(message)
        else if (this.#isAnalyst && !this.#isLetIn) this.#letIn(message)
        else this.#take(message)
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error
      this.refuse('08P01', `protocol violation: ${error.message}`)
    }
  }

  #tooLarge() {
    this.refuse('54000', `a message or a batch is larger than ${MESSAGE_BYTES_MAX} bytes`)
  }

  #greet(packet) {
    const code = packet.readInt32BE(4)
    if (code === wire.SSL_REQUEST || code === wire.GSS_REQUEST) return this.socket.write('N')
    if (code === wire.CANCEL_REQUEST) return this.socket.destroy()
    if (code >> 16 !== 3) return this.refuse('0A000', 'only protocol 3 is spoken here')
    const words = packet.toString('utf8', 8).split('\0')
    const options = new Map()
    for (let at = 0; at + 1 < words.length && words[at]; at += 2) options.set(words[at], words[at + 1])
    const database = options.get('database') ?? options.get('user')
    if (database !== 'postgres') return this.refuse('3D000', `database "${database}" does not exist`)
    const user = options.get('user')
    if (user !== 'postgres' && user !== analyst.ANALYST) return this.refuse('28000', `no login "${user}"; there are postgres and ${analyst.ANALYST}`)
    this.#started = true
    this.#isAnalyst = user === analyst.ANALYST
    this.socket.write(this.#isAnalyst ? analyst.passwordRequest() : this.server.greeting(this.id, user))
  }

  #letIn(message) {
    if (!analyst.isPassword(message, this.server.password)) {
      return this.refuse('28P01', `password authentication failed for user "${analyst.ANALYST}"`)
    }
    this.#isLetIn = true
    this.socket.write(this.server.greeting(this.id, analyst.ANALYST))
  }

  #take(message) {
    const type = wire.typeOf(message)
    if (type === 'X') return this.#queue([])
    if (this.#copy !== null) return this.#takeCopy(type, message)
    if (type === 'd' || type === 'c' || type === 'f') return // COPY data after its COPY has failed: to be ignored
    if (!ENGINE_TYPES.includes(type)) return this.refuse('08P01', 'a message of a type that is not served here')
    this.#batchBytes += message.length
    if (this.#batchBytes > MESSAGE_BYTES_MAX) return this.#tooLarge()
    let sql = wire.sqlOf(message)
    if (sql !== null && this.#isAnalyst && !analyst.reads(sql)) {
      sql = wire.failing('42501', 'an analyst may only read')
      message = wire.withSql(message, sql)
    }
    const copy = sql === null ? null : wire.copyFromStdin(sql)
    if (copy?.alone && type === 'Q') {
      this.#copy = { statement: message, parts: [], bytes: 0 }
      return this.#queue([{ copyStarts: copy.binary ? 'binary' : 'text' }])
    }
    // sent to the engine without its data, a COPY would trap it
    if (copy) message = wire.withSql(message, wire.failing('0A000', 'COPY FROM STDIN must be one simple query'))
    // the engine may still need these bytes when the socket's buffer is long used again
    this.#batch.push(message)
    if (type === 'S' || type === 'H' || type === 'Q') {
      const batch = this.#batch
      this.#batch = []
      this.#batchBytes = 0
      this.#queue(batch)
    }
  }

  #takeCopy(type, message) {
    const copy = this.#copy
    this.#holdIdleTimer()
    if (type === 'd') {
      copy.bytes += message.length
      if (copy.bytes <= COPY_BYTES_MAX) copy.parts.push(message)
      else copy.parts = []
    } else if (type === 'c' || type === 'f') {
      this.#copy = null
      if (copy.bytes > COPY_BYTES_MAX) {
        this.#queue([wire.query(wire.failing('54000', `COPY is larger than ${COPY_BYTES_MAX} bytes: send it in parts`))])
      } else {
        this.#queue([{ copyRuns: Buffer.concat([copy.statement, ...copy.parts, message]) }])
      }
    } // Flush and Sync are ignored while data is sent, as the protocol says
  }

  #queue(batch) {
    this.#pending.push(batch)
    if (this.#pending.length >= PENDING_BATCHES_MAX) this.socket.pause()
    this.#run()
  }

  async #run() {
    if (this.#running) return
    this.#running = true
    clearTimeout(this.#idleTimer)
    while (this.#pending.length > 0 && !this.#closed) {
      if (this.#pending[0].length === 0) { // goodbye
        this.socket.end()
        break
      }
      await this.#takeTurn()
      if (this.#closed) break
      const batch = this.#pending.shift()
      this.server.clientCalls += 1
      const answer = Buffer.concat(batch.map((message) => this.#execute(message)))
      this.socket.write(answer)
      const ending = batch.at(-1)
      const complete = ending.copyStarts === undefined && (ending.copyRuns || wire.typeOf(ending) !== 'H')
      if (complete && wire.stateAfter(answer) === 'I') this.#releaseTurn()
      if (this.#pending.length < PENDING_BATCHES_MAX && this.socket.isPaused()) this.socket.resume()
    }
    this.#running = false
    if (this.#closed) this.#giveBack()
    else if (this.server.turn.isOf(this)) this.#holdIdleTimer()
  }

  async #takeTurn() {
    if (this.server.turn.isOf(this)) return
    await this.server.turn.take(this)
    if (this.#settings.length > 0 && !this.#closed) this.server.restoreSettings(this.#settings)
    if (this.#isAnalyst) this.server.become(analyst.ROLE)
  }

  #releaseTurn() {
    if (this.#isAnalyst) this.server.becomeOwner()
    if (this.#settingsChanged || this.#settings.length > 0) {
      if (this.#settingsChanged) this.#settings = this.server.sessionSettings()
      this.#settingsChanged = false
      this.server.resetSettings()
    }
    this.server.turn.release(this)
  }

  #execute(message) {
    if (message.copyStarts) return wire.copyInResponse(message.copyStarts === 'binary')
    if (message.copyRuns) return wire.without(this.server.execute(message.copyRuns), 'G')
    const sql = wire.sqlOf(message)
    if (sql !== null) {
      this.#settingsChanged ||= CHANGES_SETTINGS.test(sql)
      message = this.#withOwnNames(message, sql)
    }
    if (this.#isAnalyst && wire.typeOf(message) === 'Q') {
      return analyst.asSimple(Buffer.concat(analyst.single(message).map((each) => this.server.execute(each))))
    }
    const name = wire.statementName(message)
    if (name === null) return this.server.execute(message)
    // every client has its own names; the unnamed statement too, for it must outlive another client's turn
    const own = this.prefix + name
    const type = wire.typeOf(message)
    if (type === 'P') {
      if (name === '' && this.#statements.has(own)) this.server.execute(closeStatement(own))
      this.#statements.add(own)
    }
    if (type === 'C') this.#statements.delete(own)
    return this.server.execute(wire.withStatementName(message, own))
  }

  /** DEALLOCATE names a statement by SQL; DISCARD ALL would take everybody's. */
  #withOwnNames(message, sql) {
    if (DISCARD_ALL.test(sql)) {
      this.#closeStatements()
      return wire.withSql(message, 'DISCARD PLANS')
    }
    const named = DEALLOCATE.exec(sql)
    if (named === null) return message
    const own = this.prefix + (named[1] ?? named[2].toLowerCase())
    // prepared by SQL, its name is the client's word
    if (!this.#statements.delete(own)) return message
    return wire.withSql(message, `DEALLOCATE "${own}"`)
  }

  #closeStatements() {
    for (const own of this.#statements) this.server.execute(closeStatement(own))
    this.#statements.clear()
  }

  #holdIdleTimer() {
    clearTimeout(this.#idleTimer)
    this.#idleTimer = setTimeout(() => {
      this.refuse('25P03', 'terminating connection due to idle-in-transaction timeout')
    }, this.server.idleTransactionMs)
  }

  #leave() {
    this.#closed = true
    clearTimeout(this.#idleTimer)
    this.server.left(this)
    if (!this.#running) this.#giveBack()
  }

  async #giveBack() {
    await this.server.turn.take(this)
    this.server.execute(wire.sync())
    this.server.execute(wire.query('ROLLBACK'))
    this.#closeStatements()
    if (this.server.isEmpty) this.server.statement('DISCARD TEMP')
    this.#settingsChanged = true
    this.#releaseTurn()
  }
}

const closeStatement = (name) => wire.message('C', Buffer.from('S'), wire.text(name))
