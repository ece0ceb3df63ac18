from pathlib import Path
from typing import Any

import grpc
import pytest

from caravan.inference.v1 import inference_pb2_grpc
from services.core.channels import ClientTlsSettings, open_channel
from services.core.errors import FailedPreconditionError
from services.core.settings import TlsSettings
from tests.services.core.loopback import chat_request, failure, serving
from tests.support.certificates import Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls_of(authority: Authority, *, clients: bool = False) -> TlsSettings:
    pair = authority.issue("server")
    return TlsSettings(cert=pair.cert, key=pair.key, client_ca=authority.cert if clients else None)


def inference(channel: grpc.aio.Channel) -> Any:
    return inference_pb2_grpc.InferenceServiceStub(channel)


async def test_tls_serves_who_trusts_the_authority(authority: Authority) -> None:
    trusting = ClientTlsSettings(ca=authority.cert)
    async with serving(tls=tls_of(authority)) as running, open_channel(running.address, trusting) as channel:
        await inference(channel).ChatCompletion(chat_request())


async def test_tls_does_not_serve_plain_text_nor_who_trusts_somebody_else(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "another authority")
    async with serving(tls=tls_of(authority)) as running:
        for trusted in (None, ClientTlsSettings(ca=other.cert)):
            async with open_channel(running.address, trusted) as channel:
                error = await failure(inference(channel).ChatCompletion(chat_request(), timeout=5))
                assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_mtls_asks_for_the_clients_certificate(authority: Authority, tmp_path: Path) -> None:
    client, stranger = authority.issue("client"), Authority(tmp_path, "another authority").issue("stranger")
    async with serving(tls=tls_of(authority, clients=True)) as running:
        known = ClientTlsSettings(ca=authority.cert, cert=client.cert, key=client.key)
        async with open_channel(running.address, known) as channel:
            await inference(channel).ChatCompletion(chat_request())
        unknown = ClientTlsSettings(ca=authority.cert, cert=stranger.cert, key=stranger.key)
        for refused in (ClientTlsSettings(ca=authority.cert), unknown):
            async with open_channel(running.address, refused) as channel:
                error = await failure(inference(channel).ChatCompletion(chat_request(), timeout=5))
                assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_another_name_in_the_certificate_can_be_given(authority: Authority) -> None:
    pair = authority.issue("server")
    async with serving(tls=TlsSettings(cert=pair.cert, key=pair.key)) as running:
        named = ClientTlsSettings(ca=authority.cert, server_name="localhost")
        async with open_channel(running.address, named) as channel:
            await inference(channel).ChatCompletion(chat_request())


async def test_a_renewed_certificate_serves_new_connections(authority: Authority, tmp_path: Path) -> None:
    tls, other = tls_of(authority), Authority(tmp_path, "another authority")

    async def served(trusted: Authority) -> grpc.StatusCode:
        async with open_channel(running.address, ClientTlsSettings(ca=trusted.cert)) as channel:
            call = inference(channel).ChatCompletion(chat_request(), timeout=5)
            code: grpc.StatusCode = await call.code()
            return code

    async with serving(tls=tls) as running:
        assert await served(authority) is grpc.StatusCode.OK
        other.issue("server")  # the same files
        assert await served(authority) is grpc.StatusCode.UNAVAILABLE
        assert await served(other) is grpc.StatusCode.OK
        tls.key.unlink()
        assert await served(other) is grpc.StatusCode.OK


async def test_files_that_are_no_certificates_are_told(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    with pytest.raises(FailedPreconditionError):
        async with serving(tls=TlsSettings(cert=nonsense, key=nonsense)):
            pass
