// The one login that may only read. The engine has one session, a superuser's, so that SQL could always become that
// again: here an analyst's statements are parsed one at a time, by the engine itself, of the kinds that read.

import { timingSafeEqual } from 'node:crypto'
import * as wire from './wire.mjs'

export const ANALYST = 'analyst'
export const ROLE = 'etl_analyst'

const SPACE = String.raw`(?:\s|--[^\n]*\n|\/\*(?:(?!\/\*|\*\/)[\s\S])*\*\/|\()*`
const READS = 'SELECT|WITH|VALUES|TABLE|SHOW|EXPLAIN|DECLARE|FETCH|CLOSE'
const TRANSACTION = 'BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SAVEPOINT|RELEASE'
const OWN_NAMES = 'DISCARD|DEALLOCATE'
const SETTINGS = 'timezone|time\\s+zone|datestyle|intervalstyle|search_path|client_encoding|extra_float_digits|application_name'
const ALLOWED = new RegExp(
  `^${SPACE}(?:$|;|(?:${READS}|${OWN_NAMES})\\b|(?:${TRANSACTION})\\b(?![\\s\\S]*\\bWRITE\\b)|(?:SET|RESET)\\s+(?:(?:SESSION|LOCAL)\\s+)?(?:${SETTINGS})\\b)`, 'i')

/** Whether SQL begins as one that reads; that it is one statement alone, the engine says when it parses it. */
export const reads = (sql) => ALLOWED.test(sql)

/** What every user of PostgreSQL may call, and one of a shared session must not: it changes the role, or stops the others. */
export const REVOKE = `
DO $front$
DECLARE one oid;
BEGIN
  FOR one IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
    AND (proname IN ('set_config', 'pg_notify') OR proname ~ '^(pg_sleep|pg_advisory|pg_try_advisory|pg_cancel|pg_terminate)')
  LOOP EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', one::regprocedure); END LOOP;
END $front$`

/** A simple Query as the messages that let one statement through, and their answer as a simple Query's. */
export function single(message) {
  const none = Buffer.alloc(2)
  return [
    wire.message('P', wire.text(''), wire.text(wire.sqlOf(message)), none),
    wire.message('B', wire.text(''), wire.text(''), none, none, none),
    wire.message('D', Buffer.from('P'), wire.text('')),
    wire.message('E', wire.text(''), Buffer.alloc(4)),
    wire.sync(),
  ]
}
export const asSimple = (answer) => wire.without(answer, '12n')

export const passwordRequest = () => wire.message('R', Buffer.from([0, 0, 0, 3]))

export function isPassword(message, password) {
  const given = message.subarray(5, -1)
  const kept = Buffer.from(password)
  return wire.typeOf(message) === 'p' && given.length === kept.length && timingSafeEqual(given, kept)
}
