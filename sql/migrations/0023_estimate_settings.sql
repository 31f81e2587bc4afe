-- How many runs have certain settings is estimated by comparing a sample of their documents. A hundred of them cannot
-- tell one run in a hundred from one in a thousand, and which plan is fast depends on that.
set local lock_timeout = '5s';
set local role tracemill_owner;

alter table raw.optimization_runs alter column config set statistics 1000;

reset role;
