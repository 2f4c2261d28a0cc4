"""A hub's directory: hub.toml, and the key of the bridge that it names."""

from pathlib import Path

from edge.identity import establish

HUB_TOML = """\
[hub]
id = "hub-0001"
key = "hub-key.pem"
store = "outbox.db"
[bridge]
public_key = "bridge-public.pem"
[mqtt]
host = "127.0.0.1"
"""


def furnish(directory: Path, hub_toml: str = HUB_TOML) -> None:
    """Put both there; the hub makes its own key."""
    bridge = establish(directory / "bridge-key.pem")
    (directory / "bridge-public.pem").write_bytes(bridge.public_key_pem)
    (directory / "hub.toml").write_text(hub_toml)
