"""The rules that the protos declare: they compile, they leave nothing in a request unbounded, and they name the field that is wrong."""

import importlib
from collections.abc import Iterator
from typing import Any

import protovalidate
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from caravan.agents.v1 import agents_pb2, tool_runtime_pb2
from caravan.datasets.v1 import datasetio_pb2, datasets_pb2
from caravan.memory.v1 import graph_pb2, keyvalue_pb2, memory_pb2, rag_tool_pb2, vector_io_pb2
from caravan.post_training.v1 import post_training_pb2, training_pb2
from caravan.reward_scoring.v1 import reward_scoring_pb2
from caravan.safety.v1 import safety_pb2
from caravan.synthetic_data.v1 import synthetic_data_pb2
from caravan.telemetry.v1 import telemetry_pb2
from services.core.errors import InvalidArgumentError
from services.core.validation import validate
from tools.contract import Contract, Element, field_rules

# Messages that a request carries back to us as an earlier response gave them, or that only the gateway sends.
GIVEN_BACK = {"caravan.agents.v1.Turn", "caravan.providers.v1.Resource"}
# As long as the message size allows.
UNBOUNDED = {
    "caravan.types.v1.InterleavedContentItem.text",
    "caravan.types.v1.Image.data",
}

# Enough of each request to be valid.
HELLO = {"user": {"content": {"items": [{"text": "hello"}]}}}
ANSWER = {"assistant": {"content": {"items": [{"text": "hello"}]}}}
CONTENT = {"items": [{"text": "hello"}]}
TRAINING = {"data_config": {"dataset_id": "d"}}
SPAN = {"trace_id": "0" * 32, "span_id": "0" * 16}
VALID: dict[type[Message], dict[str, Any]] = {
    agents_pb2.CreateAgentRequest: {"agent_config": {"model": "m"}},
    agents_pb2.CreateSessionRequest: {"agent_id": "a"},
    agents_pb2.CreateTurnRequest: {"agent_id": "a", "session_id": "s", "messages": [HELLO]},
    agents_pb2.StreamCreateTurnRequest: {"agent_id": "a", "session_id": "s", "messages": [HELLO]},
    agents_pb2.ResumeTurnRequest: {
        "agent_id": "a",
        "session_id": "s",
        "turn_id": "t",
        "tool_responses": [{"call_id": "c", "content": CONTENT}],
    },
    agents_pb2.ExecuteTurnRequest: {"agent_config": {"model": "m"}, "messages": [HELLO]},
    agents_pb2.ListAgentsRequest: {},
    agents_pb2.WatchTurnRequest: {"agent_id": "a", "session_id": "s", "turn_id": "t"},
    tool_runtime_pb2.InvokeToolRequest: {"tool_name": "brave_search", "kwargs": {"query": "x"}},
    tool_runtime_pb2.ListRuntimeToolsRequest: {},
    safety_pb2.RunShieldRequest: {"shield_id": "guard", "messages": [HELLO]},
    safety_pb2.RunShieldsRequest: {"shield_ids": ["guard"], "messages": [HELLO]},
    safety_pb2.StreamShieldRequest: {"text": "more"},
    memory_pb2.InsertDocumentsRequest: {"bank_id": "b", "documents": [{"document_id": "1", "content": CONTENT}]},
    memory_pb2.BulkInsertDocumentsRequest: {"part": {"data": "aGVsbG8="}},
    memory_pb2.UpdateDocumentsRequest: {"bank_id": "b", "documents": [{"document_id": "1"}]},
    memory_pb2.DeleteDocumentsRequest: {"bank_id": "b", "document_ids": ["1"]},
    memory_pb2.QueryDocumentsRequest: {"bank_id": "b", "query": CONTENT},
    memory_pb2.QueryBanksRequest: {"bank_ids": ["a", "b"], "query": CONTENT},
    vector_io_pb2.InsertChunksRequest: {"vector_db_id": "b", "chunks": [{"content": CONTENT}]},
    vector_io_pb2.QueryChunksRequest: {"vector_db_id": "b", "embedding": [0.1, 0.2]},
    rag_tool_pb2.RagInsertRequest: {"vector_db_id": "b", "documents": [{"document_id": "1", "content": CONTENT}]},
    rag_tool_pb2.RagQueryRequest: {"vector_db_ids": ["b"], "content": CONTENT},
    keyvalue_pb2.PutValueRequest: {"bank_id": "b", "key": "k", "value": {"integer": "1"}},
    graph_pb2.QueryGraphRequest: {"bank_id": "b", "entities": ["Ada"]},
    graph_pb2.FindPathsRequest: {"bank_id": "b", "source": "Ada", "target": "Bob"},
    datasets_pb2.CreateDatasetRequest: {"source": {"rows": {"rows": [{"prompt": "x"}]}}},
    datasets_pb2.UploadDatasetRequest: {"head": {"dataset_id": "d"}},
    datasetio_pb2.GetRowsPaginatedRequest: {"dataset_id": "d"},
    datasetio_pb2.AppendRowsRequest: {"dataset_id": "d", "rows_json": ["{}"]},
    training_pb2.SupervisedFineTuneRequest: {"model": "m", "training_config": TRAINING},
    training_pb2.PreferenceOptimizeRequest: {"finetuned_model": "m", "training_config": TRAINING},
    post_training_pb2.ListJobsRequest: {},
    post_training_pb2.WatchJobRequest: {"job_uuid": "j"},
    post_training_pb2.ExportCheckpointRequest: {
        "job_uuid": "j",
        "identifier": "c",
        "format": "CHECKPOINT_FORMAT_MERGED",
    },
    reward_scoring_pb2.ScoreRequest: {
        "model": "m",
        "dialog_generations": [{"dialog": [HELLO], "sampled_generations": [ANSWER]}],
    },
    synthetic_data_pb2.GenerateRequest: {"dialogs": [{"messages": [HELLO]}]},
    synthetic_data_pb2.StartGenerationRequest: {"dataset_id": "d", "output_dataset_id": "o"},
    telemetry_pb2.LogEventRequest: {
        "event": {**SPAN, "timestamp": "2026-01-01T00:00:00Z", "unstructured_log": {"message": "x"}}
    },
    telemetry_pb2.QuerySpansRequest: {"attribute_filters": [{"key": "k", "value": "v"}]},
    telemetry_pb2.GetSpanRequest: SPAN,
}

