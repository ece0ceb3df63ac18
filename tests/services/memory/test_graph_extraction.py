"""Facts out of texts, by a model that says what the test says."""

import json

import pytest

from caravan.memory.v1 import query_pb2
from caravan.registry.v1 import memory_banks_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError
from services.memory.banks import Bank
from services.memory.chunking import Window
from services.memory.content import of_text
from services.memory.graph.extraction import Extraction
from services.memory.records import BankSpec, ChunkBatch
from services.memory.tokenizers import Tokenizers
from tests.services.memory.loopback import Models, gateway_of


@pytest.fixture
def models():
    return Models()


@pytest.fixture
async def extracted(models):
    async with gateway_of(models) as gateway:
        tokenizer = await Tokenizers({}, None).of_model(None)

        async def extracted(*texts, model="judge"):
            params = memory_banks_pb2.MemoryBankParams(graph={"extraction_model": model})
            bank = Bank("b", BankSpec("b", params), None, None, tokenizer, Window.of(512))
            batch = ChunkBatch([query_pb2.Chunk(content=of_text(text)) for text in texts])
            return await Extraction(gateway).facts_of(bank, batch)

        yield extracted


def says(entities=(), relations=()):
    return json.dumps(
        {
            "entities": [dict(zip(("name", "type", "description"), one, strict=True)) for one in entities],
            "relations": [dict(zip(("subject", "relation", "object"), one, strict=True)) for one in relations],
        }
    )


async def test_what_several_chunks_tell_of_one_entity_is_one_fact(extracted, models):
    models.says = says([("Ada", "person", "a mathematician")], [("ada", "knows", "Charles")])
    facts = await extracted("Ada {knew} Charles.", "Ada again.")
    assert {fact.key: fact.entity.description for fact in facts.entities} == {"ada": "a mathematician", "charles": ""}
    assert [(one.subject_key, one.relation.relation_type, one.object_key) for one in facts.relations] == [
        ("ada", "knows", "charles")
    ]
    assert sorted(facts.mentions) == [(0, "ada"), (0, "charles"), (1, "ada"), (1, "charles")]
    assert any("Ada {knew} Charles." in prompt for prompt in models.prompts)


async def test_what_is_no_name_is_left_out(extracted, models):
    models.says = says([("  ", "", ""), ("x" * 5000, "", ""), ("A\0da", "", "")], [("Ada", "", "b")])
    facts = await extracted("text")
    assert [fact.entity.name for fact in facts.entities] == ["Ada"]
    assert not facts.relations


@pytest.mark.parametrize(
    "answer", ["", "I see Ada.", '{"entities": [{"name"', "[]", '{"entities": 3, "relations": []}']
)
async def test_an_answer_in_another_form_is_a_clear_error(extracted, models, answer):
    models.says = answer
    with pytest.raises(FailedPreconditionError, match="judge") as refused:
        await extracted("text")
    assert refused.value.reason == "EXTRACTION_UNUSABLE"


async def test_of_an_answer_that_is_cut_off_what_came_before_counts(extracted, models):
    models.stop_reason = types_pb2.STOP_REASON_OUT_OF_TOKENS
    whole = says([("Ada", "", ""), ("Charles", "", "")], [("Ada", "knows", "Charles"), ("Ada", "likes", "Charles")])
    for end, entities, relations in (
        (whole.index('"Charles"') + 3, ["Ada"], 0),
        (whole.index("likes") + 2, ["Ada", "Charles"], 1),
        (len(whole) - 1, ["Ada", "Charles"], 1),
        (5, [], 0),
    ):
        models.says = whole[:end]
        facts = await extracted("text")
        assert [fact.entity.name for fact in facts.entities] == entities
        assert len(facts.relations) == relations
    for models.says in ("I see", "[1, 2", '{"entities": 3', '"text'):
        with pytest.raises(FailedPreconditionError) as refused:
            await extracted("text")
        assert refused.value.reason == "EXTRACTION_UNUSABLE"


async def test_a_model_is_checked_before_there_is_a_bank(models):
    async with gateway_of(models) as gateway:
        extraction = Extraction(gateway)
        await extraction.check("judge")
        with pytest.raises(
            FailedPreconditionError, match=r"params\.graph\.extraction_model: there is no model 'nobody'"
        ):
            await extraction.check("nobody")
        with pytest.raises(FailedPreconditionError, match="generates no text"):
            await extraction.check("vectors")


async def test_a_model_that_is_gone_is_a_clear_error(extracted):
    with pytest.raises(FailedPreconditionError, match="nobody") as refused:
        await extracted("text", model="nobody")
    assert refused.value.reason == "EXTRACTION_MODEL_UNKNOWN"
