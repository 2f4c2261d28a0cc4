-- The ledger, version 1. Times are microseconds since 1970, UTC, by the bridge's clock unless a comment says otherwise.

CREATE TABLE hub (
  id       INTEGER PRIMARY KEY,
  name     TEXT NOT NULL UNIQUE,
  added_us INTEGER NOT NULL
);

-- A revoked key stays: the evidence that it signed must open for ever.
CREATE TABLE hub_key (
  kid        BLOB PRIMARY KEY,
  hub_id     INTEGER NOT NULL REFERENCES hub,
  public_pem TEXT NOT NULL,
  added_us   INTEGER NOT NULL,
  revoked_us INTEGER
);

-- Whose readings these are. No device: the hub's default. from_us/until_us NULL: without bound on that side.
CREATE TABLE assignment (
  id         INTEGER PRIMARY KEY,
  hub_id     INTEGER NOT NULL REFERENCES hub,
  device     BLOB,
  user_index INTEGER,
  patient    TEXT NOT NULL,
  from_us    INTEGER,
  until_us   INTEGER,
  made_us    INTEGER NOT NULL,
  CHECK (user_index IS NULL OR device IS NOT NULL)
);
CREATE INDEX assignment_hub ON assignment (hub_id, device);

-- One numbering of one hub. expected: the lowest number not accounted for; head: the chain's value before it.
CREATE TABLE epoch (
  id       INTEGER PRIMARY KEY,
  hub_id   INTEGER NOT NULL REFERENCES hub,
  epoch    BLOB NOT NULL,
  expected INTEGER NOT NULL,
  head     BLOB NOT NULL,
  begun_us INTEGER NOT NULL,
  heard_us INTEGER NOT NULL,
  UNIQUE (hub_id, epoch)
);
CREATE INDEX epoch_heard ON epoch (heard_us);

-- The evidence, as signed.
CREATE TABLE batch (
  id          INTEGER PRIMARY KEY,
  digest      BLOB NOT NULL UNIQUE,
  epoch_id    INTEGER NOT NULL REFERENCES epoch,
  first       INTEGER NOT NULL,
  last        INTEGER NOT NULL,
  envelope    BLOB NOT NULL,
  accepted_us INTEGER NOT NULL
);

-- Written ahead as 'pending' before the FHIR server hears of it. patient: decided then, and not again.
CREATE TABLE reading (
  id          INTEGER PRIMARY KEY,
  epoch_id    INTEGER NOT NULL REFERENCES epoch,
  seq         INTEGER NOT NULL,
  batch_id    INTEGER NOT NULL REFERENCES batch,
  digest      BLOB NOT NULL,
  chain       BLOB NOT NULL,
  state       TEXT NOT NULL CHECK (state IN ('pending', 'written', 'quarantined')),
  patient     TEXT,
  received_us INTEGER NOT NULL, -- by the hub's clock
  accepted_us INTEGER NOT NULL,
  settled_us  INTEGER,
  UNIQUE (epoch_id, seq)
);
CREATE INDEX reading_pending ON reading (epoch_id, seq) WHERE state = 'pending';
CREATE INDEX reading_state ON reading (state);

-- Exactly once: one row for one identifier, whatever brought it. url NULL: not known to be in FHIR yet.
CREATE TABLE observation (
  id         INTEGER PRIMARY KEY,
  identifier TEXT NOT NULL UNIQUE,
  url        TEXT,
  written_us INTEGER
);
CREATE TABLE reading_observation (
  reading_id     INTEGER NOT NULL REFERENCES reading,
  observation_id INTEGER NOT NULL REFERENCES observation,
  PRIMARY KEY (reading_id, observation_id)
) WITHOUT ROWID;

-- Readings that a hub no longer had when it sent what came after them, and that did not come since. after: the chain's
-- value that the hub named at the end of the gap.
CREATE TABLE gap (
  id       INTEGER PRIMARY KEY,
  epoch_id INTEGER NOT NULL REFERENCES epoch,
  first    INTEGER NOT NULL,
  last     INTEGER NOT NULL,
  after    BLOB NOT NULL,
  found_us INTEGER NOT NULL
);
CREATE INDEX gap_epoch ON gap (epoch_id, last);

-- What was refused (kind 'batch') and what could not be written (kind 'reading'), for a person to see and to redrive.
CREATE TABLE quarantine (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  kind        TEXT NOT NULL CHECK (kind IN ('batch', 'reading')),
  reason      TEXT NOT NULL,
  detail      TEXT NOT NULL,
  hub         TEXT,          -- as the topic said for a batch that did not open
  digest      BLOB NOT NULL, -- SHA-256 of the envelope or of the reading
  reading_id  INTEGER UNIQUE REFERENCES reading,
  bytes       BLOB,          -- of the envelope, as far as it was kept
  size        INTEGER,       -- of the envelope
  count       INTEGER NOT NULL DEFAULT 1,
  first_us    INTEGER NOT NULL,
  last_us     INTEGER NOT NULL,
  resolved_us INTEGER
);
CREATE UNIQUE INDEX quarantine_batch ON quarantine (digest, reason) WHERE kind = 'batch';
CREATE INDEX quarantine_reason ON quarantine (reason, id);
CREATE TABLE quarantine_not_kept (
  reason TEXT PRIMARY KEY,
  count  INTEGER NOT NULL
) WITHOUT ROWID;