CONFIG = "agent_config"
OPTIMIZER = "training_config.optimizer_config"
# What a request is given instead of, or beside, what is valid; and the field that is named for it.
INVALID: list[tuple[type[Message], dict[str, Any], str]] = [
    (agents_pb2.CreateAgentRequest, {CONFIG: {}}, "agent_config.model"),
    (agents_pb2.CreateAgentRequest, {CONFIG: {"model": "m", "max_infer_iters": 0}}, "agent_config.max_infer_iters"),
    (agents_pb2.CreateAgentRequest, {CONFIG: {"model": "m", "tools": [{}]}}, "agent_config.tools[0].tool"),
    (agents_pb2.CreateAgentRequest, {CONFIG: {"model": "m", "session_ttl": "0.5s"}}, "agent_config.session_ttl"),
    (agents_pb2.CreateAgentRequest, {CONFIG: {"model": "m", "tool_choice": 9}}, "agent_config.tool_choice"),
    (
        agents_pb2.CreateAgentRequest,
        {CONFIG: {"model": "m", "input_shields": ["a", "a"]}},
        "agent_config.input_shields",
    ),
    (
        agents_pb2.CreateAgentRequest,
        {CONFIG: {"model": "m", "tools": [{"memory": {}, "remote_execution": {"url": {"uri": "https://x"}}}]}},
        "agent_config.tools[0]",
    ),
    (
        agents_pb2.CreateAgentRequest,
        {CONFIG: {"model": "m", "tools": [{"function_call": {"function_name": "no spaces"}}]}},
        "agent_config.tools[0].function_call.function_name",
    ),
    (
        agents_pb2.CreateAgentRequest,
        {CONFIG: {"model": "m", "tools": [{"photogen": {}, "remote_execution": {}}]}},
        "agent_config.tools[0].remote_execution.url",
    ),
    (
        agents_pb2.CreateAgentRequest,
        {CONFIG: {"model": "m", "tools": [{"memory": {"memory_bank_configs": [{"bank_id": "b"}]}}]}},
        "agent_config.tools[0].memory.memory_bank_configs[0].type",
    ),
    (agents_pb2.CreateSessionRequest, {"request_id": "x" * 129}, "request_id"),
    (agents_pb2.CreateTurnRequest, {"messages": []}, "messages"),
    (agents_pb2.CreateTurnRequest, {"messages": [ANSWER]}, "messages"),
    (agents_pb2.CreateTurnRequest, {"messages": [{}]}, "messages[0].role"),
    (agents_pb2.CreateTurnRequest, {"revision": 0}, "revision"),
    (agents_pb2.CreateTurnRequest, {"documents": [{"mime_type": "text/plain"}]}, "documents[0]"),
    (agents_pb2.CreateTurnRequest, {"documents": [{"content": CONTENT, "data": "eA=="}]}, "documents[0]"),
    (agents_pb2.CreateTurnRequest, {"overrides": {"model": ""}}, "overrides.model"),
    (agents_pb2.StreamCreateTurnRequest, {"session_id": ""}, "session_id"),
    (agents_pb2.ResumeTurnRequest, {"tool_responses": []}, "tool_responses"),
    (agents_pb2.ExecuteTurnRequest, {CONFIG: None}, "agent"),
    (agents_pb2.ListAgentsRequest, {"page_size": 1001}, "page_size"),
    (tool_runtime_pb2.InvokeToolRequest, {"tool_name": ""}, "tool_name"),
    (tool_runtime_pb2.ListRuntimeToolsRequest, {"tool_group_id": "g", "mcp_endpoint": {"uri": "https://x"}}, ""),
    (safety_pb2.RunShieldRequest, {"shield_id": ""}, "shield_id"),
    (safety_pb2.RunShieldRequest, {"messages": []}, "messages"),
    (safety_pb2.RunShieldsRequest, {"shield_ids": ["a", "a"]}, "shield_ids"),
    (safety_pb2.RunShieldsRequest, {"options": {"other": {}}}, ""),
    (safety_pb2.RunShieldsRequest, {"on_violation_action": 9}, "on_violation_action"),
    (memory_pb2.InsertDocumentsRequest, {"documents": []}, "documents"),
    (memory_pb2.InsertDocumentsRequest, {"documents": [{"document_id": "1"}]}, "documents[0]"),
    (memory_pb2.InsertDocumentsRequest, {"ttl_seconds": 0}, "ttl_seconds"),
    (memory_pb2.BulkInsertDocumentsRequest, {"part": {"head": {}}}, "part.head.document_id"),
    (memory_pb2.UpdateDocumentsRequest, {"documents": [{"document_id": "1", "revision": 0}]}, "documents[0].revision"),
    (memory_pb2.DeleteDocumentsRequest, {"all": True}, ""),
    (memory_pb2.DeleteDocumentsRequest, {"document_ids": []}, ""),
    (memory_pb2.QueryDocumentsRequest, {"query": None}, "query"),
    (memory_pb2.QueryDocumentsRequest, {"params": {"max_chunks": 0}}, "params.max_chunks"),
    (memory_pb2.QueryDocumentsRequest, {"params": {"score_threshold": "NaN"}}, "params.score_threshold"),
    (memory_pb2.QueryDocumentsRequest, {"params": {"filter": {}}}, "params.filter.condition"),
    (
        memory_pb2.QueryDocumentsRequest,
        {"params": {"filter": {"all_of": {"filters": [{"equal": {"value": 1}}]}}}},
        "params.filter.all_of.filters[0].equal.key",
    ),
    (
        memory_pb2.QueryDocumentsRequest,
        {"params": {"ranker": {"weighted": {"alpha": 2}}}},
        "params.ranker.weighted.alpha",
    ),
    (memory_pb2.QueryBanksRequest, {"bank_ids": []}, "bank_ids"),
    (vector_io_pb2.InsertChunksRequest, {"chunks": []}, "chunks"),
    (vector_io_pb2.QueryChunksRequest, {"embedding": []}, ""),
    (rag_tool_pb2.RagInsertRequest, {"chunk_size_in_tokens": 0}, "chunk_size_in_tokens"),
    (rag_tool_pb2.RagQueryRequest, {"vector_db_ids": []}, "vector_db_ids"),
    (
        rag_tool_pb2.RagQueryRequest,
        {"query_config": {"query_generator_config": {"llm": {"model": "m"}}}},
        "query_config.query_generator_config.llm.template",
    ),
    (keyvalue_pb2.PutValueRequest, {"value": {}}, "value.value"),
    (keyvalue_pb2.PutValueRequest, {"revision": -1}, "revision"),
    (graph_pb2.QueryGraphRequest, {"entities": []}, ""),
    (graph_pb2.QueryGraphRequest, {"damping": 1}, "damping"),
    (graph_pb2.FindPathsRequest, {"max_length": 17}, "max_length"),
    (datasets_pb2.CreateDatasetRequest, {"source": None}, ""),
    (datasets_pb2.CreateDatasetRequest, {"dataset_id": "-no"}, "dataset_id"),
    (datasets_pb2.CreateDatasetRequest, {"dataset_schema": {"x": {}}}, 'dataset_schema["x"].type'),
    (datasets_pb2.CreateDatasetRequest, {"source": {"rows": {}}}, "source.rows"),
    (datasets_pb2.UploadDatasetRequest, {"head": {"sha256": "abc"}}, "head.sha256"),
    (datasetio_pb2.GetRowsPaginatedRequest, {"rows_in_page": 10001}, "rows_in_page"),
    (datasetio_pb2.AppendRowsRequest, {"rows_json": []}, ""),
    (training_pb2.SupervisedFineTuneRequest, {"model": ""}, "model"),
    (training_pb2.SupervisedFineTuneRequest, {"job_uuid": "a b"}, "job_uuid"),
    (training_pb2.SupervisedFineTuneRequest, {"training_config": None}, "training_config"),
    (training_pb2.SupervisedFineTuneRequest, {"training_config": {}}, "training_config.data_config"),
    (
        training_pb2.SupervisedFineTuneRequest,
        {"training_config": {**TRAINING, "optimizer_config": {"lr": 0}}},
        f"{OPTIMIZER}.lr",
    ),
    (
        training_pb2.SupervisedFineTuneRequest,
        {"training_config": {**TRAINING, "optimizer_config": {"lr": 0.1, "lr_min": 0.2}}},
        OPTIMIZER,
    ),
    (
        training_pb2.SupervisedFineTuneRequest,
        {"algorithm_config": {"lora": {"rank": 0}}},
        "algorithm_config.lora.rank",
    ),
    (
        training_pb2.SupervisedFineTuneRequest,
        {"hyperparam_search_config": {"parameters": {"training_config.n_epochs": {}}}},
        'hyperparam_search_config.parameters["training_config.n_epochs"]',
    ),
    (training_pb2.SupervisedFineTuneRequest, {"continue_from": {}}, "continue_from.source"),
    (
        training_pb2.PreferenceOptimizeRequest,
        {"algorithm_config": {"beta": 0.1, "epsilon": 0.1}},
        "algorithm_config",
    ),
    (post_training_pb2.ListJobsRequest, {"statuses": [99]}, "statuses[0]"),
    (post_training_pb2.WatchJobRequest, {"kinds": [0]}, "kinds[0]"),
    (post_training_pb2.ExportCheckpointRequest, {"format": 0}, "format"),
    (reward_scoring_pb2.ScoreRequest, {"model": ""}, "model"),
    (
        reward_scoring_pb2.ScoreRequest,
        {"dialog_generations": [{"dialog": [HELLO]}]},
        "dialog_generations[0].sampled_generations",
    ),
    (synthetic_data_pb2.GenerateRequest, {"dialogs": []}, ""),
    (synthetic_data_pb2.GenerateRequest, {"filtering_function": "FILTERING_FUNCTION_TOP_K"}, ""),
    (synthetic_data_pb2.GenerateRequest, {"filter_params": {"top_p": 1.5}}, "filter_params.top_p"),
    (synthetic_data_pb2.StartGenerationRequest, {"output_dataset_id": ""}, ""),
    (telemetry_pb2.LogEventRequest, {"event": {**SPAN, "timestamp": "2026-01-01T00:00:00Z"}}, "event.event"),
    (telemetry_pb2.QuerySpansRequest, {"attribute_filters": [{"value": "v"}]}, "attribute_filters[0].key"),
    (telemetry_pb2.GetSpanRequest, {"span_id": "xyz"}, "span_id"),
]


