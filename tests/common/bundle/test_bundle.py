"""A bundle is whole, unchanged and signed, or it is refused in a sentence that names the file and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from garden import SYSTEM, Config, Grower, train

from common.bundle import Bundle, load_bundle, newest, open_predictor, save_bundle
from common.bundle.folder import manifest_bytes
from common.config import settings
from common.errors import (
    BundleCorrupted,
    BundleError,
    BundleTooNew,
    DataError,
    EspalierError,
    SignatureInvalid,
    UsageError,
)
from common.files import sha256

pytestmark = pytest.mark.usefixtures("garden")
FILES = "CARD.md data.json examples.jsonl manifest.json metrics.json model.safetensors preprocess.json reference.json"
RESTORE = "; restore the bundle from the registry or train it again."


def save(folder: Path | None = None, **changes: object) -> Bundle:
    parts = {
        "arrays": {"model.safetensors": {"weight": np.arange(6.0).reshape(2, 3), "bias": np.zeros(1)}},
        "preprocess": {"slope": 2.0},
        "metrics": {"valid_error": 0.1},
        "data": {"simulated": True, "cards": [{"id": "meadow", "title": "A meadow", "licence": "CC0"}]},
        "reference": {},
        "examples": [{"x": 1.5}, {"x": -3.0}],
    }
    return save_bundle(SYSTEM, Config(), folder=folder, **(parts | changes))  # type: ignore[arg-type]


def rewrite_manifest(folder: Path, **changes: object) -> None:
    """A manifest that is right in itself, as another version of Espalier would write it."""
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_bytes(manifest_bytes(values | changes))


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch):
    def change(name: str, value: object) -> None:
        monkeypatch.setenv(f"ESPALIER_{name}", str(value))
        settings.cache_clear()

    return change


def test_what_is_saved_is_read_again() -> None:
    bundle = load_bundle(save().path)
    assert {path.name for path in bundle.path.iterdir()} == {*FILES.split(), "signature.json"}
    assert set(bundle.manifest.files) == {*FILES.split(), "signature.json"} - {"manifest.json"}
    np.testing.assert_array_equal(bundle.arrays("model.safetensors")["weight"], np.arange(6.0).reshape(2, 3))
    assert bundle.examples() == [
        {"request": {"x": 1.5}, "response": {"y": 3.0}},
        {"request": {"x": -3.0}, "response": {"y": -6.0}},
    ]
    signature = bundle.json("signature.json")
    assert signature["tensors"]["input"] == [{"name": "x", "datatype": "FP64", "shape": [-1]}]
    assert signature["schema"]["output"]["required"] == ["y"]
    card = bundle.read("CARD.md").decode()
    assert "simulated data: not for real decisions" in card
    assert "`meadow`: A meadow (CC0)" in card
    assert "| valid_error | 0.1 |" in card
    assert open_predictor(bundle).predict([Grower.request(x=4)])[0].y == 8


def test_another_test_part_than_that_of_training_is_refused() -> None:
    bundle = save(data={"simulated": True, "cards": [], "test_rows_sha256": sha256(b"a\nb")})
    bundle.check_test_rows(b"a\nb")
    sentence = "the test part is not the one that training kept closed; train the bundle again on this data."
    with pytest.raises(DataError, match=rf"^bundle {bundle.path}: {sentence}$"):
        bundle.check_test_rows(b"a\nc")


def test_arrays_are_read_as_they_were_whatever_their_order_in_memory() -> None:
    turned = np.arange(6.0).reshape(2, 3).T
    assert np.array_equal(save(arrays={"a.safetensors": {"turned": turned}}).arrays("a.safetensors")["turned"], turned)


def test_equal_parts_have_an_equal_fingerprint_and_versions_sort_by_time() -> None:
    first, second, other = save().manifest, save().manifest, save(preprocess={"slope": 3.0}).manifest
    assert first.version.rpartition("-")[2] == second.version.rpartition("-")[2] != other.version.rpartition("-")[2]
    assert newest(SYSTEM.name) == settings().home / "bundles" / SYSTEM.name / other.version
    assert newest("garden.absent") is None


@pytest.mark.parametrize("where", ["first", "middle", "last"])
@pytest.mark.parametrize("name", [*FILES.split(), "signature.json"])
def test_one_flipped_bit_in_any_file_is_found(name: str, where: str) -> None:
    path = save().path
    content = bytearray((path / name).read_bytes())
    content[{"first": 0, "middle": len(content) // 2, "last": -1}[where]] ^= 1
    (path / name).write_bytes(bytes(content))
    with pytest.raises(BundleCorrupted) as error:
        load_bundle(path)
    sentence = str(error.value)
    assert sentence.startswith(f"bundle {path}, file {name}: ")
    assert sentence.endswith(RESTORE)
    if name != "manifest.json":
        assert f"the content changed: got sha256 {sha256(bytes(content))[:12]}…, expected " in sentence


@pytest.mark.parametrize("name", [*FILES.split(), "signature.json"])
def test_a_truncated_file_is_found(name: str) -> None:
    path = save().path
    if (path / name).stat().st_size < 3:  # the empty reference is `{}`
        (path / name).write_bytes(b"")
    else:
        (path / name).write_bytes((path / name).read_bytes()[:-2])
    with pytest.raises(BundleCorrupted, match=rf"file {name}: (wrong size: got \d+ bytes, expected \d+|the manifest)"):
        load_bundle(path)


@pytest.mark.parametrize("name", ["model.safetensors", "examples.jsonl", "CARD.md"])
def test_a_missing_file_is_named(name: str) -> None:
    path = save().path
    (path / name).unlink()
    with pytest.raises(BundleCorrupted) as error:
        load_bundle(path)
    assert str(error.value) == f"bundle {path}, file {name}: the file is missing{RESTORE}"


def test_a_file_that_nobody_listed_cannot_be_read() -> None:
    """What a tool leaves beside (`.DS_Store`) does not make a bundle useless, but no code gets to read it."""
    path = save().path
    (path / "extra.json").write_text("{}")
    with pytest.raises(BundleCorrupted, match=r"file extra\.json: not listed in the manifest; restore"):
        load_bundle(path).json("extra.json")


def test_a_change_after_loading_is_found_when_it_is_read() -> None:
    bundle = save()
    (bundle.path / "preprocess.json").write_text('{"slope": 9.0}')
    with pytest.raises(BundleCorrupted, match="preprocess"):
        Grower.load(bundle)


def test_a_newer_major_format_says_what_to_do_and_a_newer_minor_one_is_read() -> None:
    path = save().path
    rewrite_manifest(path, format="1.9", colour="green")
    assert load_bundle(path).manifest.format == "1.9"
    rewrite_manifest(path, format="2.0", files="somewhere else")
    with pytest.raises(BundleTooNew) as error:
        load_bundle(path)
    assert str(error.value) == (
        f"bundle {path}: written by a newer Espalier: got format 2.0, expected at most 1.x; "
        "upgrade Espalier or train the bundle again with this version."
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": "one"}', '{"format": "1.0"}', "\x00\xff"])
def test_a_manifest_that_is_none_is_named(content: str) -> None:
    path = save().path
    (path / "manifest.json").write_text(content)
    with pytest.raises(BundleCorrupted, match=r"file manifest\.json: the manifest changed since it was written"):
        load_bundle(path)


def test_a_manifest_with_an_edited_value_is_refused() -> None:
    """Someone makes simulated data look real and keeps the file tidy."""
    path = save().path
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace('"simulated": true', '"simulated": false'))
    with pytest.raises(BundleCorrupted, match="the manifest changed since it was written"):
        load_bundle(path)


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(BundleError, match=rf"{path}: no manifest\.json in this folder; give the path that"):
            load_bundle(path)


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Grower, batch: object) -> None:
        raise EspalierError("the model is not well")

    with monkeypatch.context() as patch:
        patch.setattr(Grower, "predict", fail)
        with pytest.raises(EspalierError, match="not well"):
            save(tmp_path / "made" / "here")
    with pytest.raises(ValueError, match="x"):
        save(tmp_path / "made" / "here", examples=[{"x": "no number"}])
    with pytest.raises(ValueError, match="not JSON compliant"):
        save(tmp_path / "made" / "here", metrics={"valid_error": float("nan")})
    with pytest.raises(KeyError):
        save(tmp_path / "made" / "here", preprocess={})
    assert [path for path in tmp_path.rglob("*") if path.name != "made"] == []


def test_an_earlier_bundle_is_never_overwritten(tmp_path: Path) -> None:
    first = save(tmp_path / "one")
    with pytest.raises(BundleError, match=rf"{tmp_path}/one: there is something already; give the folder of a new"):
        save(tmp_path / "one", preprocess={"slope": 9.0})
    assert load_bundle(tmp_path / "one").manifest == first.manifest
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_golden_examples_are_run_before_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = save()
    monkeypatch.setattr(Grower, "predict", lambda self, batch: [Grower.response(y=3.0) for _ in batch])
    with pytest.raises(BundleError) as error:
        open_predictor(bundle)
    assert str(error.value) == (
        f"bundle {bundle.path}, field y: golden example 2 is answered differently: got 3.0, expected -6.0; "
        "train the bundle again with the installed library versions."
    )


class Keys:
    """Key files in a folder: ours, another pair, and one of another kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("ours", "other"):
            self.write(name, ed25519.Ed25519PrivateKey.generate())
        self.write("rsa", rsa.generate_private_key(65537, 2048))
        (folder / "text.key").write_text("not a key")

    def write(self, name: str, key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> None:
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / f"{name}.key").write_bytes(private)
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.folder / f"{name}.pub").write_bytes(public)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    return Keys(tmp_path / "keys").folder


