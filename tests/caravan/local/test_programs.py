import tomllib

from caravan.local.layout import claim
from caravan.local.parts import Surroundings, parts
from caravan.local.plan import Model, Wish
from caravan.local.programs import Programs


def test_settings_reach_the_processes_as_files(tmp_path, monkeypatch):
    monkeypatch.setenv("CARAVAN_LISTEN", "0.0.0.0:1")
    monkeypatch.setenv("CARAVAN_LOG_LEVEL", "debug")
    with claim(tmp_path) as layout:
        programs = Programs(Wish(workers=2), layout, offline=True)
        around = Surroundings("127.0.0.1:8321", "unix:///s", tmp_path, "token")
        gateway = programs.gateway("unix:///s", {"vllm": "127.0.0.1:7"})
        vllm = programs.provider(parts(Model("/m", local=True), around)[0], "")
    settings = tomllib.loads((tmp_path / "config" / "gateway.toml").read_text())
    assert settings["providers"] == [{"provider_id": "vllm", "addresses": ["127.0.0.1:7"]}]
    assert (settings["workers"], settings["redis_url"]) == (2, "unix:///s")
    assert "CARAVAN_LISTEN" not in gateway.environment  # the plan decides
    assert gateway.environment["CARAVAN_LOG_LEVEL"] == "debug"
    assert vllm.environment["HF_HUB_OFFLINE"] == "1"
