"""A process that brings batches to a ledger which others write at the same time; test_ledger starts several."""

import sys
from pathlib import Path

from bridge.database import Database
from bridge.ledger import HistoryChangedError, Ledger, Ready
from bridge.trust import Accept, judge, open_message
from tests.bridge.hub import START_US
from wire.errors import Refusal


def bring(ledger: Ledger, envelope: bytes) -> bool:
    """Whether the ledger has the batch now; if not, somebody else must come first or came in between."""
    verified = open_message("hub/hub-0001/batch", envelope, ledger.registry.key)
    history = ledger.history(verified)
    judged = judge(verified, history)
    if not isinstance(judged, Accept):
        return judged.reason is Refusal.REPLAYED
    plans = [Ready(reading=each, patient="Patient/abc", identifiers=(f"o{each.seq}",)) for each in judged.readings]
    try:
        ledger.admit(verified, envelope, judged, plans, history=history, now_us=START_US)
    except HistoryChangedError:
        return False
    entries = ledger.pending("hub-0001", limit=64)
    ledger.written(
        [entry.id for entry in entries],
        {identifier: f"Observation/{identifier}" for entry in entries for identifier in entry.identifiers},
        now_us=START_US,
    )
    return True


def main(directory: Path) -> None:
    sys.stdin.read()
    with Database.open(directory / "bridge.db") as database:
        for line in (directory / "batches").read_text().splitlines():
            while not bring(Ledger(database), bytes.fromhex(line)):
                pass


if __name__ == "__main__":
    main(Path(sys.argv[1]))
