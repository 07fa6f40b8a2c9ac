"""Each fault ends in the right file or in one sentence that names the file and the mend."""

import base64
import os
import shutil
import subprocess
import sys
import time
import warnings

import pytest
from asset_server import WHEEL, fetcher, serving, toy_wheel, write_manifest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from course_lib import assets
from course_lib.assets import _download, _manifest


@pytest.fixture(scope="module")
def body():
    return toy_wheel()


@pytest.fixture
def index(body):
    with serving(body) as server:
        yield server


@pytest.fixture
def data(body, tmp_path, monkeypatch):
    """A manifest that knows only the toy."""
    folder = write_manifest(tmp_path / "data", body)
    monkeypatch.setattr(_manifest, "data_dir", lambda: folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def direct(index, data, cache, monkeypatch):
    """As if pip had already named the address; no pauses between attempts."""
    monkeypatch.setattr(_download, "_address", lambda requirement: index.wheel)
    monkeypatch.setattr(_download, "PAUSE", 0.0)
    return index


@pytest.fixture
def pip_index(index, data, cache, monkeypatch):
    """Let the real pip see the index of this test and nothing else."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.root}/simple/")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return index


def wait_for(happened, process, seconds=60):
    """Wait until `happened()` while the process runs."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)


def sentence(error) -> str:
    """Return the message, which must be one line that ends in a full stop."""
    text = str(error.value)
    assert "\n" not in text and text.endswith(".")
    return text


# ---------------------------------------------------------------- the way through pip


def test_pip_names_the_address_and_the_stream_brings_the_file(pip_index, cache, body, capsys):
    assets.fetch(progress=False)
    assert (cache / WHEEL).read_bytes() == body
    assert pip_index.ranges == [None]  # one request, from the first byte
    assert capsys.readouterr().out == "toy 1.0: 2.0 MiB, fetched\n"
    pip_index.shutdown()  # offline with a filled cache
    assert assets.path("toy") == cache / WHEEL
    assets.fetch(progress=False)
    assert capsys.readouterr().out == "toy 1.0: 2.0 MiB, already there\n"
    assert not list(cache.glob("*.part"))


def test_a_notebook_finds_the_address_too(pip_index):
    """A kernel asks programs for colors, pip among them."""
    ask = "from course_lib.assets import _download; print(_download._address('toy-asset==1.0'))"
    notebook = new_notebook(cells=[new_code_cell(ask)])
    NotebookClient(notebook, kernel_name="python3", extra_arguments=["--log-level=ERROR"]).execute()
    (said,) = notebook.cells[0].outputs
    assert said.text.partition("#")[0].strip() == pip_index.wheel


def test_filled_cache_never_asks_pip_nor_the_network(direct, cache, body, monkeypatch):
    cache.mkdir()
    (cache / WHEEL).write_bytes(body)

    def refuse(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(_download, "_address", refuse)
    monkeypatch.setattr(_download.urllib.request, "urlopen", refuse)
    assert assets.path("toy").read_bytes() == body


def test_local_folder_of_wheels_is_enough(pip_index, cache, body, tmp_path, monkeypatch):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / WHEEL).write_bytes(body)
    monkeypatch.delenv("PIP_INDEX_URL")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    assert assets.path("toy").read_bytes() == body
    assert pip_index.ranges == []


def test_index_with_a_login_is_left_to_pip(pip_index, cache, body, monkeypatch):
    pip_index.login = "Basic " + base64.b64encode(b"me:secret").decode()
    monkeypatch.setenv(
        "PIP_INDEX_URL", f"{pip_index.root}/simple/".replace("http://", "http://me:secret@")
    )
    assert assets.path("toy").read_bytes() == body
    assert not list(cache.glob("*.part"))


def test_no_network_names_file_and_command(pip_index, cache):
    pip_index.shutdown()
    pip_index.server_close()
    with pytest.raises(assets.AssetError) as error:
        assets.path("toy")
    text = sentence(error)
    assert str(cache / WHEEL) in text and "is missing" in text
    assert "connect to the internet" in text and "python -m course_lib fetch toy" in text


def test_python_without_pip_says_how_to_get_it(direct, monkeypatch):
    def no_pip(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "python: No module named pip")

    monkeypatch.undo()
    monkeypatch.setattr(_download.subprocess, "run", no_pip)
    with pytest.raises(_download.Unavailable, match="ensurepip"):
        _download._address("toy-asset==1.0")


# ---------------------------------------------------------------- cut, killed, damaged


def test_killed_half_way_continues_where_it_stopped(direct, data, cache, body):
    direct.pause = 0.05
    process = fetcher(data, direct.wheel, cache)
    part = cache / f"{WHEEL}.part"
    wait_for(lambda: part.exists() and part.stat().st_size > len(body) // 4, process)
    process.kill()  # SIGKILL
    process.communicate()
    kept = part.stat().st_size
    assert 0 < kept < len(body) and not (cache / WHEEL).exists()
    direct.pause = 0.0
    assert assets.path("toy").read_bytes() == body
    assert direct.ranges == [None, f"bytes={kept}-"]
    assert not part.exists()


def test_cut_connection_is_continued_in_the_same_call(direct, body):
    direct.cuts = [500_000, 300_000]
    assert assets.path("toy").read_bytes() == body
    assert len(direct.ranges) == 3 and direct.ranges[0] is None
    assert all(asked.startswith("bytes=") for asked in direct.ranges[1:])


def test_server_that_stays_silent_half_way(direct, cache, body):
    direct.cuts = [500_000, 0, 0, 0]
    with pytest.raises(assets.AssetError) as error:
        assets.path("toy")
    assert "does not send the rest" in sentence(error) and WHEEL in sentence(error)
    assert (cache / f"{WHEEL}.part").stat().st_size > 0  # kept for the next call
    assert assets.path("toy").read_bytes() == body


def test_server_that_ignores_range_starts_again(direct, cache, body):
    cache.mkdir()
    (cache / f"{WHEEL}.part").write_bytes(body[:1_000_000])
    direct.obeys_range = False
    assert assets.path("toy").read_bytes() == body
    assert direct.ranges == ["bytes=1000000-"]


@pytest.mark.parametrize("kept", [700_000, None, 5_000_000], ids=["short", "same", "long"])
def test_part_that_holds_something_else_is_thrown_away(direct, cache, body, kept):
    cache.mkdir()
    (cache / f"{WHEEL}.part").write_bytes(b"x" * (kept or len(body)))
    assert assets.path("toy").read_bytes() == body
    assert not (cache / f"{WHEEL}.part").exists()


def test_finished_part_needs_no_network(direct, cache, body):
    cache.mkdir()
    (cache / f"{WHEEL}.part").write_bytes(body)
    assert assets.path("toy").read_bytes() == body
    assert direct.ranges == []


@pytest.mark.parametrize("answer", ["flipped", "longer", "shorter"])
def test_server_that_sends_a_wrong_body(direct, cache, body, answer):
    wrong = bytearray(body)
    wrong[1000] ^= 1
    direct.body = {"flipped": bytes(wrong), "longer": body + b"x", "shorter": b"<html>"}[answer]
    with pytest.raises(assets.AssetError) as error:
        assets.path("toy")
    text = sentence(error)
    assert WHEEL in text and "server" in text and "python -m course_lib fetch" in text
    assert not (cache / WHEEL).exists() and not (cache / f"{WHEEL}.part").exists()


def test_busy_server_is_asked_again_but_a_missing_file_is_not(direct, body):
    direct.codes = [503, 429]
    assert assets.path("toy").read_bytes() == body
    assert len(direct.ranges) == 3
    (assets.path("toy")).unlink()
    direct.codes = [404]
    with pytest.raises(assets.AssetError, match="HTTP 404"):
        assets.path("toy")
    assert len(direct.ranges) == 4


@pytest.mark.parametrize("fault", ["truncated", "flipped"])
def test_damaged_file_in_the_cache_is_named_and_fetched_again(direct, body, fault):
    file = assets.path("toy")
    damage(file, fault)
    assert {row.name: row.state for row in assets.status()} == {"toy": "damaged"}
    with pytest.warns(assets.AssetWarning) as caught:
        assert assets.path("toy").read_bytes() == body
    (text,) = [str(warning.message) for warning in caught]
    assert str(file) in text and "fetching it again" in text
    assert len(direct.ranges) == 2


@pytest.mark.parametrize("fault", ["truncated", "flipped"])
def test_damaged_file_offline_says_so(direct, fault, monkeypatch):
    file = assets.path("toy")
    damage(file, fault)

    def offline(requirement):
        raise _download.Unavailable("pip found no connection")

    monkeypatch.setattr(_download, "_address", offline)
    with pytest.warns(assets.AssetWarning), pytest.raises(assets.AssetError) as error:
        assets.path("toy")
    text = sentence(error)
    assert str(file) in text and "connect to the internet" in text
    assert "bytes" in text if fault == "truncated" else "wrong sha256" in text


def damage(file, fault):
    body = bytearray(file.read_bytes())
    if fault == "truncated":
        body = body[:-100]
    else:
        body[len(body) // 2] ^= 0x10
    file.write_bytes(body)
    os.utime(file, ns=(0, 0))  # a new time, as any later writer leaves


# ---------------------------------------------------------------- two at once, no place to write


def test_two_processes_at_once_download_once(direct, data, cache, body):
    direct.pause = 1.0
    first = fetcher(data, direct.wheel, cache)
    part = cache / f"{WHEEL}.part"
    wait_for(lambda: part.exists(), first)
    second = fetcher(data, direct.wheel, cache)
    assert second.stdout.readline() == "toy: another process is fetching it; waiting.\n"
    direct.pause = 0.0
    output = [process.communicate(timeout=60) for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], output
    assert direct.ranges == [None]
    assert (cache / WHEEL).read_bytes() == body


@pytest.fixture
def tmpfs(tmp_path):
    """Mount a small file system in memory; skip where this user or machine cannot."""
    folder = tmp_path / "tmpfs"
    folder.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "none", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
        return folder

    if not sys.platform.startswith("linux") or shutil.which("mount") is None:
        pytest.skip("mounting a tmpfs needs Linux")
    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True)


@pytest.fixture
def read_only(tmp_path, request):
    """Make a folder with the given files that nobody can write to; root needs a mount for that."""
    folder = tmp_path / "shared"
    folder.mkdir()

    def seal(**files):
        root = os.geteuid() == 0
        place = request.getfixturevalue("tmpfs")("rw") if root else folder
        for name, content in files.items():
            (place / name).write_bytes(content)
        if root:
            return request.getfixturevalue("tmpfs")("remount", "ro")
        place.chmod(0o500)
        return place

    yield seal
    folder.chmod(0o700)


def test_read_only_cache_says_where_to_move_it(direct, read_only, monkeypatch):
    folder = read_only()
    monkeypatch.setenv("COURSE_CACHE", str(folder))
    with pytest.raises(assets.AssetError) as error:
        assets.path("toy")
    text = sentence(error)
    assert str(folder / WHEEL) in text and "COURSE_CACHE" in text
    assert "Read-only" in text or "Permission denied" in text


def test_cache_below_a_file_says_where_to_move_it(direct, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(assets.AssetError, match="COURSE_CACHE") as error:
        assets.path("toy")
    assert WHEEL in sentence(error)


def test_filled_read_only_cache_serves_a_class(direct, read_only, body, monkeypatch):
    folder = read_only(**{WHEEL: body})
    monkeypatch.setenv("COURSE_CACHE", str(folder))
    assert assets.path("toy").read_bytes() == body
    assert direct.ranges == []


def test_full_disk_is_told_before_the_first_byte(direct, tmpfs, monkeypatch):
    folder = tmpfs("size=1m")
    monkeypatch.setenv("COURSE_CACHE", str(folder))
    with pytest.raises(assets.AssetError) as error:
        assets.path("toy")
    text = sentence(error)
    assert "disk is full" in text and WHEEL in text
    assert "2.0 MiB more" in text and "1.0 MiB are free" in text
    assert direct.ranges == []


def test_disk_that_fills_up_keeps_the_part_and_continues(direct, tmpfs, body, monkeypatch):
    folder = tmpfs("size=1m")
    monkeypatch.setenv("COURSE_CACHE", str(folder))
    monkeypatch.setattr(_download, "free_bytes", lambda folder: 2**40)  # as if others filled it
    with pytest.raises(assets.AssetError) as error:
        assets.path("toy")
    assert "disk is full" in sentence(error) and "0.0 MiB are free" in sentence(error)
    kept = (folder / f"{WHEEL}.part").stat().st_size
    assert 0 < kept <= 2**20
    tmpfs("remount", "size=8m")
    assert assets.path("toy").read_bytes() == body
    assert direct.ranges == [None, f"bytes={kept}-"]


def test_refused_write_without_a_real_disk(direct, cache, monkeypatch):
    """The stand-in for machines where no tmpfs can be mounted."""
    monkeypatch.setattr(_download, "free_bytes", lambda folder: 100)
    with pytest.raises(assets.AssetError, match="disk is full") as error:
        assets.path("toy")
    assert str(cache / WHEEL) in sentence(error) and "COURSE_CACHE" in sentence(error)


def test_no_warning_without_a_fault(direct):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert assets.path("toy") == assets.path("toy")
