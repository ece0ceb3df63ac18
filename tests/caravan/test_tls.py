import grpc
import pytest
from typer.testing import CliRunner

import caravan
from caravan import errors
from caravan.cli.app import app
from tests.caravan.loopback import Gateway
from tests.support.certificates import Authority


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def secured(authority):
    pair = authority.issue("server")
    credentials = grpc.ssl_server_credentials(
        [(pair.key.read_bytes(), pair.cert.read_bytes())], authority.cert.read_bytes(), require_client_auth=True
    )
    with Gateway(credentials) as server:
        yield server


def test_mutual_tls_lets_a_known_client_in(driver, secured, authority):
    pair = authority.issue("client")
    tls = caravan.TLS(ca=authority.cert, certificate=pair.cert, key=pair.key)
    client = driver.client(f"localhost:{secured.port}", tls=tls)
    assert driver.run(client.chat("m", "Hi")).text == "Hello, world."


def test_a_server_of_another_authority_is_not_trusted(driver, secured, tmp_path):
    (tmp_path / "other").mkdir()
    tls = caravan.TLS(ca=Authority(tmp_path / "other").cert)
    client = driver.client(f"localhost:{secured.port}", tls=tls, retry=caravan.RetryPolicy(attempts=1))
    with pytest.raises(errors.UnavailableError):
        driver.run(client.version())


def test_the_name_of_the_certificate_can_be_given(driver, secured, authority):
    pair = authority.issue("client")
    tls = caravan.TLS(authority.cert, pair.cert, pair.key, server_name="localhost")
    client = driver.client(f"127.0.0.1:{secured.port}", tls=tls)
    assert driver.run(client.version()) == "9.9.9"


def test_files_that_are_missing_are_named(driver, tmp_path):
    client = driver.client("localhost:1", tls=caravan.TLS(ca=tmp_path / "none.pem"))
    with pytest.raises(errors.InvalidInputError, match=r"cannot read .*none\.pem: No such file"):
        driver.run(client.version())
    client = driver.client("localhost:1", tls=caravan.TLS(certificate=tmp_path / "one.pem"))
    with pytest.raises(errors.InvalidInputError, match="give certificate and key together"):
        driver.run(client.version())


def test_the_command_takes_certificates(secured, authority):
    pair = authority.issue("client")
    options = ["--ca", str(authority.cert), "--cert", str(pair.cert), "--key", str(pair.key)]
    result = CliRunner().invoke(app, ["health", "--target", f"localhost:{secured.port}", *options])
    assert result.exit_code == 0, result.stderr
