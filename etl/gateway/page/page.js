// The live page: a client of /v1/stream and /v1/… like any other. Nothing is kept but the token, in this tab.

import { DERIVE, Mids, PRICE_DECIMALS, VENUES_MAX, drawDepth, unpadded } from '/page/beside.js'

const TRADES_SHOWN_MAX = 60
const HISTORY_MINUTES = 360
const MINUTE_S = 60
const RECONNECT_FIRST_MS = 250
const RECONNECT_MAX_MS = 5_000
const SILENCE_MAX_MS = 15_000
const OFFERED_MAX = 12
const NS_PER_MS = 1e6

const at = (id) => document.getElementById(id)
let token = sessionStorage.getItem('token') || ''
let known = []
let watch = null

// ── what is shown ───────────────────────────────────────────────────────────────────────────────────────────────

function say(state, text) {
  at('state').dataset.state = state
  at('state').textContent = text
}

function show(part) {
  for (const id of ['login', 'empty', 'watched']) at(id).hidden = id !== part
  at('search').hidden = at('leave').hidden = part === 'login'
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim()
}

function makeChart() {
  at('chart').replaceChildren()
  const { createChart, CandlestickSeries, HistogramSeries, createSeriesMarkers } = window.LightweightCharts
  const chart = createChart(at('chart'), { autoSize: true, timeScale: { timeVisible: true, secondsVisible: false } })
  const candles = chart.addSeries(CandlestickSeries, {})
  const volumes = chart.addSeries(HistogramSeries, { priceScaleId: 'volume', priceFormat: { type: 'volume' } })
  chart.priceScale('volume').applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } })
  const marks = createSeriesMarkers(candles, [])
  const paint = () => {
    const [buy, sell, line] = ['--buy', '--sell', '--line'].map(colour)
    chart.applyOptions({
      layout: { background: { color: colour('--ground') }, textColor: colour('--faint'), attributionLogo: true },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
      rightPriceScale: { borderColor: line }, timeScale: { borderColor: line },
    })
    candles.applyOptions({ upColor: buy, downColor: sell, borderVisible: false, wickUpColor: buy, wickDownColor: sell })
    volumes.applyOptions({ color: line })
  }
  paint()
  return { chart, candles, volumes, marks, paint }
}

// ── one instrument ──────────────────────────────────────────────────────────────────────────────────────────────

class Watch {
  constructor(exchange, symbol, compared) {
    this.exchange = exchange
    this.symbol = symbol
    this.compared = compared
    this.candles = new Map()
    this.fromBars = new Set() // minutes that the venue told itself
    this.gaps = new Map()
    this.cursor = ''
    this.waitMs = RECONNECT_FIRST_MS
    this.drawn = makeChart()
    this.mids = new Mids(this.drawn.chart, compared, colour, at('mids'))
    at('compare').value = compared.join(' ')
    at('levels').replaceChildren()
    at('depth').hidden = true
    at('name').textContent = `${exchange} ${symbol}`
    at('trades').replaceChildren()
    at('quiet').hidden = false
    for (const id of ['bid', 'ask', 'spread', 'last', 'latency']) at(id).textContent = '–'
    at('gaps').textContent = '0'
    show('watched')
    this.tellPast().then(() => this.connect())
  }

  close() {
    this.closed = true
    clearTimeout(this.timer)
    this.socket?.close()
    this.drawn.chart.remove()
  }

  async tellPast() {
    say('wait', 'Loading')
    const end = new Date()
    const range = { exchange: this.exchange, symbol: this.symbol, end: end.toISOString(),
      start: new Date(end - HISTORY_MINUTES * 60_000).toISOString() }
    try {
      for (const bar of await rows('bars', { ...range, interval: '1m', decimals: 'float' })) this.takeBar(bar)
      for (const gap of await rows('gaps', range)) this.takeGap(gap)
      for (const venue of this.compared) {
        this.mids.tellPast(venue, await rows('bars', { ...range, exchange: venue, interval: '1m', decimals: 'float' }))
      }
    } catch (error) {
      at('told').textContent = `The past cannot be shown: ${error.message}. What comes from now on can.`
    }
    this.drawAll()
  }

