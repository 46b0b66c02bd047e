-- Numbers of the addresses that we derive. Sequences, so that two gamers who come at the same moment
-- never wait for each other; a gap left by a rollback is an address that nobody uses.
CREATE SEQUENCE wallet_hd_index MINVALUE 0 MAXVALUE 2147483647;
CREATE SEQUENCE kgen_hd_index MINVALUE 0 MAXVALUE 2147483647;

-- A wallet's history is written once; only the state of its sync moves on.
CREATE FUNCTION wallet_transaction_refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF tg_op = 'UPDATE'
       AND (new.uid, new.wallet_id, new.seq, new.type, new.direction, new.amount, new.counterparty,
            new.name, new.description, new.reverses_id, new.created_at)
           IS NOT DISTINCT FROM
           (old.uid, old.wallet_id, old.seq, old.type, old.direction, old.amount, old.counterparty,
            old.name, old.description, old.reverses_id, old.created_at)
    THEN
        RETURN new;
    END IF;
    RAISE EXCEPTION 'wallet transactions are append-only: % refused', tg_op
        USING ERRCODE = 'LG001';
END $$;

CREATE TRIGGER wallet_transaction_is_written_once
    BEFORE UPDATE OR DELETE ON wallet_wallettransaction
    FOR EACH ROW EXECUTE FUNCTION wallet_transaction_refuse_change();
CREATE TRIGGER wallet_transaction_is_never_emptied
    BEFORE TRUNCATE ON wallet_wallettransaction
    FOR EACH STATEMENT EXECUTE FUNCTION wallet_transaction_refuse_change();
