"""Our messages and tools as those of OpenAI's chat completions API, and back.

Source: https://platform.openai.com/docs/api-reference/chat/create. The same shapes are what chat templates and vLLM's renderer take.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError
from services.inference.tool_calls import builtin, json_values
from services.inference.tool_calls.calls import arguments_of, make_call
from services.inference.tool_calls.json_values import JsonObject, JsonValue
from services.inference.tool_calls.schema import parameters_schema

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


def openai_messages(messages: Iterable[types_pb2.Message]) -> list[JsonObject]:
    """The messages of a conversation in OpenAI's form.

    Text alone becomes a string, text with images a list of parts. A user's context follows the content after an empty line.

    Args:
        messages: The conversation, oldest message first.

    Raises:
        InvalidArgumentError: `arguments_json` of a tool call is not a JSON object.
    """
    return [openai_message(message) for message in messages]


def openai_message(message: types_pb2.Message) -> JsonObject:
    """One message in OpenAI's form; see `openai_messages`."""
    match message.WhichOneof("role"):
        case "user":
            return {"role": "user", "content": openai_content(said_by_user(message.user))}
        case "tool":
            content = openai_content(message.tool.content.items)
            return {"role": "tool", "tool_call_id": message.tool.call_id, "content": content}
        case "assistant":
            return _openai_answer(message.assistant)
        case _:
            return {"role": "system", "content": openai_content(message.system.content.items)}


def openai_content(items: Sequence[types_pb2.InterleavedContentItem]) -> str | list[JsonObject]:
    """Content in OpenAI's form: a string, or parts where there are images."""
    if not any(item.HasField("image") for item in items):
        return "".join(item.text for item in items)
    return [
        {"type": "image_url", "image_url": {"url": image_uri(item.image)}}
        if item.HasField("image")
        else {"type": "text", "text": item.text}
        for item in items
    ]


def said_by_user(message: types_pb2.UserMessage) -> list[types_pb2.InterleavedContentItem]:
    """Everything that the model reads of a user's message: the content and, after an empty line, the context."""
    items = list(message.content.items)
    if message.context.items:
        separator = types_pb2.InterleavedContentItem(text="\n\n")
        items += [*([separator] if items else []), *message.context.items]
    return items


def image_uri(image: types_pb2.Image) -> str:
    """The address of an image; a `data:` URI for one that comes by value."""
    if image.HasField("url"):
        return image.url.uri
    kind = next((kind for signature, kind in _SIGNATURES if image.data.startswith(signature)), "image/png")
    return f"data:{kind};base64,{base64.b64encode(image.data).decode()}"


def openai_tools(tools: Iterable[types_pb2.ToolDefinition]) -> list[JsonObject]:
    """Tools in OpenAI's form. Built-in tools become functions of their names, with their one parameter and a description."""
    return [{"type": "function", "function": _openai_function(tool)} for tool in tools]


def _openai_function(tool: types_pb2.ToolDefinition) -> JsonObject:
    description = tool.description or builtin.DESCRIPTIONS.get(tool.tool_name, "")
    return {
        "name": tool.tool_name,
        **({"description": description} if description else {}),
        "parameters": parameters_schema(tool),
    }


def _openai_answer(message: types_pb2.CompletionMessage) -> JsonObject:
    content: str | list[JsonObject] | None = openai_content(message.content.items)
    if not message.tool_calls:
        return {"role": "assistant", "content": content}
    calls = [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.tool_name, "arguments": json_values.dumps(arguments_of(call))},
        }
        for call in message.tool_calls
    ]
    return {"role": "assistant", "content": content or None, "tool_calls": calls}


# From OpenAI's form ----------------------------------------------------------------------------------------------------


def from_openai_messages(messages: Sequence[Mapping[str, Any]]) -> list[types_pb2.Message]:
    """A conversation in OpenAI's form as our messages.

    `developer` counts as `system`, `function` as `tool`. A tool's message gets the name of the call that it answers.

    Args:
        messages: The conversation, oldest message first.

    Raises:
        InvalidArgumentError: A message is not as OpenAI's API has it, or holds what we have no place for, audio for instance.
    """
    names: dict[str, str] = {}
    converted: list[types_pb2.Message] = []
    for index, message in enumerate(messages):
        made = _from_openai_message(_object(message, f"messages[{index}]"), f"messages[{index}]", names)
        names.update({call.call_id: call.tool_name for call in made.assistant.tool_calls})
        converted.append(made)
    return converted


def from_openai_tools(tools: Sequence[Mapping[str, Any]]) -> list[types_pb2.ToolDefinition]:
    """Tools in OpenAI's form as our definitions; each parameter keeps its whole schema.

    References from one parameter's schema into another part of the tool's (`#/$defs/x`) keep their target: the definitions come along.

    Args:
        tools: Tools of type `function`.

    Raises:
        InvalidArgumentError: A tool is not as OpenAI's API has it.
    """
    return [_from_openai_tool(_object(tool, f"tools[{index}]"), f"tools[{index}]") for index, tool in enumerate(tools)]


def _from_openai_message(message: Mapping[str, Any], path: str, names: Mapping[str, str]) -> types_pb2.Message:
    content = _from_openai_content(message.get("content"), f"{path}.content")
    match message.get("role"):
        case "user":
            return types_pb2.Message(user=types_pb2.UserMessage(content=content))
        case "system" | "developer":
            return types_pb2.Message(system=types_pb2.SystemMessage(content=content))
        case "tool" | "function":
            call_id = _text(message.get("tool_call_id"), f"{path}.tool_call_id")
            name = _text(message.get("name"), f"{path}.name") or names.get(call_id, "")
            return types_pb2.Message(
                tool=types_pb2.ToolResponseMessage(call_id=call_id, tool_name=name, content=content)
            )
        case "assistant":
            return types_pb2.Message(assistant=_from_openai_answer(message, content, path))
        case _:
            raise _wrong(f"{path}.role", "must be system, developer, user, assistant or tool")


