"""A client made of libtorrent: `session.py TORRENT FOLDER PORT UPLOAD_BYTES RESUME`.

Reads `reannounce`, `leave`, `come_back`, `figures` and `quit` from standard input and logs
libtorrent's alerts. RESUME is the file in which `quit` keeps what the next start goes on with.
"""

import os
import select
import sys

import libtorrent

torrent, folder, port, upload_bytes, resume = sys.argv[1:]
session = libtorrent.session({
    "listen_interfaces": f"127.0.0.1:{port},[::1]:{port}",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    # Every peer of the test has the same address.
    "allow_multiple_connections_per_ip": True,
    "min_reconnect_time": 1,
    # Else no tracker on loopback is asked whose path does not start with /announce.
    "ssrf_mitigation": False,
    "alert_mask": libtorrent.alert.category_t.status_notification
    | libtorrent.alert.category_t.error_notification
    | libtorrent.alert.category_t.tracker_notification
    | libtorrent.alert.category_t.connect_notification
    | libtorrent.alert.category_t.storage_notification,
})
if os.path.exists(resume):
    with open(resume, "rb") as file:
        parameters = libtorrent.read_resume_data(file.read())
    parameters.flags &= ~libtorrent.torrent_flags.paused
else:
    parameters = libtorrent.add_torrent_params()
parameters.ti = libtorrent.torrent_info(torrent)
parameters.save_path = folder
handle = session.add_torrent(parameters)
handle.set_upload_limit(int(upload_bytes))


def tell_figures():
    status = handle.status()
    wasted = status.total_failed_bytes + status.total_redundant_bytes
    # Those of all time are a second behind, and stay so when the torrent pauses.
    print("figures", status.total_payload_upload, status.total_payload_download, wasted, flush=True)


def keep(alert):
    with open(resume, "wb") as file:
        file.write(libtorrent.write_resume_data_buf(alert.params))


def commands():
    """What is asked for until standard input ends; `None` every so often."""
    rest = b""
    while True:
        if not select.select([sys.stdin], [], [], 0.05)[0]:
            yield None
            continue
        # Not by lines: of two that come together the second would wait for a third.
        data = os.read(sys.stdin.fileno(), 4096)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from (line.decode().strip() for line in lines)


for command in commands():
    for alert in session.pop_alerts():
        print(alert.what(), alert.message(), flush=True)
        if isinstance(alert, libtorrent.save_resume_data_alert):
            keep(alert)
            sys.exit()
    if command == "reannounce":
        handle.force_reannounce(0, -1, libtorrent.torrent_handle.ignore_min_interval)
    elif command == "leave":
        handle.unset_flags(libtorrent.torrent_flags.auto_managed)
        handle.pause()
    elif command == "come_back":
        handle.resume()
    elif command == "figures":
        tell_figures()
    elif command == "quit":
        handle.save_resume_data(libtorrent.torrent_handle.flush_disk_cache)
