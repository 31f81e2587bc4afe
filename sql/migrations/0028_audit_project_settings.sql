-- Budget, retention, legal hold and limits of alerts decide what is kept and who is told: who changed them is recorded.
set local lock_timeout = '5s';
set local role tracemill_owner;

do $$
declare
    event text;
begin
    foreach event in array array[
        'insert after insert on app.project_config referencing new table as new_rows',
        'update after update on app.project_config referencing old table as old_rows new table as new_rows',
        'delete after delete on app.project_config referencing old table as old_rows',
        'truncate before truncate on app.project_config'
    ] loop
        execute 'create or replace trigger audit_' || event
            || ' for each statement execute function audit.record_changes(''project_id'', '''')';
    end loop;
end
$$;

reset role;
