-- The tables of Orpheus' Gazelle that its tracker reads and writes.
CREATE TABLE users_main (
  ID int NOT NULL AUTO_INCREMENT,
  Username varchar(30) NOT NULL,
  IP varchar(15) NOT NULL DEFAULT '0.0.0.0',
  Enabled enum('0','1','2') NOT NULL DEFAULT '0',
  Visible enum('1','0') NOT NULL DEFAULT '1',
  can_leech tinyint NOT NULL DEFAULT 1,
  torrent_pass char(32) NOT NULL,
  PRIMARY KEY (ID),
  KEY torrent_pass (torrent_pass)
) ENGINE=InnoDB CHARSET=utf8mb4;
CREATE TABLE users_leech_stats (
  UserID int NOT NULL,
  Uploaded bigint NOT NULL DEFAULT 0,
  Downloaded bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (UserID),
  KEY uls_uploaded_idx (Uploaded),
  KEY uls_downloaded_idx (Downloaded),
  CONSTRAINT uls_user FOREIGN KEY (UserID) REFERENCES users_main (ID) ON DELETE CASCADE
) ENGINE=InnoDB CHARSET=utf8mb4;
CREATE TABLE torrents (
  ID int NOT NULL AUTO_INCREMENT,
  GroupID int NOT NULL,
  info_hash binary(20) NOT NULL,
  FreeTorrent enum('0','1','2') NOT NULL DEFAULT '0',
  PRIMARY KEY (ID),
  UNIQUE KEY InfoHash (info_hash)
) ENGINE=InnoDB CHARSET=utf8mb4;
CREATE TABLE torrents_leech_stats (
  TorrentID int NOT NULL,
  Seeders int NOT NULL DEFAULT 0,
  Leechers int NOT NULL DEFAULT 0,
  Snatched int NOT NULL DEFAULT 0,
  Balance bigint NOT NULL DEFAULT 0,
  last_action datetime DEFAULT NULL,
  PRIMARY KEY (TorrentID),
  KEY tls_seeders_idx (Seeders),
  KEY tls_leechers_idx (Leechers),
  KEY tls_snatched_idx (Snatched),
  KEY tls_last_action_idx (last_action),
  CONSTRAINT tls_torrent FOREIGN KEY (TorrentID) REFERENCES torrents (ID) ON DELETE CASCADE
) ENGINE=InnoDB CHARSET=utf8mb4;
CREATE TABLE xbt_files_users (
  uid int NOT NULL,
  active tinyint NOT NULL DEFAULT 1,
  announced int NOT NULL DEFAULT 0,
  completed tinyint NOT NULL DEFAULT 0,
  downloaded bigint NOT NULL DEFAULT 0,
  remaining bigint NOT NULL DEFAULT 0,
  uploaded bigint NOT NULL DEFAULT 0,
  upspeed int NOT NULL DEFAULT 0,
  downspeed int NOT NULL DEFAULT 0,
  corrupt bigint NOT NULL DEFAULT 0,
  timespent int NOT NULL DEFAULT 0,
  useragent varchar(51) NOT NULL DEFAULT '',
  connectable tinyint NOT NULL DEFAULT 1,
  peer_id binary(20) NOT NULL,
  fid int NOT NULL,
  mtime int NOT NULL DEFAULT 0,
  ip varchar(15) NOT NULL DEFAULT '',
  PRIMARY KEY (fid, uid, peer_id),
  KEY remaining_idx (remaining),
  KEY fid_idx (fid),
  KEY mtime_idx (mtime),
  KEY uid_active (uid, active),
  KEY ip_idx (ip)
) ENGINE=InnoDB CHARSET=utf8mb4;
CREATE TABLE xbt_snatched (
  xbt_snatched_id int NOT NULL AUTO_INCREMENT,
  uid int NOT NULL DEFAULT 0,
  tstamp int NOT NULL,
  fid int NOT NULL,
  IP varchar(15) NOT NULL,
  seedtime int NOT NULL DEFAULT 0,
  PRIMARY KEY (xbt_snatched_id),
  KEY fid (fid),
  KEY tstamp (tstamp),
  KEY uid_tstamp (uid, tstamp)
) ENGINE=InnoDB CHARSET=utf8mb4;
CREATE TABLE users_freeleeches (
  UserID int NOT NULL,
  TorrentID int NOT NULL,
  Time datetime NOT NULL,
  Expired tinyint NOT NULL DEFAULT 0,
  Downloaded bigint NOT NULL DEFAULT 0,
  Uses int NOT NULL DEFAULT 1,
  PRIMARY KEY (UserID, TorrentID)
) ENGINE=InnoDB CHARSET=utf8mb4;
CREATE TABLE xbt_client_whitelist (
  id int NOT NULL AUTO_INCREMENT,
  peer_id varchar(20) NOT NULL,
  vstring varchar(200) DEFAULT '',
  PRIMARY KEY (id),
  UNIQUE KEY peer_id (peer_id)
) ENGINE=InnoDB CHARSET=utf8mb4;
