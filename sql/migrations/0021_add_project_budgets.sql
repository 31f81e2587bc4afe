-- What a project may spend in a month. Operators set it as tracemill_owner; tenants read it and cannot change it:
--     update app.project_config set monthly_budget_usd = 500 where project_id = 'checkout';
-- NULL takes the budget away.
set local lock_timeout = '5s';
set local role tracemill_owner;

alter table app.project_config
add column if not exists monthly_budget_usd numeric
constraint monthly_budget_is_positive check (monthly_budget_usd > 0 and monthly_budget_usd < 'Infinity');
comment on column app.project_config.monthly_budget_usd is 'USD that the project may spend in a calendar month (UTC); NULL without a limit.';

reset role;
