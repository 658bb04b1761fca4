"""Wattbridge: a gateway between OCPP-S (SOAP) and OCPP-J (JSON) charge points and central systems."""
