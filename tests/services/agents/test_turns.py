"""Turns, event by event, on a real store."""

import asyncio

import grpc
import pytest

from caravan.agents.v1 import agents_pb2, turns_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import NotFoundError
from tests.services.agents.world import GONE, Replica, Talk, World, call, outline, shown, text
from tests.support.eventually import until
from tests.support.http_endpoint import Endpoint

WEATHER = {
    "function_name": "weather",
    "description": "Tells the weather.",
    "parameters": {"city": {"param_type": "string"}},
}
CLIENT_TOOL = {"name": "ask_user", "description": "Asks.", "parameters": [{"name": "what", "parameter_type": "string"}]}


def remote(endpoint: Endpoint, **fields: object) -> dict[str, object]:
    """A tool that an HTTP endpoint runs."""
    return {"function_call": WEATHER, "remote_execution": {"url": {"uri": endpoint.url}}, **fields}


async def refused(call_: object) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call_  # type: ignore[misc]
    return caught.value


async def test_a_plain_turn_is_one_inference(world: World, replica: Replica) -> None:
    world.model.says(["Hel", "lo!"])
    talk = await replica.talk(instructions="Be brief.")
    events = await talk.events("Hi")
    assert outline(events) == [
        "turn_start",
        "start inference",
        "progress inference",
        "complete inference",
        "turn_complete",
    ]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert shown(events) == "Hello!"
    turn = events[-1].payload.turn_complete.turn
    assert text(turn.output_message) == "Hello!"
    assert turn.output_message.stop_reason == types_pb2.STOP_REASON_END_OF_TURN
    assert {metric.metric: metric.value for metric in turn.metrics} == {"prompt_tokens": 10, "completion_tokens": 2}
    assert len({step.step_id for step in turn.steps}) == 1
    (asked,) = world.model.asked
    assert [message.WhichOneof("role") for message in asked.messages] == ["system", "user"]


async def test_all_calls_of_an_answer_run_and_the_model_reads_the_results(
    world: World, replica: Replica, endpoint: Endpoint
) -> None:
    endpoint.says("sunny", headers={"Content-Type": "text/plain"})
    world.model.says([call("weather", "a", city="Oslo"), call("weather", "b", city="Rome")], "Sunny in both.")
    talk = await replica.talk(tools=[remote(endpoint)])
    events = await talk.events("Weather?")
    assert outline(events) == [
        "turn_start",
        "start inference",
        "progress inference",
        "complete inference",
        "start tool_execution",
        "progress tool_execution",
        "complete tool_execution",
        "start inference",
        "progress inference",
        "complete inference",
        "turn_complete",
    ]
    step = events[-1].payload.turn_complete.turn.steps[1].tool_execution
    assert [response.call_id for response in step.tool_responses] == ["a", "b"]
    assert {record.state for record in step.records} == {turns_pb2.TOOL_CALL_STATE_SUCCEEDED}
    assert sorted(seen.json["city"] for seen in endpoint.seen) == ["Oslo", "Rome"]
    roles = [message.WhichOneof("role") for message in world.model.asked[1].messages]
    assert roles == ["user", "assistant", "tool", "tool"]
    assert events[-1].payload.turn_complete.turn.metrics[0].value == 20


async def test_independent_calls_run_at_the_same_time(world: World, replica: Replica, endpoint: Endpoint) -> None:
    endpoint.says("sunny")
    endpoint.takes(0.5)
    world.model.says([call("weather", str(n), city="Oslo") for n in range(6)], "Done.")
    talk = await replica.talk(tools=[remote(endpoint)])
    turn = await talk.turn("Weather?")
    step = turn.steps[1]
    assert (step.completed_at.ToNanoseconds() - step.started_at.ToNanoseconds()) / 1e9 < 2.0


