"""Banks: opening, closing, dropping, and keeping apart."""

import asyncio
import contextlib

import pytest

from services.core.errors import AbortedError, CaravanError, FailedPreconditionError, NotFoundError
from services.memory.ports import Store
from services.memory.records import BankSpec, EntitySelection, Facts
from tests.conformance.memory.building import (
    DOT,
    Clock,
    chunk_ids,
    comparison,
    directions,
    document,
    entity,
    graph_spec,
    keyword_spec,
    new_id,
    pairs_spec,
    receipt,
    text_value,
    vector_spec,
    with_vectors,
    words,
)
from tests.conformance.memory.conftest import MakeStore

query = words


async def test_a_bank_that_is_not_open_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError) as caught:
        await store.search_vectors("nobody", directions(1)[0], 3)
    assert caught.value.reason == "BANK_NOT_OPEN"
    with pytest.raises(NotFoundError):
        await store.write_documents("nobody", [document("a")])
    with pytest.raises(NotFoundError):
        await store.statistics("nobody")


async def test_opening_an_open_bank_changes_nothing(store: Store) -> None:
    spec = keyword_spec()
    await store.open_bank(spec)
    await store.write_documents(spec.bank_id, [document("a", ["apple"])])
    await asyncio.gather(*(store.open_bank(spec) for _ in range(4)))
    assert len(await store.search_words(spec.bank_id, query("apple"), 5)) == 1


@pytest.mark.parametrize("still_open", [True, False])
async def test_a_bank_with_other_parameters_is_refused(store: Store, still_open: bool) -> None:
    bank_id = new_id("bank")
    await store.open_bank(vector_spec(bank_id))
    await store.write_documents(bank_id, [with_vectors("a")])
    if not still_open:
        await store.close_bank(bank_id)
    others: list[BankSpec] = [
        keyword_spec(bank_id),
        vector_spec(bank_id, dimension=8),
        vector_spec(bank_id, metric=DOT),
    ]
    for other in others:
        with pytest.raises(FailedPreconditionError) as caught:
            await store.open_bank(other)
        assert caught.value.reason == "BANK_DIFFERS"
    await store.open_bank(vector_spec(bank_id))
    assert len(await store.search_vectors(bank_id, directions(1)[0], 3)) == 1


async def test_a_closed_bank_is_there_again_when_it_is_opened(store: Store, clock: Clock) -> None:
    spec = vector_spec()
    await store.open_bank(spec)
    await store.write_documents(
        spec.bank_id, [with_vectors("a", 3, metadata={"x": 1}), with_vectors("b", 1, seed=2)], receipt("r")
    )
    await store.close_bank(spec.bank_id)
    await store.close_bank(spec.bank_id)
    with pytest.raises(NotFoundError):
        await store.list_documents(spec.bank_id, after="", limit=3)
    await store.open_bank(spec)
    matches = await store.search_vectors(spec.bank_id, directions(3)[2], 1, where=comparison("equal", "x", 1))
    assert await chunk_ids(store, spec.bank_id, matches) == ["a#2"]
    assert len(await store.search_words(spec.bank_id, query("piece"), 10)) == 4
    assert await store.find_receipt(spec.bank_id, "Insert", "r") is not None
    statistics = await store.statistics(spec.bank_id)
    assert (statistics.document_count, statistics.chunk_count) == (2, 4)


async def test_everything_is_there_after_a_restart(make_separate_store: MakeStore, clock: Clock) -> None:
    store = make_separate_store(clock)
    await store.start()
    specs = [vector_spec(), keyword_spec(), pairs_spec(), graph_spec()]
    for spec in specs:
        await store.open_bank(spec)
    vector, keyword, pairs, graph = (spec.bank_id for spec in specs)
    await store.write_documents(vector, [with_vectors(f"d{place}", 2, place) for place in range(20)])
    await store.write_documents(keyword, [document("k", ["apple tree"])])
    await store.put_value(pairs, "k", text_value("v"))
    await store.upsert_graph(graph, Facts([entity("a")]))
    await store.stop()

    store = make_separate_store(clock)
    await store.start()
    try:
        for spec in specs:
            await store.open_bank(spec)
        assert len(await store.search_vectors(vector, directions(1)[0], 100)) == 40
        assert len(await store.search_words(keyword, query("trees"), 5)) == 1
        assert (await store.get_values(pairs, ["k"]))["k"].value == text_value("v")
        assert [fact.key for fact in await store.list_entities(graph, EntitySelection(), 5)] == ["a"]
    finally:
        await store.stop()


