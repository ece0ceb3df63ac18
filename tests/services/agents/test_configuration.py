"""What a turn runs with: every field of an agent can be overridden for one turn, and contradictions are refused."""

from typing import Any

import pytest
from google.protobuf import json_format

from caravan.agents.v1 import agents_pb2, config_pb2
from services.agents.configuration import effective
from services.core.errors import InvalidArgumentError

# What each override sets, as the configuration has it then.
OVERRIDES: dict[str, Any] = {
    "model": "other",
    "instructions": "",
    "sampling_params": {"maxTokens": 7},
    "input_shields": ["a"],
    "output_shields": [],
    "tools": [{"photogen": {}}],
    "client_tools": [{"name": "mine"}],
    "max_infer_iters": 3,
    "response_format": {"grammar": {"bnf": "root ::= x"}},
    "enable_session_persistence": False,
    "tool_choice": "TOOL_CHOICE_REQUIRED",
    "tool_prompt_format": "TOOL_PROMPT_FORMAT_JSON",
    "session_ttl": "60s",
    "output_shielding": "OUTPUT_SHIELDING_BUFFERED",
}
WRAPPED = {
    "input_shields": "shieldIds",
    "output_shields": "shieldIds",
    "tools": "tools",
    "client_tools": "clientTools",
}
AGENT = {
    "model": "m",
    "instructions": "Be brief.",
    "samplingParams": {"maxTokens": 9},
    "inputShields": ["x"],
    "outputShields": ["y"],
    "tools": [{"braveSearch": {}}],
    "clientTools": [{"name": "theirs"}],
    "toolgroups": [{"name": "group"}],
    "maxInferIters": 5,
    "responseFormat": {"jsonSchema": {"schema": {}}},
    "enableSessionPersistence": True,
    "sessionTtl": "3600s",
    "outputShielding": "OUTPUT_SHIELDING_INCREMENTAL",
    "name": "an agent",
}


def config(**fields: Any) -> config_pb2.AgentConfig:
    return json_format.ParseDict(fields, config_pb2.AgentConfig())


def turn(**fields: Any) -> agents_pb2.CreateTurnRequest:
    return json_format.ParseDict(fields, agents_pb2.CreateTurnRequest())


def test_every_field_but_the_name_can_be_overridden() -> None:
    overridable = {field.name for field in config_pb2.AgentConfigOverrides.DESCRIPTOR.fields}
    of_the_request = {"toolgroups", "tool_config"}
    fields = {field.name for field in config_pb2.AgentConfig.DESCRIPTOR.fields}
    assert overridable == set(OVERRIDES)
    assert fields == overridable | of_the_request | {"name"}


@pytest.mark.parametrize("field", OVERRIDES)
def test_an_override_replaces_its_field_and_nothing_else(field: str) -> None:
    value = OVERRIDES[field]
    given = {WRAPPED[field]: value} if field in WRAPPED else value
    changed = effective(config(**AGENT), turn(overrides={field: given}))
    expected = config(**AGENT)
    expected.ClearField(field)  # type: ignore[arg-type]
    json_format.ParseDict({field: value}, expected)
    assert changed == expected


def test_tool_groups_and_the_tool_configuration_come_with_the_request() -> None:
    changed = effective(config(**AGENT), turn(toolgroups={"toolgroups": []}, toolConfig={"toolName": "theirs"}))
    assert not changed.toolgroups
    assert changed.tool_config.tool_name == "theirs"
    assert effective(config(**AGENT), turn()) == config(**AGENT)


def test_the_requests_word_on_tools_stands_before_the_agents_short_forms() -> None:
    agent = config(model="m", toolChoice="TOOL_CHOICE_REQUIRED")
    assert effective(agent, turn(toolConfig={"toolChoice": "TOOL_CHOICE_NONE"})).tool_choice == 0
    both = turn(toolConfig={"toolChoice": "TOOL_CHOICE_NONE"}, overrides={"tool_choice": "TOOL_CHOICE_REQUIRED"})
    with pytest.raises(InvalidArgumentError, match="tool_choice"):
        effective(agent, both)


def test_two_tools_of_one_name_are_refused_also_when_an_override_brings_the_second() -> None:
    twice = turn(overrides={"client_tools": {"clientTools": [{"name": "a"}, {"name": "a"}]}})
    with pytest.raises(InvalidArgumentError, match="a second tool"):
        effective(config(model="m"), twice)