async def test_a_tool_that_fails_is_read_by_the_model(world: World, replica: Replica, endpoint: Endpoint) -> None:
    endpoint.says("no such city", status=404)
    world.model.says([call("weather", city="Nowhere")], "I could not find it.")
    turn = await (await replica.talk(tools=[remote(endpoint)])).turn("Weather?")
    step = turn.steps[1].tool_execution
    assert step.records[0].state == turns_pb2.TOOL_CALL_STATE_FAILED
    assert "HTTP status 404: no such city" in step.tool_responses[0].content.items[0].text
    assert text(turn.output_message) == "I could not find it."


async def test_a_tool_that_hangs_is_stopped(world: World, replica: Replica, endpoint: Endpoint) -> None:
    endpoint.takes(3.0)
    world.model.says([call("weather", city="Oslo")], "It took too long.")
    turn = await (await replica.talk(tools=[remote(endpoint, timeout="0.3s")])).turn("Weather?")
    assert turn.steps[1].tool_execution.records[0].state == turns_pb2.TOOL_CALL_STATE_FAILED


async def test_code_runs_in_the_sandbox_and_its_files_come_back(world: World, replica: Replica) -> None:
    code = "open('out.txt', 'w').write(open('in.txt').read().upper()); print(6 * 7)"
    world.model.says([call("code_interpreter", code=code)], "42")
    talk = await replica.talk(toolgroups=[{"name": "builtin::code_interpreter"}])
    document = {"content": {"items": [{"text": "hello"}]}, "fileName": "in.txt"}
    turn = await talk.turn("Compute", documents=[document])
    assert "[stdout]\n42" in turn.steps[1].tool_execution.tool_responses[0].content.items[0].text
    (attachment,) = turn.output_attachments
    assert (attachment.file_name, attachment.data) == ("out.txt", b"HELLO")
    assert 'accessible to you at "in.txt"' in world.model.asked[0].messages[0].user.content.items[0].text


async def test_an_input_shield_stops_the_turn_before_any_inference(world: World, replica: Replica) -> None:
    world.model.says("never")
    talk = await replica.talk(inputShields=["warn-a", "no-bomb", "no-b"])
    events = await talk.events("a bomb")
    assert outline(events) == [
        "turn_start",
        "start shield_call user-input",
        "complete shield_call",
        "turn_complete",
    ]
    turn = events[-1].payload.turn_complete.turn
    assert text(turn.output_message) == "I do not talk about bomb."
    assert turn.output_message.stop_reason == types_pb2.STOP_REASON_END_OF_TURN
    assert [result.shield_id for result in turn.steps[0].shield_call.results] == ["warn-a", "no-bomb", "no-b"]
    assert not world.model.asked
    world.model.says("Fine.")
    await talk.turn("Hello")
    assert "bomb" not in str(world.model.asked[-1].messages)


async def test_a_warning_is_surfaced_and_the_turn_goes_on(world: World, replica: Replica) -> None:
    world.model.says("Fine.")
    turn = await (await replica.talk(inputShields=["warn-knife"])).turn("a knife")
    assert [warning.user_message for warning in turn.warnings] == ["I do not talk about knife."]
    assert text(turn.output_message) == "Fine."


async def test_what_a_shield_masks_never_reaches_the_model(world: World, replica: Replica) -> None:
    world.model.says("Noted.")
    talk = await replica.talk(inputShields=["mask-4711"])
    await talk.turn("my code is 4711")
    await talk.turn("what is it?")
    for asked in world.model.asked:
        assert "my code is ****" in str(asked.messages)
        assert "4711" not in str(asked.messages)


@pytest.mark.parametrize("shielding", ["OUTPUT_SHIELDING_INCREMENTAL", "OUTPUT_SHIELDING_BUFFERED"])
async def test_unsafe_text_reaches_neither_client_nor_history(world: World, replica: Replica, shielding: str) -> None:
    world.model.says(["You mix ", "the bo", "mb like ", "this."], "Nothing.")
    talk = await replica.talk(outputShields=["no-bomb"], outputShielding=shielding)
    events = await talk.events("How?")
    assert outline(events)[-4:] == [
        "complete inference",
        "start shield_call assistant-output",
        "complete shield_call",
        "turn_complete",
    ]
    assert shown(events) in ("You mix the ", "")
    assert b"bomb like" not in b"".join(event.SerializeToString() for event in events)
    turn = events[-1].payload.turn_complete.turn
    assert text(turn.output_message) == "I do not talk about bomb."
    await talk.turn("What did you say?")
    assert "bomb like" not in str(world.model.asked[-1].messages)
    assert "I do not talk about bomb." in str(world.model.asked[-1].messages)


