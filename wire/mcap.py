"""Bluetooth MCAP 1.0: how two devices agree on data channels (MDL) over a control channel (MCL), sans I/O.

Rules of this file.
1. One request is under way at a time. If both sides ask at once the acceptor's request is void: the initiator does not
   hear it, and the acceptor, who sees the initiator's, gives its own up.
2. A channel that was granted is *pending* until its L2CAP connection stands; meanwhile it can only be aborted.
3. A request that makes no sense is refused with the code that says why; a response that makes none, or none in time,
   ends the control channel.
4. Clock synchronisation is optional and not offered: request-not-supported.

Op codes, response codes, lengths and what is answered when are those of BlueZ's `profiles/health/mcap.c` and of
signove/hdpy, which were tested against the Bluetooth SIG's suite. They differ in one thing: a refused creation has no
configuration after it with BlueZ, and one with hdpy; we send none and accept both.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from wire.errors import WireError


class Op(IntEnum):
    """Op codes; a response is its request plus one."""

    ERROR_RSP = 0x00
    CREATE_MDL = 0x01
    RECONNECT_MDL = 0x03
    ABORT_MDL = 0x05
    DELETE_MDL = 0x07
    SYNC_CAP = 0x11
    SYNC_SET = 0x13
    SYNC_INFO = 0x15


class Code(IntEnum):
    """Response codes."""

    SUCCESS = 0x00
    INVALID_OP_CODE = 0x01
    INVALID_PARAMETER_VALUE = 0x02
    INVALID_MDEP = 0x03
    MDEP_BUSY = 0x04
    INVALID_MDL = 0x05
    MDL_BUSY = 0x06
    INVALID_OPERATION = 0x07
    RESOURCE_UNAVAILABLE = 0x08
    UNSPECIFIED_ERROR = 0x09
    REQUEST_NOT_SUPPORTED = 0x0A
    CONFIGURATION_REJECTED = 0x0B


class Channel(IntEnum):
    """What a data channel is to be (HDP 1.1, configuration of MD_CREATE_MDL)."""

    NO_PREFERENCE = 0x00
    RELIABLE = 0x01
    STREAMING = 0x02


CONTROL_MTU: Final = 48
"""The least a control channel must take, and more than any command has."""
ALL_MDLS: Final = 0xFFFF
LAST_MDL: Final = 0xFEFF
RESPONSE_S: Final = 6.0
"""How long a response may take (as with BlueZ)."""
CONNECT_S: Final = 30.0
"""How long a granted channel is waited for."""
MAX_MDLS: Final = 16
"""Channels remembered on one control channel: a device has one or two."""

_REQUESTS: Final = frozenset({Op.CREATE_MDL, Op.RECONNECT_MDL, Op.ABORT_MDL, Op.DELETE_MDL})
_SYNC_REFUSALS: Final = {Op.SYNC_CAP: 9, Op.SYNC_SET: 16}
"""How long the responses of clock synchronisation are."""


class McapError(WireError):
    """The caller asked for what is not possible now."""


class Mdl(Enum):
    """How a data channel stands."""

    PENDING = "pending"
    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A data channel may be connected now: by us if we asked, else by the peer."""

    mdl: int
    mdep: int
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The data channel stands."""

    mdl: int
    mdep: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The data channel is to be closed if it stands: it was deleted, aborted or created anew."""

    mdl: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The peer refused what we asked for."""

    op: int
    mdl: int
    code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The control channel is of no more use, and everything on it is to be closed."""

    why: str


Event = Granted | Opened | Ended | Refused | Failed


@dataclass(slots=True, kw_only=True)
class _Asked:
    op: Op
    mdl: int
    mdep: int
    channel: int
    until: float


