"""The brokers that other tests stand on come up, die, freeze and come back on the same port."""

import socket

import pytest

from simulator.stage.processes import listening
from tests.brokers import BrokerProcess


def test_a_killed_broker_comes_back_on_its_port(any_broker: BrokerProcess) -> None:
    port = any_broker.port
    for _ in range(3):
        any_broker.kill()
        assert not listening(port)
        any_broker.start()
    assert listening(port)
    assert any_broker.port == port


def test_a_frozen_broker_answers_nothing_and_thaws(any_broker: BrokerProcess) -> None:
    connect = bytes.fromhex("101000044d5154540502003c000003616263")  # MQTT 5 CONNECT, client id abc
    with any_broker.paused(), socket.create_connection((any_broker.host, any_broker.port), timeout=0.3) as client:
        client.sendall(connect)
        with pytest.raises(TimeoutError):
            client.recv(1)
    with socket.create_connection((any_broker.host, any_broker.port), timeout=5) as client:
        client.sendall(connect)
        assert client.recv(1) == b"\x20"
