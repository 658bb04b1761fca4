"""The messages of CentralSystemService as spyne's models, of OCPP 1.6, 1.5 and 1.2.

Written here from the specifications and not from our service descriptions, so that two descriptions judge
each message.
"""

from __future__ import annotations

from typing import Any

from wattbridge.simulators.dialects import Version

Words = tuple[str, ...]

# Enumerations (OCPP 1.6, 7; OCPP 1.5, 7; OCPP 1.2, 7).
AUTHORIZATION = ("Accepted", "Blocked", "Expired", "Invalid", "ConcurrentTx")
DATA_TRANSFER = ("Accepted", "Rejected", "UnknownMessageId", "UnknownVendorId")
REGISTRATION: dict[Version, Words] = {
    "1.6": ("Accepted", "Pending", "Rejected"),
    "1.5": ("Accepted", "Rejected"),
    "1.2": ("Accepted", "Rejected"),
}
DIAGNOSTICS: dict[Version, Words] = {
    "1.6": ("Idle", "Uploaded", "UploadFailed", "Uploading"),
    "1.5": ("Uploaded", "UploadFailed"),
    "1.2": ("Uploaded", "UploadFailed"),
}
FIRMWARE: dict[Version, Words] = {
    "1.6": (
        *("Downloaded", "DownloadFailed", "Downloading", "Idle"),
        *("InstallationFailed", "Installing", "Installed"),
    ),
    "1.5": ("Downloaded", "DownloadFailed", "InstallationFailed", "Installed"),
    "1.2": ("Downloaded", "DownloadFailed", "InstallationFailed", "Installed"),
}
STATUS: dict[Version, Words] = {
    "1.6": (
        *("Available", "Preparing", "Charging", "SuspendedEV", "SuspendedEVSE"),
        *("Finishing", "Reserved", "Faulted", "Unavailable"),
    ),
    "1.5": ("Available", "Occupied", "Faulted", "Unavailable", "Reserved"),
    "1.2": ("Available", "Occupied", "Faulted", "Unavailable"),
}
ERROR_CODE: dict[Version, Words] = {
    "1.6": (
        *("ConnectorLockFailure", "EVCommunicationError", "GroundFailure", "HighTemperature"),
        *("InternalError", "LocalListConflict", "NoError", "OtherError", "OverCurrentFailure"),
        *("OverVoltage", "PowerMeterFailure", "PowerSwitchFailure", "ReaderFailure", "ResetFailure"),
        *("UnderVoltage", "WeakSignal"),
    ),
    "1.5": (
        *("ConnectorLockFailure", "HighTemperature", "Mode3Error", "NoError", "PowerMeterFailure"),
        *("PowerSwitchFailure", "ReaderFailure", "ResetFailure", "GroundFailure", "OverCurrentFailure"),
        *("UnderVoltage", "WeakSignal", "OtherError"),
    ),
    "1.2": (
        *("ConnectorLockFailure", "HighTemperature", "Mode3Error", "NoError", "PowerMeterFailure"),
        *("PowerSwitchFailure", "ReaderFailure", "ResetFailure"),
    ),
}
REASON = (
    *("EmergencyStop", "EVDisconnected", "HardReset", "Local", "Other", "PowerLoss", "Reboot", "Remote"),
    *("SoftReset", "UnlockCommand", "DeAuthorized"),
)
FORMAT = ("Raw", "SignedData")
PHASE = ("L1", "L2", "L3", "N", "L1-N", "L2-N", "L3-N", "L1-L2", "L2-L3", "L3-L1")
# Of the meter values, which 1.2 has no words for.
CONTEXT: dict[Version, Words] = {
    "1.6": (
        *("Interruption.Begin", "Interruption.End", "Other", "Sample.Clock"),
        *("Sample.Periodic", "Transaction.Begin", "Transaction.End", "Trigger"),
    ),
    "1.5": (
        *("Interruption.Begin", "Interruption.End", "Sample.Clock"),
        *("Sample.Periodic", "Transaction.Begin", "Transaction.End"),
    ),
}
MEASURAND_OF_1_5 = (
    *("Energy.Active.Export.Register", "Energy.Active.Import.Register"),
    *("Energy.Reactive.Export.Register", "Energy.Reactive.Import.Register"),
    *("Energy.Active.Export.Interval", "Energy.Active.Import.Interval"),
    *("Energy.Reactive.Export.Interval", "Energy.Reactive.Import.Interval"),
    *("Power.Active.Export", "Power.Active.Import", "Power.Reactive.Export", "Power.Reactive.Import"),
    *("Current.Export", "Current.Import", "Voltage", "Temperature"),
)
MEASURAND: dict[Version, Words] = {
    "1.6": (
        *MEASURAND_OF_1_5,
        *("Current.Offered", "Frequency", "Power.Factor", "Power.Offered", "RPM", "SoC"),
    ),
    "1.5": MEASURAND_OF_1_5,
}
LOCATION: dict[Version, Words] = {
    "1.6": ("Body", "Cable", "EV", "Inlet", "Outlet"),
    "1.5": ("Inlet", "Outlet", "Body"),
}
UNIT: dict[Version, Words] = {
    "1.6": (
        *("Celsius", "Fahrenheit", "Wh", "kWh", "varh", "kvarh", "W", "kW"),
        *("VA", "kVA", "var", "kvar", "A", "V", "K", "Percent"),
    ),
    "1.5": ("Wh", "kWh", "varh", "kvarh", "W", "kW", "var", "kvar", "Amp", "Volt", "Celsius"),
}


