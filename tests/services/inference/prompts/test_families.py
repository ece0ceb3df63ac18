"""Conversations for the chat templates of other families, rendered by a template as Hugging Face runs it."""

from transformers import PreTrainedTokenizerFast

from caravan.types.v1 import types_pb2
from services.inference.prompts.families import is_llama3, to_template_messages, to_template_tools
from tests.services.inference.conversation import assistant, call, parameter, system, tool, tool_response, user
from tests.services.inference.prompts.test_encoding import TOKENS, make_tokenizer

# Shaped like the templates of the Hermes and Qwen families.
TEMPLATE = """\
{%- if messages[0].role == 'system' %}<sys>{{ messages[0].content }}
{%- for tool in tools or [] %}<tool>{{ tool | tojson }}</tool>{% endfor %}</sys>{% endif -%}
{%- for message in messages %}
{%- if message.role == 'system' and not loop.first %}{{ raise_exception('system must come first') }}{% endif -%}
{%- if message.role == 'user' %}<user>{{ message.content }}</user>{% endif -%}
{%- if message.role == 'assistant' %}<bot>{{ message.content }}
{%- for call in message.tool_calls or [] %}<call>{{ call.function.name }}{{ call.function.arguments | tojson }}</call>{% endfor %}</bot>
{%- endif -%}
{%- if message.role == 'tool' %}<result>{{ message.name }}: {{ message.content }}</result>{% endif -%}
{%- endfor %}"""


def test_llama3_is_known_by_its_control_tokens():
    assert is_llama3(make_tokenizer().get_vocab())
    assert not is_llama3({"<|im_start|>": 0, "<|im_end|>": 1})
    assert not is_llama3(set(TOKENS) - {"<|eot_id|>"})


def test_a_chat_template_renders_the_conversation():
    tokenizer: PreTrainedTokenizerFast = make_tokenizer()
    messages = [
        system("Be brief."),
        user("hi", context=["ctx"]),
        system("Be kind."),
        assistant(calls=[call("f", {"n": 1, "s": "it's"})]),
        tool_response("ok", name="f"),
    ]
    rendered = tokenizer.apply_chat_template(
        to_template_messages(messages),
        tools=to_template_tools([tool("f", "Does it.", n=parameter("int"))]),
        chat_template=TEMPLATE,
        tokenize=False,
    )
    assert rendered == (
        "<sys>Be brief.\n\nBe kind."
        '<tool>{"type": "function", "function": {"name": "f", "description": "Does it.", "parameters": {"type": "object", '
        '"properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false}}}</tool></sys>'
        '<user>hi\n\nctx</user><bot><call>f{"n": 1, "s": "it\'s"}</call></bot><result>f: ok</result>'
    )


def test_images_are_placeholders_in_their_place():
    image = types_pb2.Image(data=b"x")
    assert to_template_messages([user("a", image, "b")])[0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "image"},
        {"type": "text", "text": "b"},
    ]
