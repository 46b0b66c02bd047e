-- One leg between two accounts, the usual case, in as few statements as it takes: each costs more in
-- being started than in what it does. In place of the function of the same name in ledger.sql.
--
-- Returns false, and does nothing, if this very posting was made before. Of two equal calls at the
-- same moment the second waits, and then finds the first.
CREATE OR REPLACE FUNCTION ledger.post1(
    p_posting_id uuid, p_phase smallint, p_kind text, p_debit bigint, p_credit bigint,
    p_amount numeric
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_debit_mode    "char";
    v_credit_mode   "char";
    -- The accounts whose rows are rewritten, else null.
    v_booked_debit  bigint;
    v_booked_credit bigint;
    v_debit_after   numeric;
    v_debit_seq     bigint;
    v_credit_after  numeric;
    v_credit_seq    bigint;
    v_is_known      boolean := false;
    v_known         ledger.transfer;
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

    -- Locks what lock_accounts would, in the same order.
    WITH locked AS MATERIALIZED (
        SELECT id, balance, seq
          FROM ledger.account
         WHERE id IN (p_debit, p_credit) AND (mode = 'S' OR (mode = 'Q' AND id = p_debit))
         ORDER BY id
           FOR NO KEY UPDATE
    )
    SELECT debit.mode, credit.mode,
           payer.id, payer.balance - p_amount, payer.seq + 1,
           taker.id, taker.balance + p_amount, taker.seq + 1
      INTO v_debit_mode, v_credit_mode,
           v_booked_debit, v_debit_after, v_debit_seq,
           v_booked_credit, v_credit_after, v_credit_seq
      FROM ledger.account AS debit
      JOIN ledger.account AS credit USING (asset_id)
      LEFT JOIN locked AS payer ON payer.id = debit.id
      LEFT JOIN locked AS taker ON taker.id = credit.id
     WHERE debit.id = p_debit AND credit.id = p_credit;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no such account, or accounts of two assets' USING ERRCODE = 'LG404';
    END IF;
    IF v_debit_mode = 'Q' THEN
        PERFORM ledger.fold_pending_credits(ARRAY[p_debit]);
        SELECT balance - p_amount INTO v_debit_after FROM ledger.account WHERE id = p_debit;
    END IF;

    -- A posting that was made may have left too little to be made again: it has to be recognized
    -- before the CHECK calls it an overdraft.
    IF v_debit_after < 0 THEN
        v_is_known := EXISTS (SELECT FROM ledger.transfer
                               WHERE posting_id = p_posting_id AND phase = p_phase);
    END IF;
    IF NOT v_is_known THEN
        INSERT INTO ledger.transfer (
            posting_id, phase, leg, kind, debit_id, credit_id, amount,
            debit_seq, credit_seq, debit_after, credit_after
        ) VALUES (
            p_posting_id, p_phase, 1, p_kind, p_debit, p_credit, p_amount,
            v_debit_seq, v_credit_seq, v_debit_after, v_credit_after
        )
        -- Naming the key would cost a search of the catalog for each index of the partition.
        ON CONFLICT DO NOTHING;
        v_is_known := NOT FOUND;
    END IF;
    IF v_is_known THEN
        -- STRICT: a number given twice to an account is a conflict too, and no replay.
        SELECT * INTO STRICT v_known FROM ledger.transfer
         WHERE posting_id = p_posting_id AND phase = p_phase AND leg = 1;
        IF (v_known.kind, v_known.debit_id, v_known.credit_id, v_known.amount)
            IS DISTINCT FROM (p_kind, p_debit, p_credit, p_amount)
           OR EXISTS (SELECT FROM ledger.transfer
                       WHERE posting_id = p_posting_id AND phase = p_phase AND leg > 1)
        THEN
            RAISE EXCEPTION 'this posting id names another posting' USING ERRCODE = 'LG409';
        END IF;
        RETURN false;
    END IF;

    UPDATE ledger.account
       SET balance = CASE id WHEN p_debit THEN v_debit_after ELSE v_credit_after END, seq = seq + 1
     WHERE id IN (v_booked_debit, v_booked_credit);
    IF v_credit_mode = 'Q' THEN
        INSERT INTO ledger.pending_credit (account_id, posting_id, phase, leg, amount)
        VALUES (p_credit, p_posting_id, p_phase, 1, p_amount);
    END IF;
    RETURN true;
END $$;
