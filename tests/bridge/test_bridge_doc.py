"""docs/bridge.md says what is: its configuration loads, its commands exist, its quarantine reasons are all there are."""

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from bridge.cli import parser
from bridge.config import check
from bridge.fhir import Reason
from bridge.plan import INTERNAL, NO_PATIENT, UNDECODABLE
from bridge.quarantine import BOUNDS
from bridge.writer import NOT_FOUND, REFUSED

PAGE = (Path(__file__).parents[2] / "docs" / "bridge.md").read_text(encoding="utf-8")


def test_the_configuration_on_the_page_loads() -> None:
    (toml,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    config = check(tomllib.loads(toml), Path("/etc/stafet"))
    assert config.mqtt.tls is not None
    assert config.fhir.ca == Path("/etc/stafet/region-ca.pem")


COMMANDS = re.findall(r"^stafet-bridge .*$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_on_the_page_is_one(line: str) -> None:
    words = shlex.split(line.partition("#")[0].partition(">")[0])
    assert parser().parse_args(words[1:]).config == Path("bridge.toml")


def test_every_quarantine_reason_is_explained() -> None:
    explained = {
        word for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for word in re.findall(r"`(.*?)`", row)
    }
    batches = {reason.value for reason in BOUNDS}
    readings = {NO_PATIENT, UNDECODABLE, INTERNAL, REFUSED, NOT_FOUND} | {reason.value for reason in Reason}
    assert explained == batches | readings
