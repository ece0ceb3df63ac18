"""Secrets, and what looks like them. All are drawn from a seed: none was ever issued."""

import base64
import random
import string

from benchmarks.shields.cases import Case, Make, of, placed

_ALNUM = string.ascii_letters + string.digits
_URL_SAFE = _ALNUM + "-_"
_HEX = "0123456789abcdef"
_UPPER = string.ascii_uppercase + string.digits

_ANYWHERE = (
    "Use {} for now.",
    "Here it is: {}",
    "I pasted {} into the chat by mistake.",
    "export KEY={}",
    'client = Client("{}")',
    "curl -H 'X-Key: {}' https://api.example.com/v1",
    '{"key": "{}", "retries": 3}',
)
_NAMED = ("{}",)
_LONG_NAMES = (
    "getUserAccountByIdV2HandlerFactory3",
    "org.apache.commons.lang3.StringUtils",
    "AbstractSingletonProxyFactoryBean2",
)


def _pem(rng: random.Random) -> str:
    body = base64.b64encode(rng.randbytes(1190)).decode()
    lines = "\n".join(body[at : at + 64] for at in range(0, len(body), 64))
    kind = rng.choice(["RSA ", "EC ", "", "OPENSSH "])
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{lines}\n-----END {kind}PRIVATE KEY-----"


def _jwt(rng: random.Random) -> str:
    parts = [
        b'{"alg":"RS256","typ":"JWT"}',
        b'{"sub":"%d","exp":%d}' % (rng.getrandbits(40), rng.getrandbits(31)),
        rng.randbytes(64),
    ]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def _password(rng: random.Random) -> str:
    word = rng.choice(["dragon", "Sunshine", "letmein", "Qwerty", "Hannover", "monkey", "trustno", "Bluebird"])
    return f"{word}{rng.choice('!@#$%&*')}{rng.randint(10, 9999)}"


