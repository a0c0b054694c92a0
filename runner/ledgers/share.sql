-- Runs that spend from one account now, and what was spent of late by those and others.
-- Times are seconds of the host's monotonic clock, but for `since`, which is the time of day.

CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY,       -- the run directory
    pid INTEGER NOT NULL,
    born INTEGER NOT NULL,
    boot TEXT NOT NULL,
    space TEXT NOT NULL,
    priority TEXT NOT NULL,
    since REAL NOT NULL,        -- when it joined
    beat REAL NOT NULL,         -- when it was last here
    until REAL NOT NULL,        -- when its lease ends
    page TEXT NOT NULL          -- what else it says of itself, as JSON
);

CREATE TABLE IF NOT EXISTS spent (
    run TEXT NOT NULL,
    piece INTEGER NOT NULL,      -- counts the run's leases
    at REAL NOT NULL,           -- the latest moment at which any of it was spent
    until REAL NOT NULL,        -- when it is of no use any more
    stamp INTEGER NOT NULL,     -- counts transactions: those after a reader's last one are news to it
    amounts TEXT NOT NULL,      -- by limit, as JSON
    PRIMARY KEY (run, piece)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS spent_stamp ON spent (stamp);

CREATE TABLE IF NOT EXISTS learned (
    key TEXT PRIMARY KEY,       -- the limit's
    at REAL NOT NULL,           -- when it was found out
    until REAL NOT NULL,
    stamp INTEGER NOT NULL,
    told TEXT NOT NULL          -- JSON
);

CREATE TABLE IF NOT EXISTS transactions (count INTEGER NOT NULL);
