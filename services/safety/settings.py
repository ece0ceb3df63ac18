"""Settings of the safety service."""

from typing import Annotated

from pydantic import Field, SecretStr

from services.core.gateway import CallingSettings
from services.safety.providers.code_scanner.config import CodeScannerConfig
from services.safety.providers.llama_guard.config import LlamaGuardConfig
from services.safety.providers.pii.config import PiiConfig
from services.safety.providers.prompt_guard.config import PromptGuardConfig
from services.safety.providers.remote_http.config import RemoteHttpConfig
from services.safety.providers.rules.config import RulesConfig
from services.safety.providers.secrets.config import SecretsConfig

ProviderConfig = Annotated[
    LlamaGuardConfig
    | PromptGuardConfig
    | CodeScannerConfig
    | SecretsConfig
    | PiiConfig
    | RulesConfig
    | RemoteHttpConfig,
    Field(discriminator="type"),
]


class SafetySettings(CallingSettings):
    """Settings of one replica of one safety provider."""

    provider: ProviderConfig = Field(description="What judges; `type` says which kind of shield it is.")
    shield_token: SecretStr | None = Field(
        default=None,
        description="Exempts the guards' own calls from shields that are always on; the inference service has the same. Unset: none.",
    )
