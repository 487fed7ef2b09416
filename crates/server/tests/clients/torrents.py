"""Makes torrents of one file: `torrents.py FILE < lines`, a line being `TORRENT URL NAME`.

NAME goes to `source` and so gives the swarm an info_hash of its own. The torrents are private: DHT,
PEX and LSD are off by BEP 27, whatever a client's settings are. Prints an info_hash for each.
"""

import hashlib
import os
import sys

PIECE_BYTES = 1 << 18


def bencode(value):
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return b"%d:%s" % (len(value), value)
    pairs = sorted((key.encode(), item) for key, item in value.items())
    return b"d" + b"".join(bencode(key) + bencode(item) for key, item in pairs) + b"e"


def main():
    path = sys.argv[1]
    with open(path, "rb") as file:
        hashes = [hashlib.sha1(piece).digest() for piece in iter(lambda: file.read(PIECE_BYTES), b"")]
    for line in sys.stdin:
        torrent, url, name = line.split()
        info = {
            "length": os.path.getsize(path),
            "name": os.path.basename(path),
            "piece length": PIECE_BYTES,
            "pieces": b"".join(hashes),
            "private": 1,
            "source": name,
        }
        with open(torrent, "wb") as file:
            file.write(bencode({"announce": url, "info": info}))
        print(hashlib.sha1(bencode(info)).hexdigest())


main()
