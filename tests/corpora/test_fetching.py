"""Downloads from a server that cuts connections, answers ranges or not, and has wrong or no files."""

import errno
import gzip
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from seqlab.corpora.description import CorpusDescription, Split, TextFile
from seqlab.corpora.fetching import download, fetch_files

TEXT = "".join(f"Zeile {number}: ä\n" for number in range(20_000)).encode()


class Server(ThreadingHTTPServer):
    """A server of files, which can announce more bytes than it sends."""

    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.cut_after, self.has_ranges, self.starts = files, None, True, []

    def file(self, name, sha256=None, encoding="utf-8"):
        sha256 = sha256 or hashlib.sha256(TEXT).hexdigest()
        return TextFile(("train.txt",), sha256, None, f"http://127.0.0.1:{self.server_port}/{name}", encoding)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.files.get(self.path.lstrip("/"))
        if content is None:
            self.send_error(404)
            return
        ranges = self.headers.get("Range", "bytes=0-") if self.server.has_ranges else "bytes=0-"
        start = int(ranges.removeprefix("bytes=").rstrip("-"))
        self.server.starts.append(start)
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : self.server.cut_after])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    latin = TEXT.decode().encode("latin-1")
    server = Server({"plain": TEXT, "packed.gz": gzip.compress(TEXT), "latin": latin, "damaged.gz": b"\x1f\x8bno"})
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_continues_after_a_cut_connection(server, tmp_path):
    server.cut_after = 100_000
    with pytest.raises(ConnectionError, match=r"plain: the connection was cut.*same command continues.*train\.txt"):
        download(server.file("plain"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt.part"]
    server.cut_after = None
    assert download(server.file("plain"), tmp_path).read_bytes() == TEXT
    assert server.starts == [0, 100_000]
    assert [path.name for path in tmp_path.iterdir()] == ["train.txt"]


def test_a_download_starts_anew_without_ranges_and_after_a_part_of_another_version(server, tmp_path):
    (tmp_path / "train.txt.part").write_bytes(b"another version")
    assert download(server.file("plain"), tmp_path).read_bytes() == TEXT
    assert server.starts == [15, 0]
    server.has_ranges = False
    (tmp_path / "train.txt").rename(tmp_path / "train.txt.part")
    assert download(server.file("plain"), tmp_path).read_bytes() == TEXT
    assert server.starts == [15, 0, 0]


def test_a_part_that_is_already_complete_is_used(server, tmp_path):
    (tmp_path / "train.txt.part").write_bytes(TEXT)
    assert download(server.file("plain"), tmp_path).read_bytes() == TEXT
    assert server.starts == [len(TEXT)]


def test_compressed_and_recoded_files(server, tmp_path):
    assert download(server.file("packed.gz"), tmp_path).name == "train.txt.gz"
    assert gzip.decompress((tmp_path / "train.txt.gz").read_bytes()) == TEXT
    assert download(server.file("latin", encoding="latin-1"), tmp_path).read_bytes() == TEXT


@pytest.mark.parametrize("name", ["plain", "packed.gz", "damaged.gz"])
def test_a_wrong_checksum_is_refused_and_nothing_is_stored(server, tmp_path, name):
    with pytest.raises(ValueError, match=rf"{name} differs from the data card.*must be 0000.*Nothing was stored"):
        download(server.file(name, sha256="0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_files_and_missing_networks_name_the_address_and_the_place(server, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"/none: 404 Not Found\. Without a network.*put it at .*train\.txt"):
        download(server.file("none"), tmp_path)
    unreachable = TextFile(("train.txt",), "0" * 64, None, "http://127.0.0.1:9/plain")
    with pytest.raises(ConnectionError, match=r":9/plain cannot be reached: .*refused.*put it at .*train\.txt"):
        download(unreachable, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConnectionError, match="cannot be reached"):
        download(unreachable, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_download_continues_after_a_full_disk(server, tmp_path, monkeypatch):
    def fill(source, target):
        target.write(source.read(50_000))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("seqlab.corpora.fetching.shutil.copyfileobj", fill)
        with pytest.raises(OSError, match=r"left on device\. If you make room, the same command continues") as error:
            download(server.file("plain"), tmp_path)
    assert error.value.filename == str(tmp_path / "train.txt.part")
    assert download(server.file("plain"), tmp_path).read_bytes() == TEXT
    assert server.starts == [0, 50_000]


def test_existing_files_are_kept_and_different_ones_refused(server, tmp_path):
    splits = {"train": Split(num_lines=20_000, files={"text": server.file("plain")})}
    corpus = CorpusDescription("toy", "lines", "https://example.org", "CC0", {"text": "lines"}, splits)
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(TEXT))
    assert fetch_files(corpus, tmp_path) == [tmp_path / "train.txt.gz"]
    assert server.starts == []
    (tmp_path / "train.txt.gz").write_bytes(gzip.compress(b"a sample\n"))
    with pytest.raises(ValueError, match=r"train\.txt\.gz differs from the file of the corpus toy"):
        fetch_files(corpus, tmp_path)
