"""The file of a model: named arrays, a recipe and checksums, in the safetensors format.

Whoever wrote a file, to read it takes at most twice its size of memory beside a header of bounded
size, and gives the arrays that were written, or an error.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from flowjax_lite.core import strict_json
from flowjax_lite.core.files import writing_whole
from flowjax_lite.core.version import library_version

_FORMAT = "flowjax_lite"
_FORMAT_VERSION = 2  # 2 has recipes of all parts; what 1 wrote is read as well
# As JSON, some ten times its size of memory; 8 MiB name 50,000 arrays.
_MAX_HEADER = 2**23
DTYPES = {
    "bool": "BOOL",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "bfloat16": "BF16",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
}
_NAMES = {code: name for name, code in DTYPES.items()}


class Content(NamedTuple):
    """What a file holds.

    Attributes:
        recipe: the recipe as JSON.
        fingerprint: the model's by `core.fingerprint`; None if another version of the library,
            which may have other settings, wrote the file.
        arrays: by name.
    """

    recipe: str
    fingerprint: str | None
    arrays: dict[str, np.ndarray]


def write(path: Path, content: Content) -> None:
    """Write a file, whole or not at all.

    Args:
        path: the file, which is replaced.
        content: its arrays contiguous and of dtypes among `DTYPES`.
    """
    metadata = {
        "format": _FORMAT,
        "format_version": str(_FORMAT_VERSION),
        "library_version": library_version(),
        "recipe": content.recipe,
    }
    if content.fingerprint is not None:
        metadata["fingerprint"] = content.fingerprint
    metadata["sha256"] = _checksum(metadata, content.arrays)
    with writing_whole(path) as file:
        file.write(safetensors.numpy.save(content.arrays, metadata))


def read(path: Path) -> Content:
    """Read what `write` wrote.

    Args:
        path: the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, newer than this library, or no model.
    """
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a directory; give the model file inside it")
    if not path.is_file():
        raise FileNotFoundError(f"there is no model file {path}; check the path")
    metadata, tensors = _parse(path, path.read_bytes())
    if metadata.get("format") != _FORMAT:
        raise ValueError(
            f"{path} is a safetensors file, but not a flowjax_lite model; expected one that "
            f"flowjax_lite.save wrote"
        )
    _check_format_version(path, metadata)
    stated = metadata.pop("sha256", None)
    try:
        arrays = {
            name: np.ndarray(tensor["shape"], jnp.dtype(_NAMES[tensor["dtype"]]), tensor["data"])
            for name, tensor in tensors
        }
    except (KeyError, ValueError):  # a foreign dtype; more axes than arrays have, or too long ones
        raise _damaged(path) from None
    if _checksum(metadata, arrays) != stated or "recipe" not in metadata:
        raise _damaged(path)
    comparable = metadata.get("library_version") == library_version()
    fingerprint = metadata.get("fingerprint") if comparable else None
    return Content(metadata["recipe"], fingerprint, arrays)


def _parse(path: Path, content: bytes) -> tuple[dict[str, str], list[tuple[str, Any]]]:
    """The metadata, and the arrays as safetensors gives them, their bytes where they should be."""
    header_size = int.from_bytes(content[:8], "little")
    try:
        if min(header_size, len(content)) > _MAX_HEADER:
            raise ValueError(f"its header is longer than {_MAX_HEADER} bytes")
        # Checks that offsets neither overlap nor leave gaps, and agree with shapes and length.
        tensors = safetensors.deserialize(content)
        metadata = strict_json.loads(content[8 : 8 + header_size]).get("__metadata__")
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} is not a whole flowjax_lite model ({error}): it was cut off or damaged, or "
            f"is another kind of file; copy or save it again"
        ) from error
    return metadata or {}, tensors


def _checksum(metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _damaged(path: Path) -> ValueError:
    return ValueError(f"{path} is damaged: its checksum does not agree; copy or save it again")


def _check_format_version(path: Path, metadata: Mapping[str, str]) -> None:
    # Comes before the checksum, which a newer format may compute in another way.
    written = metadata.get("format_version", "")
    if not re.fullmatch("[0-9]{1,9}", written):
        raise _damaged(path)
    if int(written) > _FORMAT_VERSION:
        raise ValueError(
            f"{path} was written by a newer flowjax_lite ({metadata.get('library_version')!r}, "
            f"format {written}); this one reads format {_FORMAT_VERSION}: upgrade flowjax-lite"
        )