class Mcl:
    """The control channels between two devices, one after the other, from either side. `endpoints` are the MDEPs that the peer may ask for."""

    def __init__(self, endpoints: Collection[int], *, initiator: bool) -> None:
        self._endpoints = endpoints
        self._initiator = initiator
        self._channels: dict[int, tuple[int, Mdl]] = {}
        self._asked: _Asked | None = None
        self._pending: tuple[int, float] | None = None
        self._out: list[bytes] = []
        self._events: list[Event] = []

    @property
    def pending(self) -> int | None:
        """The channel that is waited for."""
        return None if self._pending is None else self._pending[0]

    def state_of(self, mdl: int) -> Mdl | None:
        """How a channel stands; None if there is none of this number."""
        return self._channels[mdl][1] if mdl in self._channels else None

    # What the caller does

    def create(self, mdl: int, mdep: int, now: float, channel: Channel = Channel.RELIABLE) -> None:
        """Ask for a new data channel to one of the peer's endpoints."""
        self._ask(Op.CREATE_MDL, mdl, now, mdep, channel)

    def reconnect(self, mdl: int, now: float) -> None:
        """Ask for a channel that was there before."""
        if mdl not in self._channels:
            raise McapError(f"there never was a channel {mdl}")
        self._ask(Op.RECONNECT_MDL, mdl, now, self._channels[mdl][0])

    def abort(self, now: float) -> None:
        """Give up the channel that is pending."""
        if self._pending is None:
            raise McapError("no channel is pending")
        self._ask(Op.ABORT_MDL, self._pending[0], now)

    def delete(self, mdl: int, now: float) -> None:
        """Forget a channel, or all of them, on both sides."""
        self._ask(Op.DELETE_MDL, mdl, now)

    def data_connected(self) -> list[Event]:
        """The L2CAP connection of the pending channel stands."""
        if self._pending is None:
            raise McapError("no channel is pending")
        mdl, _ = self._pending
        self._pending = None
        mdep, _ = self._channels[mdl]
        self._channels[mdl] = mdep, Mdl.OPEN
        self._events.append(Opened(mdl=mdl, mdep=mdep))
        return self._happened()

    def data_closed(self, mdl: int) -> None:
        """Its L2CAP connection is gone; it may be reconnected."""
        if self.state_of(mdl) is Mdl.OPEN:
            self._channels[mdl] = self._channels[mdl][0], Mdl.CLOSED

    def control_closed(self) -> None:
        """The control channel is gone. What was created can be reconnected on the next one."""
        self._asked = self._pending = None
        self._out.clear()
        self._channels = {mdl: (mdep, Mdl.CLOSED) for mdl, (mdep, _) in self._channels.items()}

    def receive(self, packet: bytes, now: float) -> list[Event]:
        """One packet of the control channel."""
        op = packet[0] if packet else 0
        if op & 1:
            self._request(op, packet, now)
        elif self._asked is not None:
            self._response(self._asked, packet, now)
        elif op != Op.ERROR_RSP and op not in {each + 1 for each in Op}:
            self._answer(Op.ERROR_RSP, Code.INVALID_OP_CODE, 0)
        return self._happened()

    def to_send(self) -> list[bytes]:
        """Packets to be sent, each handed out once."""
        packets, self._out = self._out, []
        return packets

    def deadline(self) -> float | None:
        """When `expire` is to be called, if nothing happens before."""
        waits = [self._asked.until] if self._asked else []
        return min([*waits, self._pending[1]] if self._pending else waits, default=None)

    def expire(self, now: float) -> list[Event]:
        """Time has passed; harmless if the deadline has not come."""
        if self._asked is not None and now >= self._asked.until:
            self._fail(f"no response to {self._asked.op.name} in time")
        if self._pending is not None and now >= self._pending[1]:
            self._close(self._pending[0])
        return self._happened()

    # Requests of the peer

    def _request(self, op: int, packet: bytes, now: float) -> None:
        if op in _SYNC_REFUSALS:
            size = _SYNC_REFUSALS[Op(op)]
            self._out.append(bytes((op + 1, Code.REQUEST_NOT_SUPPORTED)).ljust(size, b"\0"))
            return
        if op == Op.SYNC_INFO:  # nobody answers an indication
            return
        if op not in _REQUESTS:
            self._answer(Op.ERROR_RSP, Code.INVALID_OP_CODE, 0)
            return
        if self._asked is not None:
            if self._initiator:
                return
            self._asked = None
        mdl = int.from_bytes(packet[1:3], "big") if len(packet) >= 3 else 0
        if len(packet) != (5 if op == Op.CREATE_MDL else 3):
            self._answer(op + 1, Code.INVALID_PARAMETER_VALUE, mdl)
        elif (op == Op.ABORT_MDL) != (self._pending is not None):
            self._answer(op + 1, Code.INVALID_OPERATION, mdl)
        elif op == Op.CREATE_MDL:
            self._create_asked(mdl, packet[3], packet[4], now)
        elif op == Op.RECONNECT_MDL:
            self._reconnect_asked(mdl, now)
        elif op == Op.ABORT_MDL:
            self._abort_asked(mdl)
        else:
            self._delete_asked(mdl)

    def _create_asked(self, mdl: int, mdep: int, channel: int, now: float) -> None:
        if not 0 < mdl <= LAST_MDL:
            code = Code.INVALID_MDL
        elif mdep not in self._endpoints:
            code = Code.INVALID_MDEP
        elif channel not in (Channel.NO_PREFERENCE, Channel.RELIABLE):
            code = Code.CONFIGURATION_REJECTED
        elif mdl not in self._channels and not self._has_room():
            code = Code.RESOURCE_UNAVAILABLE
        else:
            if mdl in self._channels:
                self._close(mdl)
            self._answer(Op.CREATE_MDL + 1, Code.SUCCESS, mdl, bytes((Channel.RELIABLE,)))
            self._grant(mdl, mdep, now, ours=False)
            return
        self._answer(Op.CREATE_MDL + 1, code, mdl)

    def _has_room(self) -> bool:
        """For another channel; the oldest that is closed is forgotten for it. A device may take a new one each time."""
        if len(self._channels) < MAX_MDLS:
            return True
        closed = next((mdl for mdl, (_, state) in self._channels.items() if state is Mdl.CLOSED), None)
        if closed is None:
            return False
        del self._channels[closed]
        return True

    def _reconnect_asked(self, mdl: int, now: float) -> None:
        if mdl not in self._channels:
            self._answer(Op.RECONNECT_MDL + 1, Code.INVALID_MDL, mdl)
            return
        self._close(mdl)
        self._answer(Op.RECONNECT_MDL + 1, Code.SUCCESS, mdl)
        self._grant(mdl, self._channels[mdl][0], now, ours=False)

    def _abort_asked(self, mdl: int) -> None:
        if mdl != self.pending:
            self._answer(Op.ABORT_MDL + 1, Code.INVALID_MDL, mdl)
            return
        self._close(mdl)
        self._answer(Op.ABORT_MDL + 1, Code.SUCCESS, mdl)

    def _delete_asked(self, mdl: int) -> None:
        if mdl != ALL_MDLS and mdl not in self._channels:
            self._answer(Op.DELETE_MDL + 1, Code.INVALID_MDL, mdl)
            return
        self._forget(mdl)
        self._answer(Op.DELETE_MDL + 1, Code.SUCCESS, mdl)

    # Responses of the peer

    def _response(self, asked: _Asked, packet: bytes, now: float) -> None:
        if len(packet) < 4 or packet[0] not in (Op.ERROR_RSP, asked.op + 1):
            self._fail(f"an answer to {asked.op.name} that is none")
            return
        self._asked = None
        code, mdl = packet[1], int.from_bytes(packet[2:4], "big")
        if packet[0] == Op.ERROR_RSP or code != Code.SUCCESS:
            if code == Code.INVALID_MDL and asked.op is Op.RECONNECT_MDL:
                self._forget(asked.mdl)
            self._events.append(Refused(op=int(asked.op), mdl=asked.mdl, code=code))
            return
        if mdl != asked.mdl:
            self._fail(f"an answer to {asked.op.name} of another channel")
        elif asked.op is Op.CREATE_MDL and packet[4:5] not in (
            bytes((asked.channel,)),
            *([bytes((Channel.RELIABLE,))] if asked.channel == Channel.NO_PREFERENCE else []),
        ):
            self._fail("a channel was granted that nobody asked for")
        elif asked.op in (Op.CREATE_MDL, Op.RECONNECT_MDL):
            self._grant(mdl, asked.mdep, now, ours=True)
        elif asked.op is Op.ABORT_MDL:
            self._close(mdl)
        else:
            self._forget(mdl)

    # Both

    def _ask(self, op: Op, mdl: int, now: float, mdep: int = 0, channel: int = Channel.RELIABLE) -> None:
        if self._asked is not None or (self._pending is not None and op is not Op.ABORT_MDL):
            raise McapError("a request or a channel is under way")
        self._asked = _Asked(op=op, mdl=mdl, mdep=mdep, channel=channel, until=now + RESPONSE_S)
        tail = bytes((mdep, channel)) if op is Op.CREATE_MDL else b""
        self._out.append(bytes((op,)) + mdl.to_bytes(2, "big") + tail)

    def _grant(self, mdl: int, mdep: int, now: float, *, ours: bool) -> None:
        self._channels[mdl] = mdep, Mdl.PENDING
        self._pending = mdl, now + CONNECT_S
        self._events.append(Granted(mdl=mdl, mdep=mdep, ours=ours))

    def _close(self, mdl: int) -> None:
        if self.state_of(mdl) is not Mdl.CLOSED:
            self._events.append(Ended(mdl=mdl))
        self._channels[mdl] = self._channels[mdl][0], Mdl.CLOSED
        if self.pending == mdl:
            self._pending = None

    def _forget(self, mdl: int) -> None:
        for each in list(self._channels) if mdl == ALL_MDLS else [mdl]:
            if each in self._channels:
                self._close(each)
                del self._channels[each]

    def _answer(self, op: int, code: Code, mdl: int, tail: bytes = b"") -> None:
        self._out.append(bytes((op, code)) + mdl.to_bytes(2, "big") + tail)

    def _fail(self, why: str) -> None:
        self._asked = None
        self._forget(ALL_MDLS)
        self._events.append(Failed(why=why))

    def _happened(self) -> list[Event]:
        events, self._events = self._events, []
        return events
