"""Arrays as bytes, for states that outlive a process; and where the rows of one table stand in another."""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from Predictor.forecasting.snapshot import Ints
from Sensor_core.reading import UNDECODABLE

Arrays = Mapping[str, NDArray[Any]]


class _Packed(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, _Packed]).decode


def pack(arrays: Arrays) -> bytes:
    """Arrays by name as one document; equal arrays make equal bytes."""
    return _encode({name: _Packed(array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()})


def unpack(document: bytes) -> Arrays:
    """Undo ``pack``.

    Raises:
        ValueError: The document is not one.
    """
    try:
        packed = _decode(document)
    except UNDECODABLE as error:
        raise ValueError(f"not packed arrays: {error}") from None
    return {name: np.frombuffer(part.data, part.dtype).reshape(part.shape) for name, part in packed.items()}


def places_of(have: Ints, want: Ints) -> Ints:
    """Row in ``have`` of each row of ``want``, -1 where it is not there; both of shape ``(any, 2)``."""
    place = {tuple(key): index for index, key in enumerate(have.tolist())}
    return np.array([place.get(tuple(key), -1) for key in want.tolist()], dtype=np.int64)
