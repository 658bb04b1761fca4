// The admin API: who we are, asking, and the stream of messages. Nothing is kept here but what was answered.

export class Problem extends Error {
  constructor(status, body) {
    super(body.title ?? body.detail ?? `HTTP ${status}`);
    this.status = status;
    this.reason = body.reason ?? "";
    this.body = body;
  }
}

const RANKS = { read: 1, operate: 2, admin: 3 };

export const session = {
  me: null, // {role, name, csrf}
  onLost: () => {},

  may(role) {
    return (RANKS[this.me?.role] ?? 0) >= RANKS[role];
  },

  async begin() {
    try {
      this.me = await ask("GET", "/me");
    } catch (problem) {
      if (problem.status === 401 || problem.status === 403) this.me = null;
      else throw problem;
    }
    return this.me;
  },

  async login(token) {
    this.me = await ask("POST", "/login", { token });
    return this.me;
  },

  async logout() {
    await ask("POST", "/logout");
    this.me = null;
  },
};

// Whether the gateway answers at all: {down: since when, or null}.
export const line = { down: null, onChange: () => {} };

function heard(answers) {
  const down = answers ? null : (line.down ?? new Date());
  if (down !== line.down) {
    line.down = down;
    line.onChange();
  }
}

export async function ask(method, path, body, headers = {}) {
  const options = { method, headers: { Accept: "application/json", ...headers }, cache: "no-store" };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  if (method !== "GET" && session.me?.csrf) options.headers["X-CSRF-Token"] = session.me.csrf;
  let response;
  try {
    response = await fetch(`/api/v1${path}`, options);
  } catch {
    heard(false);
    throw new Problem(0, { title: "the gateway does not answer", reason: "unreachable" });
  }
  heard(true);
  const text = await response.text();
  let answer;
  try {
    answer = text ? JSON.parse(text) : null;
  } catch {
    answer = text;
  }
  if (!response.ok) {
    if (response.status === 401 && session.me) {
      session.me = null;
      session.onLost();
    }
    throw new Problem(response.status, answer && typeof answer === "object" ? answer : {});
  }
  if (answer && typeof answer === "object" && !Array.isArray(answer)) {
    Object.defineProperty(answer, "etag", { value: response.headers.get("ETag") });
  }
  return answer;
}

export const get = (path) => ask("GET", path);
export const post = (path, body, headers) => ask("POST", path, body, headers);

// ?a=1&b=2 of what has a value.
export function query(values) {
  const chosen = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return chosen.length ? `?${new URLSearchParams(chosen)}` : "";
}

// An identity may have any character in it, a slash too.
export const part = (text) => encodeURIComponent(text);

// Ask again and again while somebody looks: *once* is awaited, then *seconds* go by. Gives {stop, now}.
export function poll(once, seconds) {
  let stopped = false;
  let timer = null;
  let running = false;
  const turn = async () => {
    clearTimeout(timer);
    if (stopped || running) return;
    if (!document.hidden) {
      running = true;
      try {
        await once();
      } catch (problem) {
        if (!(problem instanceof Problem)) console.error(problem);
      } finally {
        running = false;
      }
    }
    if (!stopped) timer = setTimeout(turn, seconds * 1000);
  };
  const seen = () => document.hidden || turn();
  document.addEventListener("visibilitychange", seen);
  turn();
  return {
    now: turn,
    stop() {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    },
  };
}

// The live stream. The browser comes back by itself after a broken connection, with the id of the last row it
// had; where the server refuses, it does not, and we try again. A browser opens six connections to one place
// and no more, so a page that nobody has looked at for a while gives its own back, and catches up when it is
// seen again. *on* has row(row), gap(n) and state(word): "connecting", "live" or "broken".
const UNSEEN = 30_000; // ms

export function stream(filter, on) {
  let source = null;
  let again = null;
  let last = "";
  let closed = false;
  const open = () => {
    clearTimeout(again);
    source?.close();
    on.state("connecting");
    source = new EventSource(`/api/v1/messages/stream${query({ filter, last_event_id: last })}`);
    source.onopen = () => on.state("live");
    source.addEventListener("message", (event) => {
      if (event.lastEventId) last = event.lastEventId;
      on.row(JSON.parse(event.data));
    });
    source.addEventListener("gap", (event) => on.gap(JSON.parse(event.data).missed));
    source.onerror = () => {
      const over = source.readyState === EventSource.CLOSED;
      on.state(over ? "broken" : "connecting");
      if (over && !closed) {
        session.begin().then((me) => me || session.onLost(), () => {});
        again = setTimeout(open, 2000);
      }
    };
  };
  const seen = () => {
    clearTimeout(again);
    if (!document.hidden) {
      if (source.readyState === EventSource.CLOSED) open();
    } else {
      again = setTimeout(() => {
        source.close();
        on.state("connecting");
      }, UNSEEN);
    }
  };
  document.addEventListener("visibilitychange", seen);
  open();
  return {
    close() {
      closed = true;
      clearTimeout(again);
      document.removeEventListener("visibilitychange", seen);
      source.close();
    },
  };
}
