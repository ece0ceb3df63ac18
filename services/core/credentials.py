"""The server's TLS credentials, read again when their files change: certificates are renewed while a service runs."""

import grpc
import structlog

from services.core.settings import TlsSettings

_log = structlog.get_logger(__name__)


def server_credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    """Returns credentials that follow the files of `tls`; new connections get what the files hold then.

    Raises:
        OSError: A file cannot be read.
    """
    files = _Files(tls)
    initial = files.read()
    return grpc.dynamic_ssl_server_credentials(
        initial,
        files.read_if_changed,  # type: ignore[arg-type] # it may return None, which its type does not tell
        require_client_authentication=tls.client_ca is not None,
    )


class _Files:
    """The files, and which version of them was read. gRPC asks for every handshake, from threads of its own."""

    def __init__(self, tls: TlsSettings) -> None:
        self._tls = tls
        self._paths = [path for path in (tls.cert, tls.key, tls.client_ca) if path is not None]
        self._seen: list[tuple[int, int]] = []

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Reads the files."""
        self._seen = self._version()
        authorities = self._tls.client_ca.read_bytes() if self._tls.client_ca else None
        pair = (self._tls.key.read_bytes(), self._tls.cert.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=authorities)

    def read_if_changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Reads the files if they are not those that were read last; None keeps what is in use."""
        try:
            if self._version() == self._seen:
                return None
            return self.read()
        except OSError as error:
            # In the middle of a renewal, perhaps: the next connection asks again.
            _log.warning("certificates_not_readable", error=str(error))
            return None

    def _version(self) -> list[tuple[int, int]]:
        return [(status.st_mtime_ns, status.st_ino) for status in (path.stat() for path in self._paths)]
