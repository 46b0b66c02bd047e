-- The double-entry ledger.
--
-- A row of `transfer` moves one amount from one account to another, so it cannot be out of balance:
-- the sum of all accounts is zero by shape. Rows are only ever added. The one thing that changes is
-- the balance kept in an account's own row, and only the functions below change it. They run with
-- the rights of their owner; the application's login may call them and read, nothing more.
--
-- Errors raised here (SQLSTATE):
--   LG001  the ledger is append-only, and accounts keep their identity
--   LG400  a posting that can never be right: bad amount, legs or posting id
--   LG402  not enough money; DETAIL holds what there is
--   LG404  no such account, no such posting, or two accounts of different assets
--   LG409  this posting id already names another posting
-- A transfer that would overdraw fails on the CHECK `transfer_never_overdraws` or
-- `account_never_overdrawn` (23514), and a posting id that belongs to no partition on the partition
-- bounds (23514 too, naming no constraint): wallet/ledger.py reads the latter as LG410.

CREATE SCHEMA ledger;

-- What is counted -----------------------------------------------------------------------------

CREATE TABLE ledger.asset (
    id    smallint PRIMARY KEY,
    code  text     NOT NULL CONSTRAINT asset_code_is_unique UNIQUE,
    scale smallint NOT NULL CONSTRAINT asset_scale_is_whole CHECK (scale BETWEEN 0 AND 77)
);

INSERT INTO ledger.asset (id, code, scale) VALUES
    (1, 'KCASH', 0),
    -- The mirror of what the chain has confirmed. It never mixes with the ledger's own KCash.
    (2, 'KCASH@chain', 0);

-- Every kind of account there is. The mode says how its balance is kept:
--   S  strict: in the account's row, under the row's lock.
--   Q  queued: a credit waits in pending_credit and touches no shared row, so that a thousand gamers
--      can pay into one pool at once; a debit folds the waiting credits in under the row's lock.
--   N  none: no balance is kept, so no row is shared. For the outside world, which may go below zero.
CREATE TABLE ledger.bucket (
    owner_kind text     NOT NULL CONSTRAINT bucket_owner_kind_is_known
                        CHECK (owner_kind IN ('SYSTEM', 'WALLET', 'TOURNAMENT', 'GAME')),
    name       text     NOT NULL,
    asset_id   smallint NOT NULL REFERENCES ledger.asset,
    mode       "char"   NOT NULL CONSTRAINT bucket_mode_is_known CHECK (mode IN ('S', 'Q', 'N')),
    -- Accounts of one owner are opened, and numbered, in this order.
    position   smallint NOT NULL,
    CONSTRAINT bucket_pkey PRIMARY KEY (owner_kind, name)
);

INSERT INTO ledger.bucket (owner_kind, name, asset_id, mode, position) VALUES
    ('WALLET',     'bonus',          1, 'S', 1),
    ('WALLET',     'bought',         1, 'S', 2),
    ('WALLET',     'earned',         1, 'S', 3),
    ('WALLET',     'claimable',      1, 'S', 4),
    ('WALLET',     'hold',           1, 'S', 5),
    ('WALLET',     'onchain',        2, 'S', 6),
    ('TOURNAMENT', 'pool',           1, 'Q', 1),
    ('GAME',       'developer_rake', 1, 'Q', 1),
    ('SYSTEM',     'mint',           1, 'N', 1),
    ('SYSTEM',     'treasury',       1, 'N', 2),
    ('SYSTEM',     'platform_rake',  1, 'N', 3),
    ('SYSTEM',     'kgen_out',       1, 'N', 4),
    ('SYSTEM',     'chain_supply',   2, 'N', 5);

-- Where value sits ----------------------------------------------------------------------------