def request(message_type: type[Message], changes: dict[str, Any] | None = None) -> Message:
    fields = {name: value for name, value in {**VALID[message_type], **(changes or {})}.items() if value is not None}
    return json_format.ParseDict(fields, message_type())


def message_types(contract: Contract) -> Iterator[type[Message]]:
    for file in contract.files:
        stubs = importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
        for top in stubs.DESCRIPTOR.message_types_by_name.values():
            yield from (message_factory.GetMessageClass(each) for each in _with_nested(top))


def _with_nested(descriptor: Descriptor) -> Iterator[Descriptor]:
    if not descriptor.GetOptions().map_entry:
        yield descriptor
        for nested in descriptor.nested_types:
            yield from _with_nested(nested)


def _fill(message: Message, member: int, depth: int = 4) -> None:
    """Sets every field; of a oneof the `member`-th one, so that a few values of it see all."""
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1 and oneof.fields[member % len(oneof.fields)] is not field:
            continue
        if field.message_type is None:
            value = _scalar(field)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        elif depth:
            _fill_message(message, field, member, depth)


def _fill_message(message: Message, field: FieldDescriptor, member: int, depth: int) -> None:
    target = getattr(message, field.name)
    if field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
        if value.message_type is None:
            target[_scalar(key)] = _scalar(value)
        else:
            _fill(target[_scalar(key)], member, depth - 1)
    elif field.is_repeated:
        _fill(target.add(), member, depth - 1)
    else:
        target.SetInParent()
        _fill(target, member, depth - 1)


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return {FieldDescriptor.CPPTYPE_STRING: b"x" if field.type == FieldDescriptor.TYPE_BYTES else "x"}.get(
        field.cpp_type, 1
    )


