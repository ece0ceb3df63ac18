"""Finding replicas by name, and reaching them over TLS."""

import asyncio

import grpc
import pytest

from caravan.inference.v1 import inference_pb2_grpc
from caravan.registry.v1 import models_pb2, models_pb2_grpc
from gateway.settings import GatewaySettings
from services.core.errors import FailedPreconditionError
from tests.gateway.conftest import eventually
from tests.gateway.replica import Replica
from tests.gateway.test_proxy import answered_by, chat, refusal, stream
from tests.support.certificates import Authority


async def test_replicas_come_and_go_with_the_addresses_of_a_name(make_gateway, make_replica):
    first = await make_replica(listen="127.0.0.2:0")
    port = first.address.rpartition(":")[2]
    second = await make_replica(listen=f"127.0.0.3:{port}")
    known = ["127.0.0.2"]

    async def resolve(host, wanted):
        assert (host, str(wanted)) == ("echo.caravan.svc", port)
        if not known:
            raise OSError(-2, "Name or service not known")
        return list(known)

    gateway = await make_gateway({"echo": [f"dns:///echo.caravan.svc:{port}"]}, resolve=resolve)
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    assert await _answering(stub) == {first.address}
    models = models_pb2_grpc.ModelsServiceStub(gateway.channel())
    await models.RegisterModel(models_pb2.RegisterModelRequest(model_id="mine"))
    known.append("127.0.0.3")
    await eventually(lambda: _are(stub, {first.address, second.address}))
    await eventually(lambda: "mine" in second.loaded)
    known.remove("127.0.0.2")
    await eventually(lambda: _are(stub, {second.address}))
    known.clear()
    await eventually(lambda: gateway.worker._follower.view.provider("echo").warnings)
    assert await _answering(stub) == {second.address}, "a name server that fails takes no replica away"


async def test_a_replica_that_allows_few_streams_a_connection_gets_more_connections(make_gateway):
    replica = Replica()
    replica.options = [("grpc.max_concurrent_streams", 3)]
    await replica.start()
    gateway = await make_gateway({"echo": [replica]})
    stub = inference_pb2_grpc.InferenceServiceStub(gateway.channel())
    calls = [stub.StreamChatCompletion(stream("hang")) for _ in range(12)]
    await asyncio.gather(*(call.read() for call in calls))
    assert replica.running == 12
    for call in calls:
        call.cancel()
    await eventually(lambda: not replica.running)
    await replica.stop()


async def _answering(stub):
    return {(await answered_by(stub, f"{number}")) for number in range(12)}


async def _are(stub, addresses):
    return await _answering(stub) == addresses


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


async def test_tls_on_both_sides_with_certificates_of_both_ends(make_gateway, make_replica, authority):
    server, client = authority.issue("server"), authority.issue("client")
    ca = authority.cert.read_bytes()
    pair = [(server.key.read_bytes(), server.cert.read_bytes())]
    credentials = grpc.ssl_server_credentials(pair, ca, require_client_auth=True)
    replica = await make_replica(credentials=credentials)
    gateway = await make_gateway(
        {"echo": [replica]},
        tls={"cert": server.cert, "key": server.key, "client_ca": authority.cert},
        upstream_tls={"ca": authority.cert, "cert": client.cert, "key": client.key},
    )
    own = grpc.ssl_channel_credentials(ca, client.key.read_bytes(), client.cert.read_bytes())
    async with grpc.aio.secure_channel(gateway.address, own) as channel:
        response = await inference_pb2_grpc.InferenceServiceStub(channel).ChatCompletion(chat())
        assert response.completion_message.content.items[0].text.startswith(replica.address)
        await models_pb2_grpc.ModelsServiceStub(channel).RegisterModel(models_pb2.RegisterModelRequest(model_id="mine"))
    async with grpc.aio.secure_channel(gateway.address, grpc.ssl_channel_credentials(ca)) as channel:
        error = await refusal(inference_pb2_grpc.InferenceServiceStub(channel).ChatCompletion(chat(), timeout=5))
        assert error.code() == grpc.StatusCode.UNAVAILABLE


async def test_a_replica_with_a_certificate_of_somebody_else_gets_no_calls(
    make_gateway, make_replica, authority, tmp_path
):
    (tmp_path / "other").mkdir()
    server = Authority(tmp_path / "other", "other").issue("server")
    credentials = grpc.ssl_server_credentials([(server.key.read_bytes(), server.cert.read_bytes())])
    replica = await make_replica(credentials=credentials)
    gateway = await make_gateway({"echo": [replica]}, upstream_tls={"ca": authority.cert})
    error = await refusal(inference_pb2_grpc.InferenceServiceStub(gateway.channel()).ChatCompletion(chat()))
    assert error.code() == grpc.StatusCode.UNAVAILABLE
    assert not replica.calls


async def test_tls_files_that_are_no_certificates_are_told_at_the_start(make_gateway, tmp_path):
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    with pytest.raises(FailedPreconditionError, match="files are wrong"):
        await make_gateway({}, tls={"cert": nonsense, "key": nonsense})


def test_two_providers_with_one_id_are_refused():
    providers = [{"provider_id": "p", "addresses": "a:1"}, {"provider_id": "p", "addresses": "b:1"}]
    with pytest.raises(ValueError, match="two are called 'p'"):
        GatewaySettings(redis_url="redis://127.0.0.1:1/0", providers=providers)