-- NUMERIC(78,0) holds any uint256. The bare type rounds fractions and takes NaN, which sorts above
-- every number and so would pass "balance >= 0": hence the upper bounds.
--
-- A statement that writes reads each of its tables' CHECKs anew, which is a fifth of what a posting
-- costs: they are as short as they can be, and a quoted '0' is a numeric that nobody has to cast.
CREATE TABLE ledger.account (
    id         bigint GENERATED ALWAYS AS IDENTITY (START WITH 1000) PRIMARY KEY,
    asset_id   smallint       NOT NULL REFERENCES ledger.asset,
    owner_kind text           NOT NULL,
    owner_id   bigint,
    -- The owner's public id, for people who look at the ledger without the owner's table.
    owner_uid  uuid,
    bucket     text           NOT NULL,
    mode       "char"         NOT NULL,
    balance    numeric(78, 0) NOT NULL DEFAULT 0,
    -- How many transfers have changed `balance`; they carry the numbers 1 to seq.
    seq        bigint         NOT NULL DEFAULT 0,
    CONSTRAINT account_bucket_is_known
        FOREIGN KEY (owner_kind, bucket) REFERENCES ledger.bucket,
    CONSTRAINT account_is_opened_once
        UNIQUE NULLS NOT DISTINCT (owner_kind, owner_id, bucket),
    CONSTRAINT account_has_an_owner
        CHECK ((owner_kind = 'SYSTEM') = (owner_id IS NULL)),
    CONSTRAINT account_never_overdrawn
        CHECK (balance >= '0' AND balance < '1e78'),
    CONSTRAINT account_without_balance_keeps_none
        CHECK (mode <> 'N' OR (balance = '0' AND seq = 0))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);
-- fillfactor: a balance is rewritten in place (HOT) as long as no index names it. Never index it.

CREATE INDEX account_owner_uid ON ledger.account (owner_uid) WHERE owner_uid IS NOT NULL;

-- The system's accounts have fixed numbers; wallet/ledger.py knows them by name.
INSERT INTO ledger.account (id, asset_id, owner_kind, bucket, mode)
OVERRIDING SYSTEM VALUE
SELECT position, asset_id, owner_kind, name, mode
  FROM ledger.bucket
 WHERE owner_kind = 'SYSTEM';

-- What moved ----------------------------------------------------------------------------------

-- posting_id is a UUID of version 7 and carries its time: a key always falls in the same month's
-- partition, so the primary key is unique over all of them. Phases of one posting id:
--   0  the posting itself
--   1  the end of a hold: settled or released, never both, since both are this one key
--   2  the chain has confirmed it
-- No foreign key to account: the functions prove that accounts exist, accounts are never deleted,
-- and the check would lock the hottest rows of all.
CREATE TABLE ledger.transfer (
    posting_id   uuid           NOT NULL,
    phase        smallint       NOT NULL,
    leg          integer        NOT NULL,
    kind         text           NOT NULL,
    debit_id     bigint         NOT NULL,
    credit_id    bigint         NOT NULL,
    amount       numeric(78, 0) NOT NULL,
    -- The place of this transfer among those of either account, and the balance after it; null on
    -- sides that keep no balance or whose credit is queued.
    debit_seq    bigint,
    credit_seq   bigint,
    debit_after  numeric(78, 0),
    credit_after numeric(78, 0),
    -- What was asked for, where the legs were worked out here; on leg 1.
    request_hash bytea,
    created_at   timestamptz    NOT NULL DEFAULT now(),
    CONSTRAINT transfer_pkey PRIMARY KEY (posting_id, phase, leg),
    CONSTRAINT transfer_phase_is_known CHECK (phase BETWEEN 0 AND 2),
    CONSTRAINT transfer_leg_from_one CHECK (leg >= 1),
    CONSTRAINT transfer_between_two_accounts CHECK (debit_id <> credit_id),
    CONSTRAINT transfer_amount_is_positive CHECK (amount > '0' AND amount < '1e78'),
    -- Holds for every single leg, also where a later leg of the same posting would make up for it.
    CONSTRAINT transfer_never_overdraws CHECK (debit_after >= '0' AND credit_after >= '0')
) PARTITION BY RANGE (posting_id);

-- History of the sides that have no number of their own.
CREATE INDEX transfer_debit_unnumbered
    ON ledger.transfer (debit_id, created_at) WHERE debit_seq IS NULL;
CREATE INDEX transfer_credit_unnumbered
    ON ledger.transfer (credit_id, created_at) WHERE credit_seq IS NULL;

