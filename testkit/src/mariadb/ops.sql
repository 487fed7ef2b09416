-- The tables of an OPSnet Gazelle site (Ocelot 2) that a tracker reads and writes.
CREATE TABLE users_main (
    ID INT UNSIGNED NOT NULL AUTO_INCREMENT,
    Username VARCHAR(30) NOT NULL,
    PassHash VARCHAR(60) NOT NULL,
    IP VARCHAR(15) NOT NULL DEFAULT '0.0.0.0',
    Enabled ENUM('0','1','2') NOT NULL DEFAULT '0',
    Visible ENUM('1','0') NOT NULL DEFAULT '1',
    torrent_pass CHAR(32) NOT NULL,
    can_leech TINYINT NOT NULL DEFAULT '1',
    PRIMARY KEY (ID),
    UNIQUE KEY Username (Username),
    KEY torrent_pass (torrent_pass)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE users_leech_stats (
    UserID INT UNSIGNED NOT NULL,
    Uploaded BIGINT NOT NULL DEFAULT '0',
    Downloaded BIGINT NOT NULL DEFAULT '0',
    PRIMARY KEY (UserID),
    KEY uls_uploaded (Uploaded),
    KEY uls_downloaded (Downloaded),
    FOREIGN KEY (UserID) REFERENCES users_main (ID) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE torrents (
    ID INT NOT NULL AUTO_INCREMENT,
    GroupID INT NOT NULL,
    info_hash BINARY(20) NOT NULL,
    FreeTorrent ENUM('0','1','2') NOT NULL DEFAULT '0',
    PRIMARY KEY (ID),
    UNIQUE KEY InfoHash (info_hash),
    KEY GroupID (GroupID)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE torrents_leech_stats (
    TorrentID INT NOT NULL,
    Seeders INT NOT NULL DEFAULT '0',
    Leechers INT NOT NULL DEFAULT '0',
    Snatched INT NOT NULL DEFAULT '0',
    Balance BIGINT NOT NULL DEFAULT '0',
    last_action DATETIME NULL,
    PRIMARY KEY (TorrentID),
    KEY tls_seeders (Seeders),
    KEY tls_leechers (Leechers),
    KEY tls_snatched (Snatched),
    KEY tls_last_action (last_action),
    FOREIGN KEY (TorrentID) REFERENCES torrents (ID)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE xbt_files_users (
    uid INT NOT NULL,
    active TINYINT NOT NULL DEFAULT '1',
    announced INT NOT NULL DEFAULT '0',
    completed TINYINT NOT NULL DEFAULT '0',
    downloaded BIGINT NOT NULL DEFAULT '0',
    remaining BIGINT NOT NULL DEFAULT '0',
    uploaded BIGINT NOT NULL DEFAULT '0',
    upspeed INT NOT NULL DEFAULT '0',
    downspeed INT NOT NULL DEFAULT '0',
    corrupt BIGINT NOT NULL DEFAULT '0',
    timespent INT UNSIGNED NOT NULL DEFAULT '0',
    useragent VARCHAR(51) NOT NULL,
    connectable TINYINT NOT NULL DEFAULT '1',
    peer_id BINARY(20) NOT NULL,
    fid INT NOT NULL,
    mtime INT NOT NULL DEFAULT '0',
    ip VARCHAR(15) NOT NULL,
    PRIMARY KEY (fid, uid, peer_id),
    KEY remaining_idx (remaining),
    KEY mtime_idx (mtime),
    KEY uid_active (uid, active),
    KEY ip (ip)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE xbt_snatched (
    uid INT NOT NULL DEFAULT '0',
    tstamp INT NOT NULL,
    fid INT NOT NULL,
    IP VARCHAR(15) NOT NULL,
    seedtime INT NOT NULL DEFAULT '0',
    xbt_snatched_id INT NOT NULL AUTO_INCREMENT,
    PRIMARY KEY (xbt_snatched_id),
    KEY fid (fid),
    KEY tstamp (tstamp),
    KEY uid_tstamp (uid, tstamp)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE users_freeleeches (
    UserID INT NOT NULL,
    TorrentID INT NOT NULL,
    Time DATETIME NOT NULL,
    Expired TINYINT NOT NULL DEFAULT '0',
    Downloaded BIGINT NOT NULL DEFAULT '0',
    Uses INT NOT NULL DEFAULT '1',
    PRIMARY KEY (UserID, TorrentID)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE xbt_client_whitelist (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT,
    peer_id VARCHAR(20) NULL,
    vstring VARCHAR(200) NULL DEFAULT '',
    PRIMARY KEY (id),
    UNIQUE KEY peer_id (peer_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
