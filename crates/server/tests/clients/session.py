"""A client made of libtorrent: `session.py TORRENT FOLDER PORT UPLOAD_BYTES`.

Reads `reannounce` and `leave` from standard input and logs libtorrent's alerts.
"""

import select
import sys

import libtorrent

torrent, folder, port, upload_bytes = sys.argv[1:]
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
    "alert_mask": libtorrent.alert.category_t.status_notification
    | libtorrent.alert.category_t.error_notification
    | libtorrent.alert.category_t.tracker_notification
    | libtorrent.alert.category_t.connect_notification,
})
parameters = libtorrent.add_torrent_params()
parameters.ti = libtorrent.torrent_info(torrent)
parameters.save_path = folder
handle = session.add_torrent(parameters)
handle.set_upload_limit(int(upload_bytes))

while True:
    for alert in session.pop_alerts():
        print(alert.what(), alert.message(), flush=True)
    if select.select([sys.stdin], [], [], 0.05)[0]:
        command = sys.stdin.readline().strip()
        if command == "reannounce":
            handle.force_reannounce()
        elif command == "leave":
            handle.unset_flags(libtorrent.torrent_flags.auto_managed)
            handle.pause()
        elif not command:
            break
