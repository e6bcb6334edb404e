#!/usr/bin/env python3
"""Writes a small safetensors file with nothing but the standard library, for trying Lode out.

    tiny_model.py OUTPUT [SEED]
"""
import array
import json
import random
import struct
import sys


def main() -> None:
    output, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    numbers = random.Random(seed)
    header, data = {}, b""
    for name, shape in {"embed.weight": [100, 16], "head.weight": [16, 4], "head.bias": [4]}.items():
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        raw = array.array("f", [numbers.gauss(0, 1) for _ in range(count)]).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    with open(output, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)


main()
