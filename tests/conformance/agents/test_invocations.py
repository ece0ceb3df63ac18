"""Calls of tools that are to be repeatable: claimed by one, kept for all."""

import asyncio

import pytest
from google.rpc import status_pb2

from caravan.agents.v1 import tool_runtime_pb2
from services.agents.invocations import Claim, Kept, Underway
from services.agents.state import Request
from services.core.errors import InvalidArgumentError
from tests.conformance.agents.building import new_id, text


def request(digest="d"):
    return Request(new_id(), digest)


def response(words="42"):
    return Kept(tool_runtime_pb2.InvokeToolResponse(content=text(words)))


async def test_of_many_who_claim_a_call_one_makes_it(store, other):
    call = request()
    found = await asyncio.gather(*(one.claim_invocation(call) for one in [store, other] * 10))
    claims = [one for one in found if isinstance(one, Claim)]
    assert [claim.attempts for claim in claims] == [1]
    assert all(0 < one.seconds <= store.lease_seconds for one in found if isinstance(one, Underway))


async def test_what_came_of_a_call_is_told_to_whoever_repeats_it(store, other):
    call = request()
    assert await store.settle_invocation(await store.claim_invocation(call), response())
    assert await other.claim_invocation(call) == response()
    failed = request()
    error = Kept(error=status_pb2.Status(code=14, message="gone"))
    await store.settle_invocation(await store.claim_invocation(failed), error)
    assert await other.claim_invocation(failed) == error


async def test_an_identifier_that_was_used_for_another_call_is_refused(store):
    call = request()
    await store.claim_invocation(call)
    with pytest.raises(InvalidArgumentError) as caught:
        await store.claim_invocation(Request(call.request_id, "another"))
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_a_claim_whose_owner_falls_silent_can_be_had_again_and_says_so(make_store):
    store = await make_store(lease_seconds=0.3)
    call = request()
    first = await store.claim_invocation(call)
    for _ in range(3):
        await asyncio.sleep(0.2)
        assert await store.renew_invocation(first)
    await asyncio.sleep(0.4)
    second = await store.claim_invocation(call)
    assert second.attempts == 2
    assert not await store.renew_invocation(first)
    assert not await store.settle_invocation(first, response("late"))
    await store.release_invocation(first, forget=True)
    assert await store.settle_invocation(second, response())
    assert await store.claim_invocation(call) == response()


async def test_a_claim_that_is_given_up_is_free_at_once(store, other):
    call = request()
    await store.release_invocation(await store.claim_invocation(call), forget=False)
    second = await other.claim_invocation(call)
    assert second.attempts == 2
    await other.release_invocation(second, forget=True)
    assert (await store.claim_invocation(call)).attempts == 1


async def test_a_result_that_is_too_large_is_only_known_to_have_been(make_store):
    store = await make_store(max_result_bytes=1024)
    call = request()
    await store.settle_invocation(await store.claim_invocation(call), response("x" * 2000))
    assert await store.claim_invocation(call) == Kept()


async def test_a_settlement_that_is_sent_twice_happens_once(store):
    call = request()
    claim = await store.claim_invocation(call)
    assert await store.settle_invocation(claim, response("first"))
    assert await store.settle_invocation(claim, response("second"))
    assert await store.claim_invocation(call) == response("first")


@pytest.mark.parametrize("request_id", ["}{", "a b", "ä" * 60, "{agents}"])
async def test_any_text_can_be_an_identifier(store, request_id):
    call = Request(request_id, new_id())
    assert (await store.claim_invocation(call)).attempts == 1
