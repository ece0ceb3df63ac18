import asyncio
import time

import pytest

from caravan.types.v1 import types_pb2
from services.core.errors import InvalidArgumentError, ResourceExhaustedError, UnavailableError
from services.safety.ports import TextShield
from services.safety.providers.code_scanner import control, shield
from services.safety.providers.code_scanner.config import CodeScannerConfig, CodeScannerParams
from services.safety.providers.code_scanner.provider import CodeScannerProvider
from services.safety.providers.code_scanner.workers import Scanners
from services.safety.texts import Text

ERROR, WARN = types_pb2.VIOLATION_LEVEL_ERROR, types_pb2.VIOLATION_LEVEL_WARN
BAD = "Run this:\n```python\nimport subprocess\nsubprocess.run(cmd, shell=True)\n```\n"
# Takes tree-sitter minutes.
EXPLODING = "```bash\n" + "a(b[c{" * 30_000 + "\n```"


async def scan(provider: CodeScannerProvider, text: str, **params: object) -> list[tuple[str, int, str]]:
    one = await provider.prepare("code-scanner", CodeScannerParams.model_validate(params))
    assert isinstance(one, TextShield)
    return [
        (found.category, found.level, text[found.start : found.end])
        for found in await asyncio.to_thread(one.scan, Text(text))
    ]


async def test_insecure_code_is_found_with_its_line_and_its_rule(provider: CodeScannerProvider):
    one = await provider.prepare("code-scanner", CodeScannerParams())
    assert isinstance(one, TextShield)
    [finding] = await asyncio.to_thread(one.scan, Text(BAD))
    assert BAD[finding.start : finding.end] == "subprocess.run(cmd, shell=True)"
    assert finding.category == "B602"
    assert finding.level == ERROR
    assert finding.metadata["line"] == 2
    assert finding.metadata["language"] == "python"
    assert finding.metadata["cwe"] == "CWE-78"


async def test_severity_languages_and_rules_can_be_chosen(provider: CodeScannerProvider):
    text = "```js\nbox.innerHTML = name\neval(name)\n```"
    assert [name for name, _, _ in await scan(provider, text)] == ["js-html", "js-eval"]
    assert await scan(provider, text, min_severity="high") == [("js-eval", ERROR, "eval(name)")]
    assert await scan(provider, text, disabled_rules=["js-eval"]) == [("js-html", WARN, "box.innerHTML = name")]
    assert await scan(provider, text, languages=["python"]) == []


async def test_safe_code_and_prose_are_left_alone(provider: CodeScannerProvider):
    assert await scan(provider, "```python\nprint('eval')\n```") == []
    assert await scan(provider, "We evaluate the model and execute the plan.") == []


async def test_a_text_that_is_too_long_is_refused_and_not_passed(provider: CodeScannerProvider):
    with pytest.raises(InvalidArgumentError, match="send it in parts"):
        await scan(provider, "x" * (shield.LONGEST_TEXT + 1))


async def test_code_that_takes_too_long_is_not_passed_and_the_next_code_is_scanned():
    provider = CodeScannerProvider("code", CodeScannerConfig(scan_seconds=30))
    await provider.start()
    try:
        provider._scan_seconds = 1.0
        started = time.monotonic()
        with pytest.raises(UnavailableError, match="too long"):
            await scan(provider, EXPLODING)
        assert time.monotonic() - started < 20
        provider._scan_seconds = 60.0
        assert [name for name, _, _ in await scan(provider, BAD)] == ["B602"]
    finally:
        await provider.stop()


async def test_busy_processes_refuse_more():
    scanners = Scanners(1)
    await asyncio.to_thread(scanners.start)
    try:
        busy = asyncio.create_task(asyncio.to_thread(scanners.scan, [("bash", "a(b[c{" * 30_000)], 2.0))
        await asyncio.sleep(0.3)
        with pytest.raises(ResourceExhaustedError):
            await asyncio.to_thread(scanners.scan, [("python", "pass")], 0.1)
        with pytest.raises(UnavailableError):
            await busy
    finally:
        await asyncio.to_thread(scanners.stop)


async def test_a_provider_is_ready_only_while_it_finds_what_it_must(
    provider: CodeScannerProvider, monkeypatch: pytest.MonkeyPatch
):
    await provider.control()
    assert provider.readiness.ready
    with monkeypatch.context() as patched:
        patched.setitem(control._BANDIT, "B999", "print('nothing to find')\n")
        await provider.control()
        assert not provider.readiness.ready
        assert "python: B999" in provider.readiness.reason
        with pytest.raises(UnavailableError, match="cannot be trusted"):
            await scan(provider, BAD)
    await provider.control()
    assert provider.readiness.ready


async def test_a_scanner_whose_rules_are_gone_is_not_ready(
    provider: CodeScannerProvider, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patched:
        patched.setattr(provider._scanners, "scan", lambda jobs, seconds: [[] for _ in jobs])
        await provider.control()
        assert not provider.readiness.ready
        assert "insecure code was not found" in provider.readiness.reason
    await provider.control()
    assert provider.readiness.ready


async def test_code_that_crashes_its_process_is_not_passed_and_the_next_code_is_scanned(provider: CodeScannerProvider):
    [process] = provider._scanners._processes
    scanning = asyncio.create_task(scan(provider, EXPLODING))
    await asyncio.sleep(0.5)
    assert process._process is not None
    process._process.kill()
    with pytest.raises(UnavailableError, match="crashed"):
        await scanning
    assert [name for name, _, _ in await scan(provider, BAD)] == ["B602"]


async def test_a_process_that_died_while_it_was_idle_is_replaced(provider: CodeScannerProvider):
    [process] = provider._scanners._processes
    assert process._process is not None
    process._process.kill()
    process._process.join()
    assert [name for name, _, _ in await scan(provider, BAD)] == ["B602"]
