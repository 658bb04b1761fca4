"""zeep as the charge point's SOAP stack, seen from the wire on both of its sides."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.simulators.canned import BODIES, Canned, CannedCentralSystem, fault, result
from wattbridge.simulators.outcomes import Refused, Unanswered
from wattbridge.simulators.soap_by_zeep import Callbacks, Caller