def _from_openai_answer(
    message: Mapping[str, Any], content: types_pb2.InterleavedContent, path: str
) -> types_pb2.CompletionMessage:
    calls = [
        _from_openai_call(_object(call, f"{path}.tool_calls[{index}]"), f"{path}.tool_calls[{index}]")
        for index, call in enumerate(_list(message.get("tool_calls"), f"{path}.tool_calls"))
    ]
    if refusal := _text(message.get("refusal"), f"{path}.refusal"):
        content.items.add(text=refusal)
    stop_reason = types_pb2.STOP_REASON_END_OF_MESSAGE if calls else types_pb2.STOP_REASON_END_OF_TURN
    return types_pb2.CompletionMessage(content=content, tool_calls=calls, stop_reason=stop_reason)


def _from_openai_call(call: Mapping[str, Any], path: str) -> types_pb2.ToolCall:
    function = _object(call.get("function"), f"{path}.function")
    name = _text(function.get("name"), f"{path}.function.name")
    if not name:
        raise _wrong(f"{path}.function.name", "must not be empty")
    given = function.get("arguments")
    given = given.strip() if isinstance(given, str) else given
    try:
        arguments = json_values.loads(given) if isinstance(given, str) and given else given or {}
    except ValueError as error:
        raise _wrong(f"{path}.function.arguments", f"must be JSON ({error})") from error
    if not isinstance(arguments, dict) or json_values.depth(arguments) > json_values.MAX_DEPTH:
        raise _wrong(
            f"{path}.function.arguments",
            f"must be the text of a JSON object at most {json_values.MAX_DEPTH} levels deep",
        )
    return make_call(_text(call.get("id"), f"{path}.id"), name, arguments)


def _from_openai_content(content: JsonValue, path: str) -> types_pb2.InterleavedContent:
    if isinstance(content, str):
        items = [types_pb2.InterleavedContentItem(text=content)] if content else []
    else:
        parts = _list(content, path)
        items = [_from_openai_part(_object(part, f"{path}[{i}]"), f"{path}[{i}]") for i, part in enumerate(parts)]
    return types_pb2.InterleavedContent(items=items)


def _from_openai_part(part: Mapping[str, Any], path: str) -> types_pb2.InterleavedContentItem:
    match part.get("type"):
        case "text":
            return types_pb2.InterleavedContentItem(text=_text(part.get("text"), f"{path}.text"))
        case "refusal":
            return types_pb2.InterleavedContentItem(text=_text(part.get("refusal"), f"{path}.refusal"))
        case "image_url":
            given = part.get("image_url")
            uri = given if isinstance(given, str) else _object(given, f"{path}.image_url").get("url")
            address = types_pb2.URL(uri=_text(uri, f"{path}.image_url.url"))
            return types_pb2.InterleavedContentItem(image=types_pb2.Image(url=address))
        case _:
            raise _wrong(f"{path}.type", "must be text or image_url")


def _from_openai_tool(tool: Mapping[str, Any], path: str) -> types_pb2.ToolDefinition:
    if tool.get("type", "function") != "function":
        raise _wrong(f"{path}.type", "must be function")
    function = _object(tool.get("function"), f"{path}.function")
    schema = _object(function.get("parameters") or {}, f"{path}.function.parameters")
    properties = _object(schema.get("properties") or {}, f"{path}.function.parameters.properties")
    required = _list(schema.get("required"), f"{path}.function.parameters.required")
    definition = types_pb2.ToolDefinition(
        tool_name=_text(function.get("name"), f"{path}.function.name"),
        description=_text(function.get("description"), f"{path}.function.description"),
    )
    shared: JsonObject = {key: schema[key] for key in ("$defs", "definitions") if key in schema}
    for name, given in properties.items():
        one = _object(given, f"{path}.function.parameters.properties.{name}")
        refers = shared and '"$ref"' in json_values.dumps(one)
        parameter = _parameter({**shared, **one} if refers else one, f"{path}.function.parameters.properties.{name}")
        parameter.required = name in required
        definition.parameters[name].CopyFrom(parameter)
    return definition


def _parameter(schema: JsonObject, path: str) -> types_pb2.ToolParamDefinition:
    if json_values.depth(schema) > json_values.MAX_DEPTH:
        raise _wrong(path, f"must not be nested more than {json_values.MAX_DEPTH} levels deep")
    kind, description = schema.get("type"), schema.get("description")
    parameter = types_pb2.ToolParamDefinition(
        param_type=kind if isinstance(kind, str) else "any",
        description=description if isinstance(description, str) else "",
    )
    if "default" in schema:
        parameter.default.CopyFrom(json_values.to_value(schema["default"]))
    if set(schema) - {"type", "description", "default"} or not isinstance(kind, str):
        parameter.schema.SetInParent()
        json_values.fill_struct(parameter.schema, schema)
    return parameter


def _object(value: object, path: str) -> JsonObject:
    if not isinstance(value, Mapping):
        raise _wrong(path, "must be an object")
    return dict(value)


def _list(value: object, path: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(path, "must be a list")
    return value


def _text(value: object, path: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _wrong(path, "must be a string")
    return value


def _wrong(path: str, description: str) -> InvalidArgumentError:
    return InvalidArgumentError.of(path, description)
