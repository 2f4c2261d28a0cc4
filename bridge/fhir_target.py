"""The FHIR server, and the only file that imports httpx.

An answer is one of three values, by what the caller must do next:

    Stored       it is in FHIR, under these URLs
    Refused      the server read it and will not have it: another try of the same thing is no use
    Unavailable  nobody knows whether it is in FHIR (transport, time-out, 5xx, 408, 425, 429), or the server would not
                 even look (no access, no such address): nothing is lost by waiting; search before writing again

401 and 407, and 403, 404 and 405 that do not come with an OperationOutcome, are no judgement on a reading: a
credential ran out, or an address is wrong. They are held, not quarantined, until the operator has mended them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from ssl import create_default_context
from typing import Any, Final, TypeAlias

import httpx

from bridge.fhir import json as fhir_json

CONNECT_TIMEOUT_S: Final = 5.0
SEARCH_CHUNK: Final = 20
"""Identifiers in one search; twice as many matches still fit the smallest page a server is likely to give."""
DETAIL_CHARACTERS: Final = 500

_RETRY: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
_RETRY_UNLESS_EXPLAINED: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """URL by Observation identifier, as far as the server said or search found."""

    urls: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The server's words; they may name a patient and belong in quarantine, not in a log."""

    status: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """Why, for a log; how long the server asked to be left alone."""

    detail: str
    retry_after_s: float | None = None


Answer: TypeAlias = "Stored | Refused | Unavailable"


class FhirTarget:
    """A FHIR R4 server with transactions and search. `system` is the identifier system of our Observations."""

    def __init__(
        self,
        base_url: str,
        *,
        system: str,
        timeout_s: float,
        ca: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._system = system
        self._client = httpx.AsyncClient(
            headers={"accept": "application/fhir+json"},
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s)),
            transport=transport,
            trust_env=False,
            # Reading the system's authorities takes 30 ms, and plain HTTP (on loopback only: bridge/config.py) has none.
            verify=create_default_context(cafile=ca) if base_url.startswith("https:") else False,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def write(self, bundle: Mapping[str, Any]) -> Answer:
        """POST a transaction Bundle: all of it or nothing."""
        try:
            content = fhir_json.dumps(dict(bundle))
        except ValueError as error:
            return Refused(status=0, detail=f"not sent, for it is no FHIR JSON: {error}")
        headers = {"content-type": "application/fhir+json", "prefer": "return=minimal"}
        answer = await self._request("", content=content, headers=headers)
        if not isinstance(answer, httpx.Response):
            return answer
        entries = _entries(answer)
        if entries is None:
            return Unavailable(detail="the answer to the transaction is no Bundle")
        urls: dict[str, str] = {}
        for asked, answered in zip(bundle["entry"], entries, strict=False):
            location = _text(_dict(answered.get("response")).get("location"))
            identifier = self._identifier(asked["resource"])
            if identifier is not None and location:
                urls[identifier] = self._absolute(location)
        return Stored(urls=urls)

    async def find(self, identifiers: Iterable[str]) -> Answer:
        """Search Observations by identifier: by POST, so that no identifier stands in the server's access log."""
        wanted = list(identifiers)
        urls: dict[str, str] = {}
        for start in range(0, len(wanted), SEARCH_CHUNK):
            chunk = wanted[start : start + SEARCH_CHUNK]
            form = {
                "identifier": ",".join(f"{self._system}|{identifier}" for identifier in chunk),
                "_count": str(2 * len(chunk)),
            }
            answer = await self._request("/Observation/_search", data=form)
            if not isinstance(answer, httpx.Response):
                return answer
            entries = _entries(answer)
            if entries is None:
                return Unavailable(detail="the answer to the search is no Bundle")
            for entry in entries:
                resource = _dict(entry.get("resource"))
                identifier = self._identifier(resource)
                if identifier in chunk and _text(resource.get("id")):
                    urls.setdefault(identifier, f"{self._base_url}/Observation/{resource['id']}")
        return Stored(urls=urls)

    async def _request(self, path: str, **parts: Any) -> httpx.Response | Refused | Unavailable:
        try:
            answer = await self._client.post(self._base_url + path, **parts)
        except httpx.HTTPError as error:
            return Unavailable(detail=type(error).__name__)
        return answer if answer.is_success else classify(answer)

    def _identifier(self, resource: Mapping[str, Any]) -> str | None:
        if resource.get("resourceType") != "Observation":
            return None
        for each in map(_dict, _list(resource.get("identifier"))):
            if each.get("system") == self._system:
                return _text(each.get("value"))
        return None

    def _absolute(self, location: str) -> str:
        location = location.partition("/_history/")[0]
        return location if "://" in location else f"{self._base_url}/{location.lstrip('/')}"


def classify(answer: httpx.Response) -> Refused | Unavailable:
    """What an answer other than 2xx means for us."""
    outcome = _outcome(answer)
    status = answer.status_code
    retry = not answer.is_client_error or status in _RETRY or (status in _RETRY_UNLESS_EXPLAINED and outcome is None)
    if retry:
        return Unavailable(detail=f"HTTP {status}", retry_after_s=_retry_after_s(answer))
    return Refused(status=status, detail=outcome or f"HTTP {status} without an explanation")


def _outcome(answer: httpx.Response) -> str | None:
    """What an OperationOutcome says is wrong; None if the body is none."""
    document = _document(answer)
    if document.get("resourceType") != "OperationOutcome":
        return None
    issues = [_dict(issue) for issue in _list(document.get("issue"))]
    wrong = [issue for issue in issues if issue.get("severity") in ("fatal", "error")] or issues
    words = [
        _text(issue.get("diagnostics")) or _text(_dict(issue.get("details")).get("text")) or _text(issue.get("code"))
        for issue in wrong
    ]
    return "; ".join(word for word in words if word)[:DETAIL_CHARACTERS] or "OperationOutcome without a word"


def _retry_after_s(answer: httpx.Response) -> float | None:
    """Seconds, from either form of Retry-After (RFC 9110, 10.2.3)."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _entries(answer: httpx.Response) -> Sequence[Mapping[str, Any]] | None:
    document = _document(answer)
    if document.get("resourceType") != "Bundle":
        return None
    return [_dict(entry) for entry in _list(document.get("entry"))]


def _document(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        return _dict(fhir_json.loads(answer.content))
    except (ValueError, RecursionError):
        return {}


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
