import pytest

from caravan.memory.v1 import query_generator_pb2
from caravan.types.v1 import types_pb2
from services.core.errors import FailedPreconditionError, InvalidArgumentError
from services.core.fetch import FetchLimits
from services.memory.content import of_text
from services.memory.query_generators import QueryGenerators
from tests.services.memory.loopback import Models, gateway_of
from tests.support.http_endpoint import http_endpoint


@pytest.fixture
def models():
    return Models()


@pytest.fixture
async def generators(models):
    async with gateway_of(models) as gateway:
        yield QueryGenerators(gateway, FetchLimits(allow_private=True))


def llm(template, model="judge"):
    return query_generator_pb2.QueryGeneratorConfig(llm={"model": model, "template": template})


def custom(url):
    return query_generator_pb2.QueryGeneratorConfig(custom={"endpoint": {"url": {"uri": url}}})


async def test_a_model_writes_the_query_by_a_template(generators, models):
    query = await generators.query(of_text("Pets?"), llm("Search for:\n{{ messages }}\nQuery:"), "config")
    assert query == "cats and dogs"
    assert models.prompts == ["Search for:\nuser: Pets?\nQuery:"]


async def test_what_the_user_says_is_no_template(generators, models):
    await generators.query(of_text("{{messages}} \\1 {{secret}}"), llm("{{messages}} {{secret}}"), "config")
    assert models.prompts == ["user: {{messages}} \\1 {{secret}} {{secret}}"]


async def test_a_model_that_writes_nothing_is_told(generators, models):
    models.says = " \n"
    with pytest.raises(FailedPreconditionError) as refused:
        await generators.query(of_text("x"), llm("{{messages}}"), "config")
    assert refused.value.reason == "NO_QUERY"
    with pytest.raises(FailedPreconditionError) as unknown:
        await generators.query(of_text("x"), llm("{{messages}}", "nobody"), "config")
    assert unknown.value.reason == "QUERY_MODEL_UNKNOWN"


async def test_images_go_to_an_endpoint_beside_the_text(generators):
    content = of_text("What is this?")
    content.items.add(image=types_pb2.Image(data=b"x"))
    with http_endpoint() as site:
        site.says({"query": " a cat "})
        assert await generators.query(content, custom(f"{site.url}/q"), "config") == "a cat"
        said = site.seen[0].json["messages"][0]["content"]
    assert [next(iter(item)) for item in said] == ["text", "image"]


async def test_a_private_endpoint_is_refused_unless_the_settings_allow_it(models):
    async with gateway_of(models) as gateway:
        generators = QueryGenerators(gateway, FetchLimits())
        with http_endpoint() as site, pytest.raises(InvalidArgumentError, match="private"):
            await generators.query(of_text("x"), custom(f"{site.url}/q"), "config")
        assert site.seen == []
