from tools.api_docs import PAGE, render
from tools.contract import Contract


def test_the_api_reference_is_what_the_protos_say(contract: Contract):
    up_to_date = PAGE.read_text() == render(contract)
    assert up_to_date, "run `make docs`"


def test_the_api_reference_links_to_headings_that_exist(contract: Contract):
    page = render(contract)
    targets = {part.split('"', 1)[0] for part in page.split('<a id="')[1:]}
    links = {part.split(")", 1)[0] for part in page.split("](#caravan.")[1:]}
    assert {f"caravan.{link}" for link in links} <= targets
