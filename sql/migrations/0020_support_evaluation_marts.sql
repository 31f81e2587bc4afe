-- What the marts of evaluations need from the database: Student's t for paired comparisons, and the days of outcomes
-- marked for the next aggregation when their simulation turns out to have evaluated another version.
set local lock_timeout = '5s';
set local role tracemill_owner;

create or replace function app.student_t_p_value(t double precision, degrees integer) returns double precision
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    theta double precision := atan(abs(t) / sqrt(degrees));
    cosine_squared double precision := cos(theta) * cos(theta);
    term double precision := 1;
    total double precision := 0;
    k integer;
begin
    if degrees < 1 then
        return null;
    end if;
    -- The finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4: odd degrees begin with the angle itself.
    if degrees % 2 = 1 then
        term := cos(theta);
        k := 3;
    else
        k := 2;
    end if;
    while k <= degrees and term > 1e-18 loop
        total := total + term;
        term := term * cosine_squared * (k - 1) / k;
        k := k + 2;
    end loop;
    if degrees % 2 = 1 then
        return greatest(0, 1 - 2 / pi() * (theta + sin(theta) * total));
    end if;
    return greatest(0, 1 - sin(theta) * total);
end
$$;
comment on function app.student_t_p_value is 'Probability that Student''s t with so many degrees of freedom lies at least this far from 0, on either side; to 1e-12. NULL without a degree of freedom.';

create or replace function app.student_t_critical(degrees integer) returns double precision
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    low double precision := 1.9;  -- below the normal distribution's 1.96, which no t is below
    high double precision := 13;  -- above the 12.71 of one degree
    middle double precision;
begin
    if degrees < 1 then
        return null;
    end if;
    for step in 1..50 loop
        middle := (low + high) / 2;
        if app.student_t_p_value(middle, degrees) > 0.05 then
            low := middle;
        else
            high := middle;
        end if;
    end loop;
    return (low + high) / 2;
end
$$;
comment on function app.student_t_critical is 'The t beyond which 5 % lie, both sides together: half the width of a 95 % interval in standard errors.';
grant execute on function app.student_t_p_value(double precision, integer), app.student_t_critical(integer)
to tracemill_dbt, tracemill_ingest, service_role, authenticated, app_user, app_admin, app_readonly;

create or replace function ops.touch_days_of_simulation() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into ops.touched_days (project_id, activity_date)
    select distinct o.project_id, (o.execution_time at time zone 'UTC')::date
    from raw.outcomes as o
    where o.project_id = new.project_id and o.simulation_id = new.simulation_id
    on conflict (activity_date, project_id) do update set touched_at = clock_timestamp();
    return null;
end
$$;
comment on function ops.touch_days_of_simulation is 'Trigger: the days of a simulation''s outcomes have to be aggregated again, because they are another version''s now.';

create or replace trigger simulations_touch_their_days
after update of config_version_id on raw.simulations for each row
when (old.config_version_id is distinct from new.config_version_id)
execute function ops.touch_days_of_simulation();

reset role;
