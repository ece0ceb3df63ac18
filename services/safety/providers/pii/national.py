"""National identifiers of persons: their forms, the words beside them, and python-stdnum's checks of their digits.

An identifier that is only digits is found by one in ten numbers of its length, so a bare number counts only beside a word that names it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from stdnum.at import vnr
from stdnum.au import tfn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ch_ssn
from stdnum.cn import ric
from stdnum.cz import rc
from stdnum.de import idnr
from stdnum.dk import cpr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.ie import pps
from stdnum.in_ import aadhaar, pan
from stdnum.it import codicefiscale
from stdnum.kr import rrn
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.pt import cc
from stdnum.ro import cnp
from stdnum.se import personnummer
from stdnum.tr import tckimlik
from stdnum.us import itin
from stdnum.us import ssn as us_ssn
from stdnum.za import idnr as za_idnr

from services.safety.expressions import Expression

_BARE, _FORMED, _SELF_TELLING = 0.3, 0.75, 0.9
WITH_CONTEXT = 0.95
_NINO_PREFIXES_NOT_USED = frozenset(["BG", "GB", "NK", "KN", "TN", "NT", "ZZ"])


@dataclass(frozen=True, slots=True)
class NationalId:
    """One kind of identifier."""

    category: str
    """What it is, for instance `us_ssn`."""
    country: str
    """The country that gives it out, ISO 3166-1."""
    form: str
    """Expression of the forms in which it is written."""
    is_valid: Callable[[str], bool]
    """Checks the digits."""
    words: str
    """Expression of words that name it."""
    score: float = _FORMED
    """How sure it is without such a word, where it is not only digits."""

    def score_of(self, value: str) -> float:
        """How sure a valid value is without a word that names it."""
        return _BARE if value.isdigit() else self.score


def _is_nino(value: str) -> bool:
    """UK national insurance number: https://www.gov.uk/hmrc-internal-manuals/national-insurance-manual/nim39110."""
    return value[:2].upper() not in _NINO_PREFIXES_NOT_USED


