"""MQTT topics: a hub id is one level, and nothing else passes for one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire import topics
from wire.errors import WireError


@given(st.from_regex(r"[a-z0-9-]{1,36}", fullmatch=True))
def test_a_hub_is_found_again_in_its_topics(hub: str) -> None:
    assert hub == topics.hub_of(topics.batch_topic(hub)) == topics.hub_of(topics.receipt_topic(hub))


@pytest.mark.parametrize("hub", ["", "a" * 37, "Hub", "a/b", "+", "#", "a b", "æ", "hub\n", "\u0660"])
def test_what_is_no_hub_id_makes_no_topic(hub: str) -> None:
    assert not topics.is_hub_id(hub)
    with pytest.raises(WireError):
        topics.batch_topic(hub)
    with pytest.raises(WireError):
        topics.receipt_topic(hub)


@pytest.mark.parametrize(
    "topic",
    ["", "hub", "hub//batch", "hub/a", "hub/a/b/batch", "hub/a/batch/", "/hub/a/batch", "hub/A/batch", "hub/a/x"],
)
def test_other_topics_are_no_hubs(topic: str) -> None:
    assert topics.hub_of(topic) is None


def test_the_shared_filter_names_the_group_first() -> None:
    assert topics.shared("bridge", topics.BATCH_FILTER) == "$share/bridge/hub/+/batch"


@pytest.mark.parametrize("group", ["", "a/b", "+", "#", "a" * 65])
def test_a_group_is_one_level(group: str) -> None:
    with pytest.raises(WireError):
        topics.shared(group, topics.BATCH_FILTER)
