"""A glucose sensor's session, and its Specific Operations Control Point (CGMS 1.0.2, 3.7): start, stop, interval."""

import struct
from datetime import datetime
from typing import Final

from simulator.ble.devices.values import crc
from simulator.ble.gatt import AttError

MISSING_CRC, INVALID_CRC = 0x80, 0x81
"""ATT errors (CGMS 1.6)."""
_SET_INTERVAL, _GET_INTERVAL, _INTERVAL_IS, _START, _STOP, _RESPONSE = 0x01, 0x02, 0x03, 0x1A, 0x1B, 0x1C
_SUCCESS, _NOT_SUPPORTED, _INVALID_OPERAND, _NOT_COMPLETED = 1, 2, 3, 4
_LONGEST_MIN: Final = 0xFF


class CgmSession:
    """Since when the sensor measures, whether it does now, and every how many minutes it says so."""

    def __init__(self, began: datetime, *, check: bool) -> None:
        """`began` in truth; with `check` every write must end with its E2E-CRC, and so does every answer."""
        self.began = began
        self.running = True
        self.interval_min = 5
        self._check = check

    def control(self, request: bytes, now: datetime) -> bytes:
        """The answer to a request; AttError if its check sum is missing or wrong."""
        body = self.unchecked(request)
        if not body:
            raise AttError(AttError.INVALID_LENGTH)
        opcode, operand = body[0], body[1:]
        if opcode == _GET_INTERVAL and not operand:
            return self.checked(bytes([_INTERVAL_IS, self.interval_min]))
        return self.checked(bytes([_RESPONSE, opcode, self._result(opcode, operand, now)]))

    def unchecked(self, value: bytes) -> bytes:
        """A value that was written, without its check sum."""
        if not self._check:
            return value
        if len(value) < 3:
            raise AttError(MISSING_CRC)
        if crc(value[:-2]) != value[-2:]:
            raise AttError(INVALID_CRC)
        return value[:-2]

    def checked(self, value: bytes) -> bytes:
        """A value to be read or indicated, with its check sum."""
        return value + crc(value) if self._check else value

    def status(self, minutes: int) -> bytes:
        """CGM Status, 2AA9 (CGMS 3.3): the time offset; bit 0 says that the session is stopped."""
        return self.checked(struct.pack("<HI", minutes, 0 if self.running else 1)[:5])

    def _result(self, opcode: int, operand: bytes, now: datetime) -> int:
        if opcode == _SET_INTERVAL:
            # 0 switches the messages off, 255 asks for the fastest that the sensor can: one a minute.
            if len(operand) != 1:
                return _INVALID_OPERAND
            self.interval_min = 1 if operand[0] == _LONGEST_MIN else operand[0]
            return _SUCCESS
        if opcode not in (_START, _STOP):
            return _NOT_SUPPORTED
        if operand:
            return _INVALID_OPERAND
        if (opcode == _START) == self.running:
            return _NOT_COMPLETED
        self.running = opcode == _START
        if self.running:
            self.began = now
        return _SUCCESS