  connect() {
    if (this.closed) return
    const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/v1/stream`)
    this.socket = socket
    socket.onopen = () => {
      socket.send(JSON.stringify({ op: 'login', token }))
      const [own, from] = [{ op: 'subscribe', symbol: this.symbol }, this.cursor ? { from: this.cursor } : {}]
      socket.send(JSON.stringify({ ...own, ...from, exchange: [this.exchange, ...this.compared], derive: DERIVE }))
      socket.send(JSON.stringify({ ...own, exchange: this.exchange, kind: ['trade', 'agg_trade', 'quote', 'bar'],
        snapshot: !this.cursor }))
      this.heard()
    }
    socket.onmessage = (message) => { this.heard(); this.take(JSON.parse(message.data)) }
    socket.onclose = () => this.again()
  }

  heard() {
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.socket.close(), SILENCE_MAX_MS)
  }

  again() {
    clearTimeout(this.timer)
    if (this.closed) return
    say('down', 'Down: trying again')
    setTimeout(() => this.connect(), this.waitMs)
    this.waitMs = Math.min(this.waitMs * 2, RECONNECT_MAX_MS)
  }

  take(told) {
    if (told.type === 'error') {
      if (told.code === 'no_token') { leave(told.message); return }
      this.cursor = '' // one that is not good any more: from now on, then
      return
    }
    if (told.cursor) this.cursor = told.cursor
    this.waitMs = RECONNECT_FIRST_MS
    say('live', 'Live')
    const take = told.type === 'derived' ? this.takeDerived : this.takeRecord
    for (const record of told.records || []) take.call(this, record, told.type === 'snapshot')
  }

  takeRecord(record, isOld) {
    if (record.exchange !== this.exchange) return // a gap of a venue that is compared
    if (record.kind === 'trade' || record.kind === 'agg_trade') this.takeTrade(record, isOld)
    else if (record.kind === 'quote') this.takeQuote(record)
    else if (record.kind === 'bar') { if (record.interval === '1m') this.draw(this.takeBar(record)) }
    else if (record.kind === 'gap') { this.takeGap(record); this.drawGaps() }
    if (!isOld && record.event_time_ns && record.source === 'stream') {
      at('latency').textContent = `${((record.receive_time_ns - record.event_time_ns) / NS_PER_MS).toFixed(1)} ms`
    }
  }

  takeDerived(made) {
    if (made.kind === 'mid') this.mids.take(made)
    if (made.kind === 'book_top' && made.exchange === this.exchange) {
      drawDepth(at('levels'), made)
      at('depth').hidden = false
    }
  }

  takeQuote(quote) {
    const [bid, ask] = [quote.bid, quote.ask].map((price) => price && unpadded(price, PRICE_DECIMALS))
    const [bidSize, askSize] = [quote.bid_size, quote.ask_size].map((size) => (size ? unpadded(size) : '?'))
    at('bid').textContent = bid ? `${bid} × ${bidSize}` : '–'
    at('ask').textContent = ask ? `${ask} × ${askSize}` : '–'
    const places = Math.max(...[bid, ask].map((price) => (price || '').split('.')[1]?.length || 0))
    at('spread').textContent = bid && ask ? (ask - bid).toFixed(places) : '–'
  }

  takeTrade(trade, isOld) {
    const time = (trade.event_time_ns || trade.receive_time_ns) / NS_PER_MS
    const last = unpadded(trade.last_price, PRICE_DECIMALS)
    at('last').textContent = last
    at('quiet').hidden = true
    const row = document.createElement('tr')
    for (const text of [new Date(time).toISOString().slice(11, 23), last, unpadded(trade.volume)]) {
      row.insertCell().textContent = text
    }
    row.className = trade.side || ''
    at('trades').prepend(row)
    while (at('trades').rows.length > TRADES_SHOWN_MAX) at('trades').deleteRow(-1)
    if (isOld) return
    const minute = Math.floor(time / 1000 / MINUTE_S) * MINUTE_S
    if (this.fromBars.has(minute)) return
    const [price, size] = [Number(trade.last_price), Number(trade.volume)]
    const candle = this.candles.get(minute) || { time: minute, open: price, high: price, low: price, close: price, volume: 0 }
    candle.high = Math.max(candle.high, price)
    candle.low = Math.min(candle.low, price)
    candle.close = price
    candle.volume += size
    this.candles.set(minute, candle)
    this.draw(candle)
  }

  takeBar(bar) {
    const minute = Math.round(bar.event_time_ns / 1e9)
    const candle = { time: minute, open: Number(bar.open), high: Number(bar.high), low: Number(bar.low),
      close: Number(bar.close), volume: Number(bar.volume) }
    this.fromBars.add(minute)
    this.candles.set(minute, candle)
    return candle
  }

  takeGap(gap) {
    if (gap.gap_state === 'repaired') this.gaps.delete(gap.record_key)
    else this.gaps.set(gap.record_key, gap)
    at('gaps').textContent = this.gaps.size
  }

  draw(candle) {
    const last = this.lastDrawn || 0
    if (candle.time < last) { this.drawAll(); return }
    this.lastDrawn = candle.time
    this.drawn.candles.update(candle)
    this.drawn.volumes.update({ time: candle.time, value: candle.volume })
  }

  drawAll() {
    const sorted = [...this.candles.values()].sort((one, other) => one.time - other.time)
    this.lastDrawn = sorted.at(-1)?.time
    this.drawn.candles.setData(sorted)
    this.drawn.volumes.setData(sorted.map(({ time, volume }) => ({ time, value: volume })))
    if (!this.fitted && sorted.length) this.fitted = !this.drawn.chart.timeScale().fitContent()
    this.drawGaps()
  }

  // one mark a minute: several of their own would write over each other
  drawGaps() {
    const words = new Map()
    for (const gap of this.gaps.values()) {
      const ns = gap.from_time_ns || gap.event_time_ns || gap.receive_time_ns
      const missing = gap.from_sequence ? `${gap.to_sequence - gap.from_sequence + 1} missing` : gap.gap_kind
      const time = Math.floor(ns / 1e9 / MINUTE_S) * MINUTE_S
      words.set(time, [...(words.get(time) || []), `${gap.channel}: ${missing}`])
    }
    const mark = { position: 'belowBar', shape: 'arrowUp', color: colour('--mark') }
    this.drawn.marks.setMarkers([...words].sort(([one], [other]) => one - other)
      .map(([time, told]) => ({ ...mark, time, text: told.length === 1 ? told[0] : `${told.length} gaps` })))
  }
}

// ── requests ────────────────────────────────────────────────────────────────────────────────────────────────────

async function rows(table, params) {
  const answer = await fetch(`/v1/${table}?${new URLSearchParams(params)}`, { headers: { Authorization: `Bearer ${token}` } })
  if (answer.status === 401) leave('This token is not good.')
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).message || `HTTP ${answer.status}`)
  return (await answer.text()).split('\n').filter(Boolean).map((line) => JSON.parse(line))
}

async function enter() {
  say('wait', 'Loading')
  show('empty')
  const end = new Date()
  try {
    known = await rows('instruments', { start: new Date(end - 86_400_000).toISOString(), end: end.toISOString() })
  } catch (error) {
    if (!token) return
    at('hint').textContent = `What was recorded cannot be listed: ${error.message}. Name an exchange and a symbol.`
  }
  sessionStorage.setItem('token', token)
  at('symbols').replaceChildren(...known.map(({ exchange, symbol }) => new Option(`${exchange} ${symbol}`)))
  at('offered').replaceChildren(...known.slice(0, OFFERED_MAX).map(({ exchange, symbol }) => {
    const [item, button] = [document.createElement('li'), document.createElement('button')]
    button.textContent = `${exchange} ${symbol}`
    button.onclick = () => choose(button.textContent)
    item.append(button)
    return item
  }))
  say('wait', known.length ? `${known.length} instruments` : 'Nothing recorded in the last day')
  if (location.hash) choose(decodeURIComponent(location.hash.slice(1)))
}

function choose(text) {
  const [exchange, symbol, ...others] = text.trim().split(/[\s,]+/)
  if (!exchange || !symbol) return
  watch?.close()
  const compared = [...new Set(others)].filter((venue) => venue && venue !== exchange).slice(0, VENUES_MAX)
  location.hash = encodeURIComponent([exchange, symbol, ...compared].join(' '))
  at('symbol').value = ''
  at('symbol').blur()
  at('venues').replaceChildren(...known.filter((one) => one.symbol === symbol && one.exchange !== exchange)
    .map((one) => new Option(one.exchange)))
  watch = new Watch(exchange, symbol, compared)
}

function leave(reason = '') {
  watch?.close()
  watch = null
  token = ''
  sessionStorage.removeItem('token')
  at('refused').textContent = reason
  say('out', 'Not connected')
  show('login')
  at('token').focus()
}

at('login').onsubmit = (event) => {
  event.preventDefault()
  token = at('token').value.trim()
  at('token').value = at('refused').textContent = ''
  enter()
}
at('search').onsubmit = (event) => { event.preventDefault(); choose(at('symbol').value) }
at('symbol').onchange = () => { if (known.some(({ exchange, symbol }) => `${exchange} ${symbol}` === at('symbol').value)) choose(at('symbol').value) }
at('compare').onchange = () => choose(`${watch.exchange} ${watch.symbol} ${at('compare').value}`)
at('leave').onclick = () => leave()
document.addEventListener('keydown', (event) => {
  if (event.key === '/' && event.target.tagName !== 'INPUT' && token) { event.preventDefault(); at('symbol').focus() }
  if (event.key === 'Escape') at('symbol').blur()
})
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { watch?.drawn.paint(); watch?.mids.paint(); watch?.drawGaps() })

if (token) enter()
else { show('login'); at('token').focus() }
