"use strict";
// Reads each section again and again and draws it. Nothing here is trusted with markup: text goes in as text.
// Triggering goes to Airflow's own REST API with the user's session.

const LIVE_EVERY_S = 2, RATE_OVER_S = 10, LATENCY_OVER_S = 60, ANSWER_WITHIN_S = 20;
const KINDS = ["trade", "quote", "book", "bar"];
const RUNS_ASKED_MAX = 100;
const REPAIR_DAG = "repair_gaps", BACKFILL_DAG = "backfill_market_data";

const SECTIONS = {
  live: { everyS: LIVE_EVERY_S, draw: drawLive, places: ["health", "venues", "freshness", "errors", "sinks", "parts", "storage", "gateway"] },
  jobs: { everyS: 15, draw: drawJobs, places: ["jobs"], read: readJobs },
  backlog: { everyS: 5, draw: drawBacklog, places: ["backlog"] },
  history: { everyS: 10, draw: drawHistory, places: ["history"] },
  quarantine: { everyS: 30, draw: drawQuarantine, places: ["quarantine"] },
  gaps: { everyS: 15, draw: drawGaps, places: ["gaps"] },
  coverage: { everyS: 60, draw: drawCoverage, places: ["coverage"] },
  quality: { everyS: 300, draw: drawQuality, places: ["quality"] },
  backfills: { everyS: 5, draw: drawBackfills, places: ["backfills"] },
  incidents: { everyS: 30, draw: drawIncidents, places: ["incidents"] },
};

const STORAGE_OVER_S = 3600, FORECAST_AFTER_S = 300, DAY_S = 86400;

const CHARTS_WITH_LEGEND_MAX = 4;  // of more, the heading names the colours

let paused = false;
const lastData = {};       // section name -> its data as JSON text: what is the same is not drawn again
const readings = [];       // of live, the oldest first, over LATENCY_OVER_S
const storageReadings = [];  // {at, free, folders}, the oldest first, over STORAGE_OVER_S
const openVenues = new Set();  // of the coverage, whose symbols are shown
let lastIncidents = null;  // null: not known
const charts = new Map();  // exchange -> uPlot
const mayTrigger = {};     // dag id -> true or false

// ---- reading

async function getJson(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(ANSWER_WITHIN_S * 1000), cache: "no-store" });
  if (answer.status === 401) throw new Error("your session has ended: log in again");
  if (answer.status === 403) throw new Error("your role may not see this");
  if (!answer.ok) throw new Error(`Airflow answered ${answer.status}`);
  return answer.json();
}

async function follow(name) {
  const { everyS, draw, places, read } = SECTIONS[name];
  for (;;) {
    if (!paused && !document.hidden) {
      try {
        const section = read ? { state: "ok", data: await read() } : await getJson(`sections/${name}`);
        if (section.state === "down") throw new Error(section.reason);
        const text = JSON.stringify(section.data);
        if (text !== lastData[name]) draw(section.data, section);
        lastData[name] = text;
        places.forEach((place) => setState(place, "ok"));
        document.getElementById("updated").textContent = `updated ${new Date().toLocaleTimeString()}`;
      } catch (error) {
        delete lastData[name];
        places.forEach((place) => setState(place, "down", error.message));
      }
    }
    await new Promise((resolve) => setTimeout(resolve, everyS * 1000));
  }
}

async function readJobs() {
  const { dags } = await getJson("../api/v2/dags?limit=100&order_by=dag_id");
  const { dag_runs: recent } = await getJson(`../api/v2/dags/~/dagRuns?limit=${RUNS_ASKED_MAX}&order_by=-run_after`);
  return Promise.all(dags.map(async (dag) => {
    let runs = recent.filter((run) => run.dag_id === dag.dag_id);
    if (!runs.length) {  // it runs less often than the others
      runs = (await getJson(`../api/v2/dags/${dag.dag_id}/dagRuns?limit=1&order_by=-run_after`)).dag_runs;
    }
    const failed = runs.filter((run) => run.state === "failed").length;
    return { dag_id: dag.dag_id, paused: dag.is_paused, next: dag.next_dagrun_run_after, failed, seen: runs.length, last: runs[0] };
  }));
}

