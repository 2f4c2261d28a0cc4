"""A FHIR server that behaves, in memory: transactions, conditional create, search by identifier; and faults on order."""

import itertools
import json
from collections import deque
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx

BASE_URL = "http://fhir.test/fhir"

Judge = Callable[[dict[str, Any]], str | None]
"""Why the server will not have a resource; None if it will."""


def accept_all(_: dict[str, Any]) -> str | None:
    return None


class FakeFhir:
    """`faults` are taken one a request: each answers in the server's place, before or after the server did its work.

    Without `conditional` it ignores ifNoneExist, as FUT does, and as others do when two requests race.
    """

    def __init__(self, *, refuse: Judge = accept_all, conditional: bool = True) -> None:
        self.resources: dict[str, dict[str, Any]] = {}
        self.refuse = refuse
        self.faults: deque[Callable[[httpx.Request, Callable[[], httpx.Response]], httpx.Response]] = deque()
        self.requests: list[str] = []
        self.bundles: list[dict[str, Any]] = []
        self.locations = True
        self.conditional = conditional
        self._numbers = itertools.count(1)

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    def observations(self) -> list[dict[str, Any]]:
        return [each for each in self.resources.values() if each["resourceType"] == "Observation"]

    def identifiers(self) -> list[str]:
        """Of the Observations; twice the same means a duplicate."""
        return sorted(each["identifier"][0]["value"] for each in self.observations())

    def _handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/fhir")
        self.requests.append(path)
        work = {"": self._transaction, "/Observation/_search": self._search}[path]
        if self.faults:
            return self.faults.popleft()(request, lambda: work(request))
        return work(request)

    def _transaction(self, request: httpx.Request) -> httpx.Response:
        bundle = json.loads(request.content)
        self.bundles.append(json.loads(request.content, parse_float=Decimal))
        before = dict(self.resources)
        answers = []
        for entry in bundle["entry"]:
            why = self.refuse(entry["resource"])
            if why is not None:
                self.resources = before
                return outcome(422, why)
            condition = entry["request"].get("ifNoneExist") if self.conditional else None
            found = self._match(condition, entry["resource"]["resourceType"], before)
            if len(found) > 1:
                self.resources = before
                return outcome(412, "more than one match")
            status = "200 OK" if found else "201 Created"
            url = found[0] if found else f"{entry['resource']['resourceType']}/{next(self._numbers)}"
            self.resources[url] = entry["resource"]
            answer = {"status": status}
            if self.locations:
                answer["location"] = f"{url}/_history/1"
            answers.append({"response": answer})
        body = {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}
        return httpx.Response(200, json=body)

    def _search(self, request: httpx.Request) -> httpx.Response:
        form = dict(httpx.QueryParams(request.content.decode()))
        wanted = form["identifier"].split(",")
        found = [url for each in wanted for url in self._match(f"identifier={each}", "Observation", self.resources)]
        entries = [{"resource": self.resources[url] | {"id": url.partition("/")[2]}} for url in found]
        return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "entry": entries})

    @staticmethod
    def _match(condition: str | None, kind: str, resources: dict[str, dict[str, Any]]) -> list[str]:
        if condition is None:
            return []
        system, _, value = httpx.QueryParams(condition)["identifier"].partition("|")
        return [
            url
            for url, resource in resources.items()
            if resource["resourceType"] == kind
            and any((each.get("system"), each.get("value")) == (system, value) for each in resource["identifier"])
        ]


def outcome(status: int, words: str, **headers: str) -> httpx.Response:
    body = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "invalid", "diagnostics": words}],
    }
    return httpx.Response(status, json=body, headers=headers)


def answer(status: int, **headers: str) -> Callable[..., httpx.Response]:
    """The server says this and does nothing."""
    return lambda _request, _work: httpx.Response(status, headers=headers)


def lost_request(request: httpx.Request, _work: Callable[[], httpx.Response]) -> httpx.Response:
    """The request never arrives."""
    raise httpx.ConnectError("refused", request=request)


def lost_answer(request: httpx.Request, work: Callable[[], httpx.Response]) -> httpx.Response:
    """The server does its work, and the answer never arrives: an unknown outcome."""
    work()
    raise httpx.ReadTimeout("time-out", request=request)
