-- Under which leader of its partition the last message came that was loaded: a topic that lost its end and grew again has
-- other messages under the same offsets, and another leader's. -1 = not known.
ALTER TABLE load_offsets ADD COLUMN leader_epoch integer NOT NULL DEFAULT -1;
