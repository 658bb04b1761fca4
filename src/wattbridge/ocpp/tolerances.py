"""What we forgive which device, as data. Reading is tolerant, writing is strict.

Each row says what is seen on the wire and what it is taken for; a row that changes or drops something is
recorded under its rule (``reasons.RULES``), so that the operator sees which forgiveness a charge point lives
on.
"""

from __future__ import annotations

import re

# Namespaces of OCPP-S by version. Peers drop the trailing slash and confuse Cs with Cp
# (ChargeTimeEU/Java-OCA-OCPP #31), so a namespace is known by this pattern and written exactly.
OCPP_NAMESPACE = re.compile(r"urn://Ocpp/(C[sp])/(\d{4}/\d{2})/?", re.IGNORECASE | re.ASCII)
VERSION_BY_DATE = {
    "2010/08": "1.2",
    "2010/10": "1.2",  # OCPP 1.2, 8.8 prints this one; its WSDL says 2010/08
    "2012/06": "1.5",
    "2015/10": "1.6",
}

# WS-Addressing: the two namespaces in the field. Java-OCA-OCPP writes the older.
WSA_2005 = "http://www.w3.org/2005/08/addressing"
WSA_2004 = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
ANONYMOUS = {
    WSA_2005: f"{WSA_2005}/anonymous",
    WSA_2004: f"{WSA_2004}/role/anonymous",
}

# Booleans, in lower case: xs:boolean has four spellings, charge points have more (TRUE, False).
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}

# Names of fields that some peers write: (message, name on the wire) → name in the version of the message.
FIELD_ALIASES = {
    # The example of OCPP-J 1.6, 4.2.2 and the SOAP of 1.5 say heartbeatInterval (steve #145).
    ("BootNotificationResponse", "heartbeatInterval"): "interval",
    ("BootNotificationResponse", "interval"): "heartbeatInterval",  # 1.6 in an envelope of 1.5
    # The two spellings of 1.5 and 1.6, each in the other.
    ("SendLocalList", "localAuthorisationList"): "localAuthorizationList",
    ("SendLocalList", "localAuthorizationList"): "localAuthorisationList",
}

# Values of enumerations that some peers write: (field, value on the wire) → value in OCPP 1.6.
VALUE_ALIASES = {
    ("unit", "Celcius"): "Celsius",  # the first JSON schemas (OCPP-J 1.6 errata, 2.1)
    ("unit", "C"): "Celsius",  # OpenEVSE #726
    ("unit", "Hz"): "Hertz",  # Evnex (lbbrhzn/ocpp #1576)
    ("unit", "Amp"): "A",  # the 1.5 names inside 1.6 (steve #59)
    ("unit", "Volt"): "V",
}

# Of these, what 1.5 has as words of its own.
WORDS_OF_15 = frozenset({("unit", "Amp"), ("unit", "Volt")})

# Values that some schemas have no word for and that can be left out without harm: (field, value) → why.
UNSAYABLE = {
    # OCPP-S 1.6 has no unit of frequency, and StopTransaction.json none either.
    ("unit", "Hertz"): "there is no such unit here; the measurand Frequency says it",
}

# Lists in which one bad item is lost alone, instead of refusing the message (lbbrhzn/ocpp #361, #466):
# measurements and lists of facts. In a list that commands something, every item counts.
SALVAGED_LISTS = frozenset(
    {"meterValue", "sampledValue", "values", "value", "transactionData", "configurationKey", "unknownKey"}
)

# Optional fields whose loss would make the value beside them say something else: without its measurand a
# current reads as energy, without its phase one phase reads as the sum. A bad one loses the whole item.
MEANINGFUL = frozenset({"measurand", "unit", "phase", "format"})

# Integers that meters report with a fraction. Any other integer with one (a transaction id, a connector) is
# a mistake, and the nearest integer would be somebody else's.
ROUNDED = frozenset({"meterStart", "meterStop"})

# Strings in which peers send an object, a list or XML of their own; it is kept as its text.
ANYTHING_AS_TEXT = frozenset({"DataTransfer.data", "DataTransferResponse.data"})

# Epoch seconds and milliseconds where a dateTime belongs (seen from a Turkish central system's tests).
EPOCH = re.compile(r"\d{10}(?:\d{3})?", re.ASCII)