def models(spyne: Any, version: Version, namespace: str) -> dict[str, tuple[Any, Any]]:
    """Action → request and response. Fields stand in the order in which they travel (OCPP-S)."""
    number, moment = spyne.Integer32, spyne.DateTime(timezone=None)

    def text(longest: int | None = None, *, since: tuple[Version, ...] = ("1.6",)) -> Any:
        """A text that may be so long in the versions *since* which it has a limit."""
        limited = longest is not None and version in since
        return spyne.Unicode(max_len=longest) if limited else spyne.Unicode

    def token(longest: int) -> Any:
        return text(longest, since=("1.6", "1.5"))

    def one_of(words: Words | dict[Version, Words]) -> Any:
        return spyne.Unicode(values=words[version] if isinstance(words, dict) else words)

    def must(kind: Any) -> Any:
        return kind.customize(min_occurs=1, nillable=False)

    def may(kind: Any) -> Any:
        return kind.customize(min_occurs=0)

    def several(kind: Any, least: int) -> Any:
        return kind.customize(min_occurs=least, max_occurs="unbounded")

    def model(name: str, **fields: Any) -> Any:
        """With a field that this version has not given as None."""
        present = [(field, kind) for field, kind in fields.items() if kind is not None]
        members = {"__namespace__": namespace, "__type_name__": name, "_type_info": present}
        return type(spyne.ComplexModel)(name, (spyne.ComplexModel,), members)

    def since_1_5(kind: Any) -> Any:
        return None if version == "1.2" else kind

    def since_1_6(kind: Any) -> Any:
        return kind if version == "1.6" else None

    def until_1_5(kind: Any) -> Any:
        return None if version == "1.6" else kind

    def attribute(words: Words | dict[Version, Words]) -> Any:
        return spyne.XmlAttribute(one_of(words))

    id_tag_info = model(
        "IdTagInfo",
        status=must(one_of(AUTHORIZATION)),
        expiryDate=may(moment),
        parentIdTag=may(token(20)),
    )
    if version == "1.6":
        sampled_value = model(
            "SampledValue",
            value=must(text()),
            context=may(one_of(CONTEXT)),
            format=may(one_of(FORMAT)),
            measurand=may(one_of(MEASURAND)),
            phase=may(one_of(PHASE)),
            location=may(one_of(LOCATION)),
            unit=may(one_of(UNIT)),
        )
        meter_value = model("MeterValue", timestamp=must(moment), sampledValue=several(sampled_value, 1))
        transaction_data = meter_value
    elif version == "1.5":
        value = model(
            "Value",
            value=spyne.XmlData(text()),
            context=attribute(CONTEXT),
            format=attribute(FORMAT),
            measurand=attribute(MEASURAND),
            location=attribute(LOCATION),
            unit=attribute(UNIT),
        )
        meter_value = model("MeterValue", timestamp=must(moment), value=several(value, 1))
        transaction_data = model("TransactionData", values=several(meter_value, 0))
    else:
        meter_value = model("MeterValue", timestamp=must(moment), value=must(number))
        transaction_data = None

    answered = must if version != "1.2" else may  # what 1.2 need not say when it accepts a charge point
    found = {
        "Authorize": (
            model("authorizeRequest", idTag=must(token(20))),
            model("authorizeResponse", idTagInfo=must(id_tag_info)),
        ),
        "BootNotification": (
            model(
                "bootNotificationRequest",
                chargePointVendor=must(token(20)),
                chargePointModel=must(token(20)),
                chargePointSerialNumber=may(token(25)),
                chargeBoxSerialNumber=may(token(25)),
                firmwareVersion=may(token(50)),
                iccid=may(token(20)),
                imsi=may(token(20)),
                meterType=may(token(25)),
                meterSerialNumber=may(token(25)),
            ),
            model(
                "bootNotificationResponse",
                status=must(one_of(REGISTRATION)),
                currentTime=answered(moment),
                interval=since_1_6(must(number)),
                heartbeatInterval=until_1_5(answered(number)),
            ),
        ),
        "DataTransfer": (
            model("dataTransferRequest", vendorId=must(text(255)), messageId=may(text(50)), data=may(text())),
            model("dataTransferResponse", status=must(one_of(DATA_TRANSFER)), data=may(text())),
        ),
        "DiagnosticsStatusNotification": (
            model("diagnosticsStatusNotificationRequest", status=must(one_of(DIAGNOSTICS))),
            model("diagnosticsStatusNotificationResponse"),
        ),
        "FirmwareStatusNotification": (
            model("firmwareStatusNotificationRequest", status=must(one_of(FIRMWARE))),
            model("firmwareStatusNotificationResponse"),
        ),
        "Heartbeat": (
            model("heartbeatRequest"),
            model("heartbeatResponse", currentTime=must(moment)),
        ),
        "MeterValues": (
            model(
                "meterValuesRequest",
                connectorId=must(number),
                transactionId=since_1_5(may(number)),
                meterValue=since_1_6(several(meter_value, 0)),
                values=until_1_5(several(meter_value, 0)),
            ),
            model("meterValuesResponse"),
        ),
        "StartTransaction": (
            model(
                "startTransactionRequest",
                connectorId=must(number),
                idTag=must(token(20)),
                timestamp=must(moment),
                meterStart=must(number),
                reservationId=since_1_5(may(number)),
            ),
            model("startTransactionResponse", transactionId=must(number), idTagInfo=must(id_tag_info)),
        ),
        "StatusNotification": (
            model(
                "statusNotificationRequest",
                connectorId=must(number),
                status=must(one_of(STATUS)),
                errorCode=must(one_of(ERROR_CODE)),
                info=since_1_5(may(text(50))),
                timestamp=since_1_5(may(moment)),
                vendorId=since_1_5(may(text(255))),
                vendorErrorCode=since_1_5(may(text(50))),
            ),
            model("statusNotificationResponse"),
        ),
        "StopTransaction": (
            model(
                "stopTransactionRequest",
                transactionId=must(number),
                idTag=may(token(20)),
                timestamp=must(moment),
                meterStop=must(number),
                reason=since_1_6(may(one_of(REASON))),
                transactionData=None if transaction_data is None else several(transaction_data, 0),
            ),
            model("stopTransactionResponse", idTagInfo=may(id_tag_info)),
        ),
    }
    if version == "1.2":
        del found["DataTransfer"]
    return found
