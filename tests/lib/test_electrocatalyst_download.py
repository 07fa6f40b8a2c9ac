"""The download of OC20's archives from a server on this machine, well- and ill-behaved."""

import hashlib
import io
import random
import tarfile

import asset_server
import pytest

from course_lib.assets import AssetError, _download
from course_lib.electrocatalyst import oc20
from course_lib.electrocatalyst.oc20 import _download as module


pytestmark = pytest.mark.lab70


class Handler(asset_server._Handler):
    """Answers HEAD too, as the real server does."""

    def do_HEAD(self):
        self.send_response(200 if self.path == f"/files/{asset_server.WHEEL}" else 404)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()


def archive(members, mode="w:gz"):
    """Return the bytes of a tar: name to content, or to a TarInfo."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


BODY = archive({"data/is2re/data.lmdb": random.Random(0).randbytes(2**19), "README": b"toy"})


@pytest.fixture
def server(monkeypatch):
    """Serve a toy archive, and have the name 'toy' mean it."""
    monkeypatch.setattr(_download, "PAUSE", 0.0)
    with asset_server.serving(BODY) as running:
        running.RequestHandlerClass = Handler
        name_toy(monkeypatch, running.wheel)
        yield running


def name_toy(monkeypatch, url, **changes):
    digest = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    facts = {"md5": digest, "compressed": len(BODY), "unpacked": 2**19} | changes
    monkeypatch.setitem(oc20.ARCHIVES, "toy", oc20.Archive("a toy", url, **facts))


def left_in(folder):
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock")


def test_the_published_archives():
    assert {"is2re", "s2ef_200k", "s2ef_2M", "s2ef_20M", "s2ef_all", "s2ef_test"} <= set(
        oc20.ARCHIVES
    )
    for facts in oc20.ARCHIVES.values():
        assert facts.url.startswith("https://dl.fbaipublicfiles.com/opencatalystproject/data/")
        assert len(facts.md5) == 32 and set(facts.md5) <= set("0123456789abcdef")
        assert facts.compressed < facts.unpacked
    assert len({facts.md5 for facts in oc20.ARCHIVES.values()}) == len(oc20.ARCHIVES)
    assert round(oc20.ARCHIVES["is2re"].compressed / 2**30, 1) == 8.1


def test_download_and_unpack(server, tmp_path, capsys):
    file = oc20.download("toy", tmp_path / "oc20")
    assert file.read_bytes() == BODY
    assert "100%" in capsys.readouterr().err
    assert left_in(tmp_path / "oc20") == [file.name]
    assert oc20.download("toy", tmp_path / "oc20", progress=False) == file
    assert server.ranges == [None]  # once
    assert capsys.readouterr().err == ""


def test_an_interrupted_download_continues(server, tmp_path):
    server.cuts = [200_000, 100_000]
    file = oc20.download("toy", tmp_path, progress=False)
    assert file.read_bytes() == BODY
    assert server.ranges[0] is None
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in server.ranges[1:]]
    assert len(starts) == 2 and 0 < starts[0] < starts[1] < len(BODY)


def test_a_later_call_continues(server, tmp_path):
    part = tmp_path / f"{asset_server.WHEEL}.part"
    part.write_bytes(BODY[:300_000])
    assert oc20.download("toy", tmp_path, progress=False).read_bytes() == BODY
    assert server.ranges == ["bytes=300000-"]
    assert not part.exists()


def test_what_arrived_is_kept_when_the_server_fails(server, tmp_path):
    server.cuts = [150_000, 0, 0, 0]
    with pytest.raises(AssetError, match="What has arrived is kept"):
        oc20.download("toy", tmp_path, progress=False)
    (part,) = left_in(tmp_path)
    assert part.endswith(".part") and (tmp_path / part).stat().st_size == 150_000
    assert oc20.download("toy", tmp_path, progress=False).read_bytes() == BODY


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.obeys_range, server.cuts = False, [200_000]
    assert oc20.download("toy", tmp_path, progress=False).read_bytes() == BODY
    assert len(server.ranges) == 2


def test_a_wrong_checksum_is_deleted(server, tmp_path, monkeypatch):
    name_toy(monkeypatch, server.wheel, md5="0" * 32)
    with pytest.raises(AssetError, match=rf"instead of {'0' * 32}, and was deleted"):
        oc20.download("toy", tmp_path, progress=False)
    assert left_in(tmp_path) == []


def test_another_size_than_published(server, tmp_path, monkeypatch):
    name_toy(monkeypatch, server.wheel, compressed=8 * 2**30)
    with pytest.raises(AssetError, match="answers in its place"):
        oc20.download("toy", tmp_path, progress=False)
    assert server.ranges == [] and left_in(tmp_path) == []


def test_a_full_disk_is_noticed_before(server, tmp_path, monkeypatch):
    usage = module.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(AssetError, match=r"needs 0\.00 GiB, but .* larger disk"):
        oc20.download("toy", tmp_path, progress=False)
    assert server.ranges == []


def test_no_such_name_server_or_folder(server, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"no archive 's2ef'; there are is2re, "):
        oc20.download("s2ef", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(AssetError, match=r"Cannot write .*choose another folder"):
        oc20.download("toy", tmp_path / "file" / "oc20", progress=False)
    name_toy(monkeypatch, f"{server.root}/absent.tar.gz")
    with pytest.raises(AssetError, match=r"cannot be reached \(Not Found\)"):
        oc20.download("toy", tmp_path, progress=False)
    name_toy(monkeypatch, "http://127.0.0.1:9/absent.tar.gz")
    with pytest.raises(AssetError, match="check the connection"):
        oc20.download("toy", tmp_path, progress=False)


@pytest.mark.parametrize(("suffix", "mode"), [("tar", "w"), ("tar.gz", "w:gz")])
def test_unpack(suffix, mode, tmp_path):
    members = {"data/a.lmdb": b"a" * 5000, "data/deep/b.txt.xz": b"b", "README": b"c"}
    file = tmp_path / f"split.{suffix}"
    file.write_bytes(archive(members, mode))
    folder = oc20.unpack(file, tmp_path / "here", progress=False)
    assert folder == tmp_path / "here" / "split"
    for name, content in members.items():
        assert (folder / name).read_bytes() == content
    assert left_in(tmp_path / "here") == ["split"]
    (folder / "README").write_text("kept")
    assert oc20.unpack(file, tmp_path / "here", progress=False) == folder
    assert (folder / "README").read_text() == "kept"


def link(name, to, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize(
    "members",
    [
        {"ok": b"1", "../outside": b"2"},
        {"link": link("link", "/etc/passwd")},
        {"link": link("link", "../../outside")},
        {"hard": link("hard", "/etc/passwd", tarfile.LNKTYPE)},
        {"device": link("device", "", tarfile.CHRTYPE)},
        {"pipe": link("pipe", "", tarfile.FIFOTYPE)},
    ],
)
def test_an_archive_that_reaches_outside_is_refused(members, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "evil.tar").write_bytes(archive(members, "w"))
    with pytest.raises(AssetError, match="do not use this file"):
        oc20.unpack(inside / "evil.tar", progress=False)
    assert left_in(tmp_path) == ["inside"] and left_in(inside) == ["evil.tar"]


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 99, BODY[:-9000], BODY[:400]])
def test_a_damaged_archive_leaves_nothing(content, tmp_path):
    file = tmp_path / "cut.tar.gz"
    file.write_bytes(content)
    with pytest.raises(AssetError, match="is damaged"):
        oc20.unpack(file, progress=False)
    assert left_in(tmp_path) == ["cut.tar.gz"]
    with pytest.raises(AssetError, match="There is no file"):
        oc20.unpack(tmp_path / "absent.tar", progress=False)
