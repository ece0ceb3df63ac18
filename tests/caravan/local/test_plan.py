import socket

import pytest

from caravan.local import plan, store
from caravan.local.problems import StackError


def test_the_demo_model_is_the_default():
    model = plan.find_model(None)
    assert model.local
    assert model.source.endswith("models/caravan-chat")


def test_a_hugging_face_id_is_taken_as_it_is():
    assert plan.find_model("org/name") == plan.Model("org/name", local=False)


def test_a_folder_becomes_an_absolute_path(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert plan.find_model("./mine") == plan.Model(str(tmp_path / "mine"), local=True)
    assert plan.find_model("mine").local


@pytest.mark.parametrize("name", ["/no/such/folder", "./no", "~/no/such", "a/b/c"])
def test_a_path_that_does_not_exist_is_told(name):
    with pytest.raises(StackError, match="there is no model at"):
        plan.find_model(name)


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(StackError, match=r"holds no model: .* config\.json"):
        plan.find_model(str(tmp_path))


def test_a_port_that_is_taken_is_told():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(
            StackError, match="is in use; stop what listens there, or choose another address with --listen"
        ):
            plan.require_free(address, allow_insecure=False)


@pytest.mark.parametrize("listen", ["8321", "localhost", "localhost:x", "localhost:99999", "localhost:0"])
def test_an_address_that_is_none_is_told(listen):
    with pytest.raises(StackError, match="is not host:port"):
        plan.require_free(listen, allow_insecure=False)


def test_an_address_of_another_machine_is_told():
    with pytest.raises(StackError, match="is no address to listen on here"):
        plan.require_free("203.0.113.9:8321", allow_insecure=False)


def test_other_machines_may_only_come_in_when_that_is_meant():
    with pytest.raises(StackError, match="--allow-insecure"):
        plan.require_free("0.0.0.0:18321", allow_insecure=False)
    plan.require_free("0.0.0.0:18321", allow_insecure=True)


def test_a_missing_server_for_the_store_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(StackError, match=r"install one .* or name one that runs with --redis-url"):
        store.server_binary()


def test_missing_packages_say_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "vllm" else object())
    with pytest.raises(StackError, match=r"pip install 'caravan\[vllm\]'"):
        plan.require_packages()
