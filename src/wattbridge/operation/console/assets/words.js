// Numbers, times and the closed vocabularies in words. Times are UTC, as in the log and the metrics.

export const ROLES = { read: "read", operate: "operate", admin: "admin" };

const pad = (number, width = 2) => String(number).padStart(width, "0");

export function clock(when, { milliseconds = true } = {}) {
  const date = new Date(when);
  if (isNaN(date)) return "–";
  const base = `${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}:${pad(date.getUTCSeconds())}`;
  return milliseconds ? `${base}.${pad(date.getUTCMilliseconds(), 3)}` : base;
}

export function day(when) {
  const date = new Date(when);
  return isNaN(date) ? "–" : date.toISOString().slice(0, 10);
}

export function moment(when) {
  const date = new Date(when);
  return !when || isNaN(date) ? "–" : `${day(date)} ${clock(date, { milliseconds: false })}`;
}

// "12 s", "4 min", "3 h", "2 d": as much as one needs at a glance.
export function span(seconds) {
  if (seconds === null || seconds === undefined || isNaN(seconds)) return "–";
  const size = Math.abs(seconds);
  if (size < 1) return "0 s";
  if (size < 100) return `${Math.round(seconds)} s`;
  if (size < 100 * 60) return `${Math.round(seconds / 60)} min`;
  if (size < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export function ago(when) {
  if (!when) return "never";
  const seconds = (Date.now() - new Date(when)) / 1000;
  return seconds < 1.5 ? "just now" : `${span(seconds)} ago`;
}

export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value < 10) return value.toFixed(1);
  return number(Math.round(value));
}

export function number(value) {
  return value === null || value === undefined ? "–" : Number(value).toLocaleString("en-GB");
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1024) return `${value} B`;
  return value < 1 << 20 ? `${(value / 1024).toFixed(1)} KiB` : `${(value / (1 << 20)).toFixed(1)} MiB`;
}

export function count(n, one, many = `${one}s`) {
  return `${number(n)} ${n === 1 ? one : many}`;
}

// The words of reasons.py, as sentences.
export const REASONS = {
  timeout: "the other party did not answer in time",
  unreachable: "no connection to the other party could be made",
  refused: "the other party refused the connection",
  not_connected: "the other party is not connected, or its address is not known",
  busy: "too many calls wait for the other party",
  auth: "the charge point is unknown or its credential is wrong",
  rejected: "the route of the charge point rejects it",
  duplicate: "the charge point has another connection, which answers",
  rate_limited: "the charge point sends more than it may",
  too_large: "the message is larger than the limit",
  malformed: "the message is not XML, not SOAP or not a JSON frame",
  schema: "the message breaks the schema of OCPP",
  unsupported: "the action does not exist for the other party",
  untranslatable: "the message cannot be written in the other party's encoding",
  fault: "the other party answered with a SOAP fault",
  call_error: "the other party answered with a CALLERROR",
  expired: "the message was kept too long",
  queue_full: "no more messages can be kept",
  draining: "the gateway is stopping",
  internal: "an error inside the gateway",
};

// Outcome → [mark, kind, word, sentence]. The mark says it without colour.
export const OUTCOMES = {
  ok: ["●", "good", "ok", "the other party answered"],
  kept: ["◐", "warn", "kept", "the central system was away: kept in the outbox and confirmed to the charge point"],
  offline: ["◐", "warn", "answered here", "the central system was away: the gateway answered"],
  local: ["○", "note", "answered here", "the other party's version has no such message: the gateway answered"],
  repeat: ["○", "note", "repeated", "the same message as before: answered with the stored reply"],
  failed: ["✖", "bad", "failed", "the call failed"],
};

export function outcome(row) {
  const [mark, kind, word, sentence] = OUTCOMES[row.outcome] ?? ["●", "note", row.outcome, ""];
  if (row.outcome !== "failed") return { mark, kind, word, sentence };
  const reason = row.reason || word;
  return { mark, kind, word: reason.replaceAll("_", " "), sentence: REASONS[row.reason] ?? sentence };
}

export const STATES = {
  connected: ["●", "good"],
  stale: ["◐", "warn"],
  offline: ["○", "note"],
  unknown: ["?", "bad"],
  open: ["●", "good"],
  connecting: ["◐", "warn"],
  backoff: ["✖", "bad"],
  up: ["●", "good"],
  drain: ["◐", "warn"],
  maint: ["■", "warn"],
  down: ["✖", "bad"],
  running: ["●", "good"],
  stopped: ["○", "note"],
  ended: ["○", "note"],
  refused: ["✖", "bad"],
  parked: ["✖", "bad"],
  waiting: ["◐", "warn"],
  reachable: ["●", "good"],
  unreachable: ["✖", "bad"],
  usable: ["●", "good"],
  failing: ["✖", "bad"],
  works: ["●", "good"],
  fails: ["✖", "bad"],
  "not tried": ["○", "note"],
  none: ["✖", "bad"],
  // of connectors
  Available: ["●", "good"],
  Preparing: ["◐", "warn"],
  Charging: ["⚡", "info"],
  Occupied: ["⚡", "info"],
  SuspendedEV: ["◐", "warn"],
  SuspendedEVSE: ["◐", "warn"],
  Finishing: ["◐", "warn"],
  Reserved: ["◐", "warn"],
  Unavailable: ["○", "note"],
  Faulted: ["✖", "bad"],
};

export function dialect(text) {
  const [transport, version] = String(text ?? "").split(" ");
  return transport ? `${transport.toUpperCase()} ${version ?? ""}`.trim() : "not heard yet";
}

export const ARROWS = { to_csms: "▶", to_charger: "◀" };
export const DIRECTIONS = { to_csms: "to central system", to_charger: "to charge point" };
