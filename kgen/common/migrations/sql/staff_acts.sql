-- What staff did is written once: neither its author nor the owner of the tables takes it back.
CREATE FUNCTION staff_act_refuse() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what staff did is never rewritten'
        USING ERRCODE = 'LG001';
END $$;

CREATE TRIGGER staff_act_is_never_rewritten
    BEFORE UPDATE OR DELETE ON common_staffact
    FOR EACH ROW EXECUTE FUNCTION staff_act_refuse();

CREATE TRIGGER staff_act_is_never_emptied
    BEFORE TRUNCATE ON common_staffact
    FOR EACH STATEMENT EXECUTE FUNCTION staff_act_refuse();

-- The history that Django's own log has kept so far.
INSERT INTO common_staffact
    (at, by_id, by_name, roles, name, label, object_type, object_pk, object_text,
     details, before, after, reason, request_id)
SELECT log.action_time, log.user_id, staff.username, '',
       CASE log.action_flag WHEN 1 THEN 'add' WHEN 3 THEN 'delete' ELSE 'change' END,
       CASE WHEN log.change_message <> '' AND log.change_message NOT LIKE '[%'
            THEN log.change_message
            ELSE CASE log.action_flag WHEN 1 THEN 'Added.' WHEN 3 THEN 'Deleted.' ELSE 'Changed.' END
       END,
       coalesce(kind.app_label || '.' || kind.model, ''), coalesce(left(log.object_id, 100), ''),
       log.object_repr, '{}', '{}', '{}', '', ''
  FROM django_admin_log AS log
  JOIN auth_user AS staff ON staff.id = log.user_id
  LEFT JOIN django_content_type AS kind ON kind.id = log.content_type_id
 ORDER BY log.id;