async def test_safe_text_is_shown_while_the_model_still_speaks(world: World, replica: Replica) -> None:
    gate = asyncio.Event()
    world.model.says(["All is well and ", gate.wait, "good."])  # type: ignore[list-item]
    talk = await replica.talk(outputShields=["no-bomb"])
    got: list[str] = []
    async for response in replica.stub.StreamCreateTurn(talk.request("How?"), timeout=30):
        got.append(response.event.payload.step_progress.delta.text)
        if "All is well" in "".join(got):
            gate.set()
    assert "".join(got) == "All is well and good."


async def test_the_last_inference_ends_the_turn_whatever_it_asks_for(
    world: World, replica: Replica, endpoint: Endpoint
) -> None:
    endpoint.says("sunny")
    world.model.says([call("weather", city="Oslo")])
    turn = await (await replica.talk(tools=[remote(endpoint)], maxInferIters=3)).turn("Loop")
    assert len(world.model.asked) == 3
    assert len(endpoint.seen) == 2
    assert turn.output_message.stop_reason == types_pb2.STOP_REASON_END_OF_TURN
    assert not turn.output_message.tool_calls


async def test_out_of_tokens_stays_out_of_tokens(world: World, replica: Replica) -> None:
    world.model.says("Some")
    world.model.out_of_tokens = True
    turn = await (await replica.talk()).turn("Tell me all")
    assert turn.output_message.stop_reason == types_pb2.STOP_REASON_OUT_OF_TOKENS


async def test_a_clients_tool_makes_the_turn_wait_and_resuming_goes_on(world: World, replica: Replica) -> None:
    world.model.says([call("ask_user", "q", what="name")], "Hello Ada.")
    talk = await replica.talk(clientTools=[CLIENT_TOOL])
    events = await talk.events("Greet me", allowTurnResume=True)
    assert outline(events)[-2:] == ["start tool_execution", "turn_awaiting_input"]
    waiting = events[-1].payload.turn_awaiting_input.turn
    assert waiting.status == turns_pb2.TURN_STATUS_AWAITING_INPUT
    assert [pending.call_id for pending in waiting.pending_tool_calls] == ["q"]
    busy = await refused(talk.turn("Another"))
    assert busy.code() is grpc.StatusCode.FAILED_PRECONDITION
    turn = await talk.resume(waiting, ask_user="Ada")
    assert turn.turn_id == waiting.turn_id
    assert text(turn.output_message) == "Hello Ada."
    assert not turn.pending_tool_calls
    whole = await talk.watched(turn.turn_id)
    assert [event.sequence for event in whole] == list(range(1, len(whole) + 1))
    assert outline(whole)[4:8] == [
        "start tool_execution",
        "turn_awaiting_input",
        "progress tool_execution",
        "complete tool_execution",
    ]


async def test_resuming_with_the_wrong_responses_says_what_is_wrong(world: World, replica: Replica) -> None:
    world.model.says([call("ask_user", "q", what="name")], "Hello.")
    talk = await replica.talk(clientTools=[CLIENT_TOOL])
    waiting = await talk.turn("Greet me", allowTurnResume=True)
    request = agents_pb2.ResumeTurnRequest(agent_id=talk.agent_id, session_id=talk.session_id, turn_id=waiting.turn_id)
    request.tool_responses.add(call_id="other").content.items.add().text = "x"
    error = await refused(replica.stub.ResumeTurn(request))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert text((await talk.resume(waiting, ask_user="Ada")).output_message) == "Hello."
    assert (await refused(talk.resume(waiting, ask_user="Ada"))).code() in (
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
    )


