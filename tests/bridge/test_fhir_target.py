"""What a FHIR server's answer means: stored, refused for good, or nobody knows."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from bridge.fhir.translate import SYSTEM
from bridge.fhir_target import FhirTarget, Refused, Stored, Unavailable
from tests.bridge.fake_fhir import BASE_URL, FakeFhir, lost_answer, lost_request, outcome

Handler = Callable[[httpx.Request], httpx.Response]


def entry(identifier: str) -> dict[str, Any]:
    resource = {"resourceType": "Observation", "identifier": [{"system": SYSTEM, "value": identifier}]}
    request = {"method": "POST", "url": "Observation", "ifNoneExist": f"identifier={SYSTEM}|{identifier}"}
    return {"fullUrl": f"urn:uuid:{identifier}", "resource": resource, "request": request}


def bundle(*identifiers: str) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": [entry(each) for each in identifiers]}


def target(handle: Handler) -> FhirTarget:
    return FhirTarget(BASE_URL + "/", system=SYSTEM, timeout_s=1, transport=httpx.MockTransport(handle))


@pytest.fixture
async def fake() -> AsyncIterator[tuple[FakeFhir, FhirTarget]]:
    server = FakeFhir()
    one = FhirTarget(BASE_URL, system=SYSTEM, timeout_s=1, transport=server.transport)
    yield server, one
    await one.close()


async def test_what_is_stored_has_its_url_and_search_finds_it(fake: tuple[FakeFhir, FhirTarget]) -> None:
    _, fhir = fake
    stored = await fhir.write(bundle("a", "b"))
    assert stored == Stored(urls={"a": f"{BASE_URL}/Observation/1", "b": f"{BASE_URL}/Observation/2"})
    assert await fhir.find(["a", "b", "c"]) == stored


async def test_a_search_for_many_identifiers_is_made_in_small_parts(fake: tuple[FakeFhir, FhirTarget]) -> None:
    server, fhir = fake
    names = [f"i{number}" for number in range(70)]
    await fhir.write(bundle(*names))
    server.requests.clear()
    found = await fhir.find(names)
    assert isinstance(found, Stored)
    assert set(found.urls) == set(names)
    assert server.requests == ["/Observation/_search"] * 4


async def test_numbers_leave_with_the_devices_precision() -> None:
    sent: list[bytes] = []

    def handle(request: httpx.Request) -> httpx.Response:
        sent.append(request.content)
        assert request.headers["content-type"] == "application/fhir+json"
        return httpx.Response(200, json={"resourceType": "Bundle", "entry": []})

    fhir = target(handle)
    weighed = bundle("a")
    weighed["entry"][0]["resource"]["valueQuantity"] = {"value": Decimal("36.50")}
    await fhir.write(weighed)
    await fhir.close()
    assert b'"value":36.50}' in sent[0]


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("Observation/7/_history/1", f"{BASE_URL}/Observation/7"),
        ("Observation/7", f"{BASE_URL}/Observation/7"),
        ("https://other.test/fhir/Observation/7/_history/3", "https://other.test/fhir/Observation/7"),
    ],
)
async def test_a_location_becomes_the_url_of_the_observation(location: str, url: str) -> None:
    body = {"resourceType": "Bundle", "entry": [{"response": {"status": "201", "location": location}}]}
    fhir = target(lambda _: httpx.Response(200, json=body))
    assert await fhir.write(bundle("a")) == Stored(urls={"a": url})
    await fhir.close()


@pytest.mark.parametrize("status", [400, 409, 410, 412, 413, 415, 422])
async def test_what_the_server_judged_is_refused_in_its_words(status: int) -> None:
    fhir = target(lambda _: outcome(status, "the weight is not human"))
    assert await fhir.write(bundle("a")) == Refused(status=status, detail="the weight is not human")
    await fhir.close()


@pytest.mark.parametrize("status", [400, 422])
async def test_a_refusal_without_words_is_still_a_refusal(status: int) -> None:
    fhir = target(lambda _: httpx.Response(status, text="<html>"))
    assert await fhir.write(bundle("a")) == Refused(status=status, detail=f"HTTP {status} without an explanation")
    await fhir.close()


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 405, 407, 408, 425, 429, 500, 501, 502, 503, 504])
async def test_what_is_no_judgement_on_the_reading_is_tried_again(status: int) -> None:
    fhir = target(lambda _: httpx.Response(status, text="<html>"))
    assert await fhir.write(bundle("a")) == Unavailable(detail=f"HTTP {status}")
    assert await fhir.find(["a"]) == Unavailable(detail=f"HTTP {status}")
    await fhir.close()


@pytest.mark.parametrize("status", [403, 404, 405])
async def test_forbidden_with_an_explanation_is_a_judgement(status: int) -> None:
    fhir = target(lambda _: outcome(status, "not this patient"))
    assert await fhir.write(bundle("a")) == Refused(status=status, detail="not this patient")
    await fhir.close()


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", 0.0), ("soon", None), ("", None), ("-1", None), ("1e9", None)]
)
async def test_a_server_that_asks_for_time_is_given_it(header: str, seconds: float | None) -> None:
    fhir = target(lambda _: httpx.Response(429, headers={"retry-after": header}))
    assert await fhir.write(bundle("a")) == Unavailable(detail="HTTP 429", retry_after_s=seconds)
    await fhir.close()


async def test_a_server_may_ask_for_time_until_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    fhir = target(lambda _: httpx.Response(503, headers={"retry-after": later}))
    answer = await fhir.write(bundle("a"))
    assert isinstance(answer, Unavailable)
    assert answer.retry_after_s == pytest.approx(90, abs=5)
    await fhir.close()


@pytest.mark.parametrize("fault", [lost_request, lost_answer])
async def test_a_broken_connection_and_a_time_out_say_nothing_about_the_outcome(
    fake: tuple[FakeFhir, FhirTarget], fault: Callable[..., httpx.Response]
) -> None:
    server, fhir = fake
    server.faults.extend([fault, fault])
    assert isinstance(await fhir.write(bundle("a")), Unavailable)
    assert isinstance(await fhir.find(["a"]), Unavailable)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b"\xff", b'{"resourceType": "Patient"}', b"[" * 100_000, b'{"entry": [1]}']
)
async def test_an_answer_that_is_no_bundle_is_no_answer(body: bytes) -> None:
    fhir = target(lambda _: httpx.Response(200, content=body))
    assert isinstance(await fhir.write(bundle("a")), Unavailable)
    assert isinstance(await fhir.find(["a"]), Unavailable)
    await fhir.close()


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [1],
        [{}],
        [{"response": 1}],
        [{"response": {"location": 1}}],
        [{"resource": {"resourceType": "Observation", "id": 1}}],
        [{"resource": {"resourceType": "Observation", "identifier": [1, {"system": SYSTEM, "value": 2}]}}],
        [{"resource": {"resourceType": "Observation", "identifier": 1}}],
        "none",
    ],
)
async def test_a_bundle_that_does_not_say_where_leaves_it_open(entries: object) -> None:
    body = json.dumps({"resourceType": "Bundle", "entry": entries}).encode()
    fhir = target(lambda _: httpx.Response(200, content=body))
    assert await fhir.write(bundle("a")) == Stored(urls={})
    assert await fhir.find(["a"]) == Stored(urls={})
    await fhir.close()


async def test_what_cannot_be_json_is_refused_before_it_is_sent() -> None:
    fhir = target(lambda _: httpx.Response(500))
    bad = bundle("a")
    bad["entry"][0]["resource"]["note"] = [{"text": "\x01control"}]
    refused = await fhir.write(bad)
    assert isinstance(refused, Refused)
    assert refused.status == 0
    await fhir.close()
