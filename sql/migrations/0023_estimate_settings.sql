-- Two estimates on which it depends whether the newest runs with certain settings or tags are found in milliseconds.
set local lock_timeout = '5s';
set local role tracemill_owner;

-- How many runs have certain settings is told by comparing a sample of their documents. A hundred of them cannot tell one
-- run in a hundred from one in a thousand.
alter table raw.optimization_runs alter column config set statistics 1000;

-- The policy's list of a reader's projects is counted as ten values, whatever it holds; a query that names its project
-- as well would be expected to find ten values' share of that project's runs. With this number ten values are nearly all.
alter table raw.optimization_runs alter column project_id set (n_distinct = 10);

reset role;
