-- Members, torrents and what is counted of them. Times are seconds since 1970, sizes are bytes,
-- flags are 0 or 1. Ids are never given out twice.

CREATE TABLE members (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    -- 32 letters and digits. A secret.
    passkey TEXT NOT NULL UNIQUE,
    -- Whether the member may announce at all.
    enabled INTEGER NOT NULL DEFAULT 1,
    -- Whether the member may download.
    can_leech INTEGER NOT NULL DEFAULT 1,
    -- Whether the member's address is kept out of the tables.
    protected INTEGER NOT NULL DEFAULT 0,
    -- Whether downloads never count.
    free_leech INTEGER NOT NULL DEFAULT 0,
    -- Whether uploads count twice.
    double_upload INTEGER NOT NULL DEFAULT 0,
    -- Most torrents downloaded at once; NULL for no bound.
    download_slots INTEGER NULL,
    uploaded INTEGER NOT NULL DEFAULT 0,
    downloaded INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
);

CREATE TABLE torrents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    info_hash BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL,
    -- 0: upload and download count, 1: upload alone, 2: neither.
    pricing INTEGER NOT NULL DEFAULT 0,
    -- Whether uploads count twice.
    double_upload INTEGER NOT NULL DEFAULT 0,
    seeders INTEGER NOT NULL DEFAULT 0,
    leechers INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    -- Upload less download.
    balance INTEGER NOT NULL DEFAULT 0,
    -- When a seeder was counted last.
    last_seeded_at INTEGER NULL,
    created_at INTEGER NOT NULL
);

-- Clients by the start of their peer_id. Where any is allowed, no others are let in.
CREATE TABLE clients (
    prefix BLOB NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    -- 1: let in, 0: kept out.
    allowed INTEGER NOT NULL
);

-- One row for each client of a member at a torrent. Rows of peers that left stay for a month.
CREATE TABLE peers (
    member_id INTEGER NOT NULL,
    torrent_id INTEGER NOT NULL,
    peer_id BLOB NOT NULL,
    active INTEGER NOT NULL,
    announces INTEGER NOT NULL,
    -- As the client counts them.
    uploaded INTEGER NOT NULL,
    downloaded INTEGER NOT NULL,
    remaining INTEGER NOT NULL,
    corrupt INTEGER NOT NULL,
    -- Bytes per second.
    upload_speed INTEGER NOT NULL,
    download_speed INTEGER NOT NULL,
    timespent_secs INTEGER NOT NULL,
    seedtime_secs INTEGER NOT NULL,
    -- NULL for a protected member.
    address TEXT NULL,
    port INTEGER NOT NULL,
    user_agent TEXT NOT NULL,
    announced_at INTEGER NOT NULL,
    completed_at INTEGER NULL,
    PRIMARY KEY (torrent_id, member_id, peer_id)
);
CREATE INDEX peers_of_a_member ON peers (member_id);

-- Downloads that were completed: the first time of each member and torrent.
CREATE TABLE snatches (
    member_id INTEGER NOT NULL,
    torrent_id INTEGER NOT NULL,
    completed_at INTEGER NOT NULL,
    address TEXT NULL,
    PRIMARY KEY (member_id, torrent_id)
);

-- A member's right to download a torrent for free.
CREATE TABLE tokens (
    member_id INTEGER NOT NULL,
    torrent_id INTEGER NOT NULL,
    -- What it made free so far.
    downloaded INTEGER NOT NULL DEFAULT 0,
    -- Whether it is used up.
    expired INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (member_id, torrent_id)
);

-- Which chunks of rows were written: what keeps a sum from being added twice.
CREATE TABLE peerage_flush (
    writer INTEGER NOT NULL,
    part INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (writer, part)
);

-- Counts the changes of members, torrents, clients and tokens: a tracker that runs looks at it.
CREATE TABLE revision (
    number INTEGER NOT NULL
);
INSERT INTO revision (number) VALUES (0);
