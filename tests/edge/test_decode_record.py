"""stafet-hub decode record: a cuff's memory and a scale's advertisement."""

import json

import pytest

from edge.cli import main


@pytest.mark.parametrize(
    ("format_", "value", "numbers"),
    [
        ("omron-14", "6457431a7316161c000046001900", ["125", "87", "67"]),
        ("advertisement-181d", "a2 4c63 e207 02010f2f1c", ["127.100"]),
    ],
)
def test_a_record_is_told_as_a_table_and_as_json(
    format_: str, value: str, numbers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["decode", "record", format_, value]) == 0
    table = capsys.readouterr().out
    assert all(number in table for number in numbers)
    assert main(["decode", "record", format_, value, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert numbers == [part["value"] for whole in told for part in whole.get("components", [whole])]


def test_a_record_that_is_none_is_refused_with_the_byte(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["decode", "record", "omron-14", "ff" * 14]) == 65
    assert "omron-14: an empty slot at byte 0" in capsys.readouterr().err
