"""JSON under a checksum of its own content: whether it is what was written."""

import hashlib
import json
from typing import Any

_CHECKSUM = "sha256"


def sign(content: dict[str, Any]) -> dict[str, Any]:
    """What is to be written: as JSON holds it, with the checksum of all of it.

    Args:
      content: what JSON holds; a checksum that it has is replaced.
    """
    content = json.loads(json.dumps(content))
    content.pop(_CHECKSUM, None)
    return {**content, _CHECKSUM: _digest(content)}


def verify(content: Any) -> bool:
    """Checks what was read, and takes its checksum out.

    Args:
      content: of a JSON file.

    Returns:
      Whether it has a checksum.

    Raises:
      ValueError: if it is no dictionary, or not what was written.
    """
    if not isinstance(content, dict):
        raise ValueError("it is no object of JSON")
    expected = content.pop(_CHECKSUM, None)
    if expected is not None and expected != _digest(content):
        raise ValueError("its checksum is not that of its content")
    return expected is not None


def _digest(content: dict[str, Any]) -> str:
    # In an order of its own: what is equal has one checksum.
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
