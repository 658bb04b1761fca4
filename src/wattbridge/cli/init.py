"""``wattbridge init``: a configuration file to begin with."""

from __future__ import annotations

from typing import TextIO

MINIMAL = """\
# A gateway between charge points and one central system. `wattbridge check` says whether it can be used.
version: 1

listeners:
  field:
    bind: 127.0.0.1:8080               # 0.0.0.0:8080 for charge points elsewhere

upstreams:
  cloud:
    url: ws://127.0.0.1:9100/ocpp/{charger}

chargers:
  CP1:
"""

FULL = """\
# A gateway between charge points and central systems. It can be used as it is, with everybody on this
# machine; where # stands before a key, that is an example: take the # away, and the blank behind it.
#
#   wattbridge check                   everything that is wrong with this file
#   wattbridge check --connect         whether the central systems can be reached
#   wattbridge routes test CP1         where a charge point goes, and why
#   wattbridge run
#
# To try it without any hardware, each in a terminal of its own:
#
#   wattbridge simulate central-system --json --bind 127.0.0.1:9100
#   wattbridge simulate charge-point --json --url ws://127.0.0.1:8080/ocpp --identity CP1
#
# Every key is described in docs/reference/configuration.md. `wattbridge config schema > gateway.schema.json`
# writes the schema that the next line points editors to.
# yaml-language-server: $schema=./gateway.schema.json
version: 1

gateway:
  name: depot-north                    # in the log
  # How charge points and SOAP central systems reach this machine; it goes into wsa:From.
  public_url: http://127.0.0.1:8080
  unknown: refuse                      # charge points that are not listed below; or: accept

# Where charge points come in, SOAP and JSON at one address.
#   http://127.0.0.1:8080/ocpp/cs          for those that speak SOAP
#   ws://127.0.0.1:8080/ocpp/IDENTITY      for those that speak JSON; most add the identity themselves
listeners:
  field:
    bind: 127.0.0.1:8080               # 0.0.0.0:8080 for charge points elsewhere
    # allow: [10.20.0.0/16]            # where they are; nothing here: anywhere
    # tls:                             # https:// and wss://
    #   certificate: certs/gateway.pem
    #   key: certs/gateway.key
    #   client_ca: certs/fleet.pem     # charge points with a certificate of their own
    #   client_auth: optional          # or: required

# Central systems. ws:// and wss:// speak JSON, http:// and https:// speak SOAP.
upstreams:
  cloud:
    url: ws://127.0.0.1:9100/ocpp/{charger}   # {charger} stands for the identity
    # auth:
    #   basic: {password: {env: CSMS_PASSWORD}}   # the user name is the identity
    # tls: {ca: certs/csms-ca.pem}
  # old:                               # a central system that speaks SOAP only
  #   url: http://127.0.0.1:8090/services/CentralSystemService
  #   soap: {networks: [127.0.0.0/8]}  # where it calls from, at public_url + /ocpp/cp/IDENTITY
  # audit:                             # gets a copy, see mirror
  #   url: ws://127.0.0.1:9100/ocpp/{charger}

# Which charge point belongs to which central system: the first match wins, the last must match all. With one
# central system there need not be any.
# routes:
#   - name: old-firmware               # known once a charge point has sent its BootNotification
#     match: {vendor: ACME, firmware: "<1.4"}
#     upstream: old
#   - name: berlin
#     match: {charger: BER-*}
#     upstream: cloud
#     fallback: old                    # while cloud cannot be reached
#     mirror: [audit]
#     identity: {rewrite: "^BER-", to: "DE*ABC*"}   # what the central systems call them
#   - name: test-devices
#     match: {charger: TEST-*}
#     reject: {boot_status: Rejected}
#   - name: everybody-else
#     match: any
#     upstream: cloud

# The charge points, by identity, exactly as they send it.
chargers:
  CP1:                                 # known, and nothing more to say
  # BER-0001:                          # SOAP, behind NAT, with local times
  #   callback_url: http://203.0.113.7:8090/
  #   zone: Europe/Berlin
  # "0012345":                         # JSON, with the password it must present
  #   password: {env: CP_0012345}

# How SOAP charge points are called; without this, at the address they name, if they speak from there.
# callbacks:
#   networks: [10.20.0.0/16]           # addresses they may name besides
#   template: "http://{source_ip}:8090/"   # for those that name none

metrics:
  bind: 127.0.0.1:9181                 # /metrics, /livez, /readyz

# admin:
#   bind: 127.0.0.1:9180
#   token: {env: ADMIN_TOKEN}

logging:
  level: info
  format: console                      # or: json
"""


def init(*, minimal: bool, out: TextIO) -> int:
    out.write(MINIMAL if minimal else FULL)
    return 0
