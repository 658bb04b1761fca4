// What OCPP DebugKit makes of a trace on standard input: one JSON object on standard output. With "write", its own
// lines of Open OCPP Trace for what it has read.
//
//   node debugkit.mjs read < trace.jsonl      node debugkit.mjs write < trace.jsonl
import { readFileSync } from "node:fs";
import {
  buildSessionTimeline,
  deriveOpenOcppTraceView,
  detectFailures,
  looksLikeOpenOcppTrace,
  parseTrace,
  toOpenOcppTraceJsonl,
  validateMessage,
} from "@ocpp-debugkit/toolkit/core";

const text = readFileSync(0, "utf8");
const { events, warnings } = parseTrace(text);
if (process.argv[2] === "write") {
  process.stdout.write(toOpenOcppTraceJsonl(events).jsonl);
} else {
  const sessions = buildSessionTimeline(events);
  const said = {
    recognised: looksLikeOpenOcppTrace(text),
    warnings: warnings.map((warning) => warning.message),
    invalid: events.flatMap((event) => validateMessage(event).errors),
    events: events.map((event) => ({ direction: event.direction, type: event.messageType, action: event.action })),
    sessions: sessions.map((session) => ({ transaction: session.transactionId, events: session.events.length })),
    failures: detectFailures(events, sessions).map((failure) => failure.code),
    view: deriveOpenOcppTraceView(text),
  };
  process.stdout.write(JSON.stringify(said));
}
