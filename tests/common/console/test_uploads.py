from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from common.console import uploads
from common.console.form import FormField
from common.console.uploads import Uploads, paths_in
from common.errors import InvalidRequest

PICTURE = FormField("picture", "Picture", "image", media="image/png")


def stored(folder: Path, kind: str) -> dict[str, str]:
    path = folder / f"part.{kind}"
    Image.new("RGB", (20, 10), "red").save(path, kind)
    return {"path": str(path)}


def test_a_picture_arrives_in_the_format_that_is_asked_for(tmp_path: Path) -> None:
    kept = Uploads(tmp_path)
    png = stored(tmp_path, "PNG")
    assert kept.read(PICTURE, png) == Path(png["path"]).read_bytes()
    for kind in ("JPEG", "WEBP", "GIF"):
        converted = Image.open(io.BytesIO(kept.read(PICTURE, stored(tmp_path, kind))))
        assert (converted.format, converted.size) == ("PNG", (20, 10))
    anything = FormField("picture", "Picture", "image", media="image/*")
    jpeg = stored(tmp_path, "JPEG")
    assert kept.read(anything, jpeg) == Path(jpeg["path"]).read_bytes()


def test_what_is_no_picture_or_too_large_a_one_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Uploads(tmp_path)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(InvalidRequest, match=r"picture: not a picture"):
        kept.read(PICTURE, {"path": str(tmp_path / "text.png")})
    monkeypatch.setattr(uploads, "MOST_PIXELS", 100)
    with pytest.raises(InvalidRequest, match=r"picture: the picture is too large: expected at most 100 pixels"):
        kept.read(PICTURE, stored(tmp_path, "JPEG"))


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "", None, 3, "a\0b", "http://x/y", "gone.png", "inner/link"])
def test_only_files_of_the_folder_are_read(tmp_path: Path, path: object) -> None:
    folder = tmp_path / "uploads"
    (folder / "inner").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (folder / "inner" / "link").symlink_to(tmp_path / "secret")
    kept = Uploads(folder)
    named = str(folder / str(path)) if path in ("../x", "gone.png", "inner/link") else path
    with pytest.raises(InvalidRequest, match="the upload is no longer here"):
        kept.read(PICTURE, {"path": named})


def test_every_path_in_what_a_browser_sends_is_found() -> None:
    sent = {"data": [{"path": "a"}, [{"x": {"path": "b"}}], "path", 1, None], "path": None}
    assert list(paths_in(sent)) == [None, "a", "b"]
