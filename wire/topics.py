"""MQTT topics (docs/wire.md, "Topics"). The hub id is the second level, so that a broker's access list can hold it."""

import re
from typing import Final

from wire.errors import WireError

BATCH_FILTER: Final = "hub/+/batch"

_HUB: Final = re.compile(r"[a-z0-9-]{1,36}", re.ASCII)
_TOPIC: Final = re.compile(r"hub/([a-z0-9-]{1,36})/(?:batch|receipt)", re.ASCII)
_GROUP: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def is_hub_id(text: str) -> bool:
    """1 to 36 of a-z, 0-9 and hyphen: fits a UUID, a topic level, a common name and a label."""
    return _HUB.fullmatch(text) is not None


def batch_topic(hub: str) -> str:
    return f"hub/{_checked(hub)}/batch"


def receipt_topic(hub: str) -> str:
    return f"hub/{_checked(hub)}/receipt"


def shared(group: str, topic_filter: str) -> str:
    """The filter as a shared subscription (MQTT 5.0, 4.8.2), so that several bridges divide the work."""
    if _GROUP.fullmatch(group) is None:
        raise WireError(f"{group!r} is not a group name: 1 to 64 letters, digits, hyphens or underscores")
    return f"$share/{group}/{topic_filter}"


def hub_of(topic: str) -> str | None:
    """The hub whose batch or receipt topic this is; None if it is neither."""
    match = _TOPIC.fullmatch(topic)
    return match[1] if match else None


def _checked(hub: str) -> str:
    if not is_hub_id(hub):
        raise WireError(f"{hub!r} is not a hub id: 1 to 36 of a-z, 0-9 and hyphen")
    return hub
