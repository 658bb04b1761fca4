// A charge point or a central system of node-soap, made from our service descriptions. What a line says is told
// in ../gsoap/peer.c; bodies are JSON here.
//
//   node soap_peer.js charge_point FOLDER      node soap_peer.js central_system FOLDER
"use strict";

const { readFileSync } = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const readline = require("node:readline");
const { randomUUID } = require("node:crypto");
const soap = require("soap");

const LIFE = 120000; // milliseconds
const PATIENCE = 10000;
const ADDRESSING = "http://www.w3.org/2005/08/addressing";
const ANONYMOUS = `${ADDRESSING}/anonymous`;

const [role, folder] = process.argv.slice(2);
const [called, served] =
  role === "charge_point"
    ? ["CentralSystemService", "ChargePointService"]
    : ["ChargePointService", "CentralSystemService"];
let told = { payload: {}, fault: null };
let ownAddress;

function say(word, ...fields) {
  process.stdout.write(`${[word, ...fields.map((field) => String(field).replace(/[\t\n]/g, " "))].join("\t")}\n`);
}

// Times stay as they are written: a Date would have milliseconds that were not there.
const options = {
  forceSoap12Headers: true,
  preserveWhitespace: true,
  disableCache: true,
  customDeserializer: { dateTime: (text) => text },
};

// What an element holds, with its attributes; {"$value": "230", "@unit": "Volt"} in a line.
function fromLine(value) {
  if (Array.isArray(value)) {
    return value.map(fromLine);
  }
  if (value === null || typeof value !== "object") {
    return value;
  }
  const given = {};
  for (const [name, inner] of Object.entries(value)) {
    if (name.startsWith("@")) {
      given.attributes = { ...given.attributes, [name.slice(1)]: inner };
    } else {
      given[name] = fromLine(inner);
    }
  }
  return given;
}

function toLine(value) {
  if (Array.isArray(value)) {
    return value.map(toLine);
  }
  if (value === null || typeof value !== "object") {
    return value ?? "";
  }
  const given = {};
  for (const [name, inner] of Object.entries(value)) {
    if (name === "attributes") {
      for (const [attribute, text] of Object.entries(inner).filter(([key]) => !key.startsWith("xmlns"))) {
        given[`@${attribute}`] = text;
      }
    } else {
      given[name] = toLine(inner);
    }
  }
  return given;
}

function body(value) {
  return JSON.stringify(toLine(value ?? {}));
}

function text(value) {
  return (value !== null && typeof value === "object" ? value.$value : value) ?? "";
}

function addressing(headers) {
  return Object.entries(headers).map(([name, value]) => [{ [name]: value }, "", "wsa", ADDRESSING]);
}

// --- Asking ---

async function ask(client, address, identity, action, payload) {
  const messageId = `urn:uuid:${randomUUID()}`;
  client.setEndpoint(address);
  client.clearSoapHeaders();
  const namespace = client.wsdl.definitions.$targetNamespace;
  client.addSoapHeader({ chargeBoxIdentity: identity }, "", "ocpp", namespace);
  for (const header of addressing({
    Action: `/${action}`,
    MessageID: messageId,
    From: { Address: ownAddress },
    ReplyTo: { Address: ANONYMOUS },
    To: address,
  })) {
    client.addSoapHeader(...header);
  }
  try {
    const [result, , headers] = await client[`${action}Async`](payload, { timeout: PATIENCE });
    // Its end, since in 1.2 what is before it is another.
    const answersIt = text(headers?.Action).endsWith(`/${action}Response`);
    if (text(headers?.RelatesTo) !== messageId || !answersIt) {
      say("problem", `the answer is not addressed as one: ${JSON.stringify(headers)}`);
    }
    say("answered", body(result));
  } catch (error) {
    const fault = error.root?.Envelope?.Body?.Fault;
    if (fault) {
      say("refused", text(fault.Code.Value), text(fault.Code.Subcode?.Value), text(fault.Reason.Text));
    } else {
      say("unanswered", error.message);
    }
  }
}

// --- Answering ---

function serves(action) {
  return (payload, _callback, headers) => {
    const identity = text(headers?.chargeBoxIdentity);
    say("received", identity, text(headers?.From?.Address), action, body(payload));
    if (text(headers?.Action) !== `/${action}` || !text(headers?.MessageID)) {
      say("problem", `the call is not addressed as one: ${JSON.stringify(headers)}`);
    }
    if (told.fault) {
      throw { Fault: structuredClone(told.fault) };
    }
    return told.payload;
  };
}

function answers(action, _payload, headers) {
  const related = { Action: `/${action}Response`, MessageID: `urn:uuid:${randomUUID()}` };
  return addressing({ ...related, RelatesTo: text(headers?.MessageID) })
    .map((header) => this.wsdl.objectToXML(header[0], header[1], header[2], header[3], true))
    .join("");
}

function refusal(code, subcode, reason) {
  const statusCode = code === "Sender" ? 400 : 500;
  return { Code: { Value: `soap:${code}`, Subcode: { Value: subcode } }, Reason: { Text: reason }, statusCode };
}

async function main() {
  setTimeout(() => process.exit(1), LIFE).unref();
  const description = (service) => path.join(folder, `${service}.wsdl`);
  const client = await soap.createClientAsync(description(called), options);
  const server = http.createServer((_request, response) => response.writeHead(404).end());
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  ownAddress = `http://127.0.0.1:${server.address().port}/${role}`;

  const other = await soap.createClientAsync(description(served), options);
  const [[service, ports]] = Object.entries(other.describe());
  const [[port, actions]] = Object.entries(ports);
  const services = { [service]: { [port]: {} } };
  for (const action of Object.keys(actions)) {
    services[service][port][action] = serves(action);
  }
  const here = await new Promise((resolve, reject) => {
    const started = soap.listen(server, {
      ...options,
      path: `/${role}`,
      services,
      xml: readFileSync(description(served), "utf8"),
      uri: description(served),
      callback: (error) => (error ? reject(error) : resolve(started)),
    });
  });
  here.wsdl.options.preserveWhitespace = true; // an option that node-soap takes from clients only
  here.addSoapHeader(answers.bind(here));
  say("ready", server.address().port);

  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [word, ...fields] = line.split("\t");
    if (word === "ask") {
      const [address, identity, action, payload] = fields;
      ask(client, address, identity, action, fromLine(JSON.parse(payload)));
    } else {
      told =
        word === "tell"
          ? { payload: fromLine(JSON.parse(fields[0])), fault: null }
          : { payload: {}, fault: refusal(...fields) };
      say("told");
    }
  }
  server.close();
  server.closeAllConnections();
}

main();