async def test_without_resuming_the_call_ends_the_turn_and_the_next_one_answers_it(
    world: World, replica: Replica
) -> None:
    world.model.says([call("ask_user", "q", what="name")], "Hello Ada.")
    talk = await replica.talk(clientTools=[CLIENT_TOOL])
    turn = await talk.turn("Greet me")
    assert [asked.call_id for asked in turn.output_message.tool_calls] == ["q"]
    request = agents_pb2.CreateTurnRequest(agent_id=talk.agent_id, session_id=talk.session_id)
    request.messages.add().tool.call_id = "q"
    request.messages[0].tool.content.items.add().text = "Ada"
    answered = (await replica.stub.CreateTurn(request)).turn
    assert text(answered.output_message) == "Hello Ada."
    roles = [message.WhichOneof("role") for message in world.model.asked[1].messages]
    assert roles == ["user", "assistant", "tool"]


async def test_retrieval_comes_before_the_first_inference_and_not_into_later_history(
    world: World, replica: Replica
) -> None:
    world.banks.found = [("doc", "Otters swim."), ("doc2", "Otters eat fish.")]
    world.model.says("They swim.")
    talk = await replica.talk(tools=[{"memory": {"memoryBankConfigs": [{"bankId": "notes", "vector": {}}]}}])
    events = await talk.events("What do otters do?")
    assert outline(events)[1:3] == ["start memory_retrieval", "complete memory_retrieval"]
    context = world.model.asked[0].messages[-1].user.context.items[0].text
    assert "id:doc; content:Otters swim.\nid:doc2; content:Otters eat fish." in context
    assert world.banks.searched[0].query.items[0].text == "What do otters do?"
    await talk.turn("And?")
    assert "context" not in str(world.model.asked[1].messages[0])


async def test_documents_go_to_the_sessions_bank_which_goes_with_the_session(world: World, replica: Replica) -> None:
    world.banks.found = [("doc", "Otters swim.")]
    world.model.says("They swim.")
    talk = await replica.talk(tools=[{"memory": {}}])
    document = {"content": {"items": [{"text": "Otters swim."}]}, "mimeType": "text/plain"}
    turn = await talk.turn("What do otters do?", documents=[document])
    (bank,) = world.banks.registered
    assert turn.steps[0].memory_retrieval.memory_bank_ids == [bank]
    assert world.banks.inserted[0].documents[0].content.items[0].text == "Otters swim."
    request = agents_pb2.DeleteSessionRequest(agent_id=talk.agent_id, session_id=talk.session_id)
    await replica.stub.DeleteSession(request)
    await until(lambda: world.banks.dropped == [bank])


async def test_without_tools_for_them_documents_stand_in_the_prompt(world: World, replica: Replica) -> None:
    world.model.says("They swim.")
    document = {"data": "T3R0ZXJzIHN3aW0u", "mimeType": "text/plain"}
    await (await replica.talk()).turn("What do otters do?", documents=[document])
    assert world.model.asked[0].messages[0].user.content.items[0].text == "Otters swim."


async def test_an_answer_must_have_its_form_once_no_tool_is_called_any_more(
    world: World, replica: Replica, endpoint: Endpoint
) -> None:
    endpoint.says("sunny")
    world.model.says([call("weather", city="Oslo")], "Sunny.", '{"weather": "sunny"}')
    form = {"jsonSchema": {"schema": {"type": "object"}}}
    turn = await (await replica.talk(tools=[remote(endpoint)], responseFormat=form)).turn("Weather?")
    assert text(turn.output_message) == '{"weather": "sunny"}'
    assert [asked.HasField("response_format") for asked in world.model.asked] == [False, False, True]
    assert "Sunny." not in str(world.model.asked[2].messages)


async def test_a_demanded_call_is_demanded_once(world: World, replica: Replica, endpoint: Endpoint) -> None:
    endpoint.says("sunny")
    world.model.says([call("weather", city="Oslo")], "Sunny.")
    await (await replica.talk(tools=[remote(endpoint)])).turn(
        "Weather?", toolConfig={"toolChoice": "TOOL_CHOICE_REQUIRED"}
    )
    choices = [asked.tool_config.tool_choice for asked in world.model.asked]
    assert choices == [types_pb2.TOOL_CHOICE_REQUIRED, types_pb2.TOOL_CHOICE_AUTO]


