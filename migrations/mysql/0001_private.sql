-- Members, torrents and what is counted of them. Times are seconds since 1970, sizes are bytes,
-- flags are 0 or 1. Ids are never given out twice.

CREATE TABLE members (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(190) NOT NULL UNIQUE,
    -- 32 letters and digits. A secret.
    passkey CHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,
    -- Whether the member may announce at all.
    enabled TINYINT NOT NULL DEFAULT 1,
    -- Whether the member may download.
    can_leech TINYINT NOT NULL DEFAULT 1,
    -- Whether the member's address is kept out of the tables.
    protected TINYINT NOT NULL DEFAULT 0,
    -- Whether downloads never count.
    free_leech TINYINT NOT NULL DEFAULT 0,
    -- Whether uploads count twice.
    double_upload TINYINT NOT NULL DEFAULT 0,
    -- Most torrents downloaded at once; NULL for no bound.
    download_slots BIGINT NULL,
    uploaded BIGINT NOT NULL DEFAULT 0,
    downloaded BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE torrents (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    info_hash BINARY(20) NOT NULL UNIQUE,
    name VARCHAR(190) NOT NULL,
    -- 0: upload and download count, 1: upload alone, 2: neither.
    pricing TINYINT NOT NULL DEFAULT 0,
    -- Whether uploads count twice.
    double_upload TINYINT NOT NULL DEFAULT 0,
    seeders BIGINT NOT NULL DEFAULT 0,
    leechers BIGINT NOT NULL DEFAULT 0,
    completed BIGINT NOT NULL DEFAULT 0,
    -- Upload less download.
    balance BIGINT NOT NULL DEFAULT 0,
    -- When a seeder was counted last.
    last_seeded_at BIGINT NULL,
    created_at BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Clients by the start of their peer_id. Where any is allowed, no others are let in.
CREATE TABLE clients (
    prefix VARBINARY(20) NOT NULL PRIMARY KEY,
    name VARCHAR(190) NOT NULL,
    -- 1: let in, 0: kept out.
    allowed TINYINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row for each client of a member at a torrent. Rows of peers that left stay for a month.
CREATE TABLE peers (
    member_id BIGINT NOT NULL,
    torrent_id BIGINT NOT NULL,
    peer_id BINARY(20) NOT NULL,
    active TINYINT NOT NULL,
    announces BIGINT NOT NULL,
    -- As the client counts them.
    uploaded BIGINT NOT NULL,
    downloaded BIGINT NOT NULL,
    remaining BIGINT NOT NULL,
    corrupt BIGINT NOT NULL,
    -- Bytes per second.
    upload_speed BIGINT NOT NULL,
    download_speed BIGINT NOT NULL,
    timespent_secs BIGINT NOT NULL,
    seedtime_secs BIGINT NOT NULL,
    -- NULL for a protected member.
    address VARCHAR(45) NULL,
    port BIGINT NOT NULL,
    user_agent VARCHAR(255) NOT NULL,
    announced_at BIGINT NOT NULL,
    completed_at BIGINT NULL,
    PRIMARY KEY (torrent_id, member_id, peer_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE INDEX peers_of_a_member ON peers (member_id);

-- Downloads that were completed: the first time of each member and torrent.
CREATE TABLE snatches (
    member_id BIGINT NOT NULL,
    torrent_id BIGINT NOT NULL,
    completed_at BIGINT NOT NULL,
    address VARCHAR(45) NULL,
    PRIMARY KEY (member_id, torrent_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A member's right to download a torrent for free.
CREATE TABLE tokens (
    member_id BIGINT NOT NULL,
    torrent_id BIGINT NOT NULL,
    -- What it made free so far.
    downloaded BIGINT NOT NULL DEFAULT 0,
    -- Whether it is used up.
    expired TINYINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (member_id, torrent_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which chunks of rows were written: what keeps a sum from being added twice.
CREATE TABLE peerage_flush (
    writer BIGINT NOT NULL,
    part INT NOT NULL,
    number BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (writer, part)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Counts the changes of members, torrents, clients and tokens: a tracker that runs looks at it.
CREATE TABLE revision (
    number BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT INTO revision (number) VALUES (0);