async function askMayTrigger(dagId) {
  const answer = await fetch(`may-trigger/${dagId}`, { cache: "no-store" }).catch(() => null);
  mayTrigger[dagId] = Boolean(answer && answer.ok);
}

// ---- drawing: small pieces

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// columns: [heading, row -> cell, "number" or nothing]
function table(columns, rows, empty) {
  if (!rows.length) return h("p", { class: "empty" }, empty);
  const cell = (tag, kind, content) => h(tag, { class: kind, scope: tag === "th" ? "col" : undefined }, content);
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": `table, ${rows.length} rows` }, h("table", {},
    h("thead", {}, h("tr", {}, ...columns.map(([heading, , kind]) => cell("th", kind, heading)))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...columns.map(([, content, kind]) => cell("td", kind, content(row))))))));
}

const badge = (text, tone) => h("span", { class: `badge ${tone}` }, text);
const count = (number) => (number === null || number === undefined ? "–" : Math.round(number).toLocaleString("en"));
const rateText = (rate) => (rate === null ? "–" : rate < 10 && rate > 0 ? rate.toFixed(1) : count(rate));
const sum = (numbers) => Object.values(numbers).reduce((total, one) => total + one, 0);
const now = () => Date.now() / 1000;

function duration(seconds) {
  if (seconds < 60) return `${Math.max(0, seconds).toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} days`;
}

const milliseconds = (seconds) => (seconds === null ? "–" : seconds === Infinity ? "beyond" : seconds >= 0.01 ? `${count(seconds * 1000)} ms` : `${(seconds * 1000).toFixed(1)} ms`);
const moment = (seconds) => (seconds ? new Date(seconds * 1000).toISOString().replace("T", " ").slice(0, 19) : "–");

