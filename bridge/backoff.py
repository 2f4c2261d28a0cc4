"""Waiting before another try: full jitter, so that those who failed together do not come back together."""

import asyncio
import random
from collections.abc import Callable
from typing import Final

BASE_S: Final = 0.2
CAP_S: Final = 30.0
"""After an outage of hours a reading still goes on within half a minute."""
LONGEST_RETRY_AFTER_S: Final = 300.0
"""A server may ask for more time, but not for a day."""


class Backoff:
    """Shared by all who wait for the same far side: the first answer to anyone wakes everyone."""

    def __init__(self, *, cap_s: float = CAP_S, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._cap_s = cap_s
        self._uniform = uniform
        self._answered = asyncio.Event()
        self.failing = asyncio.Event()
        """Set from the first failure to the next answer: whoever wants to end need not hope."""

    def delay_s(self, attempt: int) -> float:
        """Before try number `attempt` + 1: anything up to twice as long as before, up to the cap."""
        return self._uniform(0, min(self._cap_s, BASE_S * 2 ** min(attempt, 30)))

    async def wait(self, attempt: int, *, at_least_s: float | None = None) -> None:
        """Wait; not less than the far side asked for."""
        self.failing.set()
        if at_least_s:
            await asyncio.sleep(min(at_least_s, LONGEST_RETRY_AFTER_S))
        self._answered.clear()
        try:
            async with asyncio.timeout(self.delay_s(attempt)):
                await self._answered.wait()
        except TimeoutError:
            pass

    def answered(self) -> None:
        """The far side is there again."""
        self.failing.clear()
        self._answered.set()
