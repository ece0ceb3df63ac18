"""Forms of secrets that their issuers made recognizable.

Those of detect-secrets (https://github.com/Yelp/detect-secrets) are taken from its plugins where they hold up: its own pipeline reads
0.05 MB/s, its expressions under RE2 hundreds. Left out are plugins whose expressions also match words and hashes (Artifactory, Cloudant,
IBM Cloud IAM, SoftLayer, Twilio) and those that need lookaround. The others are from the issuers' documentation.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.ibm_cos_hmac import IbmCosHmacDetector
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.openai import OpenAIDetector
from detect_secrets.plugins.pypi_token import PypiTokenDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector

from services.safety.expressions import Expression

_BEFORE, _BEHIND = r"(?:^|[^A-Za-z0-9_])", r"(?:$|[^A-Za-z0-9_])"


@dataclass(frozen=True, slots=True)
class Detector:
    """One form."""

    category: str
    """What it is, for instance `aws_access_key`."""
    title: str
    """Its name for people."""
    expression: Expression
    """Finds it."""
    group: int = 0
    """Group of the expression that is the secret."""
    score: float = 0.95
    """How sure it is."""


_PLUGINS: tuple[tuple[type[RegexBasedDetector], str, str], ...] = (
    (AWSKeyDetector, "aws_access_key", "AWS access key"),
    (AzureStorageKeyDetector, "azure_storage_key", "Azure storage account key"),
    (DiscordBotTokenDetector, "discord_bot_token", "Discord bot token"),
    (GitHubTokenDetector, "github_token", "GitHub token"),
    (IbmCosHmacDetector, "ibm_cos_credentials", "IBM Cloud Object Storage credentials"),
    (MailchimpDetector, "mailchimp_key", "Mailchimp key"),
    (OpenAIDetector, "openai_key", "OpenAI key"),
    (PypiTokenDetector, "pypi_token", "PyPI token"),
    (SendGridDetector, "sendgrid_key", "SendGrid key"),
    (SlackDetector, "slack_token", "Slack token or webhook"),
    (SquareOAuthDetector, "square_oauth_secret", "Square OAuth secret"),
    (StripeDetector, "stripe_key", "Stripe key"),
    (TelegramBotTokenDetector, "telegram_bot_token", "Telegram bot token"),
)
_LOOKBEHIND = r"(?:(?<=\W)|(?<=^))"
_LOOKAHEAD = r"(?![a-f0-9])"

_TOKENS = (
    # category, title, expression of the token itself
    ("age_secret_key", "age secret key", r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),
    ("anthropic_key", "Anthropic key", r"sk-ant-[A-Za-z0-9_-]{20,300}"),
    ("databricks_token", "Databricks token", r"dapi[a-f0-9]{32}(?:-\d)?"),
    ("digitalocean_token", "DigitalOcean token", r"do[opr]_v1_[a-f0-9]{64}"),
    (
        "discord_webhook",
        "Discord webhook",
        r"https://discord(?:app)?\.com/api/webhooks/\d{15,22}/[A-Za-z0-9_-]{40,100}",
    ),
    ("github_token", "GitHub token", r"github_pat_[A-Za-z0-9_]{70,100}"),
    ("gitlab_token", "GitLab token", r"gl(?:pat|dt|ft|soat|rt|cbt|ptt|oas|agent|imt)-[A-Za-z0-9_-]{20,300}"),
    ("google_api_key", "Google API key", r"AIza[A-Za-z0-9_-]{35}"),
    ("google_oauth_secret", "Google OAuth secret", r"GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{20,400}"),
    ("groq_key", "Groq key", r"gsk_[A-Za-z0-9]{52}"),
    ("hugging_face_token", "Hugging Face token", r"hf_[A-Za-z0-9]{34}"),
    ("json_web_token", "JSON Web Token", r"eyJ[A-Za-z0-9_-]{10,400}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]+)?"),
    ("npm_token", "npm token", r"npm_[A-Za-z0-9]{36}"),
    ("nvidia_key", "NVIDIA key", r"nvapi-[A-Za-z0-9_-]{60,80}"),
    ("openai_key", "OpenAI key", r"sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,300}"),
    ("shopify_token", "Shopify token", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}"),
    ("stripe_key", "Stripe key", r"[rs]k_(?:live|test)_[0-9a-zA-Z]{20,120}|whsec_[A-Za-z0-9]{32}"),
    ("twilio_key", "Twilio key", r"SK[0-9a-f]{32}"),
    ("vault_token", "Vault token", r"hv[sb]\.[A-Za-z0-9_-]{24,400}"),
    ("xai_key", "xAI key", r"xai-[A-Za-z0-9]{70,90}"),
)
_HINTS = (
    r"A3T[A-Z0-9]|A[BCKS]IA[0-9A-Z]|(?i:\baws)|AccountKey=|\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]|gh[a-z]_|github_pat_|-us\d|\bsk-|pypi-|SG\."
    r"|(?i:secret[-_]?(?:access)?[-_]?key|xox[abposr]-|hooks\.slack|authorization)|sq0csp|[rs]k_(?:live|test)_|whsec_|\d:[A-Za-z0-9_-]"
    r"|AGE-SECRET|dapi[a-f0-9]|do[opr]_v1_|api/webhooks/|\bgl[a-z]{2,5}-|AIza|GOCSPX-|ya29\.|gsk_|hf_|eyJ|npm_|nvapi-|shp[a-z]{2}_|\bSK[0-9a-f]"
    r"|hv[sb]\.|xai-|PRIVATE KEY|PuTTY"
)
_HEADER = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"


@cache
def detectors() -> tuple[Detector, ...]:
    """Returns all forms; compiled once."""
    return (*_of_plugins(), *_of_tokens(), *_of_contexts())


@cache
def hints() -> Expression:
    """Returns the expression of which every text with a secret of these forms has a match; small, and so fast on any text."""
    return Expression(_HINTS)


def _of_plugins() -> Iterator[Detector]:
    for plugin, category, title in _PLUGINS:
        made: Any = plugin()
        for pattern in made.denylist:
            # RE2 has no lookaround: what is before or behind is matched too, and the secret is the group.
            source = pattern.pattern.replace(_LOOKBEHIND, r"(?:^|\W)").replace(_LOOKAHEAD, "(?:[^a-f0-9]|$)")
            ignore_case = bool(pattern.flags & 2)
            if source != pattern.pattern or (pattern.groups and ignore_case):
                yield Detector(category, title, Expression(source, ignore_case=ignore_case), group=1)
            else:
                edged = f"{_BEFORE}({source}){_BEHIND}"
                yield Detector(category, title, Expression(edged, ignore_case=ignore_case), group=1)


def _of_tokens() -> Iterator[Detector]:
    for category, title, source in _TOKENS:
        yield Detector(category, title, Expression(f"{_BEFORE}({source}){_BEHIND}"), group=1)


def _of_contexts() -> Iterator[Detector]:
    # Line ends may be written as `\n`, in JSON and in code. A key that was cut off has no footer.
    body = r"(?:[A-Za-z0-9+/=\s:,-]|\\[rn])*?"
    footer = r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    line = r"(?:\s|\\[rn])*(?:[A-Za-z0-9+/]{32,}={0,2}|[A-Za-z0-9+/]{2,}={1,2}|(?:Proc-Type|DEK-Info|Version|Comment): [^\n\\]{1,100})"
    yield Detector("private_key", "Private key", Expression(f"{_HEADER}(?:{body}{footer}|(?:{line})*)"))
    putty = r"PuTTY-User-Key-File-\d:(?:[^\x00]{0,1000}?Private-Lines: \d+\s+(?:[A-Za-z0-9+/=]{20,}\s*)*)?"
    yield Detector("private_key", "PuTTY private key", Expression(putty))
    header = r"authorization[\"']?\s{0,4}[:=]\s{0,4}[\"']?(?:bearer|basic|token)\s{1,4}([A-Za-z0-9._~+/=-]{16,500})"
    yield Detector("authorization_header", "Credentials in a header", Expression(header, ignore_case=True), 1, 0.8)
