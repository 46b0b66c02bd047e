-- What two people have decided, and when a wallet was frozen, is history: errors as in ledger.sql.

-- Corrections ---------------------------------------------------------------------------------

-- A correction is asked for, then decided, once. Approved means posted: the trigger looks for the very
-- transfer, between the treasury (account 2) and the bucket, before it lets the state change.
CREATE FUNCTION wallet_correction_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'INSERT' THEN
        IF new.state <> 'ASKED' THEN
            RAISE EXCEPTION 'a correction is asked for before it is decided'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'correction_is_asked_for_first';
        END IF;
        RETURN new;
    END IF;
    IF tg_op <> 'UPDATE' OR old.state <> 'ASKED'
       OR (new.id, new.wallet_id, new.bucket, new.direction, new.amount, new.reason,
           new.asked_by_id, new.asked_at)
          IS DISTINCT FROM
          (old.id, old.wallet_id, old.bucket, old.direction, old.amount, old.reason,
           old.asked_by_id, old.asked_at)
    THEN
        RAISE EXCEPTION 'a correction is decided once and never rewritten: % refused', tg_op
            USING ERRCODE = 'LG001';
    END IF;
    IF new.state = 'APPROVED' AND NOT EXISTS (
        SELECT FROM ledger.transfer
          JOIN ledger.account AS corrected
               ON owner_kind = 'WALLET' AND owner_id = new.wallet_id AND bucket = new.bucket
         WHERE posting_id = new.transaction_id AND phase = 0 AND leg = 1 AND kind = 'ADJUST'
           AND transfer.amount = new.amount
           AND (debit_id, credit_id) = CASE new.direction
                   WHEN 'CREDIT' THEN (2::bigint, corrected.id) ELSE (corrected.id, 2::bigint) END
    ) THEN
        RAISE EXCEPTION 'a correction is approved together with its posting'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'correction_is_posted';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER correction_is_decided_once
    BEFORE INSERT OR UPDATE OR DELETE ON wallet_correction
    FOR EACH ROW EXECUTE FUNCTION wallet_correction_guard();
CREATE TRIGGER correction_is_never_emptied
    BEFORE TRUNCATE ON wallet_correction
    FOR EACH STATEMENT EXECUTE FUNCTION wallet_correction_guard();

-- Freezes -------------------------------------------------------------------------------------

CREATE FUNCTION wallet_freeze_guard() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'UPDATE' AND old.lifted_at IS NULL
       AND (new.id, new.wallet_id, new.reason, new.frozen_by, new.frozen_at, new.expires_at)
           IS NOT DISTINCT FROM
           (old.id, old.wallet_id, old.reason, old.frozen_by, old.frozen_at, old.expires_at)
    THEN
        RETURN new;
    END IF;
    RAISE EXCEPTION 'a freeze is lifted once and never rewritten: % refused', tg_op
        USING ERRCODE = 'LG001';
END $$;

CREATE TRIGGER wallet_freeze_is_written_once
    BEFORE UPDATE OR DELETE ON wallet_walletfreeze
    FOR EACH ROW EXECUTE FUNCTION wallet_freeze_guard();
CREATE TRIGGER wallet_freeze_is_never_emptied
    BEFORE TRUNCATE ON wallet_walletfreeze
    FOR EACH STATEMENT EXECUTE FUNCTION wallet_freeze_guard();

-- At any moment one freeze at most. As ranges on both sides, which need no extension.
ALTER TABLE wallet_walletfreeze ADD CONSTRAINT wallet_freeze_one_at_a_time EXCLUDE USING gist (
    int8range(wallet_id, wallet_id, '[]') WITH &&,
    tstzrange(frozen_at, coalesce(lifted_at, expires_at)) WITH &&
);

-- A wallet is thawed by lifting its freeze, not by forgetting which one it is.
CREATE FUNCTION wallet_keep_newest_freeze() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF new.freeze_id IS DISTINCT FROM old.freeze_id AND NOT EXISTS (
        SELECT FROM wallet_walletfreeze
         WHERE id = new.freeze_id AND wallet_id = new.id AND id > coalesce(old.freeze_id, 0)
    ) THEN
        RAISE EXCEPTION 'a wallet names its newest freeze' USING ERRCODE = 'LG001';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER wallet_names_its_newest_freeze
    BEFORE UPDATE OF freeze_id ON wallet_wallet
    FOR EACH ROW EXECUTE FUNCTION wallet_keep_newest_freeze();
