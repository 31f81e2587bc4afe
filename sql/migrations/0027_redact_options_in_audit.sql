-- Passwords are typed behind options as well: --api-key x, -u name:x, mysql -px.
set local lock_timeout = '5s';
set local role tracemill_owner;

create or replace function audit.redact_options(content text) returns text
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select regexp_replace(regexp_replace(regexp_replace(
        content,
        '((?:^|[\s"''`(\[])--?(?:[\w.]+[-_.])*(?:passwords?|passwd|passphrase|pwd|secrets?|(?:api|access|private|auth|secret)[-_]?key|token|credentials?)\\*["'']?\s+)'
        || '(?!-|\[REDACTED)(\\*"[^"]*"|\\*''[^'']*''|[^\s"'']+)', '\1[REDACTED]', 'gi'),
        '((?:^|[\s"''])(?:-u|--user|--proxy-user)[ =]?["'']?[^\s:"'']+:)(?!\[REDACTED|//)[^\s"'']+', '\1[REDACTED]', 'g'),
        '(\m(?:mysql(?:dump|admin)?|mariadb)(?:\s+(?!-p)[^\s|;]+)*\s+-p|\m(?:sshpass|docker login|podman login|az login|redis-cli)(?:\s+(?!-[pa])[^\s|;]+)*\s+-[pa][ =]?)'
        || '(?!\[REDACTED)["'']?[^\s"''-][^\s"'']*', '\1[REDACTED]', 'g')
$$;
comment on function audit.redact_options is 'The text without passwords and keys that stand behind options of commands.';

-- What 0011 finds, and the options.
do $$
begin
    if to_regprocedure('audit.redact_values(text)') is null then
        alter function audit.redact_text(text) rename to redact_values;
    end if;
end
$$;
comment on function audit.redact_values is 'The text without keys of known providers, passwords in addresses, and values after names such as password or api_key.';
create or replace function audit.redact_text(content text) returns text
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select audit.redact_options(audit.redact_values(content))
$$;
comment on function audit.redact_text is 'The text without what looks like a secret: keys of known providers, passwords in addresses, values after names or options such as password or api_key.';

create or replace function audit.redact(content jsonb, depth integer default 0) returns jsonb
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
    names_secret constant text := '(^|[_.\s-])(passwords?|passwd|passphrase|pwd|secrets?([_.\s-]?(access[_.\s-]?)?key)?|'
        || 'api[_.\s-]?keys?|access[_.\s-]?key|private[_.\s-]?key|(access|auth|bearer|refresh)[_.\s-]?tokens?|token|'
        || 'credentials?|authorization|cookies?|key[_]hash)$';
begin
    if depth = 0 and content::text !~* '(pass|pwd|secret|token|key|credential|auth|cookie|bearer|://|sk-|gh[a-z]_|xox|akia|asia|aiza|hf_|eyj|glpat|-u|--user|mysql|mariadb|login|redis-cli)' then
        return content;
    elsif depth > 60 then
        return '"[REDACTED: nested too deeply to look into]"';
    end if;
    case jsonb_typeof(content)
        when 'string' then
            return to_jsonb(audit.redact_text(content #>> '{}'));
        when 'array' then
            return (
                select coalesce(jsonb_agg(audit.redact(e.value, depth + 1) order by e.place), '[]')
                from jsonb_array_elements(content) with ordinality as e (value, place)
            );
        when 'object' then
            return (
                select coalesce(jsonb_object_agg(
                    audit.redact_text(e.key),
                    case
                        when regexp_replace(e.key, '([a-z0-9])([A-Z])', '\1_\2', 'g') !~* names_secret
                            then audit.redact(e.value, depth + 1)
                        when jsonb_typeof(e.value) in ('null', 'boolean') or e.value #>> '{}' like '[REDACTED%'
                            then e.value
                        else '"[REDACTED]"'
                    end
                ), '{}')
                from jsonb_each(content) as e
            );
        else
            return content;
    end case;
end
$$;
comment on function audit.redact is 'The document without secrets: values whose names say that they are secret, and what audit.redact_text finds in the others. Who writes SQL by hand passes no other redaction.';

reset role;