-- Credits of queued accounts that no debit has folded in yet.
CREATE TABLE ledger.pending_credit (
    account_id bigint         NOT NULL,
    posting_id uuid           NOT NULL,
    phase      smallint       NOT NULL,
    leg        integer        NOT NULL,
    -- A copy of a transfer's, whose own CHECK has refused NaN.
    amount     numeric(78, 0) NOT NULL
               CONSTRAINT pending_credit_amount_is_positive CHECK (amount > '0'),
    CONSTRAINT pending_credit_pkey PRIMARY KEY (account_id, posting_id, phase, leg)
) WITH (autovacuum_vacuum_scale_factor = 0.01);

-- Each transfer as its two entries, signed: for reports and audits.
CREATE VIEW ledger.entry AS
    SELECT posting_id, phase, leg, kind, debit_id AS account_id, -amount AS change,
           debit_seq AS seq, debit_after AS after, created_at
      FROM ledger.transfer
    UNION ALL
    SELECT posting_id, phase, leg, kind, credit_id, amount, credit_seq, credit_after, created_at
      FROM ledger.transfer;

-- Append-only ---------------------------------------------------------------------------------

CREATE FUNCTION ledger.refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % of % refused', tg_op, tg_table_name
        USING ERRCODE = 'LG001';
END $$;

-- The row trigger reaches every partition by itself; statement triggers do not, so that
-- ensure_partitions puts the one against TRUNCATE on each.
CREATE TRIGGER transfer_is_never_changed BEFORE UPDATE OR DELETE ON ledger.transfer
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER transfer_is_never_emptied BEFORE TRUNCATE ON ledger.transfer
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE TRIGGER account_is_never_deleted BEFORE DELETE ON ledger.account
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER account_is_never_emptied BEFORE TRUNCATE ON ledger.account
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
-- Not fired by a change of balance, so it costs the hot path nothing.
CREATE TRIGGER account_keeps_its_identity
    BEFORE UPDATE OF id, asset_id, owner_kind, owner_id, owner_uid, bucket, mode ON ledger.account
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();

-- Months ahead --------------------------------------------------------------------------------

-- The smallest UUID of version 7 at a moment: its first 48 bits are the Unix time in milliseconds.
CREATE FUNCTION ledger.first_id_at(p_moment timestamptz) RETURNS uuid
LANGUAGE sql STABLE AS $$
    SELECT rpad(lpad(to_hex((extract(epoch FROM p_moment) * 1000)::bigint), 12, '0'), 32, '0')::uuid
$$;

