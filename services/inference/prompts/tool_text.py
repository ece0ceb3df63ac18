"""What Llama 3 models are told about tools: the texts that they were trained on.

Sources:
    Python lists, function tags, the environment lines: https://github.com/meta-llama/llama-models, `models/llama3_1/prompt_format.md`,
    `models/llama3_2/text_prompt_format.md` and `models/llama3_3/prompt_format.md`.
    JSON: the chat template that Meta publishes with Llama 3.1 Instruct on Hugging Face. It shows whole JSON Schemas; the older text in
    `prompt_format.md` drops the parameters' types. The answer's form names `type` too, as that document's answers and our contract do.
"""

import json
from collections.abc import Sequence
from datetime import date

from caravan.types.v1 import types_pb2
from services.inference.tool_calls import builtin, json_values
from services.inference.tool_calls.json_values import JsonObject
from services.inference.tool_calls.schema import is_required, parameter_names, parameter_schema, parameters_schema

_JSON_HEAD = """\
Given the following functions, please respond with a JSON for a function call with its proper arguments that best answers the given prompt.

Respond in the format {"type": "function", "name": function name, "parameters": dictionary of argument name and its value}. \
Do not use variables.

"""

_FUNCTION_TAG_HEAD = """\
You have access to the following functions:

"""

_FUNCTION_TAG_TAIL = """\


Think very carefully before calling functions.
If you choose to call a function ONLY reply in the following format with no prefix or suffix:

<function=example_function_name>{"example_name": "example_value"}</function>

Reminder:
- If looking for real time information use relevant functions before falling back to brave_search
- Function calls MUST follow the specified format, start with <function= and end with </function>
- Required parameters MUST be specified
- Only call one function at a time
- Put the entire function call reply on one line"""

_PYTHON_LIST_HEAD = """\
You are an expert in composing functions. You are given a question and a set of possible functions.
Based on the question, you will need to make one or more function/tool calls to achieve the purpose.
If none of the function can be used, point it out. If the given question lacks the parameters required by the function,
also point it out. You should only return the function call in tools call sections.

If you decide to invoke any of the function(s), you MUST put it in the format of \
[func_name1(params_name1=params_value1, params_name2=params_value2...), func_name2(params)]
You SHOULD NOT include any other text in the response.

"""

_PYTHON_LIST_DEFINITIONS = """\
Here is a list of functions in JSON format that you can invoke.

"""


def environment(tools: Sequence[types_pb2.ToolDefinition]) -> str:
    """The lines that switch built-in tools on; empty without tools. The code interpreter is on by `Environment: ipython` alone."""
    if not tools:
        return ""
    names = [tool.tool_name for tool in builtin.split(tools)[0] if tool.tool_name != builtin.CODE_INTERPRETER]
    return "Environment: ipython\n" + (f"Tools: {', '.join(names)}" if names else "") + "\n"


def dates(today: date) -> str:
    """The lines that say what the model knows of the calendar."""
    return f"Cutting Knowledge Date: December 2023\nToday Date: {today:%d %B %Y}\n"


def instructions(tools: Sequence[types_pb2.ToolDefinition], tool_format: types_pb2.ToolPromptFormat.ValueType) -> str:
    """The whole text that offers custom tools: how to call them, and their definitions.

    Args:
        tools: Custom tools, at least one.
        tool_format: Form in which the model is to call them.
    """
    if tool_format == types_pb2.TOOL_PROMPT_FORMAT_FUNCTION_TAG:
        return _FUNCTION_TAG_HEAD + definitions(tools, tool_format) + _FUNCTION_TAG_TAIL
    if tool_format == types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST:
        return _PYTHON_LIST_HEAD + definitions(tools, tool_format)
    return _JSON_HEAD + definitions(tools, tool_format)


def definitions(tools: Sequence[types_pb2.ToolDefinition], tool_format: types_pb2.ToolPromptFormat.ValueType) -> str:
    """The definitions of custom tools alone, as they stand in a caller's own template; empty without tools."""
    if not tools:
        return ""
    if tool_format == types_pb2.TOOL_PROMPT_FORMAT_FUNCTION_TAG:
        return "\n\n".join(map(_tag_definition, tools))
    if tool_format == types_pb2.TOOL_PROMPT_FORMAT_PYTHON_LIST:
        return _PYTHON_LIST_DEFINITIONS + _indented([_python_definition(tool) for tool in tools])
    return "\n\n".join(_indented(_json_definition(tool)) for tool in tools)


def demand(tool_config: types_pb2.ToolConfig | None) -> str:
    """The sentence that asks for a call when the tool choice demands one; empty otherwise. Guided decoding enforces it."""
    if tool_config is None:
        return ""
    if tool_config.tool_name:
        return f"You MUST use the tool `{tool_config.tool_name}` to answer the user query."
    if tool_config.tool_choice == types_pb2.TOOL_CHOICE_REQUIRED:
        return "You MUST use one of the provided functions/tools to answer the user query."
    return ""


def _json_definition(tool: types_pb2.ToolDefinition) -> JsonObject:
    schema = parameters_schema(tool)
    del schema["additionalProperties"]
    function = {"name": tool.tool_name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}


def _tag_definition(tool: types_pb2.ToolDefinition) -> str:
    definition = {
        "name": tool.tool_name,
        "description": tool.description,
        "parameters": {name: _tag_parameter(tool.parameters[name]) for name in parameter_names(tool)},
    }
    return f"Use the function '{tool.tool_name}' to '{tool.description}':\n{json_values.dumps(definition)}"


def _tag_parameter(parameter: types_pb2.ToolParamDefinition) -> JsonObject:
    described: JsonObject = {
        "description": parameter.description,
        "param_type": parameter.param_type,
        "required": is_required(parameter),
    }
    if parameter.HasField("schema"):
        described["schema"] = json_values.from_struct(parameter.schema)
    return described


def _python_definition(tool: types_pb2.ToolDefinition) -> JsonObject:
    names = parameter_names(tool)
    return {
        "name": tool.tool_name,
        "description": tool.description,
        "parameters": {
            "type": "dict",
            "required": [name for name in names if is_required(tool.parameters[name])],
            "properties": {name: _python_parameter(tool.parameters[name]) for name in names},
        },
    }


def _python_parameter(parameter: types_pb2.ToolParamDefinition) -> JsonObject:
    if parameter.HasField("schema"):
        return parameter_schema(parameter)
    described: JsonObject = {"type": parameter.param_type, "description": parameter.description}
    if parameter.HasField("default"):
        described["default"] = json_values.from_value(parameter.default)
    return described


def _indented(value: JsonObject | list[JsonObject]) -> str:
    return json.dumps(value, indent=4, ensure_ascii=False)
