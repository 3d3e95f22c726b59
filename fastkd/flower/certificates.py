"""Keys and certificates of a federation of one's own: an authority, the server's certificate, a key for each node.

Flower protects the line by TLS (nodes check the server's certificate) and knows nodes by signatures with keys that the
operator has registered. This is not mutual TLS, and messages are not signed end to end: who controls the server can
change what is said.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fastkd.models._hyperparameters import integer

__all__ = ["make_certificates"]


def make_certificates(
    folder: str | os.PathLike[str],
    nodes: Iterable[str],
    *,
    hosts: Sequence[str] = ("localhost", "127.0.0.1"),
    days: int = 365,
) -> dict[str, Path]:
    """Write an authority, a server certificate for `hosts` and a key pair for each node; nothing is overwritten.

    Parameters
    ----------
    folder : path
        Gets ``ca.crt``, ``server.pem``, ``server.key``, and ``NODE`` with ``NODE.pub`` for each node. Private keys can
        be read by their owner only. The authority's own key is not kept: a lost or stolen key means new certificates.
    nodes : iterable of str
        File names; letters, digits, "-", "_" and ".".
    hosts : sequence of str
        Names and addresses under which nodes reach the server.
    days : int
        For which the certificates are good.

    Returns
    -------
    dict
        File name -> path of everything written.

    Raises
    ------
    FileExistsError
        One of the files is there already.
    ValueError
        A name that is no plain file name.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    names = list(nodes)
    taken = {"ca.crt", "server.pem", "server.key"}
    for name in names:
        plain = name and all(c.isalnum() or c in "-_." for c in name) and not name.startswith((".", "-"))
        if not plain or {name, f"{name}.pub"} & taken:
            raise ValueError(f"a node's name must be a plain file name, and its own; got {name!r}")
        taken |= {name, f"{name}.pub"}
    integer("days", days, low=1)
    into = Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    there = sorted(name for name in taken if (into / name).exists())
    if there:
        raise FileExistsError(f"{into} has {', '.join(there)} already; give another folder")

    begin = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)
    end = begin + datetime.timedelta(days=days)

    def named(text: str) -> Any:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def signed(subject: str, key: Any, *extensions: tuple[Any, bool]) -> Any:
        builder = x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named("fastkd federation"))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(begin).not_valid_after(end)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(authority, hashes.SHA256())

    authority, server = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    of_authority = x509.SubjectKeyIdentifier.from_public_key(authority.public_key())
    signing = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    root = signed(
        "fastkd federation", authority, (x509.BasicConstraints(True, 0), True), (signing, True), (of_authority, False)
    )
    leaf = signed(
        hosts[0],
        server,
        (x509.SubjectAlternativeName([_alternative(x509, host) for host in hosts]), False),
        (x509.BasicConstraints(False, None), True),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
    )
    pem, plain_text = serialization.Encoding.PEM, serialization.NoEncryption()
    written = {
        "ca.crt": root.public_bytes(pem),
        "server.pem": leaf.public_bytes(pem),
        "server.key": server.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain_text),
    }
    for name in names:
        key = ec.generate_private_key(ec.SECP384R1())
        written[name] = key.private_bytes(pem, serialization.PrivateFormat.OpenSSH, plain_text)
        written[f"{name}.pub"] = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
    for name, data in written.items():
        public = name.endswith((".crt", ".pem", ".pub"))
        with open(os.open(into / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644 if public else 0o600), "wb") as file:
            file.write(data)
    return {name: into / name for name in written}


def _alternative(x509: Any, host: str) -> Any:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
