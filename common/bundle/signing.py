"""Ed25519 signature over the manifest (RFC 8032), so that a bundle can be traced to a key.

The manifest holds the hash of every file, so signing it signs the whole bundle.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from common.errors import SignatureInvalid, UsageError

SIGNATURE = "manifest.sig"


def sign(manifest: bytes, key_file: Path) -> bytes:
    """Base64 signature of the manifest's bytes by the private key in `key_file` (PEM, PKCS 8)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read_key(key_file), password=None)
    except (ValueError, TypeError):  # no key, a public one, one with a password
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        expected = "an Ed25519 private key (PEM, without password)"
        raise UsageError("this key cannot sign a bundle", where=str(key_file), expected=expected)
    return base64.b64encode(key.sign(manifest))


def verify(folder: Path, manifest: bytes, key_file: Path | None) -> None:
    """Check the signature beside the manifest; does nothing when no public key is configured.

    Raises `SignatureInvalid` when the signature is missing or by another key.
    """
    if key_file is None:
        return
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(_read_key(key_file))
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        expected = "an Ed25519 public key (PEM)"
        raise UsageError("this key cannot verify a bundle", where=str(key_file), expected=expected)
    fix = f"sign it with the private half of {key_file} or unset ESPALIER_VERIFY_KEY"
    try:
        key.verify(base64.b64decode((folder / SIGNATURE).read_bytes(), validate=True), manifest)
    except FileNotFoundError:
        raise SignatureInvalid("the bundle is not signed", where=f"bundle {folder}", fix=fix) from None
    except (InvalidSignature, binascii.Error):
        raise SignatureInvalid(
            "signed by another key or changed", where=f"bundle {folder}, file {SIGNATURE}", fix=fix
        ) from None


def _read_key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"the key cannot be read ({error.strerror})", where=str(path)) from None
