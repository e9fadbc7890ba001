"""Final reports by HL7 over MLLP: a real peer sends them; each is taken, or told why not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import hl7
import pytest
import trustme
from hl7.mllp import open_hl7_connection

from hipnode.domain import AuditEvent, AuditRecord
from hipnode.services.opinions.mllp import FinalReports
from hipnode.settings import Settings
from hipnode.storage import AuditFilter, Store
from tests.db.conftest import Bench
from tests.desk import study
from tests.peers import eventually
from tests.protocol.test_tls import issue

MESSAGE = (
    "MSH|^~\\&|RIS|HOSPITAL|hipnode||20261121080000||ORU^R01^ORU_R01|{id}|P|2.5.1||||||{charset}\r"
    "PID|1||{patient}^^^HOSPITAL||DOE^JANE\r"
    "OBR|1|PL1|{filler}|XR^Hip^L|||20261121|||||||||||{accession}|||||||{status}|||||||7^{who}\r"
    "OBX|1|TX|GDT^Report^L||{text}||||||{status}\r"
    "OBX|2|CWE|1^Code^L||1^x^L||||||F\r"
)


def message(**given: str) -> str:
    values = {
        "id": "42", "charset": "UNICODE UTF-8", "patient": "P-17", "filler": "", "status": "F",
        "accession": "A-99", "text": "No fracture.", "who": "ROSS",
    }  # fmt: skip
    return MESSAGE.format(**(values | given))


class Ris:
    """A RIS that sends messages by the library's own client."""

    def __init__(self, door: FinalReports, context: ssl.SSLContext | None = None) -> None:
        self.door = door
        self.context = context

    def send(self, *texts: str, encoding: str = "utf-8") -> list[Any]:
        """Send messages on one connection; return the acknowledgments."""

        async def exchange() -> list[Any]:
            options = {"ssl": self.context, "server_hostname": "localhost"} if self.context else {}
            async with asyncio.timeout(20):
                reader, writer = await open_hl7_connection(
                    "127.0.0.1", self.door.port, encoding=encoding, **options
                )
                answers = []
                for text in texts:
                    writer.writeblock(text.encode(encoding))
                    await writer.drain()
                    answers.append(await reader.readmessage())
                writer.close()
                return answers

        return asyncio.run(exchange())

    def raw(self, content: bytes) -> bytes:
        async def exchange() -> bytes:
            async with asyncio.timeout(20):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.door.port)
                try:
                    writer.write(content)
                    writer.write_eof()
                    return await reader.read()
                except OSError:  # hung up on, at whichever moment
                    return b""
                finally:
                    writer.close()

        return asyncio.run(exchange())


Door = Callable[..., Ris]


@pytest.fixture
def door(bench: Bench) -> Iterator[Door]:
    opened: list[FinalReports] = []

    def listen(context: ssl.SSLContext | None = None, **feedback: Any) -> Ris:
        wanted = {"senders": ["127.0.0.0/8"], **feedback}
        settings = Settings.model_validate(bench.settings.model_dump() | {"feedback": wanted})
        reports = FinalReports(settings, bench.store)
        reports.start()
        opened.append(reports)
        return Ris(reports, context)

    yield listen
    for each in opened:
        each.stop()


def records(store: Store, event: AuditEvent) -> list[AuditRecord]:
    found = store.audit.query(AuditFilter(event=event), actor="test", newest_first=False)
    return [entry.record for entry in found]


def code(answer: Any) -> tuple[str, str]:
    return str(answer["MSA.F1"]), str(answer["MSA.F2"])


def test_a_final_report_is_taken_and_changes_no_report(bench: Bench, door: Door) -> None:
    uid = study(bench, p=0.97, objects=False)
    made = bench.store.desk.studies.made(uid)
    (answer,) = door().send(message(text="No fracture of the right hip."))
    assert code(answer) == ("AA", "42")
    (given,) = bench.store.desk.opinions.of_study(uid)
    assert (given.side, given.opinion.value, given.truth) == ("R", "disagree", "absent")
    assert (given.source.value, given.given_by) == ("oru", "7")
    assert "from the text" in given.comment
    assert bench.store.desk.studies.made(uid) == made
    (record,) = records(bench.store, AuditEvent.FEEDBACK_GIVEN)
    assert (record.study_instance_uid, record.accession_number) == (uid, "A-99")
    assert record.detail["message"] == "42"
    assert record.detail["model_version"]
    assert "fracture of the right" not in str(record.detail)


def test_the_same_message_again_counts_once_and_a_corrected_one_anew(
    bench: Bench, door: Door
) -> None:
    uid = study(bench, p=0.97, objects=False)
    ris = door()
    first = message(text="Right femoral neck fracture.")
    later = message(id="43", status="C", text="No fracture of the right hip.")
    assert [code(a)[0] for a in ris.send(first, first, later)] == ["AA", "AA", "AA"]
    given = bench.store.desk.opinions.of_study(uid)
    assert [each.truth for each in given] == ["present", "absent"]
    (newest,) = bench.store.desk.opinions.since(bench.clock.now)
    assert newest.truth == "absent"


