-- Which transaction last put a seat elsewhere on the board, or took its stake in or out: who knows
-- the board as of an earlier snapshot finds by it all that has changed since. What the settlement
-- writes moves nobody.
CREATE FUNCTION tournaments_note_move() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.moved_in = pg_current_xact_id()::text::bigint;
    RETURN NEW;
END
$$;

CREATE TRIGGER participation_taken BEFORE INSERT ON tournaments_participation
FOR EACH ROW EXECUTE FUNCTION tournaments_note_move();

CREATE TRIGGER participation_moved
BEFORE UPDATE ON tournaments_participation
FOR EACH ROW
WHEN (
    (NEW.standing_key, NEW.reached_at, NEW.left_at, NEW.refund_posting_id)
    IS DISTINCT FROM (OLD.standing_key, OLD.reached_at, OLD.left_at, OLD.refund_posting_id)
    OR NEW.moved_in <> OLD.moved_in -- written by who remembers an older one
)
EXECUTE FUNCTION tournaments_note_move();
