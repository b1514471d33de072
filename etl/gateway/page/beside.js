// Beside the candles: the mids of other venues as lines on the chart, and the best levels of the book.

const MINUTE_S = 60
const COLOURS = ['--focus', '--mark', '--faint', '--text']
export const PRICE_DECIMALS = 2
export const VENUES_MAX = COLOURS.length
export const DERIVE = { book: 6, mid: true, every_ms: 250 }

export class Mids {
  // colour(name) gives a colour of the page as it is now; legend is filled with the venues and their last mids
  constructor(chart, venues, colour, legend) {
    this.colour = colour
    this.words = new Map(venues.map((venue) => [venue, document.createElement('span')]))
    this.words.forEach((word, venue) => { word.textContent = `${venue} –` })
    legend.replaceChildren(...this.words.values())
    this.lines = new Map(venues.map((venue) => [venue, chart.addSeries(window.LightweightCharts.LineSeries,
      { lineWidth: 1, title: venue, priceLineVisible: false, crosshairMarkerVisible: false })]))
    this.paint()
  }

  paint() {
    [...this.lines].forEach(([venue, line], number) => {
      line.applyOptions({ color: this.colour(COLOURS[number]) })
      this.words.get(venue).style.color = this.colour(COLOURS[number])
    })
  }

  // the closes of the venue's own minutes, before the first mid comes
  tellPast(venue, bars) {
    const closes = new Map(bars.map((bar) => [Math.round(bar.event_time_ns / 1e9), Number(bar.close)]))
    this.lines.get(venue).setData([...closes].sort().map(([time, value]) => ({ time, value })))
  }

  take({ exchange, mid, receive_time_ns }) {
    const line = this.lines.get(exchange)
    if (!mid || !line) return
    this.words.get(exchange).textContent = `${exchange} ${mid}`
    const time = Math.floor(receive_time_ns / 1e9 / MINUTE_S) * MINUTE_S
    if (time >= (line.data().at(-1)?.time || 0)) line.update({ time, value: Number(mid) })
  }
}

// asks above bids, the best next to each other; each row shaded by its share of the largest
export function drawDepth(body, top) {
  const sides = [['sell', top.ask_prices, top.ask_sizes], ['buy', top.bid_prices, top.bid_sizes]]
  const largest = Math.max(...sides.flatMap(([, , sizes]) => sizes || []).map(Number), 0)
  const rows = sides.flatMap(([side, prices = [], sizes = []]) => {
    const made = prices.map((price, number) => {
      const row = document.createElement('tr')
      row.className = side
      row.style.setProperty('--share', `${100 * Number(sizes[number]) / largest}%`)
      for (const text of [unpadded(price, PRICE_DECIMALS), unpadded(sizes[number])]) row.insertCell().textContent = text
      return row
    })
    return side === 'sell' ? made.reverse() : made
  })
  body.replaceChildren(...rows)
}

// A number without the zeros that some venues fill it up with; of a price, `least` decimals stay.
export function unpadded(text, least = 0) {
  const [whole, part = ''] = text.split('.')
  const kept = part.replace(/0+$/, '').padEnd(Math.min(least, part.length), '0')
  return kept ? `${whole}.${kept}` : whole
}