async def test_a_dropped_bank_is_gone_and_a_new_one_of_its_name_is_empty(store: Store) -> None:
    spec = vector_spec()
    await store.open_bank(spec)
    await store.write_documents(spec.bank_id, [with_vectors("a", 2)], receipt("r"))
    await store.drop_bank(spec.bank_id)
    with pytest.raises(NotFoundError):
        await store.search_vectors(spec.bank_id, directions(1)[0], 3)
    other = keyword_spec(spec.bank_id)
    await store.open_bank(other)
    assert await store.list_documents(other.bank_id, after="", limit=5) == []
    assert await store.search_words(other.bank_id, query("piece"), 5) == []
    assert await store.find_receipt(other.bank_id, "Insert", "r") is None
    assert (await store.statistics(other.bank_id)).chunk_count == 0


async def test_dropping_what_does_not_exist_or_is_closed_is_no_error(store: Store) -> None:
    await store.drop_bank("nobody")
    spec = keyword_spec()
    await store.open_bank(spec)
    await store.write_documents(spec.bank_id, [document("a", ["apple"])])
    await store.close_bank(spec.bank_id)
    await store.drop_bank(spec.bank_id)
    await store.open_bank(spec)
    assert await store.search_words(spec.bank_id, query("apple"), 5) == []


async def test_calls_on_a_bank_that_is_dropped_end_as_before_or_are_aborted(store: Store) -> None:
    spec = vector_spec()
    await store.open_bank(spec)
    await store.write_documents(spec.bank_id, [with_vectors(f"d{place}", 2, place) for place in range(50)])
    outcomes: list[str] = []

    async def use(place: int) -> None:
        for step in range(30):
            try:
                if place % 2:
                    await store.write_documents(spec.bank_id, [with_vectors(f"n{place}-{step}", 1, step)])
                else:
                    matches = await store.search_vectors(spec.bank_id, directions(1, step)[0], 10)
                    await store.get_chunks(spec.bank_id, [match.key for match in matches])
                    await store.list_documents(spec.bank_id, after="", limit=20)
            except (AbortedError, NotFoundError) as error:
                outcomes.append(error.reason)
                return

    users = [asyncio.create_task(use(place)) for place in range(8)]
    await asyncio.sleep(0.05)
    await store.drop_bank(spec.bank_id)
    await asyncio.gather(*users)
    assert outcomes
    assert set(outcomes) <= {"BANK_NOT_OPEN", "BANK_DROPPED"}


async def test_two_banks_do_not_mix(store: Store) -> None:
    first, second = vector_spec(), vector_spec()
    for spec in (first, second):
        await store.open_bank(spec)
    await store.write_documents(first.bank_id, [with_vectors("a", 2, seed=1)])
    await store.write_documents(second.bank_id, [with_vectors("a", 1, seed=2), with_vectors("b", 1, seed=3)])
    assert len(await store.search_vectors(first.bank_id, directions(1)[0], 10)) == 2
    assert len(await store.search_words(second.bank_id, query("piece"), 10)) == 2
    assert await store.delete_chunks(first.bank_id, ["b#0"]) == 0
    (foreign, *_) = await store.search_vectors(second.bank_id, directions(1)[0], 10)
    shown = await store.get_chunks(first.bank_id, [foreign.key])
    assert all(one.chunk_id.startswith("a#") for one in shown.values())
    await store.drop_bank(second.bank_id)
    assert len(await store.search_vectors(first.bank_id, directions(1)[0], 10)) == 2


async def test_names_of_banks_may_be_any_text(store: Store) -> None:
    names = [new_id(name) for name in ("../../etc/passwd", "Größe 漢字", "a" * 200, "A:b@c/d", "a b\tc", "x';--")]
    for name in names:
        await store.open_bank(keyword_spec(name))
        await store.write_documents(name, [document("a", [name])])
    for name in names:
        assert len(await store.list_documents(name, after="", limit=5)) == 1
        await store.drop_bank(name)


async def test_a_cancelled_write_is_done_or_not_done(store: Store) -> None:
    spec = keyword_spec()
    await store.open_bank(spec)
    for round_ in range(10):
        writing = asyncio.create_task(
            store.write_documents(spec.bank_id, [document(f"{round_}-{place}", ["apple"]) for place in range(20)])
        )
        await asyncio.sleep(0.002 * round_)
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writing
    # Waits for what still runs: writes are done in turn.
    await store.write_documents(spec.bank_id, [document("last")])
    listed = [one.document_id for one in await store.list_documents(spec.bank_id, after="", limit=1000)]
    counts = {round_: sum(name.startswith(f"{round_}-") for name in listed) for round_ in range(10)}
    assert set(counts.values()) <= {0, 20}
    assert len(await store.search_words(spec.bank_id, query("apple"), 1000)) == sum(counts.values())


async def test_errors_have_one_root(store: Store) -> None:
    with pytest.raises(CaravanError):
        await store.purge("nobody", 10)
