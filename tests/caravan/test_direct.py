import pytest

import caravan
from caravan import errors
from caravan.registry.v1 import routes_pb2
from tests.caravan.loopback import Gateway, unknown_model

FAST = caravan.RetryPolicy(attempts=3, initial_delay=0.01, max_delay=0.2)


@pytest.fixture
def replica(gateway):
    server = Gateway()
    gateway.endpoints = [routes_pb2.Endpoint(address=server.target, healthy=True)]
    yield server
    server.stop()


def test_a_direct_call_resolves_once_and_dials_the_replica(connect, driver, gateway, replica):
    client = connect(direct=True)
    assert driver.run(client.chat("m", "Hi")).text == "Hello, world."
    assert driver.run(client.chat("m", "Hi", stream=True).reply()).text == "Hello, world."
    assert [seen.method for seen in replica.seen] == ["ChatCompletion", "StreamChatCompletion"]
    assert [seen.method for seen in gateway.seen] == ["Resolve"]
    assert gateway.seen[0].request.resource_id == "m"


def test_each_model_is_resolved_for_itself(connect, driver, gateway, replica):
    client = connect(direct=True)
    driver.run(client.chat("a", "Hi"))
    driver.run(client.chat("b", "Hi"))
    assert [seen.request.resource_id for seen in gateway.calls("Resolve")] == ["a", "b"]


def test_an_answer_is_used_no_longer_than_it_may_be(connect, driver, gateway, replica):
    gateway.ttl = 0.0
    client = connect(direct=True)
    driver.run(client.chat("m", "Hi"))
    driver.run(client.chat("m", "Hi"))
    assert len(gateway.calls("Resolve")) == 2
    assert gateway.calls("ChatCompletion") or replica.calls("ChatCompletion")


def test_what_the_gateway_answers_itself_goes_there(connect, driver, gateway, replica):
    driver.run(connect(direct=True).models.list())
    assert replica.seen == []


def test_the_gateway_stands_in_for_a_replica_that_cannot_be_reached(connect, driver, gateway, replica):
    client = connect(direct=True, retry=FAST)
    driver.run(client.chat("m", "Hi"))
    replica.stop()
    assert driver.run(client.chat("m", "Hi")).text == "Hello, world."
    assert driver.run(client.chat("m", "Hi", stream=True).reply()).text == "Hello, world."
    assert len(gateway.calls("ChatCompletion")) == 1


def test_the_gateway_decides_when_a_replica_no_longer_knows_the_model(connect, driver, gateway, replica):
    replica.fail("ChatCompletion", unknown_model("m"))
    assert driver.run(connect(direct=True).chat("m", "Hi")).text == "Hello, world."
    assert len(gateway.calls("ChatCompletion")) == 1


def test_without_healthy_replicas_the_call_goes_to_the_gateway(connect, driver, gateway):
    gateway.endpoints = [routes_pb2.Endpoint(address="127.0.0.1:1", healthy=False)]
    assert driver.run(connect(direct=True).chat("m", "Hi")).text == "Hello, world."


def test_when_resolving_fails_the_gateway_s_answer_to_the_call_counts(connect, driver, gateway):
    gateway.fail("Resolve", unknown_model("m"))
    gateway.fail("ChatCompletion", unknown_model("m"))
    with pytest.raises(errors.NotFoundError):
        driver.run(connect(direct=True).chat("m", "Hi"))


def test_leaving_the_loop_cancels_the_replica_s_call(connect, driver, gateway, replica):
    replica.endless = True
    assert len(driver.leave_after(3, lambda: connect(direct=True).chat("m", "Hi", stream=True))) == 3
    assert replica.calls("StreamChatCompletion")[0].ended.wait(2)
