"""Page tokens: what they hold comes back, to the list that they were given for and to no other."""

import base64
import json

import pytest

from caravan.memory.v1 import memory_pb2
from services.core.errors import InvalidArgumentError
from services.core.paging import DEFAULT_PAGE, last_of, page_size, token_after

LIST = memory_pb2.ListDocumentsRequest(bank_id="b")


def test_a_page_has_as_many_entries_as_asked_for_or_the_usual_number() -> None:
    assert page_size(LIST) == DEFAULT_PAGE
    assert page_size(memory_pb2.ListDocumentsRequest(page_size=7)) == 7


def test_the_first_page_comes_after_nothing() -> None:
    assert last_of("", LIST, str) == []


def test_what_a_token_holds_comes_back_whatever_the_size_of_the_next_page() -> None:
    token = token_after(LIST, "zwölf\n", 3)
    next_page = memory_pb2.ListDocumentsRequest(bank_id="b", page_size=5, page_token=token)
    assert last_of(token, next_page, str, int) == ["zwölf\n", 3]
    assert last_of(token_after(("rows", 1), 9), ("rows", 1), int) == [9]


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "ü",
        base64.urlsafe_b64encode(b"{}").decode(),
        base64.urlsafe_b64encode(json.dumps(["0" * 16, "a"]).encode()).decode(),
        token_after(memory_pb2.ListDocumentsRequest(bank_id="another"), "a"),
        token_after(LIST),
        token_after(LIST, 1),
        token_after(LIST, "a", "b"),
    ],
)
def test_a_token_of_another_list_or_of_none_is_refused(token: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        last_of(token, LIST, str)
    assert refused.value.reason == "PAGE_TOKEN"


def test_a_number_below_zero_was_never_given() -> None:
    with pytest.raises(InvalidArgumentError):
        last_of(token_after(LIST, -1), LIST, int)
