"""What the crash test would find: one ledger in order, and each way to spoil it."""

from __future__ import annotations

from tests.torture.invariants import Finding, findings, missing
from tests.torture.ledger import Answer, Arrival, Asked, Heard, Ledger, Payload, Sent, Transaction

HOLD, PROVISIONAL = "HOLD-SOAP-1", "PROV-JSON-2"
OF_1_5, OF_1_2 = "HOLD-S15-3", "HOLD-S12-4"
READING = {"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [{"value": "1001"}]}
START: Payload = {"connectorId": 1, "idTag": "T", "timestamp": "2024-05-01T10:00:00Z", "meterStart": 1000}
METER: Payload = {"connectorId": 1, "meterValue": [READING]}
STOP: Payload = {"idTag": "T", "timestamp": "2024-05-01T10:05:00Z", "meterStop": 1002}
STATUS: Payload = {"connectorId": 1, "status": "Charging", "errorCode": "NoError", "info": "status 1"}
PAYLOADS = {"StartTransaction": START, "MeterValues": METER, "StopTransaction": STOP}


class Books(Ledger):
    """A ledger that one can write by hand."""

    def transaction(self, *told: int, identity: str = HOLD, meter_start: int = 1000) -> Transaction:
        transaction = Transaction(identity, 1, meter_start, list(told))
        self.transactions.append(transaction)
        return transaction

    def send(self, action: str, of: Transaction, payload: Payload | None = None, answers: int = 1) -> Sent:
        sent = Sent(self.moment(), of.identity, action, payload or PAYLOADS[action], of)
        sent.answers += [Answer(self.moment(), {}) for _ in range(answers)]
        self.sent.append(sent)
        return sent

    def arrive(
        self, sent: Sent, id_: int | None = None, message_id: str = "", payload: Payload | None = None
    ) -> Arrival:
        """*sent* at the central system, which gives, or is told, the transaction id *id_*."""
        start = sent.action == "StartTransaction"
        content = payload or sent.payload
        content = content if start or id_ is None else {**content, "transactionId": id_}
        moment = self.moment()
        arrival = Arrival(moment, sent.identity, message_id or str(moment), sent.action, content)
        arrival.given = id_ if start else None
        self.arrivals.append(arrival)
        return arrival

    def ask_to_stop(self, arrival: Arrival, times: int = 1, outcome: str = "error") -> Asked:
        for _ in range(times):
            payload: Payload = {"transactionId": arrival.given}
            asked = Asked(self.moment(), arrival.identity, "RemoteStopTransaction", payload, arrival, outcome)
            self.asked.append(asked)
        return asked

    def hear_stop(self, id_: int, identity: str = HOLD) -> None:
        heard = Heard(self.moment(), identity, "RemoteStopTransaction", {"transactionId": id_})
        self.heard.append(heard)


def a_transaction(
    books: Books, told: int = 7, given: int = 7, identity: str = HOLD
) -> tuple[Transaction, Arrival]:
    """One that went well: acknowledged as *told*, known to the central system as *given*."""
    transaction = books.transaction(told, identity=identity)
    start = books.arrive(books.send("StartTransaction", transaction), given)
    books.arrive(books.send("MeterValues", transaction), given)
    books.arrive(books.send("StopTransaction", transaction), given)
    return transaction, start


def kinds(books: Ledger, *, at_rest: bool = True) -> list[str]:
    return [found.kind for found in findings(books, at_rest=at_rest)]


def test_books_that_agree_give_nothing() -> None:
    books = Books()
    _, start = a_transaction(books)
    a_transaction(books, told=2_000_000_000, given=7, identity=PROVISIONAL)
    books.ask_to_stop(start)
    books.hear_stop(7)
    assert findings(books, at_rest=True) == []


def test_a_loss_is_found_when_everything_has_come_to_rest() -> None:
    books = Books()
    transaction = books.transaction(7)
    books.arrive(books.send("StartTransaction", transaction), 7)
    lost = books.send("MeterValues", transaction)
    assert kinds(books, at_rest=False) == []
    assert findings(books, at_rest=True) == [
        Finding("lost", HOLD, "MeterValues 1001", "acknowledged and never seen by the central system (1)")
    ]
    assert missing(books) == {lost.key}


def test_what_was_not_acknowledged_may_be_missing() -> None:
    books = Books()
    books.send("StartTransaction", books.transaction(), answers=0)
    assert kinds(books) == []


def test_a_loss_among_notifications_of_the_same_content_is_found() -> None:
    books = Books()
    for _ in range(3):
        sent = Sent(books.moment(), HOLD, "FirmwareStatusNotification", {"status": "Downloading"})
        sent.answers.append(Answer(books.moment(), {}))
        books.sent.append(sent)
    books.arrive(sent)
    books.arrive(sent)
    assert kinds(books) == ["lost"]


def test_what_was_refused_for_good_is_lost_unless_it_arrived() -> None:
    """OCPP 1.5, 8.2: it is never sent again."""
    books = Books()
    transaction = books.transaction(7, identity=OF_1_5)
    books.arrive(books.send("StartTransaction", transaction), 7)
    stop = books.send("StopTransaction", transaction, answers=0)
    stop.dropped = True
    assert findings(books, at_rest=True) == [
        Finding(
            "lost",
            OF_1_5,
            "StopTransaction 1002",
            "refused, so that it is not sent again, and never seen by the central system (1)",
        )
    ]
    books.arrive(stop, 7)
    assert kinds(books) == []


def a_status(books: Books, identity: str, status: str, *, answers: int = 1) -> Sent:
    payload: Payload = {"connectorId": 1, "status": status, "errorCode": "NoError"}
    sent = Sent(books.moment(), identity, "StatusNotification", payload)
    sent.answers += [Answer(books.moment(), {}) for _ in range(answers)]
    books.sent.append(sent)
    return sent


def test_statuses_of_1_2_are_counted() -> None:
    """They say nothing that tells one from the next; the central system learns more than Occupied."""
    books = Books()
    for _ in range(3):
        sent = a_status(books, OF_1_2, "Occupied")
    for status in ("Charging", "Preparing"):
        books.arrive(sent, payload=sent.payload | {"status": status})
    a_status(books, OF_1_2, "Available")
    assert [found.about for found in findings(books, at_rest=True)] == [
        "StatusNotification 1 Occupied",
        "StatusNotification 1 Available",
    ]


def test_a_status_that_means_something_else_is_found() -> None:
    books = Books()
    sent = a_status(books, OF_1_5, "Occupied")
    sent.payload["info"] = "status 1"
    books.arrive(sent, payload=sent.payload | {"status": "Finishing"})
    assert kinds(books) == []
    books.arrive(sent, payload=sent.payload | {"status": "Available"})
    assert kinds(books) == ["altered", "doubled-readings"]


def test_meter_values_of_1_2_belong_to_the_transaction_of_their_connector() -> None:
    books = Books()
    transaction, _ = a_transaction(books, identity=OF_1_2)
    reading = {"timestamp": "2024-05-01T10:00:00Z", "sampledValue": [{"value": "1003", "unit": "Wh"}]}
    values = books.send("MeterValues", transaction, {"connectorId": 1, "meterValue": [reading]})
    said = {"value": "1003", "measurand": "Energy.Active.Import.Register"}
    arrived: Payload = {"connectorId": 1, "meterValue": [reading | {"sampledValue": [said]}]}
    books.arrive(values, payload=arrived)
    assert kinds(books) == ["wrong-id", "wrong-id"]  # of the message, and of the transaction
    books.arrivals.pop()
    books.arrive(values, 7, payload=arrived)
    books.arrivals.sort(key=lambda arrival: arrival.key[1] == "StopTransaction")
    assert "altered" not in kinds(books)
    assert "wrong-id" not in kinds(books)


def test_a_start_under_two_message_ids_is_doubled() -> None:
    books = Books()
    start = books.send("StartTransaction", books.transaction(7))
    books.arrive(start, 7, "a")
    books.arrive(start, 8, "b")
    assert kinds(books) == ["doubled"]


def test_a_start_that_came_again_under_its_message_id_is_one() -> None:
    books = Books()
    _, start = a_transaction(books)
    start.again = 3
    assert kinds(books) == []


def test_a_reading_under_two_message_ids_is_told_apart() -> None:
    books = Books()
    transaction, _ = a_transaction(books)
    books.arrive(books.send("MeterValues", transaction), 7, "again")
    assert kinds(books) == ["doubled-readings"]


def test_a_stop_that_overtakes_a_reading_is_found() -> None:
    books = Books()
    transaction = books.transaction(7)
    books.arrive(books.send("StartTransaction", transaction), 7)
    reading, stop = books.send("MeterValues", transaction), books.send("StopTransaction", transaction)
    books.arrive(stop, 7)
    books.arrive(reading, 7)
    assert kinds(books) == ["out-of-order"]


def test_statuses_out_of_order_are_found() -> None:
    books = Books()
    sent = []
    for number in (1, 2):
        payload = STATUS | {"info": f"status {number}"}
        sent.append(Sent(books.moment(), HOLD, "StatusNotification", payload, answers=[Answer(0, {})]))
    books.sent += sent
    for each in reversed(sent):
        books.arrive(each)
    assert kinds(books) == ["status-out-of-order"]


def test_a_reading_under_the_id_of_another_transaction_is_found() -> None:
    books = Books()
    transaction = books.transaction(7)
    books.arrive(books.send("StartTransaction", transaction), 7)
    books.arrive(books.send("MeterValues", transaction), 8)
    assert kinds(books) == ["wrong-id"]


def test_a_provisional_id_that_reaches_the_central_system_is_found() -> None:
    books = Books()
    transaction = books.transaction(2_000_000_000, identity=PROVISIONAL)
    books.arrive(books.send("StartTransaction", transaction), 7)
    books.arrive(books.send("StopTransaction", transaction), 2_000_000_000)
    assert kinds(books) == ["wrong-id"]


def test_an_id_of_the_gateway_is_wrong_where_a_start_must_wait() -> None:
    books = Books()
    a_transaction(books, told=2_000_000_000, given=7, identity=HOLD)
    assert kinds(books) == ["wrong-id"]


def test_a_start_that_was_answered_with_two_ids_is_found() -> None:
    books = Books()
    transaction, _ = a_transaction(books, told=2_000_000_000, identity=PROVISIONAL)
    transaction.told.append(7)
    assert kinds(books) == ["wrong-id"]


def test_one_id_for_two_transactions_is_found() -> None:
    books = Books()
    for meter_start in (1000, 2000):
        transaction = books.transaction(7, meter_start=meter_start)
        books.arrive(books.send("StartTransaction", transaction, START | {"meterStart": meter_start}), 7)
    assert kinds(books) == ["wrong-id"]


def test_another_content_is_found() -> None:
    books = Books()
    books.arrive(books.send("StopTransaction", books.transaction(7)), 7, payload=STOP | {"idTag": "other"})
    assert kinds(books) == ["altered"]


def test_a_message_of_nobody_is_found() -> None:
    books = Books()
    books.arrive(Sent(books.moment(), HOLD, "StopTransaction", STOP), 7)
    assert kinds(books) == ["invented"]


def test_a_refused_transaction_message_is_found() -> None:
    books = Books()
    sent = books.send("StopTransaction", books.transaction(7))
    books.arrive(sent, 7)
    sent.refusals.append("CALLERROR GenericError: not connected")
    assert kinds(books) == ["refused"]


def test_a_remote_stop_that_is_repeated_is_found() -> None:
    books = Books()
    _, start = a_transaction(books)
    books.ask_to_stop(start)
    books.hear_stop(7)
    books.hear_stop(7)
    assert kinds(books) == ["repeated-call"]


def test_a_remote_stop_that_nobody_took_cannot_reach_a_charge_point() -> None:
    books = Books()
    _, start = a_transaction(books)
    books.ask_to_stop(start)
    books.ask_to_stop(start, outcome="not sent")
    books.hear_stop(7)
    assert kinds(books) == []
    books.hear_stop(7)
    assert kinds(books) == ["repeated-call"]


def test_a_remote_stop_of_a_transaction_that_nobody_asked_to_stop_is_found() -> None:
    books = Books()
    a_transaction(books)
    books.hear_stop(7)
    assert kinds(books) == ["wrong-id"]


def test_a_remote_stop_goes_by_the_id_that_the_charge_point_was_told() -> None:
    books = Books()
    transaction, start = a_transaction(books, told=2_000_000_000, identity=PROVISIONAL)
    asked = books.ask_to_stop(start, outcome="result")
    asked.reply = {"status": "Accepted"}
    transaction.remote_stop = True
    books.hear_stop(2_000_000_000, PROVISIONAL)
    assert kinds(books) == []


def test_a_remote_stop_with_the_central_systems_id_is_wrong_once_the_gateway_knows_both() -> None:
    books = Books()
    transaction = books.transaction(2_000_000_000, identity=PROVISIONAL)
    start = books.arrive(books.send("StartTransaction", transaction), 7)
    books.ask_to_stop(start)
    books.arrive(books.send("MeterValues", transaction), 7)
    books.hear_stop(7, PROVISIONAL)
    assert kinds(books) == []  # when it was asked, the answer to StartTransaction may have been under way
    books.ask_to_stop(start)
    books.hear_stop(7, PROVISIONAL)
    assert kinds(books) == ["wrong-id"]


def test_a_remote_stop_that_is_accepted_for_another_transaction_is_found() -> None:
    books = Books()
    _, start = a_transaction(books)
    books.ask_to_stop(start, outcome="result").reply = {"status": "Accepted"}
    assert kinds(books) == ["wrong-id"]


def test_a_call_without_any_reply_is_found() -> None:
    books = Books()
    _, start = a_transaction(books)
    books.ask_to_stop(start, outcome="unanswered")
    assert kinds(books) == ["unanswered"]
