"""Memory with real models: an agent that answers from a document, and what a language model tells of one."""

from collections.abc import Iterator
from itertools import count

import pytest

import caravan
from caravan.messages import text_of
from services.memory.facts import entity_key
from tests.support.processes import CHAT_MODEL
from tests.support.stack import Stack

TEXT = (
    "Ada Lovelace wrote the first program for the Analytical Engine. Charles Babbage designed the Analytical Engine in London. "
    "Ada Lovelace and Charles Babbage were friends."
)
FERRIES = "The ferry to Zelmora leaves at nine from pier four."
EMBEDDING_MODEL = "all-MiniLM-L6-v2"
_numbers = count(1)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def client(stack: Stack) -> Iterator[caravan.Client]:
    with caravan.Client(stack.target) as client:
        yield client.with_options(timeout=120)


@pytest.fixture
def bank(client: caravan.Client) -> Iterator[str]:
    """A graph bank whose entities the demo model tells."""
    bank_id = f"told-{next(_numbers)}"
    params = {"memory_bank_type": "graph", "extraction_model": CHAT_MODEL.name}
    client.memory_banks.register(bank_id, params)
    yield bank_id
    client.memory_banks.unregister(bank_id)


def test_an_agent_answers_from_a_document_inserted_a_moment_before(client: caravan.Client) -> None:
    client.memory_banks.register("ferries", {"memory_bank_type": "vector", "embedding_model": EMBEDDING_MODEL})
    tool = {"type": "memory", "memory_bank_configs": [{"type": "vector", "bank_id": "ferries"}]}
    agent = client.agents.create({"model": CHAT_MODEL.name, "sampling_params": {"max_tokens": 32}, "tools": [tool]})
    session = client.agents.create_session(agent.agent_id)
    client.memory.insert("ferries", {"document_id": "timetable", "content": FERRIES})
    turn = client.agents.turn(agent.agent_id, session.session_id, "When does the ferry to Zelmora leave?")
    (chunk,) = turn.steps[0].memory_retrieval.chunks
    assert (chunk.document_id, text_of(chunk.content)) == ("timetable", FERRIES)
    assert "nine" in text_of(turn.output_message)
    client.memory_banks.unregister("ferries")


def test_a_graph_bank_takes_a_document_whose_entities_a_real_model_tells(client: caravan.Client, bank: str) -> None:
    (result,) = client.memory.insert(bank, {"document_id": "engine", "content": TEXT})
    assert result.chunk_count == 1
    told = list(client.memory.graph.entities(bank))
    names = [entity.name for entity in told]
    assert names
    # How good the model is at it is another matter; that it keeps to the form is not.
    assert all(name == name.strip() and 0 < len(name) <= 256 for name in names)
    keys = {entity_key(name) for name in names}
    assert len(keys) == len(names)
    statistics = client.memory.statistics(bank)
    assert statistics.entity_count == len(names)
    for relation in client.memory.graph.relations(bank):
        assert {entity_key(relation.subject), entity_key(relation.object)} <= keys
        assert relation.relation_type
    found = client.memory.query(bank, "Who designed the Analytical Engine?", max_chunks=1)
    assert [chunk.document_id for chunk in found.chunks] == ["engine"]