// Puts content in its place; the keyboard stays where it was.
function show(place, ...content) {
  const focused = document.activeElement?.dataset?.key;
  document.querySelector(`#${place} .body`).replaceChildren(...content);
  if (focused) document.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function setState(place, state, reason) {
  const section = document.getElementById(place);
  const before = section.dataset.state;
  section.dataset.state = state;
  if (before !== state && lastData.live) drawHealth(JSON.parse(lastData.live));
  section.querySelector(".reason")?.remove();
  if (state !== "down") return;
  section.querySelector(".loading")?.remove();
  section.querySelector("h2").after(h("p", { class: "reason", role: "alert" }, `Not available: ${reason}`));
}

// ---- drawing: sections

function drawLive(data) {
  readings.push({ at: now(), venues: data.venues, sinks: data.sinks });
  while (readings[0].at < now() - LATENCY_OVER_S - LIVE_EVERY_S) readings.shift();
  const names = Object.keys(data.venues);
  drawHealth(data);
  drawStorage(data.storage);
  drawGateway(data.gateway);
  show("venues", table([
    ["Venue", (name) => name],
    ["State", (name) => venueState(data, name)],
    ["Events/s", (name) => rateText(rateOf(name, (venue) => sum(venue.events))), "number"],
    ...KINDS.map((kind) => [`${kind}/s`, (name) => rateText(rateOf(name, (venue) => venue.events[kind] || 0)), "number"]),
    ["Latency p50", (name) => milliseconds(quantile("venues", name, "latency_buckets", 0.5)), "number"],
    ["p99", (name) => milliseconds(quantile("venues", name, "latency_buckets", 0.99)), "number"],
    ["Quarantined", (name) => count(sum(data.venues[name].quarantined)), "number"],
    ["Gaps", (name) => count(sum(data.venues[name].gaps) - (data.venues[name].gaps.start || 0)), "number"],
    ["At start", (name) => count(data.venues[name].gaps.start || 0), "number"],
    ["Reconnects", (name) => count(data.venues[name].reconnects), "number"],
  ], names, "No venue is streamed. Start one: etl stream VENUE."));
  const channels = names.flatMap((name) => Object.entries(data.venues[name].last_receive_s).map(
    ([channel, at]) => ({ name, channel, age: now() - at, limit: data.venues[name].limits_s[channel] })));
  show("freshness", table([
    ["Venue", (row) => row.name], ["Channel", (row) => row.channel],
    ["Last event", (row) => badge(`${duration(row.age)} ago`, !row.limit ? "plain" : row.age > row.limit ? "warn" : "good"), "number"],
    ["Silent after", (row) => (row.limit ? duration(row.limit) : "–"), "number"],
  ], channels, "Nothing has been received yet."));
  const errors = names.flatMap((name) => [
    ...Object.entries(data.venues[name].quarantined).map(([code, n]) => ({ name, what: "quarantine", code, n })),
    ...Object.entries(data.venues[name].faults).map(([code, n]) => ({ name, what: "venue said", code, n })),
    ...Object.entries(data.venues[name].unknown_fields).map(([code, n]) => ({ name, what: "unknown field", code, n })),
  ]).sort((a, b) => b.n - a.n);
  show("errors", table([
    ["Venue", (row) => row.name], ["What", (row) => row.what], ["Code", (row) => row.code], ["Since start", (row) => count(row.n), "number"],
  ], errors, "No errors since the workers started."));
  show("sinks", table([
    ["Sink", (name) => name],
    ["Store", (name) => (data.sinks[name].store_up ? badge("up", "good") : badge("down", "bad"))],
    ["Rows/s", (name) => rateText(rateOf(name, (sink) => sink.rows, "sinks")), "number"],
    ["Write p50", (name) => milliseconds(quantile("sinks", name, "write_buckets", 0.5)), "number"],
    ["p99", (name) => milliseconds(quantile("sinks", name, "write_buckets", 0.99)), "number"],
    ["Refused", (name) => count(data.sinks[name].rejected), "number"],
  ], Object.keys(data.sinks), "No sink is running. Start one: etl sink clickhouse."));
  show("parts", table([
    ["Part", (part) => part.part],
    ["State", (part) => badge(part.state, { running: "good", done: "plain", failed: "bad" }[part.state] || "warn")],
    ["For", (part) => (part.since_s ? duration(now() - part.since_s) : "–"), "number"],
    ["Restarts", (part) => count(part.restarts), "number"],
    ["MiB", (part) => (part.memory_bytes ? count(part.memory_bytes / 1048576) : "–"), "number"],
  ], [...data.parts, ...data.silent.map((name) => ({ part: name, state: "no metrics" }))], "No part is known."));
}

// What is wrong now, since when and what to do; one line that says so if nothing is.
function drawHealth(data) {
  const open = (lastIncidents || []).filter((row) => !row.recovered_s);
  const lines = open.map((row) => ({ tone: row.severity === "critical" ? "bad" : "warn", since: row.since_s, what: row.title, todo: row.to_do }));
  for (const part of data.parts) {
    if (!["running", "done", "stopped"].includes(part.state)) lines.push({ tone: "bad", since: part.since_s, what: `${part.part} is ${part.state}`, todo: "Look at its log; the supervisor tries again by itself." });
  }
  for (const [name, venue] of Object.entries(data.venues)) {
    if (!Object.values(venue.connections).some(Boolean)) lines.push({ tone: "bad", since: 0, what: `${name} has no connection`, todo: `The worker goes on trying: look at the log of stream-${name}.` });
  }
  for (const name of data.silent) lines.push({ tone: "bad", since: 0, what: `${name} gives no metrics`, todo: "It hangs, is down, or the machine is too busy: what it does now is not known." });
  const away = [...document.querySelectorAll('section[data-state="down"] h2')].map((title) => title.firstChild.textContent.trim().split(":")[0]);
  if (away.length) lines.push({ tone: "warn", since: 0, what: `Not available: ${away.join(", ")}`, todo: "Each says below what does not answer." });
  const disk = data.storage;
  if (disk?.disk_bytes && disk.free_bytes < 0.05 * disk.disk_bytes) lines.push({ tone: "bad", since: 0, what: "the disk is nearly full", todo: "Make room: add disk, or shorten retention." });
  const streaming = Object.values(data.venues).filter((venue) => Object.values(venue.connections).some(Boolean)).length;
  const unknown = lastIncidents === null ? " Incidents are not known." : "";
  show("health", lines.length ? h("ul", { class: "lines" }, ...lines.map((line) => h("li", {},
    badge(line.tone === "bad" ? "wrong" : "look", line.tone), " ", h("strong", {}, line.what),
    line.since ? ` since ${moment(line.since)} UTC (${duration(now() - line.since)})` : "", ` — ${line.todo}`)))
    : h("p", { class: "empty" }, badge("well", "good"), ` ${streaming} of ${Object.keys(data.venues).length} venues are streaming, every part runs.${unknown}`));
}

const bytes = (number) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log2(Math.max(1, Math.abs(number))) / 10)));
  return `${(number / 1024 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
};

function drawStorage(storage) {
  if (!storage?.disk_bytes) { show("storage", h("p", { class: "empty" }, "No process tells of its disk.")); return; }
  storageReadings.push({ at: now(), free: storage.free_bytes, folders: storage.folders });
  while (storageReadings[0].at < now() - STORAGE_OVER_S) storageReadings.shift();
  const first = storageReadings[0], seconds = now() - first.at;
  const growth = (folder) => (seconds < FORECAST_AFTER_S || first.folders[folder] === undefined ? null : (storage.folders[folder] - first.folders[folder]) / seconds * DAY_S);
  const lost = (first.free - storage.free_bytes) / Math.max(1, seconds);
  const forecast = seconds < FORECAST_AFTER_S ? "The forecast needs five minutes of this page."
    : lost <= 0 ? "The disk does not fill at the pace since this page was opened." : `Full in ${duration(storage.free_bytes / lost)} at the pace of the last ${duration(seconds)}.`;
  show("storage", h("p", { class: "summary" }, badge(`${bytes(storage.free_bytes)} of ${bytes(storage.disk_bytes)} free`, storage.free_bytes < 0.05 * storage.disk_bytes ? "bad" : storage.free_bytes < 0.15 * storage.disk_bytes ? "warn" : "good")),
    table([
      ["Folder", (folder) => folder], ["Size", (folder) => bytes(storage.folders[folder]), "number"],
      ["A day", (folder) => (growth(folder) === null ? "–" : bytes(growth(folder))), "number"],
    ], Object.keys(storage.folders).sort((a, b) => storage.folders[b] - storage.folders[a]), "The folders are not measured yet."),
    h("p", { class: "hint" }, forecast));
}

function drawGateway(gateway) {
  if (!gateway) { show("gateway", h("p", { class: "empty" }, "No gateway runs.")); return; }
  show("gateway", table([
    ["Streams open", () => count(gateway.clients), "number"], ["Records handed out", () => count(gateway.delivered_records_total), "number"],
    ["Waiting", () => bytes(gateway.buffered_bytes), "number"],
    ["Cut off", () => (gateway.cut_off_total ? badge(count(gateway.cut_off_total), "warn") : "0"), "number"],
  ], [gateway], ""));
}

function drawQuality(rows) {
  const days = lastDays(14), venues = new Map();
  for (const row of rows) {
    if (!venues.has(row.exchange)) venues.set(row.exchange, { exchange: row.exchange, days: {} });
    venues.get(row.exchange).days[row.day] = row;
  }
  const tone = (score) => (score >= 99 ? "good" : score >= 95 ? "warn" : "bad");
  const cell = (row, day) => {
    const one = row.days[day];
    if (!one) return "";
    const words = `${row.exchange} ${day}: score ${one.score.toFixed(2)}, coverage ${(100 * one.coverage).toFixed(3)} %, ${one.gaps_per_million.toFixed(1)} gaps a million, ${(100 * one.share_repaired).toFixed(0)} % repaired, ${count(one.quarantined)} quarantined`;
    return h("span", { class: `score ${tone(one.score)}`, title: words, "aria-label": words, tabindex: "0", role: "img" }, one.score.toFixed(1));
  };
  show("quality", table([
    ["Venue", (row) => row.exchange], ...days.map((day) => [day.slice(5), (row) => cell(row, day), "heat"]),
  ], [...venues.values()], "Nothing is published yet: publish_quality does so every night."));
}

function venueState(data, name) {
  const part = data.parts.find((one) => one.part === `stream-${name}`);
  if (part && part.state !== "running") return badge(part.state, "bad");
  const connections = Object.values(data.venues[name].connections);
  const up = connections.filter(Boolean).length;
  if (!up) return badge("connecting", "bad");
  return up < connections.length ? badge(`${up} of ${connections.length} connections`, "warn") : badge("streaming", "good");
}

// What was counted between now and `overS` ago; null if the counter began anew or nothing is known.
function rateOf(name, counter, group = "venues") {
  const last = readings.at(-1);
  const first = readings.find((reading) => reading.at >= last.at - RATE_OVER_S && reading[group][name]);
  if (!first || first === last) return null;
  const counted = counter(last[group][name]) - counter(first[group][name]);
  return counted < 0 ? null : counted / (last.at - first.at);
}

// Upper bound of the bucket that holds the q quantile of the last minute, in seconds.
function quantile(group, name, histogram, q) {
  const last = readings.at(-1)[group][name][histogram];
  const first = readings[0] === readings.at(-1) ? {} : readings[0][group][name]?.[histogram] || {};
  const counts = Object.entries(last).map(([bound, n]) => [bound === "+Inf" ? Infinity : Number(bound), n - (first[bound] || 0)]).sort((a, b) => a[0] - b[0]);
  const total = counts.length ? counts.at(-1)[1] : 0;
  return total > 0 ? counts.find(([, n]) => n >= q * total)[0] : null;
}

function drawBacklog(rows) {
  const groups = new Map();
  for (const row of rows) {
    const key = `${row.group} ${row.topic}`;
    if (!groups.has(key)) groups.set(key, { group: row.group, topic: row.topic, partitions: [] });
    groups.get(key).partitions[row.partition] = row.messages;
  }
  const total = (row) => row.partitions.reduce((all, one) => all + (one || 0), 0);
  show("backlog", table([
    ["Group", (row) => row.group], ["Topic", (row) => row.topic],
    ["Messages", (row) => count(total(row)), "number"],
    ["By partition", (row) => Array.from(row.partitions, (n) => count(n)).join("  "), "number"],
  ], [...groups.values()], "No consumer group has committed yet."));
}

function drawHistory(rows, section) {
  const place = document.querySelector("#history .body");
  const exchanges = [...new Set(rows.map((row) => row.exchange))].sort();
  if (!exchanges.length) {
    charts.forEach((chart) => chart.destroy());
    charts.clear();
    show("history", h("p", { class: "empty" }, "No events in the last 15 minutes."));
    return;
  }
  place.classList.toggle("many", exchanges.length > CHARTS_WITH_LEGEND_MAX);
  for (const [exchange, chart] of charts) if (!exchanges.includes(exchange)) { chart.destroy(); charts.delete(exchange); }
  const step = 10, last = Math.floor(section.taken_ns / 1e9 / step) * step - 2 * step;  // what is newer may not be stored yet
  const times = Array.from({ length: 15 * 60 / step }, (_, i) => last - (15 * 60 / step - 1 - i) * step);
  for (const exchange of exchanges) {
    const found = new Map(rows.filter((row) => row.exchange === exchange).map((row) => [`${row.kind} ${row.t}`, row.events]));
    const lines = KINDS.map((kind) => times.map((t) => (found.get(`${kind} ${t}`) || 0) / step));
    if (charts.has(exchange)) { charts.get(exchange).setData([times, ...lines]); continue; }
    if (!charts.size) place.replaceChildren();
    const figure = h("figure", {}, h("figcaption", {}, exchange));
    place.append(figure);
    charts.set(exchange, newChart(figure, [times, ...lines]));
  }
}

function newChart(figure, data) {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const axis = { stroke: colour("--dim"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const series = KINDS.map((kind) => ({ label: kind, stroke: colour(`--${kind}`), width: 1.5, points: { show: false }, value: (_, v) => (v === null ? "–" : v.toFixed(1)) }));
  const chart = new uPlot({
    width: figure.clientWidth || 300, height: 170, cursor: { y: false },
    scales: { y: { range: (_, low, high) => [0, Math.max(1, high * 1.1)] } },
    axes: [{ ...axis, size: 26, space: 70, values: "{HH}:{mm}" }, { ...axis, size: 44 }],
    series: [{ label: "time", value: "{HH}:{mm}:{ss}" }, ...series],
  }, data, figure);
  new ResizeObserver(() => chart.setSize({ width: figure.clientWidth, height: 170 })).observe(figure);
  return chart;
}

function drawQuarantine(rows) {
  show("quarantine", table([
    ["Venue", (row) => row.exchange], ["Code", (row) => row.code],
    ["", (row) => badge(row.severity === "hard" ? "held back" : "flagged", row.severity === "hard" ? "bad" : "warn")],
    ["Events", (row) => count(row.events), "number"],
  ], rows, "Nothing was quarantined."));
}

function drawGaps({ counts, open }) {
  const states = {};
  for (const row of counts) states[row.gap_state] = (states[row.gap_state] || 0) + row.gaps;
  const summary = h("p", { class: "summary" }, ...Object.entries(states).map(([state, n]) => badge(`${count(n)} ${state.replace("_", " ")}`, state === "open" ? "warn" : "plain")));
  const missing = (gap) => (gap.from_sequence === null ? `${moment(gap.from_s)} to ${moment(gap.to_s)}` : `ids ${gap.from_sequence} to ${gap.to_sequence}`);
  show("gaps", summary, table([
    ["Venue", (gap) => gap.exchange], ["Symbol", (gap) => gap.symbol], ["Channel", (gap) => gap.channel],
    ["Kind", (gap) => gap.gap_kind], ["Missing", missing], ["Seen (UTC)", (gap) => moment(gap.seen_s)],
    ["", (gap) => triggerButton(REPAIR_DAG, "Repair", `gap ${gap.exchange} ${gap.symbol} ${gap.record_key}`, () => repairOf(gap))],
    ["Reason", (gap) => gap.reason, "text"],
  ], open, "No open gaps."));
}

function repairOf(gap) {
  return {
    dagId: REPAIR_DAG, title: "Repair this gap",
    text: "Asks the venue's history for what the gap misses. Without a gap all of the symbol's are repaired.",
    fields: [
      { name: "exchange", label: "Venue", value: gap.exchange }, { name: "symbol", label: "Symbol", value: gap.symbol },
      { name: "key", label: "Gap", value: gap.record_key, optional: true },
    ],
    conf: (values) => values,
  };
}

function drawCoverage(rows) {
  const days = lastDays(14);
  const symbols = new Map();
  for (const row of rows) {
    const key = `${row.exchange}:${row.symbol}`;
    if (!symbols.has(key)) symbols.set(key, { exchange: row.exchange, symbol: row.symbol, days: {} });
    symbols.get(key).days[row.day] = row;
  }
  const venues = new Map();
  for (const row of symbols.values()) {
    if (!venues.has(row.exchange)) venues.set(row.exchange, { exchange: row.exchange, symbols: [] });
    venues.get(row.exchange).symbols.push(row);
  }
  const isOpen = (exchange) => openVenues.has(exchange);
  const lines = venues.size === 1 ? [...symbols.values()]
    : [...venues.values()].flatMap((venue) => (isOpen(venue.exchange) ? [venue, ...venue.symbols] : [venue]));
  const told = (hours, open) => (open ? `${hours} of ${open} hours` : "closed");
  const shade = (hours, open) => `h${open ? Math.min(4, Math.ceil((4 * hours) / open)) : 0}`;
  const all = (venue, day) => {
    const open = venue.symbols.map((row) => row.days[day]?.open_hours).find((one) => one != null) ?? 24;
    const hours = venue.symbols.map((row) => row.days[day]?.hours || 0), mean = hours.reduce((a, b) => a + b, 0) / hours.length;
    const words = `${venue.exchange} ${day}: ${told(mean.toFixed(1), open)} on average over ${hours.length} symbols`;
    return h("span", { class: `whole ${shade(mean, open)}`, title: words, "aria-label": words, role: "img" }, mean ? String(Math.round(mean)) : "");
  };
  const toggle = (venue) => h("button", {
    type: "button", class: "toggle", "aria-expanded": String(isOpen(venue.exchange)), "data-key": `venue ${venue.exchange}`,
    onclick: () => { if (!openVenues.delete(venue.exchange)) openVenues.add(venue.exchange); drawCoverage(rows); },
  }, `${isOpen(venue.exchange) ? "▾" : "▸"} ${venue.exchange} (${venue.symbols.length})`);
  const square = (row, day) => {
    const hours = row.days[day]?.hours || 0, trades = row.days[day]?.trades || 0;
    const open = row.days[day]?.open_hours ?? 24;
    const words = `${row.exchange} ${row.symbol} ${day}: ${told(hours, open)}, ${count(trades)} trades`;
    return h("button", {
      type: "button", class: `square ${shade(hours, open)}`, title: `${words}. Backfill this`, "aria-label": `${words}. Backfill this`,
      "data-key": words.split(":")[0] + row.symbol + day, disabled: !(mayTrigger[BACKFILL_DAG] && open),
      onclick: () => openTrigger(backfillOf(row, day)),
    }, hours ? String(hours) : "");
  };
  show("coverage", table([
    ["Symbol", (row) => (row.symbols ? toggle(row) : `${row.exchange} ${row.symbol}`)],
    ...days.map((day) => [day.slice(5), (row) => (row.symbols ? all(row, day) : square(row, day)), "heat"]),
  ], lines, "No trades in the last 14 days, or load_timescale has not run yet."),
  h("p", { class: "hint" }, mayTrigger[BACKFILL_DAG] ? "A square opens a backfill of that symbol and day; a venue its symbols. Shades are of the hours in which the market is open." : "Your role may look, not trigger."));
}

function lastDays(number) {
  return Array.from({ length: number }, (_, i) => new Date(Date.now() - (number - 1 - i) * 86400000).toISOString().slice(0, 10));
}

function backfillOf(row, day) {
  const next = new Date(Date.parse(day) + 86400000).toISOString().slice(0, 10);
  return {
    dagId: BACKFILL_DAG, title: "Backfill market data",
    text: "Fetches the venue's history. What is there already is not stored twice.",
    fields: [
      { name: "venue", label: "Venue", value: row.exchange },
      { name: "symbols", label: "Symbols", value: row.symbol },
      { name: "kinds", label: "Kinds", value: "trade" },
      { name: "start", label: "From (UTC day)", type: "date", value: day },
      { name: "end", label: "To, exclusive", type: "date", value: next },
      { name: "dry_run", label: "Estimate only", type: "checkbox", value: false },
    ],
    conf: (values) => ({ ...values, symbols: words(values.symbols), kinds: words(values.kinds) }),
  };
}

const words = (text) => text.split(/[\s,]+/).filter(Boolean);

function drawBackfills(rows) {
  show("backfills", table([
    ["Backfill", (row) => row.name], ["Venue", (row) => row.exchange],
    ["What", (row) => `${row.symbols.join(" ")}: ${row.kinds.join(" ")}`, "text"],
    ["Range (UTC)", (row) => `${moment(row.start_s)} to ${moment(row.end_s)}`, "text"],
    ["Done", (row) => h("progress", { value: row.done, max: row.chunks, "aria-label": `${row.done} of ${row.chunks} chunks` })],
    ["Chunks", (row) => `${count(row.done)} of ${count(row.chunks)}`, "number"],
    ["Last one", (row) => `${duration(now() - row.changed_s)} ago`, "number"],
  ], rows, "No backfill is at work."));
}

function drawIncidents(rows) {
  lastIncidents = rows;
  if (lastData.live) drawHealth(JSON.parse(lastData.live));
  const title = (row) => (row.link ? h("a", { href: `../${row.link.replace(/^\//, "")}`, onclick: openInAirflow }, row.title) : row.title);
  show("incidents", table([
    ["State", (row) => (row.recovered_s ? badge("recovered", "plain") : badge(row.severity, row.severity === "critical" ? "bad" : "warn"))],
    ["What", title], ["How far", (row) => row.how_far, "text"], ["What to do", (row) => row.to_do, "text"],
    ["Since (UTC)", (row) => moment(row.since_s)], ["Until", (row) => moment(row.recovered_s)],
  ], rows, "No incidents."));
}

function drawJobs(jobs) {
  const tone = { success: "good", failed: "bad", running: "warn", queued: "warn" };
  show("jobs", table([
    ["DAG", (job) => h("a", { href: `../dags/${job.dag_id}`, "data-key": `dag ${job.dag_id}`, onclick: openInAirflow }, job.dag_id)],
    ["Last run", (job) => (job.last ? badge(job.last.state, tone[job.last.state] || "plain") : job.paused ? badge("paused", "plain") : "–")],
    ["Failed", (job) => (job.failed ? badge(`${job.failed} of ${job.seen}`, "bad") : "0"), "number"],
    ["Took", (job) => (job.last?.duration ? duration(job.last.duration) : "–"), "number"],
    ["Next (UTC)", (job) => (job.next ? job.next.replace("T", " ").slice(5, 16) : "–")],
  ], jobs, "Airflow has read no DAGs yet."));
}

// ---- acting

// The page lives in a frame that may not navigate Airflow; a link of Airflow's own document may.
function openInAirflow(event) {
  event.preventDefault();
  const link = window.parent.document.createElement("a");
  link.href = event.currentTarget.href;
  window.parent.document.body.append(link);
  link.click();
  link.remove();
}

function triggerButton(dagId, label, key, request) {
  if (!mayTrigger[dagId]) return null;
  return h("button", { type: "button", "data-key": key, "aria-label": `${label} ${key}`, onclick: () => openTrigger(request()) }, label);
}

function openTrigger({ dagId, title, text, fields, conf }) {
  const dialog = document.getElementById("trigger"), result = document.getElementById("trigger-result");
  const run = document.getElementById("trigger-run"), form = dialog.querySelector("form");
  document.getElementById("trigger-title").textContent = title;
  document.getElementById("trigger-text").textContent = text;
  result.replaceChildren();
  run.disabled = false;
  document.getElementById("trigger-fields").replaceChildren(...fields.map((field) => {
    const input = h("input", { name: field.name, type: field.type || "text", required: field.type !== "checkbox" && !field.optional });
    if (field.type === "checkbox") input.checked = field.value; else input.value = field.value;
    return h("label", {}, h("span", {}, field.label), input);
  }));
  form.onsubmit = async (event) => {
    event.preventDefault();
    run.disabled = true;
    result.textContent = "starting";
    const values = Object.fromEntries(fields.map(({ name, type }) => [name, type === "checkbox" ? form.elements[name].checked : form.elements[name].value.trim()]));
    try {
      const runId = await trigger(dagId, conf(values));
      result.replaceChildren("Started: ", h("a", { href: `../dags/${dagId}/runs/${encodeURIComponent(runId)}`, onclick: openInAirflow }, "watch it in Airflow"));
    } catch (error) {
      result.textContent = error.message;
      run.disabled = false;
    }
  };
  dialog.showModal();
}

async function trigger(dagId, conf) {
  const answer = await fetch(`../api/v2/dags/${dagId}/dagRuns`, {
    method: "POST", headers: { "Content-Type": "application/json" }, signal: AbortSignal.timeout(ANSWER_WITHIN_S * 1000),
    body: JSON.stringify({ logical_date: new Date().toISOString(), conf }),
  });
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(typeof said.detail === "string" ? said.detail : `Airflow answered ${answer.status}`);
  return said.dag_run_id;
}

// ---- theme: Airflow's, else the system's

function followTheme() {
  const root = window.parent.document.documentElement, system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const framed = window.parent !== window;
    const dark = framed ? root.classList.contains("dark") : system.matches;
    if (document.documentElement.dataset.theme === (dark ? "dark" : "light")) return;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    charts.forEach((chart) => chart.destroy());  // they are drawn in the old colours
    charts.clear();
    if (lastData.history) { show("history"); drawHistory(JSON.parse(lastData.history), { taken_ns: Date.now() * 1e6 }); }
  };
  apply();
  new MutationObserver(apply).observe(root, { attributes: true, attributeFilter: ["class"] });
  system.addEventListener("change", apply);
}

async function start() {
  followTheme();
  document.getElementById("trigger-cancel").onclick = () => document.getElementById("trigger").close();
  const pause = document.getElementById("pause");
  pause.onclick = () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
  };
  document.querySelectorAll("main section .body").forEach((body) => body.append(h("p", { class: "empty loading" }, "Loading")));
  const docs = document.getElementById("data-docs");
  fetch(docs.href).then((answer) => { docs.hidden = !answer.ok; }, () => {});
  Object.keys(SECTIONS).forEach(follow);
  await Promise.all([REPAIR_DAG, BACKFILL_DAG].map(askMayTrigger));
  for (const name of ["gaps", "coverage"]) {  // these offer it
    if (lastData[name]) SECTIONS[name].draw(JSON.parse(lastData[name]));
  }
}

start();
