import random

from google.protobuf.duration_pb2 import Duration

from caravan.endpoints import Endpoints
from caravan.registry.v1 import routes_pb2

KEY = (1, "m", "")


def answer(*addresses: str, seconds: int = 10) -> routes_pb2.ResolveResponse:
    endpoints = [routes_pb2.Endpoint(address=address, healthy=True) for address in addresses]
    return routes_pb2.ResolveResponse(endpoints=endpoints, ttl=Duration(seconds=seconds))


def test_an_answer_expires():
    now = 0.0
    endpoints = Endpoints(lambda: now)
    endpoints.learn(KEY, answer("a:1"))
    assert endpoints.choose(KEY) == "a:1"
    now = 10.0
    assert endpoints.choose(KEY) is None


def test_the_less_busy_of_two_is_chosen():
    endpoints = Endpoints(chooser=random.Random(1))
    endpoints.learn(KEY, answer("a:1", "b:1"))
    with endpoints.running("a:1"):
        assert {endpoints.choose(KEY) for _ in range(20)} == {"b:1"}
    assert {endpoints.choose(KEY) for _ in range(20)} <= {"a:1", "b:1"}


def test_what_has_failed_is_forgotten():
    endpoints = Endpoints()
    endpoints.learn(KEY, answer("a:1"))
    endpoints.forget(KEY)
    assert endpoints.choose(KEY) is None
