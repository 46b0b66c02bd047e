-- What the application alone must not be trusted with: the order of a tournament's life, and the
-- terms on which gamers have paid.

CREATE FUNCTION tournaments_guard_tournament() RETURNS trigger
LANGUAGE plpgsql AS $$
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

    IF OLD.phase NOT IN ('SETUP', 'PREPARATION')
        AND (NEW.game_id, NEW.entry_fee, NEW.rake_percent, NEW.tournament_size)
            IS DISTINCT FROM (OLD.game_id, OLD.entry_fee, OLD.rake_percent, OLD.tournament_size)
    THEN
        RAISE EXCEPTION 'the game, fee, rake and size of a published tournament are fixed'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'tournament_terms_fixed';
    END IF;

    RETURN NEW;
END
$$;

CREATE TRIGGER tournament_guard BEFORE UPDATE ON tournaments_tournament
FOR EACH ROW EXECUTE FUNCTION tournaments_guard_tournament();

-- Most updates of a seat are scores: room on the page keeps the row near its older self.
ALTER TABLE tournaments_participation SET (fillfactor = 70);