def test_the_rules_of_every_message_compile(contract: Contract):
    validator = protovalidate.Validator()
    for message_type in message_types(contract):
        validator.collect_violations(message_type())


@pytest.mark.parametrize("member", range(5))
def test_the_rules_of_every_message_can_be_applied_to_every_field(contract: Contract, member: int):
    validator = protovalidate.Validator()
    for message_type in message_types(contract):
        message = message_type()
        _fill(message, member)
        validator.collect_violations(message)


@pytest.mark.parametrize("message_type", VALID, ids=lambda each: each.DESCRIPTOR.name)
def test_a_request_with_what_is_needed_is_valid(message_type: type[Message]):
    validate(request(message_type))


@pytest.mark.parametrize(
    ("message_type", "changes", "field"),
    INVALID,
    ids=[f"{each.DESCRIPTOR.name}-{field or '+'.join(changes)}" for each, changes, field in INVALID],
)
def test_an_invalid_request_is_refused_with_the_path_of_the_field(
    message_type: type[Message], changes: dict[str, Any], field: str
):
    with pytest.raises(InvalidArgumentError) as refused:
        validate(request(message_type, changes))
    assert field in [violation.field for violation in refused.value.violations]


def fields_of_requests(contract: Contract) -> list[Element]:
    """The fields of all requests and of the messages in them."""
    found: list[Element] = []
    seen: set[str] = set()
    todo = [contract.request(method) for method in contract.methods()]
    while todo:
        message = todo.pop()
        if message is None or message.name in seen | GIVEN_BACK:
            continue
        seen.add(message.name)
        for field in contract.fields(message):
            found.append(field)
            todo.append(contract.elements.get(field.proto.type_name.removeprefix(".")))
    return found


