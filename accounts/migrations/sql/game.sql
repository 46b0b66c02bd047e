-- What was won in a sandbox is worth nothing, and must not be withdrawn as money one day.
CREATE FUNCTION game_refuse_other_kind() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a game stays a sandbox, or real, for ever'
        USING ERRCODE = 'check_violation';
END $$;

CREATE TRIGGER game_kind_is_kept
    BEFORE UPDATE ON accounts_game
    FOR EACH ROW WHEN (old.is_sandbox IS DISTINCT FROM new.is_sandbox)
    EXECUTE FUNCTION game_refuse_other_kind();
