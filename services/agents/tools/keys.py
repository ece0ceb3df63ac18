"""Keys of third parties: the tool's own, else the request's, else the service's."""

from pydantic import SecretStr

from services.agents.tools.tool import ToolError
from services.core.provider_data import current_provider_data


def api_key(tool: str, own: str, configured: SecretStr | None) -> str:
    """Returns the key to call a third party with. Call it while the request's provider data is current.

    Args:
        tool: Name of the tool; the request's key is `<tool>_api_key` in its provider data.
        own: The key in the tool's definition; empty: none.
        configured: The key in the service's settings.

    Raises:
        ToolError: There is none.
        InvalidArgumentError: The provider data is no JSON object.
    """
    name = f"{tool}_api_key"
    brought = current_provider_data().get(name)
    found = (
        own or (brought if isinstance(brought, str) else "") or (configured.get_secret_value() if configured else "")
    )
    if not found:
        places = f"the tool's api_key, the request's provider data ({name}), or the service's settings"
        message = f"there is no key for {tool}: put one into {places}"
        raise ToolError(message)
    return found
