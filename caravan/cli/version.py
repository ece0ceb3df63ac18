"""`caravan version`: this client's version and the gateway's."""

import json
from importlib import metadata

from caravan.cli.session import Session, with_session
from caravan.errors import RpcError


@with_session
def version(session: Session) -> None:
    """Tell the version of this client and, when it answers, of the gateway."""
    own = metadata.version("caravan")
    try:
        gateway = session.client.with_options(timeout=5).version()
    except RpcError as error:
        gateway, note = "", error.message
    else:
        note = ""
    if session.json:
        session.write(json.dumps({"client": own, "gateway": gateway or None}) + "\n")
    else:
        session.write(f"client   {own}\ngateway  {gateway or note}\n")