NATIONAL_IDS = (
    NationalId("us_ssn", "US", r"\d{3}[- ]\d{2}[- ]\d{4}|\d{9}", us_ssn.is_valid, r"ssn|social security|taxpayer"),
    NationalId("us_itin", "US", r"9\d{2}[- ][5-9]\d[- ]\d{4}|9\d{8}", itin.is_valid, r"itin|taxpayer"),
    NationalId(
        "uk_nino",
        "GB",
        r"(?i)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]",
        _is_nino,
        r"national insurance|nino|ni number|\bni\b",
    ),
    NationalId("uk_nhs", "GB", r"\d{3}[- ]\d{3}[- ]\d{4}|\d{10}", nhs.is_valid, r"nhs", 0.4),
    NationalId("de_tax_id", "DE", r"\d{2} \d{3} \d{3} \d{3}|\d{11}", idnr.is_valid, r"steuer|tax id|idnr|tin\b"),
    NationalId(
        "fr_nir",
        "FR",
        r"[12] ?\d{2} ?(?:0\d|1[0-2]|[2-9]\d) ?(?:\d{2}|2[ABab]) ?\d{3} ?\d{3} ?\d{2}",
        nir.is_valid,
        r"nir\b|sécurité sociale|securite sociale|insee|social security",
    ),
    NationalId("es_dni", "ES", r"\d{8}[- ]?[A-Za-z]", dni.is_valid, r"dni|nif|identidad"),
    NationalId("es_nie", "ES", r"[XYZxyz][- ]?\d{7}[- ]?[A-Za-z]", nie.is_valid, r"nie\b|extranjero"),
    NationalId(
        "it_fiscal_code",
        "IT",
        r"(?i)[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]",
        codicefiscale.is_valid,
        r"codice fiscale|fiscal",
        _SELF_TELLING,
    ),
    NationalId("nl_bsn", "NL", r"\d{4}\.\d{2}\.\d{3}|\d{9}", bsn.is_valid, r"bsn|burgerservice|sofi"),
    NationalId("pl_pesel", "PL", r"\d{11}", pesel.is_valid, r"pesel"),
    NationalId(
        "se_personnummer",
        "SE",
        r"(?:\d{2})?\d{6}[-+]\d{4}|\d{10}|\d{12}",
        personnummer.is_valid,
        r"personnummer|personal identity",
    ),
    NationalId(
        "no_fodselsnummer", "NO", r"\d{6} ?\d{5}", fodselsnummer.is_valid, r"fødselsnummer|fodselsnummer|personnummer"
    ),
    NationalId("dk_cpr", "DK", r"\d{6}-?\d{4}", cpr.is_valid, r"cpr|personnummer", 0.4),
    NationalId("fi_hetu", "FI", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Z]", hetu.is_valid, r"hetu|henkilötunnus", _SELF_TELLING),
    NationalId("br_cpf", "BR", r"\d{3}\.\d{3}\.\d{3}-\d{2}|\d{11}", cpf.is_valid, r"cpf", _SELF_TELLING),
    NationalId("in_aadhaar", "IN", r"[2-9]\d{3} \d{4} \d{4}|[2-9]\d{11}", aadhaar.is_valid, r"aadhaar|aadhar|uidai"),
    NationalId("in_pan", "IN", r"[A-Z]{3}[PCHFATBLJG][A-Z]\d{4}[A-Z]", pan.is_valid, r"pan\b|permanent account", 0.6),
    NationalId("au_tfn", "AU", r"\d{3} \d{3} \d{3}|\d{8,9}", tfn.is_valid, r"tfn|tax file", 0.4),
    NationalId("ca_sin", "CA", r"\d{3}[- ]\d{3}[- ]\d{3}|\d{9}", sin.is_valid, r"\bsin\b|social insurance", 0.6),
    NationalId("ch_ahv", "CH", r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}", ch_ssn.is_valid, r"ahv|avs|social security"),
    NationalId("at_svnr", "AT", r"\d{4}[ -]?\d{6}", vnr.is_valid, r"svnr|sozialversicherung|versicherungsnummer", 0.4),
    NationalId(
        "be_nn",
        "BE",
        r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}|\d{11}",
        nn.is_valid,
        r"rijksregister|registre national|national number|niss|insz",
    ),
    NationalId("ie_pps", "IE", r"\d{7}[A-W][A-IW]?", pps.is_valid, r"pps", 0.6),
    NationalId("pt_cc", "PT", r"\d{8} ?\d ?[A-Z0-9]{2}\d", cc.is_valid, r"cartão de cidadão|cartao de cidadao|cidadão"),
    NationalId("cz_rc", "CZ", r"\d{6}/\d{3,4}", rc.is_valid, r"rodné číslo|rodne cislo|rč"),
    NationalId("ro_cnp", "RO", r"[1-8]\d{12}", cnp.is_valid, r"cnp|cod numeric"),
    NationalId("mx_curp", "MX", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d", curp.is_valid, r"curp", _SELF_TELLING),
    NationalId("cn_ric", "CN", r"\d{17}[0-9Xx]", ric.is_valid, r"身份证|居民|identity card|resident identity"),
    NationalId("kr_rrn", "KR", r"\d{6}-?[1-8]\d{6}", rrn.is_valid, r"주민등록|resident registration"),
    NationalId("za_id", "ZA", r"\d{13}", za_idnr.is_valid, r"id number|identity number|south african"),
    NationalId("tr_tckn", "TR", r"[1-9]\d{10}", tckimlik.is_valid, r"t\.?c\.? ?kimlik|kimlik|tckn"),
)


@cache
def form(national_id: NationalId) -> Expression:
    """Returns the expression that finds an identifier, as group 1."""
    return Expression(rf"(?:^|[^0-9A-Za-z_.,+/#=-])({national_id.form})(?:$|[^0-9A-Za-z_])")


@cache
def words(national_id: NationalId) -> Expression:
    """Returns the expression that finds the words that name an identifier."""
    return Expression(national_id.words, ignore_case=True)
