"""Just enough of the safetensors format to write and read checkpoints with numpy."""

import json
import struct

import numpy as np

WIDTH = {"BF16": 2, "F16": 2, "F32": 4, "I8": 1, "I32": 4}
NUMPY = {"BF16": np.uint16, "F16": np.float16, "F32": np.float32, "I8": np.int8, "I32": np.int32}


class Writer:
    """Writes tensors in the order declared: {name: (dtype, shape)}, each in any number of pieces."""

    def __init__(self, path, declared):
        header, offset = {}, 0
        for name, (dtype, shape) in declared.items():
            size = int(np.prod(shape)) * WIDTH[dtype]
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
            offset += size
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._end = 8 + len(text) + offset
        self._file = open(path, "wb")
        self._file.write(struct.pack("<Q", len(text)) + text)

    def write(self, array):
        self._file.write(np.ascontiguousarray(array).data)

    def close(self):
        if self._file.tell() != self._end:
            raise ValueError("the tensors written are not those declared")
        self._file.close()


def header(path):
    """({name: {dtype, shape, data_offsets}}, where the data begins)."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        tensors = json.loads(file.read(size))
    tensors.pop("__metadata__", None)
    return tensors, 8 + size


def read(path):
    """{name: (dtype, array mapped from the file)}; BF16 as uint16."""
    tensors, start = header(path)
    data = np.memmap(path, np.uint8, "r")
    found = {}
    for name, facts in tensors.items():
        begin, end = facts["data_offsets"]
        array = data[start + begin:start + end].view(NUMPY[facts["dtype"]])
        found[name] = (facts["dtype"], array.reshape(facts["shape"]))
    return found


def sizes(path):
    return {name: facts["data_offsets"][1] - facts["data_offsets"][0]
            for name, facts in header(path)[0].items()}


def to_bf16(values):
    """f32 to the bits of bf16, to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)
