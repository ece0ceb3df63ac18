"""Configuration and messages as they may be shown: credentials replaced by asterisks."""

import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import struct_pb2
from google.protobuf.message import Message
from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from caravan.options.v1 import options_pb2

MASK = "********"
M = TypeVar("M", bound=Message)
_URL_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):([^/@\s]+)@")


def masked(config: BaseModel) -> dict[str, Any]:
    """Returns the configuration as plain JSON data without credentials.

    Masked are `SecretStr`, `SecretBytes` and `Secret[...]` values at any depth, fields declared with
    `Field(json_schema_extra={"secret": True})`, and the password in a URL. A credential that is not set stays None.
    """
    fields = type(config).model_fields
    return {name: _shown(value, fields.get(name)) for name, value in config}


def _shown(value: Any, declared: FieldInfo | None = None) -> Any:
    if value is None:
        return None
    if isinstance(value, SecretStr | SecretBytes | Secret) or _is_declared_secret(declared):
        return MASK
    if isinstance(value, BaseModel):
        return masked(value)
    if isinstance(value, Mapping):
        return {str(key): _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_shown(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float):
        return value
    plain = to_jsonable_python(value, fallback=str)
    return _URL_PASSWORD.sub(rf"\1:{MASK}@", plain) if isinstance(plain, str) else plain


def _is_declared_secret(declared: FieldInfo | None) -> bool:
    extra = declared.json_schema_extra if declared else None
    return isinstance(extra, Mapping) and extra.get("secret") is True


def masked_message(message: M) -> M:
    """Returns a copy of a message without credentials: every field with the contract's option `secret` that is set is masked.

    Args:
        message: Any message of the contract.
    """
    copy = type(message)()
    copy.CopyFrom(message)
    _hide(copy)
    return copy


def _hide(message: Message) -> None:
    for field, value in message.ListFields():
        if field.GetOptions().Extensions[options_pb2.secret]:
            _hide_value(message, field.name, value)
        elif field.message_type is None:
            continue
        elif field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                for member in value.values():
                    _hide(member)
        elif field.is_repeated:
            for member in value:
                _hide(member)
        else:
            _hide(value)


def _hide_value(message: Message, name: str, value: object) -> None:
    if isinstance(value, struct_pb2.Struct):
        for key in list(value):
            value[key] = MASK
    else:
        setattr(message, name, MASK)