async def test_everything_can_be_overridden_for_one_turn(world: World, replica: Replica) -> None:
    world.model.says("Fine.")
    talk = await replica.talk(instructions="Be brief.", inputShields=["no-Hi"])
    overrides = {"model": "other", "instructions": "", "inputShields": {}, "samplingParams": {"maxTokens": 7}}
    await talk.turn("Hi", overrides=overrides)
    (asked,) = world.model.asked
    assert (asked.model_id, asked.sampling_params.max_tokens) == ("other", 7)
    assert [message.WhichOneof("role") for message in asked.messages] == ["user"]


async def test_a_repeated_request_is_the_same_turn(world: World, replica: Replica) -> None:
    world.model.says("Once.")
    talk = await replica.talk()
    first, second = await asyncio.gather(*(talk.turn("Hi", requestId="r1") for _ in range(2)))
    third = await talk.turn("Hi", requestId="r1")
    assert first.turn_id == second.turn_id == third.turn_id
    assert len(world.model.asked) == 1
    other = await refused(talk.turn("Something else", requestId="r1"))
    assert other.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_of_fifty_turns_at_once_one_runs_and_the_others_are_told(world: World, replica: Replica) -> None:
    gate = asyncio.Event()
    world.model.says([gate.wait, "Done."])  # type: ignore[list-item]
    talk = await replica.talk()
    asked = [asyncio.ensure_future(talk.turn(f"turn {n}")) for n in range(50)]
    await until(lambda: sum(one.done() for one in asked) == 49)
    gate.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert {error.code() for error in errors} == {grpc.StatusCode.ABORTED}
    assert len(errors) == 49


async def test_a_client_that_goes_away_does_not_stop_the_turn(world: World, replica: Replica) -> None:
    gate = asyncio.Event()
    world.model.says(["Hello ", gate.wait, "again."])  # type: ignore[list-item]
    talk = await replica.talk()
    stream = replica.stub.StreamCreateTurn(talk.request("Hi"))
    turn_id, seen = "", 0
    async for response in stream:
        turn_id = turn_id or response.event.payload.turn_start.turn_id
        seen = response.event.sequence
        if response.event.payload.HasField("step_progress"):
            break
    stream.cancel()
    gate.set()
    rest = await talk.watched(turn_id, seen + 1)
    assert rest[0].sequence == seen + 1
    assert text(rest[-1].payload.turn_complete.turn.output_message) == "Hello again."
    assert await talk.watched(turn_id, seen + 1) == rest


@pytest.mark.parametrize("how", ["cancel", "disconnect"])
async def test_cancelling_a_turn_cancels_the_inference_below_it(world: World, replica: Replica, how: str) -> None:
    world.model.says(["Hello ", asyncio.Event().wait, "never"])  # type: ignore[list-item]
    talk = await replica.talk()
    stream = replica.stub.StreamCreateTurn(talk.request("Hi", cancelOnDisconnect=how == "disconnect"))
    turn_id = (await anext(aiter(stream))).event.payload.turn_start.turn_id
    await until(lambda: world.model.running == 1)
    names = {"agent_id": talk.agent_id, "session_id": talk.session_id, "turn_id": turn_id}
    if how == "cancel":
        turn = (await replica.stub.CancelTurn(agents_pb2.CancelTurnRequest(**names))).turn
        assert turn.status == turns_pb2.TURN_STATUS_CANCELLED
    else:
        stream.cancel()
    await until(lambda: world.model.running == 0)
    last = (await talk.watched(turn_id))[-1].payload.turn_cancelled.turn
    assert last == (await replica.stub.GetTurn(agents_pb2.GetTurnRequest(**names))).turn
    assert last.status == turns_pb2.TURN_STATUS_CANCELLED
    world.model.answers.clear()
    world.model.says("Fine.")
    await talk.turn("Go on")


