"""Whole numbers as unsigned LEB128: lengths of ClickHouse's Native format, and protobuf's varints."""


def encode_leb128(number: int) -> bytes:
    """Give the bytes of a number from 0 on, seven bits each, the lowest first."""
    pieces = bytearray()
    while number > 0x7F:
        pieces.append(number & 0x7F | 0x80)
        number >>= 7
    pieces.append(number)
    return bytes(pieces)
