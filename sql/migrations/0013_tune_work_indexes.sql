-- Indexes that ingest looks work up by. An execution's id is unique over all projects, so the project need not stand in
-- the index; and without it no index but the primary key begins with the project, which keeps the planner from
-- looking keys up in another one as long as a young partition has no statistics.
set local lock_timeout = '5s';
set local role tracemill_owner;

-- An index of a partitioned table cannot be dropped concurrently.
-- squawk-ignore require-concurrent-index-deletion
drop index if exists raw.model_requests_by_execution;
-- squawk-ignore require-concurrent-index-deletion
drop index if exists raw.tool_calls_by_execution;
create index if not exists model_requests_by_execution_id on raw.model_requests (execution_id);
create index if not exists tool_calls_by_execution_id on raw.tool_calls (execution_id);

-- A response is looked up by its message alone where its log, or the one seen before, leaves the request's id out.
create index if not exists model_requests_without_request_id on raw.model_requests (project_id, message_id)
where request_id is null;

reset role;