def test_a_signed_bundle_is_traced_to_its_key(setting, keys: Path) -> None:
    setting("SIGNING_KEY", keys / "ours.key")
    setting("VERIFY_KEY", keys / "ours.pub")
    path = save().path
    assert load_bundle(path).manifest.system == SYSTEM.name
    setting("VERIFY_KEY", keys / "other.pub")
    with pytest.raises(SignatureInvalid) as error:
        load_bundle(path)
    assert str(error.value) == (
        f"bundle {path}, file manifest.sig: signed by another key or changed; sign it with the private half of "
        f"{keys / 'other.pub'} or unset ESPALIER_VERIFY_KEY."
    )


@pytest.mark.parametrize("signature", [b"", b"AAAA", b"no base64!", b"\xff\xfe"])
def test_a_spoilt_signature_is_refused(setting, keys: Path, signature: bytes) -> None:
    setting("SIGNING_KEY", keys / "ours.key")
    path = save().path
    (path / "manifest.sig").write_bytes(signature)
    setting("VERIFY_KEY", keys / "ours.pub")
    with pytest.raises(SignatureInvalid, match=r"file manifest\.sig: signed by another key or changed"):
        load_bundle(path)


def test_a_forged_manifest_is_refused_though_it_is_right_in_itself(setting, keys: Path) -> None:
    setting("SIGNING_KEY", keys / "ours.key")
    path = save().path
    rewrite_manifest(path, simulated=False)
    assert not load_bundle(path).manifest.simulated
    setting("VERIFY_KEY", keys / "ours.pub")
    with pytest.raises(SignatureInvalid):
        load_bundle(path)


