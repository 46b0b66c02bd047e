-- What was asked for is what is approved and paid.
CREATE FUNCTION payout_refuse_other_terms() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the terms of a payout are written once'
        USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER payout_terms_are_written_once
    BEFORE UPDATE ON wallet_payout
    FOR EACH ROW WHEN (
        (old.uid, old.kind, old.wallet_id, old.seq, old.from_address, old.to_address, old.amount,
         old.created_at)
        IS DISTINCT FROM
        (new.uid, new.kind, new.wallet_id, new.seq, new.from_address, new.to_address, new.amount,
         new.created_at)
    )
    EXECUTE FUNCTION payout_refuse_other_terms();

-- A withdrawal above what its game lets out by itself begins with the question to staff.
CREATE FUNCTION payout_refuse_unasked() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF new.amount > (
        SELECT game.auto_approve_limit
          FROM wallet_wallet AS wallet
          JOIN accounts_gamer AS gamer ON gamer.id = wallet.gamer_id
          JOIN accounts_game AS game ON game.id = gamer.game_id
         WHERE wallet.id = new.wallet_id
    ) THEN
        RAISE EXCEPTION 'a withdrawal of % needs approval', new.amount
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER payout_is_asked_for
    BEFORE INSERT ON wallet_payout
    FOR EACH ROW WHEN (new.kind = 'WITHDRAW' AND new.state <> 'AWAITING_APPROVAL')
    EXECUTE FUNCTION payout_refuse_unasked();

-- What needs approvals goes nowhere but into its void without them.
CREATE FUNCTION payout_refuse_unapproved() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    needed smallint;
BEGIN
    SELECT approvals_needed INTO needed FROM wallet_approvalrequest WHERE payout_id = new.uid;
    IF (needed IS NULL AND old.state = 'AWAITING_APPROVAL')
       OR needed > (SELECT count(*) FROM wallet_approval WHERE payout_id = new.uid)
    THEN
        RAISE EXCEPTION 'payout % is not approved: % refused', new.uid, new.state
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN new;
END $$;

CREATE TRIGGER payout_waits_for_approval
    BEFORE UPDATE ON wallet_payout
    FOR EACH ROW WHEN (
        new.kind = 'WITHDRAW'
        AND old.state IS DISTINCT FROM new.state
        AND new.state NOT IN ('AWAITING_APPROVAL', 'VOIDING', 'VOIDED')
    )
    EXECUTE FUNCTION payout_refuse_unapproved();
