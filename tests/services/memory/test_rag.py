"""Retrieval as a tool, through the gateway, on each store."""

import json

import pytest

from caravan.errors import FailedPreconditionError, InvalidArgumentError, UnavailableError
from caravan.messages import text_of
from tests.services.memory.stack import outcomes, text
from tests.support.http_endpoint import http_endpoint

ANIMALS = [
    text("cat", "The cat purrs on the sofa.", metadata={"by": "Ann"}),
    text("dog", "The dog barks at the postman."),
]


@pytest.fixture
async def animals(stack, bank):
    assert outcomes(await stack.client.memory.rag_insert(bank, ANIMALS)) == ["inserted", "inserted"]
    return bank


async def test_the_context_names_the_documents_between_a_header_and_a_footer(stack, animals):
    response = await stack.client.memory.rag_query(animals, "Who purrs?")
    lines = text_of(response.content).splitlines()
    assert lines[0].startswith("Here are the retrieved documents")
    assert lines[1].endswith("START-RETRIEVED-CONTEXT ===")
    assert lines[2] == "id:cat; content:The cat purrs on the sofa."
    assert lines[-1].endswith("END-RETRIEVED-CONTEXT ===")
    assert response.query == "Who purrs?"
    assert [chunk.document_id for chunk in response.chunks] == ["cat", "dog"]
    assert len(response.scores) == len(response.hit_details) == 2


async def test_chunks_are_cut_as_the_call_says(stack, bank):
    words = " ".join(f"word{n}" for n in range(100))
    (result,) = await stack.client.memory.rag_insert(bank, text("a", words), chunk_size_in_tokens=20)
    assert result.chunk_count > 5
    (again,) = await stack.client.memory.rag_insert(bank, text("a", words), chunk_size_in_tokens=20)
    assert outcomes([again]) == ["unchanged"]
    (other,) = await stack.client.memory.rag_insert(bank, text("a", words), chunk_size_in_tokens=40)
    assert outcomes([other]) == ["updated"]
    assert other.chunk_count < result.chunk_count


async def test_what_a_document_says_is_never_a_template(stack, bank):
    await stack.client.memory.insert(
        bank, text("evil", "Say {{document_id}} {{metadata.by}} \\1 {{", metadata={"by": "{{content}}"})
    )
    config = {
        "context_template": {"header": "{{content}}", "chunk": "{{ index }} {{metadata.by}}|{{content}}", "footer": ""}
    }
    response = await stack.client.memory.rag_query(bank, "Say", config)
    assert text_of(response.content) == "{{content}}\n1 {{content}}|Say {{document_id}} {{metadata.by}} \\1 {{\n"


async def test_a_template_that_names_nothing_there_is_refused(stack, animals):
    with pytest.raises(InvalidArgumentError, match="context_template"):
        await stack.client.memory.rag_query(animals, "x", {"context_template": {"chunk": "{{secret}}"}})


async def test_the_context_stays_within_its_tokens(stack, animals):
    template = {"header": "", "footer": "", "chunk": "{{content}}"}
    many = await stack.client.memory.rag_query(animals, "Who purrs?", {"context_template": template})
    assert len(many.chunks) == 2
    config = {"context_template": template, "max_tokens_in_context": 10}
    one = await stack.client.memory.rag_query(animals, "Who purrs?", config)
    assert [chunk.document_id for chunk in one.chunks] == ["cat"]
    config["max_tokens_in_context"] = 4
    cut = await stack.client.memory.rag_query(animals, "Who purrs?", config)
    assert text_of(cut.content) == "The cat purr\n"


async def test_nothing_found_is_no_context(stack, animals):
    response = await stack.client.memory.rag_query(animals, "x", {"params": {"score_threshold": 5}})
    assert not response.HasField("content")


async def test_the_default_query_is_the_text_with_a_separator(stack, animals):
    content = [{"type": "text", "text": "Who"}, {"type": "text", "text": "purrs?"}]
    assert (await stack.client.memory.rag_query(animals, content)).query == "Who purrs?"
    config = {"query_generator_config": {"type": "default", "separator": "+"}}
    assert (await stack.client.memory.rag_query(animals, content, config)).query == "Who+purrs?"


async def test_an_endpoint_of_the_callers_writes_the_query(stack, animals):
    with http_endpoint() as site:
        site.says({"query": "who barks?"})
        config = {"query_generator_config": {"type": "custom", "endpoint": {"url": {"uri": f"{site.url}/query"}}}}
        response = await stack.client.memory.rag_query(animals, "And the other one?", config)
        assert response.query == "who barks?"
        assert response.chunks[0].document_id == "dog"
        assert json.loads(site.seen[0].body) == {"messages": [{"role": "user", "content": "And the other one?"}]}
        site.says({"no": "query"})
        site.answers.popleft()
        with pytest.raises(UnavailableError) as refused:
            await stack.client.memory.rag_query(animals, "x", config)
        assert refused.value.reason == "NO_QUERY"


async def test_a_model_that_is_not_there_cannot_write_the_query(stack, animals):
    config = {"query_generator_config": {"type": "llm", "model": "nobody", "template": "{{messages}}"}}
    with pytest.raises(FailedPreconditionError) as refused:
        await stack.client.memory.rag_query(animals, "x", config)
    assert refused.value.reason == "QUERY_MODEL_UNKNOWN"
    config["query_generator_config"]["template"] = "no place for them"
    with pytest.raises(InvalidArgumentError, match="messages"):
        await stack.client.memory.rag_query(animals, "x", config)
