-- One leg between two accounts, the usual case, in as few statements as it takes: each costs more in
-- being started than in what it does. In place of the function of the same name in ledger.sql.
--
-- Returns false, and does nothing, if this very posting was made before. Two equal calls at the same
-- moment: one of them fails on transfer_pkey.
CREATE OR REPLACE FUNCTION ledger.post1(
    p_posting_id uuid, p_phase smallint, p_kind text, p_debit bigint, p_credit bigint,
    p_amount numeric
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_known        ledger.transfer;
    v_debit_mode   "char";
    v_credit_mode  "char";
    v_debit_after  numeric;
    v_debit_seq    bigint;
    v_credit_after numeric;
    v_credit_seq   bigint;
BEGIN
    -- What check_request says of them, without another call: it is asked only for its message.
    IF (uuid_extract_version(p_posting_id) = 7 AND p_phase IN (0, 2)
        AND p_amount > 0 AND p_amount < 1e78 AND p_amount = trunc(p_amount)) IS NOT TRUE
    THEN
        PERFORM ledger.check_request(p_posting_id, p_phase, ARRAY[p_amount]);
    END IF;
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

    SELECT debit.mode, credit.mode INTO v_debit_mode, v_credit_mode
      FROM ledger.account AS debit, ledger.account AS credit
     WHERE debit.id = p_debit AND credit.id = p_credit AND debit.asset_id = credit.asset_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such account, or accounts of two assets' USING ERRCODE = 'LG404';
    END IF;

    -- The account with the lower number first: see lock_accounts.
    IF v_credit_mode = 'S' AND p_credit < p_debit THEN
        UPDATE ledger.account SET balance = balance + p_amount, seq = seq + 1
         WHERE id = p_credit
        RETURNING balance, seq INTO v_credit_after, v_credit_seq;
    END IF;
    IF v_debit_mode = 'Q' THEN
        PERFORM ledger.lock_accounts(ARRAY[p_debit], '{}');
        PERFORM ledger.fold_pending_credits(ARRAY[p_debit]);
    END IF;
    IF v_debit_mode <> 'N' THEN
        UPDATE ledger.account SET balance = balance - p_amount, seq = seq + 1
         WHERE id = p_debit
        RETURNING balance, seq INTO v_debit_after, v_debit_seq;
    END IF;
    IF v_credit_mode = 'S' AND p_credit > p_debit THEN
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
    IF v_credit_mode = 'Q' THEN
        INSERT INTO ledger.pending_credit (account_id, posting_id, phase, leg, amount)
        VALUES (p_credit, p_posting_id, p_phase, 1, p_amount);
    END IF;
    RETURN true;
END $$;