async def test_an_inference_that_breaks_off_is_begun_again_and_no_text_is_doubled(
    world: World, replica: Replica
) -> None:
    world.model.says(["Hello ", GONE], ["Hello ", "again."])
    talk = await replica.talk()
    events = await talk.events("Hi")
    assert "restart inference" in outline(events)
    assert shown(events) == "Hello again."
    turn = events[-1].payload.turn_complete.turn
    assert text(turn.output_message) == "Hello again."
    assert turn.steps[0].attempts == 2


async def test_a_turn_that_fails_says_why_and_the_session_goes_on(world: World, replica: Replica) -> None:
    missing = NotFoundError("no such model", resource_type="model", resource_name="m", reason="MODEL_NOT_FOUND")
    world.model.says([missing], "Fine.")
    talk = await replica.talk()
    error = await refused(talk.turn("Hi"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert b"MODEL_NOT_FOUND" in dict(error.trailing_metadata() or ())["grpc-status-details-bin"]
    await talk.turn("Again")
    turns = (
        await replica.stub.ListTurns(agents_pb2.ListTurnsRequest(agent_id=talk.agent_id, session_id=talk.session_id))
    ).data
    assert [turn.status for turn in turns] == [turns_pb2.TURN_STATUS_FAILED, turns_pb2.TURN_STATUS_COMPLETED]
    assert "Hi" not in [item.text for item in world.model.asked[1].messages[0].user.content.items]


async def test_a_replica_that_stops_hands_its_turns_over(world: World) -> None:
    gate = asyncio.Event()
    world.model.says(["Hello ", gate.wait, "from nobody."], "Hello from the other.")  # type: ignore[list-item]
    async with world.replica() as first:
        talk = await first.talk()
        stream = first.stub.StreamCreateTurn(talk.request("Hi"))
        turn_id = (await anext(aiter(stream))).event.payload.turn_start.turn_id
        await until(lambda: world.model.running == 1)
    async with world.replica() as second:
        talk.replica = second
        events = await talk.watched(turn_id)
    assert "restart inference" in outline(events)
    assert shown(events) == "Hello from the other."
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


async def test_a_stateless_turn_is_told_its_history_and_leaves_nothing(world: World, replica: Replica) -> None:
    world.model.says("Ada.")
    request = agents_pb2.ExecuteTurnRequest(agent_config={"model": "m"})
    earlier = request.turn_history.add()
    earlier.input_messages.add().user.content.items.add().text = "I am Ada."
    earlier.output_message.content.items.add().text = "Hello."
    request.messages.add().user.content.items.add().text = "Who am I?"
    turn = (await replica.stub.ExecuteTurn(request)).turn
    assert text(turn.output_message) == "Ada."
    roles = [message.WhichOneof("role") for message in world.model.asked[0].messages]
    assert roles == ["user", "assistant", "user"]
    assert not (await replica.stub.ListAgents(agents_pb2.ListAgentsRequest())).data


async def test_an_agent_that_was_deleted_elsewhere_runs_nothing_any_more(world: World, replica: Replica) -> None:
    world.model.says("Hello.")
    agent_id = await replica.agent()
    request = agents_pb2.ExecuteTurnRequest(agent_id=agent_id)
    request.messages.add().user.content.items.add().text = "Hi"
    assert text((await replica.stub.ExecuteTurn(request)).turn.output_message) == "Hello."
    async with world.replica() as other:
        await other.stub.DeleteAgent(agents_pb2.DeleteAgentRequest(agent_id=agent_id))
    assert (await refused(replica.stub.ExecuteTurn(request))).code() is grpc.StatusCode.NOT_FOUND


async def test_keys_in_an_agents_tools_are_not_shown(replica: Replica) -> None:
    agent_id = await replica.agent(tools=[{"braveSearch": {"apiKey": "very-secret"}}])
    agent = (await replica.stub.GetAgent(agents_pb2.GetAgentRequest(agent_id=agent_id))).agent
    assert agent.agent_config.tools[0].brave_search.api_key == "********"


async def test_provider_data_serves_its_own_request_alone(world: World, replica: Replica, endpoint: Endpoint) -> None:
    async with world.replica(tools={"brave_url": endpoint.url}) as searching:
        endpoint.says({"web": {"results": []}})
        world.model.says([call("brave_search", query="otters")], "Nothing.")
        talk = await searching.talk(tools=[{"braveSearch": {}}])
        unary = agents_pb2.CreateTurnRequest.FromString(talk.request("Search").SerializeToString())
        metadata = [("caravan-provider-data", '{"brave_search_api_key": "mine"}')]
        await searching.stub.CreateTurn(unary, metadata=metadata)
        assert endpoint.seen[0].headers["x-subscription-token"] == "mine"
        world.model.answers.clear()
        world.model.says([call("brave_search", query="otters")], "Nothing.")
        turn = await talk.turn("Search again")
        assert (
            "there is no key for brave_search" in turn.steps[1].tool_execution.tool_responses[0].content.items[0].text
        )
        assert len(endpoint.seen) == 1


async def test_two_tools_of_one_name_are_refused_when_the_agent_is_made(replica: Replica) -> None:
    tools = [{"functionCall": WEATHER}, {"functionCall": WEATHER}]
    error = await refused(replica.agent(tools=tools))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "tools[1].function_call.function_name" in str(error.details())


async def test_an_unknown_tool_group_is_named(world: World, replica: Replica) -> None:
    world.model.says("never")
    talk = await replica.talk(toolgroups=[{"name": "nowhere"}])
    error = await refused(talk.turn("Hi"))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "nowhere" in str(error.details())


async def test_more_turns_at_once_than_there_is_room_for_are_refused_however_they_come(world: World) -> None:
    gate = asyncio.Event()
    world.model.says([gate.wait, "Done."])  # type: ignore[list-item]
    async with world.replica(max_turns=3) as small:
        agent_id = await small.agent()
        talks = [Talk(small, agent_id, await small.session(agent_id)) for _ in range(10)]
        asked = [asyncio.ensure_future(talk.turn("Hi")) for talk in talks]
        await until(lambda: sum(one.done() for one in asked) == 7)
        gate.set()
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
    errors = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert [error.code() for error in errors] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 7


async def test_a_turn_that_becomes_too_large_to_keep_fails_and_frees_its_session(
    world: World, endpoint: Endpoint
) -> None:
    endpoint.says("x" * 40_000)
    world.model.says([call("weather", "a", city="Oslo"), call("weather", "b", city="Rome")], "Fine.")
    async with world.replica(store={"max_write_bytes": 1 << 16}) as replica:
        talk = await replica.talk(tools=[remote(endpoint)])
        error = await refused(talk.turn("Weather?"))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert text((await talk.turn("Hello")).output_message) == "Fine."
        listed = agents_pb2.ListTurnsRequest(agent_id=talk.agent_id, session_id=talk.session_id)
        statuses = [turn.status for turn in (await replica.stub.ListTurns(listed)).data]
    assert statuses == [turns_pb2.TURN_STATUS_FAILED, turns_pb2.TURN_STATUS_COMPLETED]


async def test_a_step_that_begins_with_its_turn_has_the_turns_time(world: World, replica: Replica) -> None:
    gate = asyncio.Event()
    world.model.says([gate.wait, "Done."])  # type: ignore[list-item]
    talk = await replica.talk()
    stream = replica.stub.StreamCreateTurn(talk.request("Hi"), timeout=30)
    first, second = await anext(aiter(stream)), await anext(aiter(stream))
    names = {"agent_id": talk.agent_id, "session_id": talk.session_id}
    names["turn_id"] = first.event.payload.turn_start.turn_id
    turn = (await replica.stub.GetTurn(agents_pb2.GetTurnRequest(**names))).turn
    step_id = second.event.payload.step_start.step_id
    step = (await replica.stub.GetStep(agents_pb2.GetStepRequest(**names, step_id=step_id))).step
    assert turn.steps == [step]
    assert step.started_at == turn.started_at == first.event.timestamp
    gate.set()
    ended = [response.event async for response in stream][-1].payload.turn_complete.turn
    assert ended.steps[0].started_at == turn.started_at