def test_what_is_not_final_is_answered_and_left(bench: Bench, door: Door) -> None:
    uid = study(bench, objects=False)
    (answer,) = door().send(message(status="P"))
    assert code(answer)[0] == "AA"
    assert bench.store.desk.opinions.of_study(uid) == []
    assert records(bench.store, AuditEvent.FEEDBACK_UNMATCHED) == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"accession": "A-404"}, "no study"),
        ({"patient": "P-18"}, "another patient"),
        ({"text": "Possible fracture of the right hip."}, "nothing is said plainly"),
        ({"text": "Osteoarthritis."}, "nothing is said plainly"),
    ],
)
def test_what_fits_nothing_is_on_the_log_with_its_reason(
    bench: Bench, door: Door, given: dict[str, str], why: str
) -> None:
    uid = study(bench, objects=False)
    (answer,) = door().send(message(**given))
    assert code(answer)[0] == "AA", "it was taken in, to be seen"
    (record,) = records(bench.store, AuditEvent.FEEDBACK_UNMATCHED)
    assert why in record.detail["reason"]
    assert record.detail["message"] == "42"
    assert record.outcome.value == "refused"
    assert bench.store.desk.opinions.of_study(uid) == []


@pytest.mark.parametrize("field", ["accession", "filler"])
def test_the_accession_number_is_found_where_either_convention_has_it(
    bench: Bench, door: Door, field: str
) -> None:
    uid = study(bench, objects=False)
    numbers = {"accession": "", "filler": ""} | {field: "A-99^RIS"}
    door().send(message(**numbers))
    assert len(bench.store.desk.opinions.of_study(uid)) == 2


@pytest.mark.parametrize(
    ("charset", "encoding"),
    [("UNICODE UTF-8", "utf-8"), ("8859/1", "latin-1"), ("8859/15", "iso8859-15"), ("", "latin-1")],
)
def test_a_message_is_read_in_the_character_set_that_it_names(
    bench: Bench, door: Door, charset: str, encoding: str
) -> None:
    uid = study(bench, objects=False)
    text = message(charset=charset, text="Schenkelhalsfraktur rechts. Rechte Hüfte geröntgt.")
    (answer,) = door().send(text, encoding=encoding)
    assert code(answer)[0] == "AA"
    (given,) = bench.store.desk.opinions.of_study(uid)
    assert (given.side, given.truth) == ("R", "present")


@pytest.mark.parametrize(
    ("text", "expected", "condition"),
    [
        (message().replace("ORU^R01", "ADT^A01"), "AR", "200"),
        (message(charset="EBCDIC"), "AR", "103"),
        (message(id=""), "AR", "101"),
        (message().partition("OBR")[0], "AE", "100"),
    ],
)
def test_what_is_no_final_report_is_refused_in_hl7s_words(
    bench: Bench, door: Door, text: str, expected: str, condition: str
) -> None:
    (answer,) = door().send(text)
    assert code(answer)[0] == expected
    assert str(answer["ERR.F3"]).startswith(condition)
    (record,) = records(bench.store, AuditEvent.ASSOCIATION_REFUSED)
    assert record.detail["address"] == "127.0.0.1"


@pytest.mark.parametrize(
    "content",
    [
        b"\x0b\x1c\r",
        b"\x0bMSH\x1c\r",
        b"\x0bMSH|\x1c\r",
        b"\x0b" + b"\xff" * 500 + b"\x1c\r",
        b"\x0b" + message(charset="UNICODE UTF-8").encode()[:-40] + b"\xff\xfe\r\x1c\r",
        b"\x0bMSH|^~\\&|" + b"|" * 3000 + b"\x1c\r",
    ],
)
def test_noise_is_answered_with_an_error_and_stops_nothing(
    bench: Bench, door: Door, content: bytes
) -> None:
    uid = study(bench, objects=False)
    ris = door()
    answer = ris.raw(content)
    assert b"MSA|AE|" in answer or b"MSA|AR|" in answer
    ris.send(message())
    assert len(bench.store.desk.opinions.of_study(uid)) == 2


def test_what_does_not_end_and_who_is_not_known_are_hung_up_on_and_told(
    bench: Bench, door: Door
) -> None:
    ris = door(max_message_bytes=2048)
    assert ris.raw(b"\x0b" + b"A" * 10_000) == b""
    stranger = door(senders=["10.0.0.0/8"])
    for _ in range(10):  # and noted once: a flood must not flood the log
        assert stranger.raw(b"\x0b" + message().encode() + b"\x1c\r") == b""

    def reasons() -> list[str]:
        found = records(bench.store, AuditEvent.ASSOCIATION_REFUSED)
        return sorted(record.detail["reason"] for record in found)

    eventually(lambda: len(reasons()) == 2)
    assert reasons() == ["a message does not end", "address not in feedback.senders"]


def test_by_tls_with_certificates_of_both(bench: Bench, door: Door, tmp_path: Any) -> None:
    ca = trustme.CA()
    server, client = issue(ca, tmp_path, "localhost"), issue(ca, tmp_path, "ris")
    tls = {"certificate": server.certificate, "key": server.key, "ca": server.ca}
    context = ssl.create_default_context(cafile=server.ca)
    context.load_cert_chain(client.certificate, client.key)
    uid = study(bench, objects=False)
    (answer,) = door(context, tls=tls).send(message())
    assert code(answer)[0] == "AA"
    assert len(bench.store.desk.opinions.of_study(uid)) == 2
    without = ssl.create_default_context(cafile=server.ca)
    with pytest.raises((OSError, EOFError, ssl.SSLError)):
        door(without, tls=tls).send(message())


def test_our_own_message_is_preliminary_and_says_nothing_of_itself(
    bench: Bench, door: Door
) -> None:
    study(bench, objects=False)
    own = message(status="P").replace("MSH|^~\\&|RIS|", "MSH|^~\\&|hipnode|")
    parsed = hl7.parse(own)
    (answer,) = door().send(str(parsed))
    assert code(answer)[0] == "AA"
    assert records(bench.store, AuditEvent.FEEDBACK_GIVEN) == []
