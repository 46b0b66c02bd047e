-- The ledger's functions plan each of their statements once a connection. Left to itself PostgreSQL
-- plans those that look a posting up anew at every call: by its estimate a plan for every month costs
-- more than planning for one, though the other months are passed over as the plan starts.
ALTER FUNCTION ledger.post1(uuid, smallint, text, bigint, bigint, numeric)
    SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION ledger.post(uuid, smallint, text[], bigint[], bigint[], numeric[])
    SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION ledger.spend(uuid, text, bigint, text[], numeric, bigint)
    SET plan_cache_mode = force_generic_plan;
ALTER FUNCTION ledger.mirror(uuid, smallint, text, uuid)
    SET plan_cache_mode = force_generic_plan;
