-- The books of a day, closed an hour after it is over.
--
-- Two things are kept of each day. A digest of its transfers, chained to the one before, so that a
-- history rewritten later no longer has the digests that were told to the outside. And a snapshot of
-- each account without a kept balance, so that its balance is a snapshot and a short tail rather than
-- the sum of all that ever happened.

CREATE TABLE ledger.day_digest (
    day         date   PRIMARY KEY,
    row_count   bigint NOT NULL CONSTRAINT day_digest_row_count_from_zero CHECK (row_count >= 0),
    -- Of prev_sha256 and the day's transfers.
    sha256      bytea  NOT NULL CONSTRAINT day_digest_is_whole CHECK (length(sha256) = 32),
    prev_sha256 bytea  NOT NULL
);

CREATE TABLE ledger.snapshot (
    account_id bigint         NOT NULL,
    as_of      timestamptz    NOT NULL,
    balance    numeric(78, 0) NOT NULL
               CONSTRAINT snapshot_balance_is_finite CHECK (balance > -1e78 AND balance < 1e78),
    -- How many transfers it sums up.
    row_count  bigint         NOT NULL,
    CONSTRAINT snapshot_pkey PRIMARY KEY (account_id, as_of)
);

CREATE TRIGGER day_digest_is_never_changed BEFORE UPDATE OR DELETE ON ledger.day_digest
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER day_digest_is_never_emptied BEFORE TRUNCATE ON ledger.day_digest
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER snapshot_is_never_changed BEFORE UPDATE OR DELETE ON ledger.snapshot
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER snapshot_is_never_emptied BEFORE TRUNCATE ON ledger.snapshot
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Transfers arrive in the order of their time, so a few pages of this index find a day's.
CREATE INDEX transfer_created_at ON ledger.transfer USING brin (created_at);

CREATE FUNCTION ledger.start_of(p_day date) RETURNS timestamptz
LANGUAGE sql STABLE AS $$ SELECT p_day::timestamp AT TIME ZONE 'UTC' $$;

-- The digest of each transfer of a day in the order of keys, and the digest of those: all in text
-- that depends on no setting of the session.
CREATE FUNCTION ledger.digest_of(p_day date, p_prev_sha256 bytea, OUT row_count bigint, OUT sha256 bytea)
LANGUAGE sql STABLE AS $$
    SELECT count(*),
           sha256(p_prev_sha256 || coalesce(string_agg(
               sha256(convert_to(concat_ws('|',
                   posting_id, phase, leg, kind, debit_id, credit_id, amount,
                   coalesce(debit_seq::text, '-'), coalesce(credit_seq::text, '-'),
                   coalesce(debit_after::text, '-'), coalesce(credit_after::text, '-'),
                   coalesce(encode(request_hash, 'hex'), '-'),
                   to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')
               ), 'UTF8')),
               ''::bytea ORDER BY posting_id, phase, leg
           ), ''::bytea))
      FROM ledger.transfer
     WHERE created_at >= ledger.start_of(p_day) AND created_at < ledger.start_of(p_day + 1)
$$;

-- What an account without a kept balance holds at a moment, from the last snapshot before it on.
CREATE FUNCTION ledger.unkept_balance(
    p_account_id bigint, p_as_of timestamptz, OUT balance numeric, OUT row_count bigint
)
LANGUAGE sql STABLE AS $$
    WITH last AS (
        SELECT snapshot.as_of, snapshot.balance, snapshot.row_count
          FROM ledger.snapshot
         WHERE account_id = p_account_id AND snapshot.as_of <= p_as_of
         ORDER BY snapshot.as_of DESC
         LIMIT 1
    ),
    tail AS (
        SELECT -amount AS change FROM ledger.transfer
         WHERE debit_id = p_account_id AND debit_seq IS NULL
           AND created_at >= coalesce((SELECT as_of FROM last), '-infinity') AND created_at < p_as_of
        UNION ALL
        SELECT amount FROM ledger.transfer
         WHERE credit_id = p_account_id AND credit_seq IS NULL
           AND created_at >= coalesce((SELECT as_of FROM last), '-infinity') AND created_at < p_as_of
    )
    SELECT coalesce((SELECT balance FROM last), 0) + coalesce(sum(change), 0),
           coalesce((SELECT row_count FROM last), 0) + count(*)
      FROM tail
$$;

-- Closes a day; returns false, and does nothing, if it is closed. Days are closed in their order and
-- an hour late, when nothing can be written any more that began in them.
CREATE FUNCTION ledger.close_day(p_day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_end  timestamptz := ledger.start_of(p_day + 1);
    v_last ledger.day_digest;
BEGIN
    IF v_end IS NULL OR clock_timestamp() < v_end + interval '1 hour' THEN
        RAISE EXCEPTION 'a day is closed an hour after it is over' USING ERRCODE = 'LG400';
    END IF;
    PERFORM pg_advisory_xact_lock('ledger.day_digest'::regclass::oid::bigint);
    IF EXISTS (SELECT FROM ledger.day_digest WHERE day = p_day) THEN
        RETURN false;
    END IF;
    SELECT * INTO v_last FROM ledger.day_digest ORDER BY day DESC LIMIT 1;
    IF FOUND AND p_day <> v_last.day + 1 THEN
        RAISE EXCEPTION 'days are closed in their order: % is next', v_last.day + 1
            USING ERRCODE = 'LG400';
    END IF;
    IF NOT FOUND AND EXISTS (
        SELECT FROM ledger.transfer WHERE created_at < ledger.start_of(p_day)
    ) THEN
        RAISE EXCEPTION 'there are transfers before this day' USING ERRCODE = 'LG400';
    END IF;

    INSERT INTO ledger.day_digest (day, row_count, sha256, prev_sha256)
    SELECT p_day, row_count, sha256, coalesce(v_last.sha256, ''::bytea)
      FROM ledger.digest_of(p_day, coalesce(v_last.sha256, ''::bytea));
    INSERT INTO ledger.snapshot (account_id, as_of, balance, row_count)
    SELECT account.id, v_end, held.balance, held.row_count
      FROM ledger.account
     CROSS JOIN LATERAL ledger.unkept_balance(account.id, v_end) AS held
     WHERE account.mode = 'N';
    RETURN true;
END $$;

REVOKE ALL ON FUNCTION
    ledger.start_of, ledger.digest_of, ledger.unkept_balance, ledger.close_day
    FROM PUBLIC;
