"""Carries a test's numpy arrays to a CUDA device and what an op has written there back, gaps between rows included.

So a test states once what it expects, and its kernel runs at every SIMD level and on a GPU with the same inputs.
"""

import functools

import numpy as np
from arrays import BFLOAT16

LINE = 64  # bytes: how an array lies to a cache line decides how a kernel reads it
WRITTEN = ("out", "loss", "grad")  # keywords of the arrays that an op writes into


def carried(op, device="cuda"):
    """`op` for numpy arrays, run on the device: results and written arrays come back as numpy arrays."""

    @functools.wraps(op)
    def call(*args, **options):
        journeys = []

        def there(value):
            if isinstance(value, tuple):
                return tuple(map(there, value))
            if not isinstance(value, np.ndarray):
                return value
            journeys.append(Journey(value, device))
            return journeys[-1].tensor

        args = tuple(map(there, args))
        others = {name: there(value) for name, value in options.items() if name not in WRITTEN}
        inputs = len(journeys)
        written = {name: there(value) for name, value in options.items() if name in WRITTEN}
        result = op(*args, **others, **written)
        for journey in journeys[inputs:]:
            journey.back()
        own = {id(journey.tensor): journey.array for journey in journeys}  # out= comes back as the array that it was

        def home(value):
            if isinstance(value, tuple):
                return tuple(map(home, value))
            return own[id(value)] if id(value) in own else numpy_of(value)

        return home(result)

    return call


class Journey:
    """One array and its copy on the device, which has the array's strides and its place within a cache line."""

    def __init__(self, array, device):
        import torch

        self.array = array
        if any(step < 0 for step in array.strides):
            array = np.ascontiguousarray(array)  # torch knows no negative strides
        self.memory = memory_of(array)
        lead = array.ctypes.data % LINE // array.itemsize
        self.flat = torch.from_numpy(np.concatenate([np.zeros(lead, self.memory.dtype), self.memory])).to(device)[lead:]
        typed = self.flat.view(torch.bfloat16) if array.dtype.name == "bfloat16" else self.flat
        strides = [step // array.itemsize for step in array.strides]
        self.tensor = typed.as_strided(array.shape, strides, typed.storage_offset())

    def back(self):
        """Writes the device's memory over the array's, with whatever lies between the rows."""
        self.memory[...] = self.flat.cpu().numpy()


def memory_of(array):
    """What lies in memory from the array's first value to its last; bfloat16, which torch does not take from numpy, as
    int16."""
    bits = array.view(np.int16) if array.dtype.name == "bfloat16" else array
    count = 1 + sum((n - 1) * step // array.itemsize for n, step in zip(array.shape, array.strides, strict=True))
    return np.lib.stride_tricks.as_strided(bits, (count if array.size else 0,), (array.itemsize,))


def numpy_of(value):
    """A result, wherever it was made."""
    import torch

    if isinstance(value, np.ndarray):
        return value
    bits = value.view(torch.int16) if value.dtype == torch.bfloat16 else value
    array = bits.cpu().numpy()
    return array.view(BFLOAT16) if value.dtype == torch.bfloat16 else array
