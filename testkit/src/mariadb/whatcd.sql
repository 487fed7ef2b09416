-- The tables of a WhatCD Gazelle site (Ocelot 1.0) that a tracker reads and writes.
CREATE TABLE users_main (
    ID INT UNSIGNED NOT NULL AUTO_INCREMENT,
    Username VARCHAR(20) NOT NULL,
    Email VARCHAR(255) NOT NULL DEFAULT '',
    -- Without default: what an INSERT of a stranger breaks on in strict mode.
    PassHash VARCHAR(60) NOT NULL,
    IP VARCHAR(15) NOT NULL DEFAULT '0.0.0.0',
    Uploaded BIGINT UNSIGNED NOT NULL DEFAULT '0',
    Downloaded BIGINT UNSIGNED NOT NULL DEFAULT '0',
    Enabled ENUM('0','1','2') NOT NULL DEFAULT '0',
    Visible ENUM('1','0') NOT NULL DEFAULT '1',
    torrent_pass CHAR(32) NOT NULL,
    can_leech TINYINT NOT NULL DEFAULT '1',
    PRIMARY KEY (ID),
    UNIQUE KEY Username (Username),
    KEY Enabled (Enabled),
    KEY torrent_pass (torrent_pass)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE torrents (
    ID INT NOT NULL AUTO_INCREMENT,
    GroupID INT NOT NULL,
    info_hash BLOB NOT NULL,
    FileList MEDIUMTEXT NOT NULL,
    FreeTorrent ENUM('0','1','2') NOT NULL DEFAULT '0',
    Seeders INT NOT NULL DEFAULT '0',
    Leechers INT NOT NULL DEFAULT '0',
    Snatched INT UNSIGNED NOT NULL DEFAULT '0',
    balance BIGINT NOT NULL DEFAULT '0',
    last_action DATETIME NULL,
    PRIMARY KEY (ID),
    UNIQUE KEY InfoHash (info_hash(40)),
    KEY GroupID (GroupID)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE xbt_files_users (
    uid INT NOT NULL,
    active TINYINT(1) NOT NULL DEFAULT '1',
    announced INT NOT NULL DEFAULT '0',
    completed TINYINT(1) NOT NULL DEFAULT '0',
    downloaded BIGINT NOT NULL DEFAULT '0',
    remaining BIGINT NOT NULL DEFAULT '0',
    uploaded BIGINT NOT NULL DEFAULT '0',
    upspeed INT UNSIGNED NOT NULL DEFAULT '0',
    downspeed INT UNSIGNED NOT NULL DEFAULT '0',
    corrupt BIGINT NOT NULL DEFAULT '0',
    timespent INT UNSIGNED NOT NULL DEFAULT '0',
    useragent VARCHAR(51) NOT NULL,
    connectable TINYINT NOT NULL DEFAULT '1',
    peer_id BINARY(20) NOT NULL,
    fid INT NOT NULL,
    mtime INT NOT NULL DEFAULT '0',
    ip VARCHAR(15) NOT NULL,
    PRIMARY KEY (peer_id, fid, uid),
    KEY remaining_idx (remaining),
    KEY fid_idx (fid),
    KEY mtime_idx (mtime),
    KEY uid_active (uid, active)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE xbt_snatched (
    uid INT NOT NULL DEFAULT '0',
    tstamp INT NOT NULL,
    fid INT NOT NULL,
    IP VARCHAR(15) NOT NULL,
    KEY fid (fid),
    KEY tstamp (tstamp),
    KEY uid_tstamp (uid, tstamp)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE users_freeleeches (
    UserID INT NOT NULL,
    TorrentID INT NOT NULL,
    Time DATETIME NOT NULL,
    Expired TINYINT(1) NOT NULL DEFAULT '0',
    Downloaded BIGINT NOT NULL DEFAULT '0',
    Uses INT NOT NULL DEFAULT '1',
    PRIMARY KEY (UserID, TorrentID)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
CREATE TABLE xbt_client_whitelist (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT,
    peer_id VARCHAR(20) NULL,
    vstring VARCHAR(200) NULL DEFAULT '',
    PRIMARY KEY (id),
    UNIQUE KEY peer_id (peer_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8;
