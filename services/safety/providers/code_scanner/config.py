"""Configuration and parameters of `inline::code-scanner`."""

from typing import Annotated, Literal

from pydantic import Field

from services.safety.parameters import ShieldParams
from services.safety.provider import ServedShield, ShieldProviderConfig

Language = Literal["python", "javascript", "typescript", "java", "go", "c", "cpp", "php", "ruby", "bash", "sql"]
Severity = Literal["low", "medium", "high"]
LANGUAGES: frozenset[Language] = frozenset(
    ["python", "javascript", "typescript", "java", "go", "c", "cpp", "php", "ruby", "bash", "sql"]
)


class CodeScannerParams(ShieldParams):
    """Parameters of a shield that scans code. Findings of high severity are errors, of medium warnings, of low infos."""

    languages: frozenset[Language] = LANGUAGES
    """Languages that are scanned."""
    min_severity: Severity = "medium"
    """Least severity that is reported."""
    disabled_rules: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]] = Field(
        default_factory=list, max_length=256
    )
    """Rules whose findings are not reported, for instance `B311` or `js-html`."""


class CodeScannerConfig(ShieldProviderConfig):
    """Shields that scan code; one is served by itself, called `code-scanner`."""

    type: Literal["inline::code-scanner"] = "inline::code-scanner"
    """Kind of the provider."""
    shields: list[ServedShield] = Field(default_factory=lambda: [ServedShield(shield_id="code-scanner")])
    """Shields to serve without being asked to load them."""
    processes: int = Field(default=1, ge=1, le=64)
    """Processes that scan, each one text at a time."""
    scan_seconds: float = Field(default=10.0, gt=0, le=300)
    """Longest time in seconds for one text, its wait for a process included; what takes longer cannot be judged."""
    control_seconds: float = Field(default=300.0, ge=1, le=86_400)
    """Time between two positive controls: insecure code of every language that must be found."""
