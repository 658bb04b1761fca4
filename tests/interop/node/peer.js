// A charge point or a central system of ocpp-rpc, in strict mode: it holds what it sends and what it gets against
// the published schemas. A test tells it what to do by lines of JSON, and reads lines of JSON:
//
//   node peer.js charge_point URL IDENTITY      node peer.js central_system
//
//   {"tell": {...}}                            answer this from now on; {"tell": {"code": ..., "text": ...},
//                                              "refuse": true} refuses
//   {"ask": "Reset", "payload": {...}, "identity": "CP1"}
//
//   {"ready": PORT}  {"connected": IDENTITY}  {"received": [ACTION, PAYLOAD]}
//   {"answered": {...}}  {"refused": [CODE, TEXT]}  {"problem": "..."}
"use strict";

const readline = require("node:readline");
const { RPCClient, RPCServer, createRPCError } = require("ocpp-rpc");

const [role, url, identity] = process.argv.slice(2);
const parties = new Map(); // identity -> who can be asked
let told = { payload: {}, refuse: false };

function write(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function serve(party, name) {
  parties.set(name, party);
  party.handle(({ method, params }) => {
    write({ received: [method, params] });
    if (told.refuse) {
      throw createRPCError(told.payload.code, told.payload.text, {});
    }
    return told.payload;
  });
  party.on("strictValidationFailure", ({ error }) => {
    write({ problem: `${error.rpcErrorCode}: ${error.message} ${JSON.stringify(error.details)}` });
  });
  party.on("badMessage", ({ error }) => write({ problem: `bad message: ${error.message}` }));
}

async function ask({ ask: action, payload, identity: name }) {
  try {
    write({ answered: await parties.get(name).call(action, payload) });
  } catch (error) {
    write({ refused: [error.rpcErrorCode ?? error.code ?? error.name, error.message] });
  }
}

async function main() {
  const options = { protocols: ["ocpp1.6"], strictMode: true, callTimeoutMs: 5000 };
  let close;
  if (role === "charge_point") {
    const client = new RPCClient({ ...options, endpoint: url, identity, reconnect: false });
    serve(client, identity);
    await client.connect();
    close = () => client.close({ force: true });
    write({ ready: 0 });
  } else {
    const server = new RPCServer(options);
    server.auth((accept) => accept());
    server.on("client", (client) => {
      serve(client, client.identity);
      write({ connected: client.identity });
    });
    const http = await server.listen(0, "127.0.0.1");
    close = () => server.close({ force: true });
    write({ ready: http.address().port });
  }
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    if (command.ask) {
      ask(command);
    } else {
      told = { payload: command.tell, refuse: Boolean(command.refuse) };
      write({ told: true });
    }
  }
  await close();
}

main();