def test_every_text_in_a_request_has_a_longest_length(contract: Contract):
    unbounded = []
    for field in fields_of_requests(contract):
        rules = field_rules(field)
        text = rules.repeated.items.string if field.proto.label == FieldDescriptor.LABEL_REPEATED else rules.string
        bounded = text.max_len or text.max_bytes or text.pattern or rules.bytes.max_len or field.name in UNBOUNDED
        if field.proto.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES) and not bounded:
            unbounded.append(field.name)
    assert unbounded == []


def test_every_list_in_a_request_has_a_longest_length(contract: Contract):
    unbounded = [
        field.name
        for field in fields_of_requests(contract)
        if field.proto.label == FieldDescriptor.LABEL_REPEATED
        and not (field_rules(field).repeated.max_items or field_rules(field).map.max_pairs)
    ]
    assert unbounded == []


def test_every_enum_in_a_request_takes_defined_values_only(contract: Contract):
    open_ended = []
    for field in fields_of_requests(contract):
        rules = field_rules(field)
        choice = rules.repeated.items.enum if field.proto.label == FieldDescriptor.LABEL_REPEATED else rules.enum
        if field.proto.type == FieldDescriptor.TYPE_ENUM and not choice.defined_only:
            open_ended.append(field.name)
    assert open_ended == []
