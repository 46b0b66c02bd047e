-- As in tournament.sql, and further: what is published keeps every term but those that operators
-- have a move for, its times only come nearer, and what is over stays as it is.

CREATE OR REPLACE FUNCTION tournaments_guard_tournament() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    -- What the moves of a published tournament may write; each that is dangerous is looked at below.
    movable CONSTANT text[] := ARRAY[
        'phase', 'updated_at', 'starts_at', 'locks_at', 'ends_at', 'grace',
        'planned_locks_at', 'planned_ends_at',
        'scores_paused_at', 'event_ceiling', 'minute_ceiling',
        'settled_at', 'settled_pool', 'rewarded_count', 'finish_posting_id',
        'cancelled_at', 'refunded_at', 'sponsor_return_posting_id'
    ];
    after_the_end CONSTANT text[] := ARRAY['updated_at', 'refunded_at'];
BEGIN
    IF NEW.phase <> OLD.phase AND (OLD.phase, NEW.phase) NOT IN (
        ('SETUP', 'PREPARATION'),
        ('SETUP', 'PUBLISHED'),
        ('SETUP', 'CANCELLED'),
        ('PREPARATION', 'SETUP'),
        ('PREPARATION', 'PUBLISHED'),
        ('PREPARATION', 'CANCELLED'),
        ('PUBLISHED', 'COMPLETED'),
        ('PUBLISHED', 'CANCELLED')
    ) THEN
        RAISE EXCEPTION 'a tournament cannot go from % to %', OLD.phase, NEW.phase
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tournament_legal_move';
    END IF;

    IF OLD.phase IN ('COMPLETED', 'CANCELLED') AND (
        to_jsonb(NEW) - after_the_end IS DISTINCT FROM to_jsonb(OLD) - after_the_end
        OR (OLD.refunded_at IS NOT NULL AND NEW.refunded_at IS DISTINCT FROM OLD.refunded_at)
    ) THEN
        RAISE EXCEPTION 'a tournament that is over stays as it is'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tournament_over';
    END IF;

    IF OLD.phase = 'PUBLISHED' THEN
        IF to_jsonb(NEW) - movable IS DISTINCT FROM to_jsonb(OLD) - movable THEN
            RAISE EXCEPTION 'the terms of a published tournament are fixed'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'tournament_terms_fixed';
        END IF;

        -- Each time may be brought forward to the moment of the change, and to no other.
        IF (NEW.starts_at <> OLD.starts_at
                AND (NEW.starts_at > OLD.starts_at OR NEW.starts_at <> NEW.updated_at
                    OR NEW.locks_at <> NEW.starts_at))
            OR (NEW.locks_at <> OLD.locks_at
                AND (NEW.locks_at > OLD.locks_at OR NEW.locks_at <> NEW.updated_at))
            OR (NEW.ends_at <> OLD.ends_at
                AND (NEW.ends_at > OLD.ends_at OR NEW.ends_at <> NEW.updated_at))
        THEN
            RAISE EXCEPTION 'a published tournament may only be started, locked or ended at once'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'tournament_times_fixed';
        END IF;

        -- Late scores keep their time, but where a sandbox is ended.
        IF NEW.grace <> OLD.grace AND (
            NEW.grace <> interval '0'
            OR NEW.ends_at = OLD.ends_at
            OR NOT EXISTS (SELECT FROM accounts_game WHERE id = NEW.game_id AND is_sandbox)
        ) THEN
            RAISE EXCEPTION 'the grace of a published tournament is fixed'
                USING ERRCODE = 'check_violation', CONSTRAINT = 'tournament_grace_fixed';
        END IF;
    END IF;

    RETURN NEW;
END
$$;