-- Makes the missing monthly partitions from the previous month to the one of p_until; returns how
-- many were made. There is no DEFAULT partition: rows in it would block the month they belong to.
CREATE FUNCTION ledger.ensure_partitions(p_until date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month';
    v_name  text;
    v_made  integer := 0;
BEGIN
    IF p_until > current_date + 366 * 5 THEN
        RAISE EXCEPTION 'partitions are made at most five years ahead' USING ERRCODE = 'LG400';
    END IF;
    PERFORM pg_advisory_xact_lock('ledger.transfer'::regclass::oid::bigint);
    WHILE v_month <= p_until LOOP
        v_name := 'transfer_' || to_char(v_month, 'YYYY_MM');
        IF to_regclass('ledger.' || v_name) IS NULL THEN
            -- Made apart and attached, which stops neither readers nor posters, as making it as a
            -- partition would.
            EXECUTE format('CREATE TABLE ledger.%I (LIKE ledger.transfer INCLUDING ALL)', v_name);
            -- A number is given once per account. Only a partition can hold the index, since it
            -- lacks the partition key; across months the account's row lock sees to it.
            EXECUTE format(
                'CREATE UNIQUE INDEX ON ledger.%I (debit_id, debit_seq)
                  WHERE debit_seq IS NOT NULL', v_name);
            EXECUTE format(
                'CREATE UNIQUE INDEX ON ledger.%I (credit_id, credit_seq)
                  WHERE credit_seq IS NOT NULL', v_name);
            EXECUTE format(
                'CREATE TRIGGER transfer_is_never_emptied BEFORE TRUNCATE ON ledger.%I
                    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change()', v_name);
            EXECUTE format(
                'ALTER TABLE ledger.transfer ATTACH PARTITION ledger.%I FOR VALUES FROM (%L) TO (%L)',
                v_name,
                ledger.first_id_at(v_month AT TIME ZONE 'UTC'),
                ledger.first_id_at((v_month + interval '1 month') AT TIME ZONE 'UTC'));
            v_made := v_made + 1;
        END IF;
        v_month := v_month + interval '1 month';
    END LOOP;
    RETURN v_made;
END $$;

-- Accounts ------------------------------------------------------------------------------------

-- Opens every account of an owner; those that are open stay as they are.
CREATE FUNCTION ledger.open_accounts(p_owner_kind text, p_owner_id bigint, p_owner_uid uuid)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO ledger.account (asset_id, owner_kind, owner_id, owner_uid, bucket, mode)
    SELECT asset_id, owner_kind, p_owner_id, p_owner_uid, name, mode
      FROM ledger.bucket
     WHERE owner_kind = p_owner_kind
     ORDER BY position
        ON CONFLICT ON CONSTRAINT account_is_opened_once DO NOTHING;
END $$;

-- Postings ------------------------------------------------------------------------------------

-- The application calls post1, post, spend and mirror: SECURITY DEFINER, with a search_path that
-- looks at temporary objects last, so that a caller cannot put a type of its own in the place of ours.
-- The helpers have no more rights than who calls them; called by the application they change nothing.

CREATE FUNCTION ledger.check_request(p_posting_id uuid, p_phase smallint, p_amounts numeric[])
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_amount numeric;
BEGIN
    -- A random key would scatter over the partitions; a null one would name nothing.
    IF uuid_extract_version(p_posting_id) IS DISTINCT FROM 7 THEN
        RAISE EXCEPTION 'a posting id is a UUID of version 7' USING ERRCODE = 'LG400';
    END IF;
    IF p_phase IS NULL OR p_phase NOT IN (0, 1, 2) THEN
        RAISE EXCEPTION 'a phase is 0, 1 or 2' USING ERRCODE = 'LG400';
    END IF;
    FOREACH v_amount IN ARRAY p_amounts LOOP
        -- The column would round a fraction; NaN and infinity fail the upper bound.
        IF v_amount IS NULL OR v_amount <= 0 OR v_amount >= 1e78 OR v_amount <> trunc(v_amount) THEN
            RAISE EXCEPTION 'an amount is a whole number from 1 to 10^78 - 1'
                USING ERRCODE = 'LG400';
        END IF;
    END LOOP;
END $$;

-- Locks, in the order of their numbers, the rows that a posting will rewrite. Everybody locks in
-- this order, so that two postings cannot wait for each other.
CREATE FUNCTION ledger.lock_accounts(p_debits bigint[], p_credits bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM ledger.account
      WHERE id = ANY (p_debits || p_credits)
        AND (mode = 'S' OR (mode = 'Q' AND id = ANY (p_debits)))
      ORDER BY id
        FOR NO KEY UPDATE;
END $$;

-- Adds the waiting credits of the debited queued accounts to their balances. Their rows are locked:
-- of two debits only one finds a credit. A credit not yet committed is not seen, hence not spent.
CREATE FUNCTION ledger.fold_pending_credits(p_debits bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    WITH folded AS (
        DELETE FROM ledger.pending_credit
         USING ledger.account
         WHERE account.id = pending_credit.account_id
           AND account.id = ANY (p_debits)
           AND account.mode = 'Q'
        RETURNING pending_credit.account_id, pending_credit.amount
    )
    UPDATE ledger.account
       SET balance = account.balance + total.amount
      FROM (SELECT account_id, sum(amount) AS amount FROM folded GROUP BY account_id) AS total
     WHERE account.id = total.account_id;
END $$;

-- One leg between two accounts, the usual case. Returns false, and does nothing, if this very
-- posting was made before. Two equal calls at the same moment: one of them fails on transfer_pkey.
CREATE FUNCTION ledger.post1(
    p_posting_id uuid, p_phase smallint, p_kind text, p_debit bigint, p_credit bigint,
    p_amount numeric
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_known        ledger.transfer;
    v_debit        ledger.account;
    v_credit       ledger.account;
    v_debit_after  numeric;
    v_debit_seq    bigint;
    v_credit_after numeric;
    v_credit_seq   bigint;
BEGIN
    PERFORM ledger.check_request(p_posting_id, p_phase, ARRAY[p_amount]);
    IF p_phase = 1 OR p_debit = p_credit THEN
        RAISE EXCEPTION 'a single transfer joins two accounts and ends no hold'
            USING ERRCODE = 'LG400';
    END IF;

    SELECT * INTO v_known FROM ledger.transfer
     WHERE posting_id = p_posting_id AND phase = p_phase AND leg = 1;
    IF FOUND THEN
        IF (v_known.kind, v_known.debit_id, v_known.credit_id, v_known.amount)
            IS DISTINCT FROM (p_kind, p_debit, p_credit, p_amount)
           OR EXISTS (SELECT FROM ledger.transfer
                       WHERE posting_id = p_posting_id AND phase = p_phase AND leg > 1)
        THEN
            RAISE EXCEPTION 'this posting id names another posting' USING ERRCODE = 'LG409';
        END IF;
        RETURN false;
    END IF;

    SELECT * INTO v_debit FROM ledger.account WHERE id = p_debit;
    SELECT * INTO v_credit FROM ledger.account WHERE id = p_credit;
    IF v_debit.asset_id IS NULL OR v_debit.asset_id IS DISTINCT FROM v_credit.asset_id THEN
        RAISE EXCEPTION 'no such account, or accounts of two assets' USING ERRCODE = 'LG404';
    END IF;

    -- The account with the lower number first: see lock_accounts.
    IF v_credit.mode = 'S' AND p_credit < p_debit THEN
        UPDATE ledger.account SET balance = balance + p_amount, seq = seq + 1
         WHERE id = p_credit
        RETURNING balance, seq INTO v_credit_after, v_credit_seq;
    END IF;
    IF v_debit.mode = 'Q' THEN
        PERFORM ledger.lock_accounts(ARRAY[p_debit], '{}');
        PERFORM ledger.fold_pending_credits(ARRAY[p_debit]);
    END IF;
    IF v_debit.mode <> 'N' THEN
        UPDATE ledger.account SET balance = balance - p_amount, seq = seq + 1
         WHERE id = p_debit
        RETURNING balance, seq INTO v_debit_after, v_debit_seq;
    END IF;
    IF v_credit.mode = 'S' AND p_credit > p_debit THEN
        UPDATE ledger.account SET balance = balance + p_amount, seq = seq + 1
         WHERE id = p_credit
        RETURNING balance, seq INTO v_credit_after, v_credit_seq;
    END IF;

    INSERT INTO ledger.transfer (
        posting_id, phase, leg, kind, debit_id, credit_id, amount,
        debit_seq, credit_seq, debit_after, credit_after
    ) VALUES (
        p_posting_id, p_phase, 1, p_kind, p_debit, p_credit, p_amount,
        v_debit_seq, v_credit_seq, v_debit_after, v_credit_after
    );
    IF v_credit.mode = 'Q' THEN
        INSERT INTO ledger.pending_credit (account_id, posting_id, phase, leg, amount)
        VALUES (p_credit, p_posting_id, p_phase, 1, p_amount);
    END IF;
    RETURN true;
END $$;

-- Writes the legs of a posting whose accounts are locked and whose request is checked: a few of them
-- one by one, which is twice as fast for one; many in one statement, since each change of a row costs
-- more than the one before it: a pool with ten thousand winners must be debited in one.
CREATE FUNCTION ledger.write_legs(
    p_posting_id uuid, p_phase smallint, p_kinds text[], p_debits bigint[], p_credits bigint[],
    p_amounts numeric[], p_request_hash bytea
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(p_amounts) > 4 THEN
        PERFORM ledger.write_many_legs(
            p_posting_id, p_phase, p_kinds, p_debits, p_credits, p_amounts, p_request_hash);
        RETURN;
    END IF;
    FOR v_leg IN 1 .. cardinality(p_amounts) LOOP
        PERFORM ledger.write_leg(
            p_posting_id, p_phase, v_leg, p_kinds[v_leg], p_debits[v_leg], p_credits[v_leg],
            p_amounts[v_leg], CASE WHEN v_leg = 1 THEN p_request_hash END);
    END LOOP;
END $$;

CREATE FUNCTION ledger.write_leg(
    p_posting_id uuid, p_phase smallint, p_leg integer, p_kind text, p_debit bigint,
    p_credit bigint, p_amount numeric, p_request_hash bytea
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_credit_mode  "char" := (SELECT mode FROM ledger.account WHERE id = p_credit);
    v_debit_after  numeric;
    v_debit_seq    bigint;
    v_credit_after numeric;
    v_credit_seq   bigint;
BEGIN
    UPDATE ledger.account SET balance = balance - p_amount, seq = seq + 1
     WHERE id = p_debit AND mode <> 'N'
    RETURNING balance, seq INTO v_debit_after, v_debit_seq;
    IF v_credit_mode = 'S' THEN
        UPDATE ledger.account SET balance = balance + p_amount, seq = seq + 1
         WHERE id = p_credit
        RETURNING balance, seq INTO v_credit_after, v_credit_seq;
    ELSIF v_credit_mode = 'Q' THEN
        INSERT INTO ledger.pending_credit (account_id, posting_id, phase, leg, amount)
        VALUES (p_credit, p_posting_id, p_phase, p_leg, p_amount);
    END IF;
    INSERT INTO ledger.transfer (
        posting_id, phase, leg, kind, debit_id, credit_id, amount,
        debit_seq, credit_seq, debit_after, credit_after, request_hash
    ) VALUES (
        p_posting_id, p_phase, p_leg, p_kind, p_debit, p_credit, p_amount,
        v_debit_seq, v_credit_seq, v_debit_after, v_credit_after, p_request_hash
    );
END $$;

CREATE FUNCTION ledger.write_many_legs(
    p_posting_id uuid, p_phase smallint, p_kinds text[], p_debits bigint[], p_credits bigint[],
    p_amounts numeric[], p_request_hash bytea
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    WITH side AS (
        SELECT leg.*, half.account_id, half.change, half.is_debit
          FROM unnest(p_kinds, p_debits, p_credits, p_amounts)
               WITH ORDINALITY AS leg (kind, debit_id, credit_id, amount, number)
         CROSS JOIN LATERAL (
               VALUES (debit_id, -amount, true), (credit_id, amount, false)
         ) AS half (account_id, change, is_debit)
    ),
    -- A side is booked if it changes the balance in its account's row; other credits are queued, or
    -- keep no balance at all.
    judged AS (
        SELECT side.*, account.balance, account.seq,
               account.mode = 'S' OR (account.mode = 'Q' AND is_debit) AS is_booked,
               account.mode = 'Q' AND NOT is_debit AS is_queued
          FROM side
          JOIN ledger.account ON account.id = side.account_id
    ),
    -- Each account's balance and number after each of its sides, leg by leg.
    running AS MATERIALIZED (
        SELECT kind, debit_id, credit_id, amount, number, account_id, is_debit, is_booked, is_queued,
               CASE WHEN is_booked THEN balance + sum(change) OVER steps END AS after,
               CASE WHEN is_booked THEN seq + row_number() OVER steps END AS step_seq
          FROM judged
        WINDOW steps AS (
               PARTITION BY account_id, is_booked ORDER BY number, is_debit DESC
               ROWS UNBOUNDED PRECEDING)
    ),
    booked AS (
        UPDATE ledger.account
           SET balance = last.after, seq = last.step_seq
          FROM (SELECT DISTINCT ON (account_id) account_id, after, step_seq
                  FROM running
                 WHERE is_booked
                 ORDER BY account_id, step_seq DESC) AS last
         WHERE account.id = last.account_id
    ),
    queued AS (
        INSERT INTO ledger.pending_credit (account_id, posting_id, phase, leg, amount)
        SELECT account_id, p_posting_id, p_phase, number, amount FROM running WHERE is_queued
    )
    INSERT INTO ledger.transfer (
        posting_id, phase, leg, kind, debit_id, credit_id, amount,
        debit_seq, credit_seq, debit_after, credit_after, request_hash
    )
    SELECT p_posting_id, p_phase, number, kind, debit_id, credit_id, amount,
           max(step_seq) FILTER (WHERE is_debit), max(step_seq) FILTER (WHERE NOT is_debit),
           max(after) FILTER (WHERE is_debit), max(after) FILTER (WHERE NOT is_debit),
           CASE WHEN number = 1 THEN p_request_hash END
      FROM running
     GROUP BY number, kind, debit_id, credit_id, amount;
END $$;

-- Any number of legs, all or none, in their order. Returns false, and does nothing, if this very
-- posting was made before.
CREATE FUNCTION ledger.post(
    p_posting_id uuid, p_phase smallint, p_kinds text[], p_debits bigint[], p_credits bigint[],
    p_amounts numeric[]
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_legs                   integer := cardinality(p_amounts);
    v_sound                  integer;
    v_is_queue_debited       boolean;
    v_is_queue_on_both_sides boolean;
BEGIN
    IF coalesce(v_legs, 0) = 0 OR cardinality(p_kinds) IS DISTINCT FROM v_legs
       OR cardinality(p_debits) IS DISTINCT FROM v_legs
       OR cardinality(p_credits) IS DISTINCT FROM v_legs
    THEN
        RAISE EXCEPTION 'a posting has one kind, debit, credit and amount a leg'
            USING ERRCODE = 'LG400';
    END IF;
    PERFORM ledger.check_request(p_posting_id, p_phase, p_amounts);
    PERFORM ledger.lock_accounts(p_debits, p_credits);

    -- Looked for under the locks: of two equal calls the second waits, and then finds the first.
    IF EXISTS (SELECT FROM ledger.transfer
                WHERE posting_id = p_posting_id AND phase = p_phase)
    THEN
        IF EXISTS (
            SELECT FROM unnest(p_kinds, p_debits, p_credits, p_amounts)
                        WITH ORDINALITY AS asked (kind, debit_id, credit_id, amount, leg)
              FULL JOIN (SELECT * FROM ledger.transfer
                          WHERE posting_id = p_posting_id AND phase = p_phase) AS known
                     ON known.leg = asked.leg
             WHERE (asked.kind, asked.debit_id, asked.credit_id, asked.amount)
                   IS DISTINCT FROM (known.kind, known.debit_id, known.credit_id, known.amount)
        ) THEN
            RAISE EXCEPTION 'this posting id names another posting' USING ERRCODE = 'LG409';
        END IF;
        RETURN false;
    END IF;

    SELECT count(*), bool_or(debit.mode = 'Q'),
           bool_or(credit.mode = 'Q' AND credit.id = ANY (p_debits))
      INTO v_sound, v_is_queue_debited, v_is_queue_on_both_sides
      FROM unnest(p_debits, p_credits) AS leg (debit_id, credit_id)
      JOIN ledger.account AS debit ON debit.id = leg.debit_id
      JOIN ledger.account AS credit
           ON credit.id = leg.credit_id AND credit.asset_id = debit.asset_id;
    IF v_sound <> v_legs THEN
        RAISE EXCEPTION 'no such account, or accounts of two assets' USING ERRCODE = 'LG404';
    END IF;
    -- Whether a queued account can pay would depend on which of its own credits count already.
    IF v_is_queue_on_both_sides THEN
        RAISE EXCEPTION 'a queued account is debited or credited in a posting, not both'
            USING ERRCODE = 'LG400';
    END IF;
    IF p_phase = 1 AND (SELECT sum(amount) FROM ledger.transfer
                         WHERE posting_id = p_posting_id AND phase = 0)
                       IS DISTINCT FROM (SELECT sum(amount) FROM unnest(p_amounts) AS amount)
    THEN
        RAISE EXCEPTION 'a hold is ended as a whole' USING ERRCODE = 'LG400';
    END IF;

    IF v_is_queue_debited THEN
        PERFORM ledger.fold_pending_credits(p_debits);
    END IF;
    PERFORM ledger.write_legs(
        p_posting_id, p_phase, p_kinds, p_debits, p_credits, p_amounts, NULL);
    RETURN true;
END $$;

-- Takes p_total out of a wallet's buckets, the first of p_buckets emptied before the next is
-- touched, and decides the split under the rows' locks: two fees paid at once never both count the
-- same coin. What is compared on a replay is the request, since balances have moved on since.
CREATE FUNCTION ledger.spend(
    p_posting_id uuid, p_kind text, p_wallet_id bigint, p_buckets text[], p_total numeric,
    p_credit bigint
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_request   bytea := sha256(convert_to(
        concat_ws('|', p_kind, p_wallet_id, array_to_string(p_buckets, ','), p_total, p_credit),
        'UTF8'));
    v_known     ledger.transfer;
    v_debits    bigint[];
    v_amounts   numeric[];
    v_available numeric;
    v_sound     integer;
BEGIN
    PERFORM ledger.check_request(p_posting_id, 0::smallint, ARRAY[p_total]);
    PERFORM FROM ledger.account
      WHERE (owner_kind = 'WALLET' AND owner_id = p_wallet_id AND bucket = ANY (p_buckets))
         OR (id = p_credit AND mode = 'S')
      ORDER BY id
        FOR NO KEY UPDATE;

    SELECT * INTO v_known FROM ledger.transfer
     WHERE posting_id = p_posting_id AND phase = 0 AND leg = 1;
    IF FOUND THEN
        IF v_known.request_hash IS DISTINCT FROM v_request THEN
            RAISE EXCEPTION 'this posting id names another posting' USING ERRCODE = 'LG409';
        END IF;
        RETURN false;
    END IF;

    SELECT count(*) INTO v_sound
      FROM ledger.account AS debit
      JOIN ledger.account AS credit
           ON credit.id = p_credit AND credit.asset_id = debit.asset_id AND credit.id <> debit.id
     WHERE debit.owner_kind = 'WALLET' AND debit.owner_id = p_wallet_id
       AND debit.bucket = ANY (p_buckets);
    IF v_sound = 0 OR v_sound <> cardinality(p_buckets) THEN
        RAISE EXCEPTION 'no such account, or accounts of two assets' USING ERRCODE = 'LG404';
    END IF;

    WITH purse AS (
        SELECT id, balance, place,
               sum(balance) OVER (ORDER BY place) - balance AS before
          FROM unnest(p_buckets) WITH ORDINALITY AS wanted (bucket, place)
          JOIN ledger.account USING (bucket)
         WHERE owner_kind = 'WALLET' AND owner_id = p_wallet_id
    )
    SELECT array_agg(id ORDER BY place) FILTER (WHERE balance > 0 AND before < p_total),
           array_agg(least(balance, p_total - before) ORDER BY place)
               FILTER (WHERE balance > 0 AND before < p_total),
           sum(balance)
      INTO v_debits, v_amounts, v_available
      FROM purse;
    IF v_available < p_total THEN
        RAISE EXCEPTION 'the wallet holds less than that'
            USING ERRCODE = 'LG402', DETAIL = v_available;
    END IF;

    PERFORM ledger.write_legs(
        p_posting_id, 0::smallint, array_fill(p_kind, ARRAY[cardinality(v_debits)]), v_debits,
        array_fill(p_credit, ARRAY[cardinality(v_debits)]), v_amounts, v_request);
    RETURN true;
END $$;

-- Takes an earlier posting back, leg by leg: every bucket gets exactly what it gave. In phase 1
-- under the same id it releases a hold; in phase 0 under a new one it refunds a fee.
CREATE FUNCTION ledger.mirror(p_posting_id uuid, p_phase smallint, p_kind text, p_original uuid)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_debits  bigint[];
    v_credits bigint[];
    v_amounts numeric[];
BEGIN
    SELECT array_agg(credit_id ORDER BY leg), array_agg(debit_id ORDER BY leg),
           array_agg(amount ORDER BY leg)
      INTO v_debits, v_credits, v_amounts
      FROM ledger.transfer
     WHERE posting_id = p_original AND phase = 0;
    IF v_amounts IS NULL THEN
        RAISE EXCEPTION 'there is no posting to take back' USING ERRCODE = 'LG404';
    END IF;
    RETURN ledger.post(
        p_posting_id, p_phase, array_fill(p_kind, ARRAY[cardinality(v_amounts)]), v_debits,
        v_credits, v_amounts);
END $$;

-- Nobody may call these by default; `migrate` grants them to the application's login.
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;

SELECT ledger.ensure_partitions((now() + interval '12 months')::date);