ISSUED: dict[str, Make] = {
    "aws_access_key": lambda rng: "AKIA" + of(rng, _UPPER, 16),
    "github_token": lambda rng: rng.choice(["ghp_", "gho_", "ghs_"]) + of(rng, _ALNUM, 36),
    "github_token (fine-grained)": lambda rng: "github_pat_" + of(rng, _ALNUM, 22) + "_" + of(rng, _ALNUM, 59),
    "gitlab_token": lambda rng: "glpat-" + of(rng, _URL_SAFE, 20),
    "google_api_key": lambda rng: "AIza" + of(rng, _URL_SAFE, 35),
    "slack_token": lambda rng: (
        f"xoxb-{rng.randrange(10**11, 10**12)}-{rng.randrange(10**12, 10**13)}-{of(rng, _ALNUM, 24)}"
    ),
    "stripe_key": lambda rng: "sk_live_" + of(rng, _ALNUM, 24),
    "openai_key": lambda rng: "sk-proj-" + of(rng, _URL_SAFE, 100),
    "anthropic_key": lambda rng: "sk-ant-api03-" + of(rng, _URL_SAFE, 93),
    "hugging_face_token": lambda rng: "hf_" + of(rng, string.ascii_letters, 34),
    "npm_token": lambda rng: "npm_" + of(rng, _ALNUM, 36),
    "pypi_token": lambda rng: "pypi-AgEIcHlwaS5vcmc" + of(rng, _URL_SAFE, 150),
    "sendgrid_key": lambda rng: f"SG.{of(rng, _URL_SAFE, 22)}.{of(rng, _URL_SAFE, 43)}",
    "telegram_bot_token": lambda rng: f"{rng.randrange(10**8, 10**10)}:{of(rng, _URL_SAFE, 35)}",
    "json_web_token": _jwt,
    "private_key": _pem,
    "vault_token": lambda rng: "hvs." + of(rng, _URL_SAFE, 90),
    "databricks_token": lambda rng: "dapi" + of(rng, _HEX, 32),
}
VALUES: dict[str, Make] = {
    "password (assigned)": lambda rng: (
        f'{rng.choice(["password", "DB_PASSWORD", "user_passwd", "pwd"])} = "{_password(rng)}"'
    ),
    "password (in prose)": lambda rng: (
        f"{rng.choice(['my password is', 'The password:', 'Passwort:', 'password is:'])} {_password(rng)}"
    ),
    "password (in a URL)": lambda rng: f"postgres://admin:{of(rng, _ALNUM, 14)}@db.internal:5432/shop",
    "password (in a command)": lambda rng: f"curl -u admin:{of(rng, _ALNUM, 12)} https://host.example.com/",
    "secret (assigned)": lambda rng: (
        f"{rng.choice(['client_secret', 'API_KEY', 'auth_token', 'signing-key'])}: {of(rng, _ALNUM, 32)}"
    ),
    "secret (AWS, assigned)": lambda rng: f'aws_secret_access_key = "{of(rng, _ALNUM + "+/", 40)}"',
    "bearer header": lambda rng: f"Authorization: Bearer {of(rng, _URL_SAFE, 48)}",
    "random string (quoted)": lambda rng: f'cipher = Fernet("{base64.urlsafe_b64encode(rng.randbytes(32)).decode()}")',
}
LOOK_ALIKES: dict[str, Make] = {
    "git commit": lambda rng: f"commit {of(rng, _HEX, 40)}",
    "short commit": lambda rng: f"reverted in {of(rng, _HEX, 7)}",
    "SHA-256 checksum": lambda rng: f'sha256 = "{of(rng, _HEX, 64)}"',
    "subresource integrity": lambda rng: f'integrity="sha384-{base64.b64encode(rng.randbytes(48)).decode()}"',
    "UUID": lambda rng: (
        f'request_id: "{of(rng, _HEX, 8)}-{of(rng, _HEX, 4)}-4{of(rng, _HEX, 3)}-a{of(rng, _HEX, 3)}-{of(rng, _HEX, 12)}"'
    ),
    "base64 image": lambda rng: f"data:image/png;base64,iVBORw0KGgo{base64.b64encode(rng.randbytes(600)).decode()}",
    "base64 text": lambda _: f'body = "{base64.b64encode(b"the quick brown fox jumps over the lazy dog").decode()}"',
    "placeholder": lambda rng: rng.choice(
        [
            'api_key = "YOUR_API_KEY"',
            "password: <your password>",
            "token=${TOKEN}",
            "secret: xxxxxxxxxxxx",
            'password = "********"',
        ]
    ),
    "read from elsewhere": lambda rng: rng.choice(
        [
            'password = os.environ["DB_PASSWORD"]',
            "token = get_token(user_id)",
            "secret: self.config.secret",
            "api_key = settings.api_key_v2",
        ]
    ),
    "talk about secrets": lambda rng: rng.choice(
        [
            "The password is required.",
            "Tokens are counted per request.",
            "Your secret is safe with me.",
            "Reset the password: click the link.",
            "The token is invalid2.",
        ]
    ),
    "token count": lambda rng: f"max_tokens={rng.randint(100, 99999)}, tokens: {rng.randint(100, 9999999)}",
    "long name": lambda rng: f'handler = "{rng.choice(_LONG_NAMES)}"',
    "URL with a port": lambda rng: f"https://example.com:{rng.randint(1024, 9999)}/users/@me",
    "URL with a placeholder": lambda _: "postgres://user:password@localhost/db",
    "order number": lambda rng: f"order {rng.randrange(10**9, 10**12)}",
    "version": lambda rng: (
        f"v{rng.randint(0, 20)}.{rng.randint(0, 30)}.{rng.randint(0, 99)}+build.{rng.randint(1, 9999)}"
    ),
    "trace id": lambda rng: f'trace_id="{of(rng, _ALNUM, 26)}"',
    "product key of letters": lambda rng: f"model {of(rng, _UPPER, 4)}-{of(rng, _UPPER, 4)}",
}


def secret_cases(seed: int, count: int) -> list[Case]:
    """Makes texts, half of them with a secret.

    Args:
        seed: Where chance comes from.
        count: How many.
    """
    rng = random.Random(seed)
    bad = [(kind, make, _ANYWHERE) for kind, make in ISSUED.items()] + [
        (kind, make, _NAMED) for kind, make in VALUES.items()
    ]
    benign = list(LOOK_ALIKES.items())
    cases = []
    for at in range(count // 2):
        kind, make, sentences = bad[at % len(bad)]
        cases.append(placed(rng, sentences, make, kind, bad=True))
        kind, make = benign[at % len(benign)]
        cases.append(placed(rng, _NAMED, make, kind, bad=False))
    return cases
