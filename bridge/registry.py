"""Which hubs there are, with which keys, and to whom their readings belong. Written by the command line, read by intake.

A revoked key is kept: it opens no new batch, but the evidence that it signed before must still open.
"""

from dataclasses import dataclass
from functools import lru_cache

from bridge.assignment import Assignment
from bridge.database import Database, Row
from wire.batch import HubKey
from wire.cose import PublicKey, load_public_key_pem, thumbprint


class RegistryError(Exception):
    """What the operator asked for cannot be; the text says what to do instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRecord:
    """One hub as `hub list` shows it."""

    name: str
    added_us: int
    revoked: bool
    kids: tuple[bytes, ...]
    """Of the keys that are not revoked."""
    assignments: tuple[Assignment, ...]


class Registry:
    """Hubs, keys and assignments in the ledger's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def key(self, kid: bytes) -> HubKey | None:
        """The hub key with this thumbprint, unless it is revoked: what may sign new batches."""
        return self._key("k.kid = ? AND k.revoked_us IS NULL", kid)

    def key_of_evidence(self, kid: bytes) -> HubKey | None:
        """The hub key with this thumbprint, revoked since or not: for evidence that was accepted before."""
        return self._key("k.kid = ?", kid)

    def hub_id(self, name: str) -> int | None:
        row = self._database.row("SELECT id FROM hub WHERE name = ?", name)
        return int(row["id"]) if row else None

    def add_hub(self, name: str, public_key_pem: bytes, *, patient: str | None, now_us: int) -> bool:
        """Enrol a hub; False if it was there just so. `patient` gets every reading that is not assigned otherwise."""
        kid = thumbprint(load_public_key_pem(public_key_pem))
        with self._database.transaction():
            owner = self._database.row(
                "SELECT h.name, k.revoked_us FROM hub_key k JOIN hub h ON h.id = k.hub_id WHERE k.kid = ?", kid
            )
            if owner and owner["revoked_us"] is not None:
                raise RegistryError(f"this key of {owner['name']} was revoked: make a new one on the hub")
            if owner and owner["name"] != name:
                raise RegistryError(f"this is the key of {owner['name']}: each hub has a key of its own")
            changed = owner is None
            hub_id = self.hub_id(name)
            if hub_id is None:
                hub_id = self._database.insert("INSERT INTO hub (name, added_us) VALUES (?, ?)", name, now_us)
            if owner is None:
                if self._database.row("SELECT 1 FROM hub_key WHERE hub_id = ? AND revoked_us IS NULL", hub_id):
                    raise RegistryError(f"{name} has another key: `stafet-bridge hub revoke --id {name}` it first")
                self._database.insert(
                    "INSERT INTO hub_key (kid, hub_id, public_pem, added_us) VALUES (?, ?, ?, ?)",
                    kid,
                    hub_id,
                    public_key_pem.decode("ascii"),
                    now_us,
                )
            if patient is not None:
                changed |= self._assign(hub_id, Assignment(patient=patient), now_us)
        return changed

    def revoke(self, name: str, *, now_us: int) -> int:
        """From now on nothing that this hub signs is accepted; how many keys that took. RegistryError if unknown.

        Its assignments end too: whoever gets the hub next is somebody else until a person says otherwise.
        """
        hub_id = self._known(name)
        with self._database.transaction():
            self._database.change(
                "UPDATE assignment SET until_us = ? WHERE hub_id = ? AND until_us IS NULL", now_us, hub_id
            )
            return self._database.change(
                "UPDATE hub_key SET revoked_us = ? WHERE hub_id = ? AND revoked_us IS NULL", now_us, hub_id
            )

    def assign(self, name: str, assignment: Assignment, *, now_us: int) -> bool:
        """Give a device (and user) of a hub to a patient; False if it is so already.

        The first assignment of a slot without `from_us` covers everything the device ever sent; a later one begins
        now and ends the one before.
        """
        hub_id = self._known(name)
        with self._database.transaction():
            return self._assign(hub_id, assignment, now_us)

    def assignments(self, name: str) -> tuple[Assignment, ...]:
        """All assignments of a hub, ended ones too."""
        rows = self._database.rows(
            "SELECT a.* FROM assignment a JOIN hub h ON h.id = a.hub_id WHERE h.name = ? ORDER BY a.id", name
        )
        return tuple([_assignment(row) for row in rows])

    def hubs(self) -> tuple[HubRecord, ...]:
        found = []
        for row in self._database.rows("SELECT id, name, added_us FROM hub ORDER BY name"):
            keys = self._database.rows(
                "SELECT kid FROM hub_key WHERE hub_id = ? AND revoked_us IS NULL ORDER BY added_us", row["id"]
            )
            found.append(
                HubRecord(
                    name=row["name"],
                    added_us=row["added_us"],
                    revoked=not keys,
                    kids=tuple([bytes(key["kid"]) for key in keys]),
                    assignments=self.assignments(row["name"]),
                )
            )
        return tuple(found)

    def _key(self, condition: str, kid: bytes) -> HubKey | None:
        row = self._database.row(
            f"SELECT h.name, k.public_pem FROM hub_key k JOIN hub h ON h.id = k.hub_id WHERE {condition}",  # noqa: S608 - two literals above
            kid,
        )
        return HubKey(hub=row["name"], public_key=_parsed(row["public_pem"])) if row else None

    def _known(self, name: str) -> int:
        hub_id = self.hub_id(name)
        if hub_id is None:
            raise RegistryError(f"there is no hub {name}: `stafet-bridge hub list` shows those there are")
        return hub_id

    def _assign(self, hub_id: int, new: Assignment, now_us: int) -> bool:
        slot = "hub_id = ? AND device IS ? AND user_index IS ?"
        cells = (hub_id, new.device, new.user)
        before = [
            _assignment(row)
            for row in self._database.rows(
                f"SELECT * FROM assignment WHERE {slot}",  # noqa: S608 - a literal above
                *cells,
            )
        ]
        if new.from_us is None and any(each.patient == new.patient and each.until_us is None for each in before):
            return False
        begins_us = new.from_us if new.from_us is not None else now_us if before else None
        if begins_us is not None:
            self._database.change(
                f"UPDATE assignment SET until_us = ? WHERE {slot} AND until_us IS NULL",  # noqa: S608 - a literal above
                begins_us,
                *cells,
            )
        self._database.insert(
            "INSERT INTO assignment (hub_id, device, user_index, patient, from_us, until_us, made_us)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            *cells,
            new.patient,
            begins_us,
            new.until_us,
            now_us,
        )
        return True


def _assignment(row: Row) -> Assignment:
    return Assignment(
        patient=row["patient"],
        device=row["device"],
        user=row["user_index"],
        from_us=row["from_us"],
        until_us=row["until_us"],
    )


@lru_cache(maxsize=10_000)
def _parsed(public_pem: str) -> PublicKey:
    """Parsing a key takes longer than verifying with it."""
    return load_public_key_pem(public_pem.encode("ascii"))
