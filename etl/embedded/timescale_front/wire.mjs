// PostgreSQL's wire protocol 3.0, as much of it as a front must know. Pure: bytes in, bytes out.

export const SSL_REQUEST = 80877103
export const GSS_REQUEST = 80877104
export const CANCEL_REQUEST = 80877102

export const typeOf = (message) => String.fromCharCode(message[0])

export function message(type, ...parts) {
  const body = Buffer.concat(parts)
  const head = Buffer.alloc(5)
  head.write(type, 0, 'latin1')
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

export const text = (value) => Buffer.from(value + '\0')
export const query = (sql) => message('Q', text(sql))
export const sync = () => message('S')
export const readyForQuery = (state) => message('Z', Buffer.from(state))
export const parameterStatus = (name, value) => message('S', text(name), text(value))

export function errorResponse(code, words, severity = 'ERROR') {
  const fields = [['S', severity], ['V', severity], ['C', code], ['M', words]]
  return message('E', ...fields.map(([tag, value]) => text(tag + value)), Buffer.from([0]))
}

/** A statement that fails inside the engine with this SQLSTATE, so that its transaction fails too. */
export const failing = (code, words) =>
  `DO $front$ BEGIN RAISE EXCEPTION USING ERRCODE = '${code}', MESSAGE = '${words}'; END $front$`

export const copyInResponse = (binary) => message('G', Buffer.from([binary ? 1 : 0, 0, 0]))

/** The transaction state (I, T or E) at the end of an answer, or null where the answer is not complete. */
export function stateAfter(answer) {
  const at = answer.length - 6
  return at >= 0 && answer[at] === 0x5a && answer.readInt32BE(at + 1) === 5 ? String.fromCharCode(answer[at + 5]) : null
}

/** `answer` without its messages of these types. */
export function without(answer, types) {
  const kept = []
  for (let at = 0; at + 5 <= answer.length; ) {
    const end = at + 1 + answer.readInt32BE(at + 1)
    if (!types.includes(String.fromCharCode(answer[at]))) kept.push(answer.subarray(at, end))
    at = end
  }
  return Buffer.concat(kept)
}

/** SQL of a Query or Parse message; null for any other. */
export function sqlOf(m) {
  if (typeOf(m) === 'Q') return m.toString('utf8', 5, m.length - 1)
  if (typeOf(m) !== 'P') return null
  const start = m.indexOf(0, 5) + 1
  return m.toString('utf8', start, m.indexOf(0, start))
}

const COMMENT_OR_QUOTED = /--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[\s\S]*?\$\1\$/g

/** null, or how SQL copies from the client: { alone: it is the only statement, binary }. */
export function copyFromStdin(sql) {
  if (!/\bstdin\b/i.test(sql)) return null
  const bare = sql.replace(COMMENT_OR_QUOTED, (part) => (/^['"$]/.test(part) ? 'x' : ' '))
  if (!/\bCOPY\b[\s\S]*\bFROM\s+STDIN\b/i.test(bare)) return null
  return { alone: /^\s*COPY\b[^;]*;?\s*$/i.test(bare), binary: /\bBINARY\b/i.test(bare) }
}

/** The same Query or Parse message with other SQL; a Parse loses its parameter types. */
export function withSql(m, sql) {
  if (typeOf(m) === 'Q') return query(sql)
  return message('P', m.subarray(5, m.indexOf(0, 5) + 1), text(sql), Buffer.from([0, 0]))
}

/** Statement name of a Parse, Bind, Describe or Close message; null where it names none. */
export function statementName(m) {
  const at = nameOffset(m)
  return at === null ? null : m.toString('utf8', at, m.indexOf(0, at))
}

/** The same message naming another statement. */
export function withStatementName(m, name) {
  const at = nameOffset(m)
  return message(typeOf(m), m.subarray(5, at), text(name), m.subarray(m.indexOf(0, at) + 1))
}

function nameOffset(m) {
  switch (typeOf(m)) {
    case 'P': return 5
    case 'B': return m.indexOf(0, 5) + 1 // after the portal's name
    case 'D':
    case 'C': return m[5] === 0x53 ? 6 : null // S: a statement; P: a portal
    default: return null
  }
}

/** Cuts a byte stream into messages. `next()` gives a whole one, or null; `needed` is the length it waits for. */
export class Framer {
  #parts = []
  #held = 0
  needed = 0

  push(chunk) {
    this.#parts.push(chunk)
    this.#held += chunk.length
  }

  /** `lengthAt`: where the length stands: 0 for the startup packet, 1 for all others. */
  next(lengthAt) {
    const headBytes = lengthAt + 4
    this.needed = headBytes
    if (this.#held < headBytes) return null
    const head = this.#parts[0].length >= headBytes ? this.#parts[0] : this.#joined()
    this.needed = head.readInt32BE(lengthAt) + lengthAt
    if (this.needed < headBytes) throw new RangeError('a message shorter than its own head')
    if (this.#held < this.needed) return null
    const all = this.#parts[0].length >= this.needed ? this.#parts[0] : this.#joined()
    const found = all.subarray(0, this.needed)
    this.#parts[0] = all.subarray(this.needed)
    if (this.#parts[0].length === 0) this.#parts.shift()
    this.#held -= found.length
    return found
  }

  #joined() {
    this.#parts = [Buffer.concat(this.#parts)]
    return this.#parts[0]
  }
}
