from collections.abc import AsyncIterator

import pytest

from services.safety.providers.code_scanner.config import CodeScannerConfig
from services.safety.providers.code_scanner.provider import CodeScannerProvider


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[CodeScannerProvider]:
    """A provider with one process."""
    provider = CodeScannerProvider("code", CodeScannerConfig(scan_seconds=30))
    await provider.start()
    yield provider
    await provider.stop()