def test_an_unsigned_bundle_is_refused_once_a_key_is_configured(setting, keys: Path) -> None:
    path = save().path
    setting("VERIFY_KEY", keys / "ours.pub")
    with pytest.raises(SignatureInvalid, match=rf"bundle {path}: the bundle is not signed; sign it with the private"):
        load_bundle(path)


@pytest.mark.parametrize("name", ["absent.key", "text.key", "rsa.key", "ours.pub"])
def test_a_wrong_signing_key_is_one_sentence_and_saves_nothing(setting, keys: Path, tmp_path: Path, name: str) -> None:
    setting("SIGNING_KEY", keys / name)
    with pytest.raises(UsageError, match=rf"^{keys / name}: .*key"):
        save(tmp_path / "made")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", ["absent.pub", "text.key", "rsa.pub", "ours.key"])
def test_a_wrong_verify_key_is_one_sentence(setting, keys: Path, name: str) -> None:
    setting("SIGNING_KEY", keys / "ours.key")
    path = save().path
    setting("VERIFY_KEY", keys / name)
    with pytest.raises(UsageError, match=rf"^{keys / name}: .*key"):
        load_bundle(path)


def test_train_in_the_garden_is_a_bundle() -> None:
    assert load_bundle(train(Config(slope=4)).path).json("preprocess.json") == {"slope": 4}
