-- Lays a history over the ledger, a cycle at a time and set-based, leaving the books as the posting
-- functions would: numbers without gaps, each balance following from the last, pools paid out.
--
-- A cycle of a wallet is five transfers, after which every balance is what it was: a reward is
-- granted, claimed and mirrored on chain, then paid as an entry fee, which is mirrored too. Ten pools
-- share the wallets of a cycle, and each is emptied at its end.

CREATE PROCEDURE pg_temp.begin_history(p_wallets bigint[])
LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE player AS
    SELECT (row_number() OVER (ORDER BY wallet.id) - 1)::integer AS place, wallet.id, wallet.last_seq,
           claimable.id AS claimable, claimable.seq AS claimable_seq,
           claimable.balance AS claimable_balance,
           earned.id AS earned, earned.seq AS earned_seq, earned.balance AS earned_balance,
           onchain.id AS onchain, onchain.seq AS onchain_seq, onchain.balance AS onchain_balance
      FROM wallet_wallet AS wallet
      JOIN ledger.account AS claimable
           ON claimable.owner_kind = 'WALLET' AND claimable.owner_id = wallet.id
          AND claimable.bucket = 'claimable'
      JOIN ledger.account AS earned
           ON earned.owner_kind = 'WALLET' AND earned.owner_id = wallet.id
          AND earned.bucket = 'earned'
      JOIN ledger.account AS onchain
           ON onchain.owner_kind = 'WALLET' AND onchain.owner_id = wallet.id
          AND onchain.bucket = 'onchain'
     WHERE p_wallets IS NULL OR wallet.id = ANY (p_wallets);
    CREATE TEMP TABLE pot (cycle integer, place integer, account bigint, at_ms bigint);
    ANALYZE player;
END $$;

-- A random UUID of version 7 of that millisecond.
CREATE FUNCTION pg_temp.made_id(p_ms bigint) RETURNS uuid
LANGUAGE sql VOLATILE AS $$
    SELECT overlay(overlay(gen_random_uuid()::text
                           PLACING lpad(left(to_hex(p_ms), -4), 8, '0') || '-'
                           || right(to_hex(p_ms), 4) FROM 1 FOR 13)
                   PLACING '7' FROM 15 FOR 1)::uuid
$$;

CREATE PROCEDURE pg_temp.add_cycle(p_cycle integer, p_begins_ms bigint, p_lasts_ms bigint)
LANGUAGE plpgsql AS $$
DECLARE
    v_players bigint := (SELECT count(*) FROM player);
    -- Pools of the short history, if it came before this one, have numbers too.
    v_first   bigint := (SELECT coalesce(max(owner_id) FILTER (WHERE owner_id < 1000000000), 0) + 1
                           FROM ledger.account WHERE owner_kind = 'TOURNAMENT');
BEGIN
    PERFORM ledger.open_accounts('TOURNAMENT', number, NULL)
       FROM generate_series(v_first, v_first + 9) AS number;
    INSERT INTO pot
    SELECT p_cycle, owner_id - v_first, id, p_begins_ms + p_lasts_ms + 3
      FROM ledger.account
     WHERE owner_kind = 'TOURNAMENT' AND owner_id BETWEEN v_first AND v_first + 9;

    CREATE TEMP TABLE round AS
    SELECT player.*, pot.account AS pool, to_timestamp(moment / 1000.0) AS happened_at,
           pg_temp.made_id(moment) AS granted,
           pg_temp.made_id(moment + 1) AS claimed,
           pg_temp.made_id(moment + 2) AS paid
      FROM player
      JOIN pot ON pot.cycle = p_cycle AND pot.place = player.place % 10
     CROSS JOIN LATERAL (
           SELECT p_begins_ms + player.place * p_lasts_ms / v_players AS moment) AS time
     ORDER BY player.place;

    INSERT INTO ledger.transfer (
        posting_id, phase, leg, kind, debit_id, credit_id, amount,
        debit_seq, credit_seq, debit_after, credit_after, created_at)
    SELECT made.posting_id, made.phase, 1, made.kind, debit, credit, 10,
           debit_seq, credit_seq, debit_after, credit_after, happened_at
      FROM round
     CROSS JOIN LATERAL (VALUES
           (granted, 0, 'GRANT', 2, claimable,
            NULL, claimable_seq + 2 * p_cycle - 1, NULL, claimable_balance + 10),
           (claimed, 0, 'CLAIM', claimable, earned,
            claimable_seq + 2 * p_cycle, earned_seq + 2 * p_cycle - 1,
            claimable_balance, earned_balance + 10),
           (claimed, 2, 'CONFIRM', 5, onchain,
            NULL, onchain_seq + 2 * p_cycle - 1, NULL, onchain_balance + 10),
           (paid, 0, 'ENTRY_FEE', earned, pool,
            earned_seq + 2 * p_cycle, NULL, earned_balance, NULL),
           (paid, 2, 'CONFIRM', onchain, 5,
            onchain_seq + 2 * p_cycle, NULL, onchain_balance, NULL)
     ) AS made (posting_id, phase, kind, debit, credit,
                debit_seq, credit_seq, debit_after, credit_after);

    INSERT INTO ledger.transfer (
        posting_id, phase, leg, kind, debit_id, credit_id, amount, debit_seq, debit_after, created_at)
    SELECT pg_temp.made_id(at_ms), 0, 1, 'RAKE_PLATFORM',
           account, 3, 10 * taken.fees, 1, 0, to_timestamp(at_ms / 1000.0)
      FROM pot
      JOIN (SELECT pool, count(*) AS fees FROM round GROUP BY pool) AS taken ON taken.pool = account
     WHERE cycle = p_cycle;

    INSERT INTO wallet_wallettransaction (
        uid, wallet_id, seq, type, direction, amount, counterparty, name, description, sync_status,
        created_at, modified_at)
    SELECT made.uid, id, last_seq + 2 * p_cycle + made.step, made.type, made.direction, 10,
           '0x' || repeat('ab', 20), made.name, made.name, 'COMPLETED', happened_at, happened_at
      FROM round
     CROSS JOIN LATERAL (VALUES
           (claimed, -1, 'REWARD_CLAIM', 'CREDIT', 'Reward'),
           (paid, 0, 'JOIN', 'DEBIT', 'Entry fee')
     ) AS made (uid, step, type, direction, name);
    DROP TABLE round;
END $$;

CREATE PROCEDURE pg_temp.end_history(p_cycles integer)
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE ledger.account SET seq = seq + 2 * p_cycles
      FROM player
     WHERE account.id IN (claimable, earned, onchain);
    UPDATE ledger.account SET seq = 1 FROM pot WHERE account.id = pot.account AND account.seq = 0
       AND EXISTS (SELECT FROM player WHERE player.place % 10 = pot.place);
    UPDATE wallet_wallet SET last_seq = wallet_wallet.last_seq + 2 * p_cycles
      FROM player
     WHERE wallet_wallet.id = player.id;
    DROP TABLE player, pot;
END $$;
