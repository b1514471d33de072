-- What each side said, as it was read.

-- The truth: a line for each frame that went out or was kept back, and for each line of a daily file that was answered.
CREATE TABLE line (exchange TEXT, line BIGINT, digest TEXT, fate TEXT, sent_ns BIGINT, streamed BOOLEAN);
-- The events of each line, in their order.
CREATE TABLE told (exchange TEXT, line BIGINT, part BIGINT, kind TEXT, symbol TEXT, key TEXT, time_ns BIGINT);

-- The raw topic: a row for each frame, and for each line of a block of a daily file.
CREATE TABLE raw_frames (exchange TEXT, connection_id TEXT, frame_sequence BIGINT, part BIGINT, digest TEXT, receive_ns BIGINT);

-- connection_id and frame_sequence only of venues that are judged by the frame.
CREATE TABLE normalized (exchange TEXT, kind TEXT, symbol TEXT, key TEXT, first_id BIGINT, last_id BIGINT,
                         connection_id TEXT, frame_sequence BIGINT);
CREATE TABLE book_gaps (exchange TEXT, symbol TEXT, first_id BIGINT, last_id BIGINT);
CREATE TABLE quarantine (exchange TEXT, kind TEXT, symbol TEXT, key TEXT,
                         connection_id TEXT, frame_sequence BIGINT, frame_index BIGINT);
CREATE TABLE held (store TEXT, exchange TEXT, kind TEXT, symbol TEXT, key TEXT);
