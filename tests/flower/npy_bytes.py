"""Bytes of a .npy with any header, true or not."""


def npy(shape, descr="<f4", body=b"x" * 64, order="False", version=1):
    text = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    wide = 2 if version == 1 else 4
    text = text.ljust(-(-(len(text) + 9 + wide) // 64) * 64 - 9 - wide) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + len(text).to_bytes(wide, "little") + text + body
